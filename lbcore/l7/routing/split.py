"""Requests shared out between pools by weight: a canary.

Rule of this file: it chooses a pool; backends are the pool's business.

Theory. By chance, each request draws anew: 5 of 100 requests see the new version, and so, sooner or later, does every
client, now the old one and now the new. By a key (a cookie, a header, the address) each *client* draws once: rendezvous
hashing gives every pool its share of the keys, and when a weight changes, keys move only to or from the pool whose it
is. Turn a canary from 5 to 10 and who was on it stays on it.

Traps
- A client chooses its cookies and headers: whoever wants to see the canary can. A split is no lock.
- Without the key a request is hashed by its source's address (`pools.key`), which many may share.
"""

from __future__ import annotations

import math
from bisect import bisect
from collections.abc import Callable, Sequence
from itertools import accumulate
from random import random
from typing import Final

from lbcore.l7.message import Request
from lbcore.l7.pools.pool import Pool


def by_chance(
    pools: Sequence[Pool], weights: Sequence[float], draw: Callable[[], float] = random
) -> Callable[[Request], Pool]:
    """`Route.choose` that gives each pool its share of the requests. draw: from 0 to below 1. ValueError: weights."""
    check(pools, weights)
    bounds: Final = list(accumulate(weights))
    total, last = bounds[-1], max(place for place, weight in enumerate(weights) if weight)
    return lambda request: pools[min(bisect(bounds, draw() * total), last)]


def by_key(pools: Sequence[Pool], weights: Sequence[float], key: Callable[[Request], int]) -> Callable[[Request], Pool]:
    """`Route.choose` that gives each pool its share of the keys. key: 64 bits, of a request. ValueError: weights."""
    from lbcore.balance.rendezvous import Rendezvous  # brings numba, which only such splits need

    check(pools, weights)
    shares = Rendezvous([pool.name for pool in pools], weights)
    return lambda request: pools[shares.pick(key(request))]


def check(pools: Sequence[Pool], weights: Sequence[float]) -> None:
    """ValueError unless there is something to share out."""
    if len(pools) != len(weights):
        raise ValueError(f"weights has {len(weights)}, wanted {len(pools)}: one for each pool")
    for weight in weights:
        if not (weight >= 0 and math.isfinite(weight)):
            raise ValueError(f"weight is {weight!r}, wanted a number, 0 or more")
    if not any(weights):
        raise ValueError("weight is 0 everywhere, wanted more for one pool at least")
