"""A router in front of a fleet: which next hop a flow is sent to, and whom a change of the list moves.

Rule of this file: it knows hashes of flows and numbers of next hops. What stands at the next hop is `fleet`'s business.

Theory. With several routes of equal cost (ECMP), a router hashes a flow's addresses and ports, so that packets of a
flow stay in order on one path. Three ways to turn the hash into a next hop:

    modulo      hash % n. All but one in n flows move when n changes.
    threshold   the hash space is cut into n equal ranges (RFC 2992). A change moves every boundary a little: between a
                quarter and a half of the flows.
    resilient   a table of buckets, each naming a next hop. Only the buckets of the one that left are given away
                (Linux: Documentation/networking/nexthop-group-resilient.rst).

Trap. A router that used the very hash of the balancers behind it would hand each of them a slice of its own table. So
`of_router` mixes the hash once more.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
import numpy.typing as npt

from lbcore.balance.hashes.xxhash64 import xxhash64_word_many

Hashes = npt.NDArray[np.uint64]
Hops = npt.NDArray[np.int64]
BUCKETS = 1024


def of_router(flows: Hashes) -> Hashes:
    """The router's hash of flows, which are known by the balancers' hash: uint64[n] -> uint64[n]."""
    return np.asarray(xxhash64_word_many(flows, 0xEC), np.uint64)


class Router(Protocol):
    """Next hops are small integers, and `hops` those in use."""

    @property
    def hops(self) -> tuple[int, ...]: ...

    def pick_many(self, flows: Hashes) -> Hops:
        """The next hop of each flow: int64[n]."""

    def without(self, hop: int) -> Router:
        """The router after a next hop was lost. ValueError if it is not there, or the last."""


def others(hops: Sequence[int], hop: int) -> tuple[int, ...]:
    """`hops` without one of them."""
    if hop not in hops or len(hops) < 2:
        raise ValueError(f"hop {hop} cannot go: there are {list(hops)}, and one must stay")
    return tuple(one for one in hops if one != hop)


@dataclass(frozen=True)
class Modulo:
    """The remainder names the next hop."""

    hops: tuple[int, ...]

    def pick_many(self, flows: Hashes) -> Hops:
        return np.array(self.hops)[(of_router(flows) % np.uint64(len(self.hops))).astype(np.int64)]

    def without(self, hop: int) -> Modulo:
        return Modulo(others(self.hops, hop))


@dataclass(frozen=True)
class Threshold:
    """Equal ranges of a 32-bit hash, in the order of `hops` (RFC 2992)."""

    hops: tuple[int, ...]

    def pick_many(self, flows: Hashes) -> Hops:
        upper = of_router(flows) >> np.uint64(32)
        return np.array(self.hops)[(upper * np.uint64(len(self.hops)) >> np.uint64(32)).astype(np.int64)]

    def without(self, hop: int) -> Threshold:
        return Threshold(others(self.hops, hop))


@dataclass(frozen=True)
class Resilient:
    """Buckets that remember. `buckets`: int64[BUCKETS], dealt out in turn when it is not given."""

    hops: tuple[int, ...]
    buckets: Hops = field(default_factory=lambda: np.zeros(0, np.int64), repr=False)

    def __post_init__(self) -> None:
        if not self.buckets.size:
            object.__setattr__(self, "buckets", np.resize(np.array(self.hops), BUCKETS))

    def pick_many(self, flows: Hashes) -> Hops:
        return self.buckets[(of_router(flows) % np.uint64(self.buckets.size)).astype(np.int64)]

    def without(self, hop: int) -> Resilient:
        rest, buckets = others(self.hops, hop), self.buckets.copy()
        orphans = np.flatnonzero(buckets == hop)
        buckets[orphans] = np.resize(np.array(rest), orphans.size)
        return Resilient(rest, buckets)


ROUTERS: dict[str, Callable[[tuple[int, ...]], Router]] = {
    "modulo": Modulo,
    "threshold": Threshold,
    "resilient": Resilient,
}


def moved_share(kind: str, count: int, flows: Hashes, *, lost: int | None = None) -> float:
    """The share of flows that reach another hop when one of `count` is lost, on average over which. See ROUTERS.

    lost: a hop, if it is to be that one.
    """
    before = ROUTERS[kind](tuple(range(count)))
    ones = range(count) if lost is None else [lost]
    return float(np.mean([before.pick_many(flows) != before.without(hop).pick_many(flows) for hop in ones]))
