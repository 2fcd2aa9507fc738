"""A pool in force: what the options say of it, and its backends.

Rule of this file: it joins the two; numbers of backends are places in `targets`.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import NamedTuple

from lbcore.l4.relay.backends import Backends
from lbcore.l4.relay.options import Options, Pool, endpoint


class Group(NamedTuple):
    """targets: addresses to dial. backends: the same in the same order, with their states."""

    pool: Pool
    targets: tuple[tuple[str, int], ...]
    backends: Backends


def groups(options: Options, clock: Callable[[], float] = time.monotonic) -> dict[str, Group]:
    """Every pool by its name."""
    return {pool.name: _group(pool, options.timeouts.rest, clock) for pool in options.pools}


def _group(pool: Pool, rest: float, clock: Callable[[], float]) -> Group:
    names = [target.address for target in pool.targets]
    weights = [target.weight for target in pool.targets]
    return Group(pool, tuple(map(endpoint, names)), Backends(names, weights, pool.picker, rest, clock))
