"""A canary by weight, on sockets: the relay of layer 4 weighs connections, the proxy of layer 7 weighs requests.

Rule of this file: the same clients for both; who answered is what the answers say.

Theory. Both deal by turns, so each gives the canary its weight, of what it counts, to the last one. Connections differ
in length, though: the canary's share of requests is the share of those that the few chosen connections happen to bring.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Literal

import numpy as np

from lbcore.l4.relay import Listener, Options, Relay, Target
from lbcore.l4.relay import Pool as Targets
from lbcore.l7.pools.options import BackendOptions, PoolOptions
from lbcore.l7.pools.pool import Pool
from lbcore.measure.counted import Counting, Reply, front, route, serving, talk
from lbcore.testbed import aside
from lbcore.testbed.smallest import Address

AT_ONCE = 16  # client connections
PICKER = "smooth_weighted"


def shares(layer: Literal["L4", "L7"], *, weight: float, lengths: Sequence[int]) -> tuple[float, float]:
    """Shares of connections and of requests on the canary. weight: the wanted one. lengths: requests by connection.

    A connection is on the canary if its first request is: at layer 4 all of them are, then.
    """
    replies = aside.run(_trial(layer, weight, lengths))
    on = [[reply.by == "new" for reply in each] for each in replies]
    return float(np.mean([each[0] for each in on])), sum(map(sum, on)) / sum(lengths)


async def _trial(layer: str, weight: float, lengths: Sequence[int]) -> list[list[Reply]]:
    old, new = Counting("old"), Counting("new")
    async with serving(old, new):
        there = [("{}:{}".format(*one.address), share) for one, share in ((old, 1 - weight), (new, weight))]
        if layer == "L4":
            targets = Targets("site", [Target(address, weight=share) for address, share in there], picker=PICKER)
            async with Relay(Options([Listener("site")], [targets])) as relay:
                return await _clients(relay.addresses[0], lengths)
        backends = tuple(BackendOptions(address=address, weight=share) for address, share in there)
        site = Pool.build(PoolOptions(name="site", backends=backends, picker=PICKER))
        async with front(route("all", site)) as door:
            return await _clients(door, lengths)


async def _clients(door: Address, lengths: Sequence[int]) -> list[list[Reply]]:
    gate = asyncio.Semaphore(AT_ONCE)

    async def client(requests: int) -> list[Reply]:
        async with gate:
            return await talk(door, *["GET /"] * requests)

    return await asyncio.gather(*map(client, lengths))
