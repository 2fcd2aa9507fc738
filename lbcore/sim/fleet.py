"""A fleet of balancers behind a router, backends behind them, and what becomes of flows when one of either is lost.

Rule of this file: flows are 64-bit hashes, time is a count of rounds, nothing is sent. What decides is the real thing:
the pickers of `lbcore.balance`, and each balancer's memory is the data plane's own flow table.

The model. A packet goes to the balancer that the router names. If this one remembers the flow and its backend lives,
there it goes; else its picker is asked, and the answer remembered. All balancers have the same pool and picker, and
tell each other nothing.

Theory. A connection breaks when a packet of it reaches another backend than the first did. Two things can prevent
that: the memory of the balancer that it passes, or a picker that still gives the old answer. So it takes two losses to
break a flow: its memory's, and its answer's. They need not come at the same time.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from lbcore.balance.maglev import Maglev
from lbcore.balance.modulo import Modulo
from lbcore.balance.pool import Picker
from lbcore.jit import kernel
from lbcore.l4 import flow_table
from lbcore.l4.flow_table import FlowTable
from lbcore.sim.ecmp import ROUTERS, Hashes
from lbcore.wire.words import int64, word64

Numbers = npt.NDArray[np.int64]
PICKERS: dict[str, Callable[[Sequence[Any]], Picker]] = {"Maglev": Maglev, "modulo": Modulo}

BY_HASH, BY_MEMORY, LOST, BROKEN = range(4)
FATES = (
    "stays; the hash alone would do",
    "stays only because it is remembered",
    "its backend is gone",
    "broken: sent to another backend",
)
NEVER_IDLE = 1 << 62


class Sent(NamedTuple):
    """Where a packet of each flow went. `hashed`: where the picker alone would send it now."""

    balancers: Numbers
    backends: Numbers
    hashed: Numbers


@kernel
def recall(table: Any, flows: Any, hashed: Any, alive: Any, now: int) -> Any:
    """Pass one packet of each flow through a balancer's memory: the backends it goes to, int64[n].

    flows: uint64[n]; hashed: int64[n], the picker's answers; alive: bool[backends].
    """
    went = hashed.copy()
    for i in range(flows.size):
        key = (word64(flows[i]), word64(0), word64(0), word64(0), word64(0))
        hash32 = int64(flows[i] >> np.uint64(32))
        found = flow_table.find(table, hash32, key)
        if found.row >= 0 and alive[found.backend]:
            went[i] = found.backend
            flow_table.touch(table, found.row, now)
        else:
            flow_table.put(table, hash32, key, now, NEVER_IDLE, hashed[i])
    return went


class Fleet:
    """`backends` and `balancers`: how many, numbered from 0. `entries`: of each balancer's memory; 0: it has none.

    ValueError for an unknown router or picker, or a number that cannot be.
    """

    def __init__(
        self,
        backends: int = 10,
        balancers: int = 4,
        *,
        router: str = "resilient",
        picker: str = "Maglev",
        entries: int = 1 << 16,
    ) -> None:
        for name, value in (("backends", backends), ("balancers", balancers)):
            if value < 1:
                raise ValueError(f"{name} is {value}, wanted at least 1")
        for name, given, known in (("router", router, list(ROUTERS)), ("picker", picker, list(PICKERS))):
            if given not in known:
                raise ValueError(f"{name} is {given!r}, wanted one of: {', '.join(known)}")
        self.router = ROUTERS[router](tuple(range(balancers)))
        self.memories: list[FlowTable] = [flow_table.flow_table(entries) for _ in range(balancers if entries else 0)]
        self.alive = np.ones(backends, bool)
        self.now = 0
        self._make = PICKERS[picker]
        self.set_pool(range(backends))

    def set_pool(self, pool: Sequence[int]) -> None:
        """Who gets new flows. A backend that is left out drains: it keeps those that are remembered."""
        names = [f"10.1.{number // 250}.{number % 250}:80" for number in pool]
        self.pool, self._picker = np.array(pool, np.int64), self._make(names)
        grown = max(0, int(self.pool.max()) + 1 - self.alive.size)
        self.alive = np.concatenate([self.alive, np.ones(grown, bool)])

    def drain(self, backend: int) -> None:
        """Take a backend out of the pool; it still serves flows that come to it."""
        self.set_pool([other for other in self.pool.tolist() if other != backend])

    def fail(self, backend: int) -> None:
        """A backend dies: its flows are lost, whatever anybody remembers."""
        self.drain(backend)
        self.alive[backend] = False

    def lose_balancer(self, balancer: int) -> None:
        """A balancer dies, and with it what it remembered. The router sends its flows to the others."""
        self.router = self.router.without(balancer)

    def send(self, flows: Hashes) -> Sent:
        """One packet of each flow, uint64[n]."""
        self.now += 1
        balancers = self.router.pick_many(flows)
        hashed = self.pool[self._picker.pick_many(flows)]
        backends = hashed.copy()
        for number, memory in enumerate(self.memories):
            here = np.flatnonzero(balancers == number)
            backends[here] = recall(memory, flows[here], hashed[here], self.alive, self.now)
        return Sent(balancers, backends, hashed)

    def fates(self, before: Sent, after: Sent) -> Numbers:
        """BY_HASH, BY_MEMORY, LOST or BROKEN for each flow of which a packet was sent before and after: int64[n]."""
        stays, same_hash = after.backends == before.backends, after.hashed == before.backends
        kept = np.where(same_hash, BY_HASH, BY_MEMORY)
        return np.where(~self.alive[before.backends], LOST, np.where(stays, kept, BROKEN))


def random_flows(count: int, seed: int = 0) -> Hashes:
    """Hashes of `count` flows: uint64[count]."""
    return np.random.default_rng(seed).integers(0, 2**64, count, dtype=np.uint64)


def broken_share(fates: Numbers) -> float:
    """Broken flows as a share of those whose backend lives."""
    return float((fates == BROKEN).sum() / max(1, (fates != LOST).sum()))


def broken_by(flows: Hashes, *, balancer: bool = False, backend: bool = False, **fleet: Any) -> float:
    """The share of flows that break when a backend is drained, a balancer lost, or both; keywords of `Fleet`."""
    group = Fleet(**fleet)
    before = group.send(flows)
    if backend:
        group.drain(3)
    if balancer:
        group.lose_balancer(1)
    return broken_share(group.fates(before, group.send(flows)))


def debt(flows: Hashes, added: int, **fleet: Any) -> float:
    """The share of flows that memory alone holds after so many backends were added; keywords of `Fleet`."""
    group = Fleet(**fleet)
    before = group.send(flows)
    group.set_pool(range(group.pool.size + added))
    return float(np.mean(group.fates(before, group.send(flows)) == BY_MEMORY))
