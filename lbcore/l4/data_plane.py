"""The balancer on a wire, in user space: packets of a driver through `core.forward`, in a thread of compiled code.

    with AfXdp("eth0", steer="native") as driver, DataPlane(config, driver) as lb:
        lb.counters()["vips"]                       while it runs
        lb.set_state("10.0.0.3", DRAINING)

Rule of this file: it ties a driver to the tables. What happens to a packet says `core`, how packets come and go the
driver, how a thread ends `loop`; the same in the kernel is `xdp`.

Theory. The loop takes what has arrived, at most `BATCH` packets, looks at the clock once, decides on each packet where
it lies, and gives all of them back at once: what is to leave leaves, the rest is free. Nobody is asked for anything in
between, least of all Python, so the notebook beside it stays alive and the loop has a processor to itself. Counters are
plain words that one thread writes; whoever reads them sees each as it is at that moment.

Traps
- PASS means "the host's business", and what the host gets depends on the driver. AF_PACKET has shown us a copy: the
  host has the packet anyway. AF_XDP took it away: what is not ours, ARP too, is lost, so neighbours need to be told
  the balancer's Ethernet address. In the kernel (`xdp`), PASS is what it says.
- The tables belong to the thread. Python may read counters, and change rings and states through `set_state`.
"""

# What numba compiles has no annotations.
# mypy: disable-error-code="no-untyped-def,no-untyped-call"
from __future__ import annotations

from types import TracebackType
from typing import Any, Self

import numpy as np

from lbcore.jit import kernel
from lbcore.l4 import ahead
from lbcore.l4.config import Balancer, Config
from lbcore.l4.core import ALL_MODES, forward
from lbcore.l4.drivers.driver import Driver, receive, send, wait
from lbcore.l4.drivers.loop import PATIENCE, Loop, stopped
from lbcore.l4.drivers.ordered import monotonic_ns
from lbcore.l4.reasons import Reason
from lbcore.l4.tables import in_shape
from lbcore.wire.seam_numba import CELL, memory_context

BATCH = 64


@kernel(counted=False)
def decide(packets, verdicts, count, tables):
    """Handle the first `count` packets where they lie. Apart from the loop, so that it is compiled once for all."""
    if not in_shape(tables):
        raise ValueError("tables: not as Balancer makes them")
    lead = ahead.lead_for(tables)
    for i in range(count):
        if lead and i + lead < count:
            ahead.ask(memory_context(packets[i + lead]), tables)
        verdicts[i] = forward(memory_context(packets[i]), tables, ALL_MODES)


@kernel
def turn(port, tables, packets, verdicts):
    """One batch, from the port back to it; how many packets it was."""
    count = receive(port, packets)
    tables.clock[0] = np.uint64(monotonic_ns())
    decide(packets, verdicts, count, tables)
    send(port, packets, verdicts, count)
    return count


@kernel
def balance(stop, port, tables):
    """Batch after batch until it is to stop; how many packets."""
    packets, verdicts, done = np.zeros((BATCH, CELL), np.uint64), np.zeros(BATCH, np.uint8), 0
    while not stopped(stop):
        if wait(port, PATIENCE):
            done += turn(port, tables, packets, verdicts)
    return done


@kernel
def exhaust(port, tables):
    """Batch after batch until nothing more is there; how many packets."""
    packets, verdicts, done = np.zeros((BATCH, CELL), np.uint64), np.zeros(BATCH, np.uint8), 0
    while wait(port, 0):
        done += turn(port, tables, packets, verdicts)
    return done


def run(config: Config | Balancer, driver: Driver) -> Balancer:
    """Handle all that a driver has (a list's frames, a capture's) and return: the balancer, with what it counted."""
    balancer = config if isinstance(config, Balancer) else Balancer(config)
    exhaust(driver.port, balancer.tables)
    return balancer


class DataPlane:
    """A balancer over a driver, running from here until `stop` or the end of a `with`. Close the driver afterwards."""

    def __init__(self, config: Config | Balancer, driver: Driver) -> None:
        self.balancer = config if isinstance(config, Balancer) else Balancer(config)
        self.driver = driver
        self.loop = Loop(balance, driver.port, self.balancer.tables)

    @property
    def running(self) -> bool:
        return self.loop.running

    def stop(self) -> None:
        """End the loop after the batch in hand; twice does no harm. Raises what the loop raised."""
        self.loop.stop()

    def set_state(self, address: str, state: int) -> None:
        """ACTIVE, DRAINING or GONE, under traffic."""
        self.balancer.set_state(address, state)

    def counters(self) -> dict[str, Any]:
        """As they are now: "vips" int64[services, 4], "backends" int64[n + 1, 2], "reasons" int64[16]."""
        return self.balancer.counters()

    def reasons(self) -> dict[str, int]:
        """How many packets met their end for which reason, those of 0 left out."""
        counts = self.balancer.tables.reason_counters
        return {reason.name.lower(): int(counts[reason]) for reason in Reason if counts[reason]}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.stop()
