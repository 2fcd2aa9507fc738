"""The pipeline in memory: what a packet costs in `forwarder.forward_batch`, and what it costs in C.

Rule of this file: the same batches of the same packets, over the same tables.

Theory. A flow that was seen before is what a balancer mostly sees: parse, look the virtual address up, look the flow
up, rewrite. What that costs depends on where the flow's entry is: two thousand flows stay in the processor's cache, a
hundred thousand do not, and then looking ahead (`lbcore.l4.ahead`) is worth more than any instruction. So there are two
twins: one looks ahead where lbcore does, which compares the compilers, and one never does, as it would stand in a first
version in C. A packet changes on its way, so every batch is a fresh copy, and what copying costs is taken off within
each round.

Where the time goes (perf, DSR over IPv4, two thousand flows, before searches began at the key's home). A third is
waiting: for the flow's row and for its backend's, and for the processor's wrong guesses at which of eight tags it is. C
waits for the same. The rest is instructions, and a packet's way through both can be followed step by step (ptrace; 200
packets, established flows):

| instructions a packet | DSR 4 | DSR 6 | IPIP 4 | IPIP 6 | NAT 4 | NAT 6 |
|---|---|---|---|---|---|---|
| lbcore at first | 424 | 498 | 554 | 656 | | |
| lbcore now | 373 | 452 | 510 | 561 | 717 | 874 |
| gcc -O3 | 379 | 457 | 532 | 582 | 750 | 956 |
| clang -O3, the same C | 438 | 532 | 588 | 702 | | |

(NAT at first is left out: 41 of 100 packets made their way back anew, because replies were hashed without the client.
With a hundred thousand flows it was the faster for it: a table that forgets is small.)
The eighth that went: rows whose width LLVM did not know (a product for each look at a table: `tables.in_shape` tells
it); thirteen settings that it had to read and keep before any packet was written (they come by value now); four of
jhash's seven rotations that it did not recognise among 64-bit words; what becomes of a reason, a word of bits instead
of branches; and a pseudo-header's sum that only GUE needs.

What is left is the compiler's share. The same C by clang 14 runs at 0.83 to 0.91 of gcc's speed where lbcore had 0.77
to 0.90; LLVM keeps more on the stack and joins the eight ways out of a search where gcc lets each go on by itself. The
twin has gcc's defaults for this machine, for they are its best: with -march=native (numba compiles for the machine,
too) gcc's code is slower by a sixth in the processor's cache, and lbcore as fast as that or up to a sixth faster.

Tried, and not kept: the tags compared without a branch, slower by a tenth, for a wrong guess at least begins to load
rows. The packet's cell as a local variable, which LLVM keeps in registers: it stores more of everything else on the
stack, 2 % more instructions in tunnels and NAT. clang without folding of branches into selects gains 2 to 6 %, tuned
for znver3 up to 9 %, most in DSR; numba's own switches (optimisation level, vectorisers, processor, features)
nothing. The twin compiled for one mode alone: 3 to 9 % by clang, nothing by gcc; not done here, for each combination of
modes would be compiled anew. Asking in a second step, once a flow's row is there, for the row of its way back: NAT with
a hundred thousand flows gains another fifth by it, and everybody pays for a third parse. Kept: an outer IPv4 header
whose sum is made of its fields; summed from its bytes, it waited for the bytes to be written, an eighth of all time in
IPIP. A search that begins at the row which the hash names (`flow_table`), and mostly ends there.

Trap. The packets of a batch lie one after another, as a driver's do, and come from the cache's next level by
themselves; flows come in random order, and their entries do not.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable
from statistics import median
from typing import Any, NamedTuple

import numpy as np

from benchmarks.l4_twins import ForwarderInC
from lbcore.l4 import flow_table
from lbcore.l4.config import Backend, Balancer, Config, Service
from lbcore.l4.forwarder import HEADROOM, Forwarder, forward_batch
from lbcore.measure import Comparison, Table, compare, facts_line
from lbcore.wire.compose import tcp_frame
from lbcore.wire.seam_numba import new_cell
from lbcore.wire.tcp import ACK

MODES = ("dsr", "ipip", "gre", "gue", "nat", "full_nat")
VERSIONS = (4, 6)
FLOWS = {"2,000": (2_000, 1 << 12), "100,000": (100_000, 1 << 18)}
"""Flows, and entries of the tables that they are in."""
NEW = {"all new": (100_000, 1 << 12)}
"""Each is forgotten before its next packet comes. In mode dsr alone: what comes after the choice is the same."""
BATCH = 2000
"""Packets that are handled by one call: so many that the way from Python into compiled code says nothing."""
WIDTH = 160
COPY, C, PLAIN_C, LBCORE = "copying", "C", "C that does not look ahead", "lbcore"


class Row(NamedTuple):
    """One mode, one version of IP, one population of flows."""

    mode: str
    version: int
    flows: str
    times: Comparison

    def net(self, name: str) -> float:
        """Nanoseconds of CPU a packet, without copying it."""
        samples = self.times.samples
        return median(one - copy for one, copy in zip(samples[name], samples[COPY], strict=True))

    def speed(self, name: str) -> float:
        """lbcore's speed in another one's: above 1 it is the faster one."""
        samples = self.times.samples
        rounds = zip(samples[LBCORE], samples[name], samples[COPY], strict=True)
        return median((theirs - copy) / (ours - copy) for ours, theirs, copy in rounds)


def config(mode: str, version: int, entries: int) -> Config:
    """One service with a hundred backends."""
    backends = [
        Backend(f"10.0.1.{i}" if version == 4 else f"2001:db8:1::{i}", 8080, f"02:00:00:00:00:{i:02x}")
        for i in range(1, 101)
    ]
    vip = "203.0.113.80" if version == 4 else "2001:db8:80::1"
    return Config([Service(vip, 80, "tcp", mode, backends)], gateway="02:00:00:00:00:fe", source4="10.0.0.100",
                  source6="2001:db8::100", flows=entries)  # fmt: skip


def packets(version: int, flows: int) -> Any:
    """uint8[flows, WIDTH]: a packet of each flow, in random order; and the length of them all."""
    if version == 4:
        first = tcp_frame(source="10.9.0.0:1024", destination="203.0.113.80:80", flags=ACK)
        source, port = 26, 34
    else:
        first = tcp_frame(source="[2001:db8:c::]:1024", destination="[2001:db8:80::1]:80", flags=ACK)
        source, port = 34, 54
    block = np.zeros((flows, WIDTH), np.uint8)
    block[:, HEADROOM : HEADROOM + len(first)] = np.frombuffer(first, np.uint8)
    numbers = np.random.default_rng(1).permutation(flows)
    for at, shift in ((source + 1, 8), (source + 2, 0)):
        block[:, HEADROOM + at] = (numbers >> shift) & 255
    block[:, HEADROOM + port] = 4 + (numbers >> 16)
    return block, len(first)


def stream(forward: Callable[..., Any], block: Any, length: int) -> Callable[[], Any]:
    """A call handles a batch, and goes on where the last one ended."""
    frames, verdicts = np.empty((BATCH, WIDTH), np.uint8), np.zeros(BATCH, np.uint8)
    starts, lengths = np.zeros(BATCH, np.int64), np.zeros(BATCH, np.int64)
    batches = itertools.cycle(range(0, len(block), BATCH))

    def run() -> None:
        at = next(batches)
        frames[:] = block[at : at + BATCH]
        starts[:], lengths[:] = HEADROOM, length
        forward(frames, starts, lengths, verdicts)

    return run


def nothing(*arguments: Any) -> None:
    """What is left when nobody forwards."""


def measure(rounds: int, seconds: float) -> list[Row]:
    """Every mode, version and population."""
    rows = []
    for mode in MODES:
        for version in VERSIONS:
            for name, (flows, entries) in (FLOWS | NEW if mode == "dsr" else FLOWS).items():
                balancer = Balancer(config(mode, version, entries))
                ours, theirs = Forwarder(balancer), ForwarderInC(balancer)
                block, length = packets(version, flows)
                balancer.tables.clock[0] = time.monotonic_ns()
                cell, t = new_cell(), balancer.tables
                plain = ForwarderInC(balancer, looks_ahead=False)
                ways = {
                    C: theirs.forward_batch,
                    PLAIN_C: plain.forward_batch,
                    LBCORE: lambda *a, c=cell, t=t, lead=ours.lead: forward_batch(c, *a, t, lead),
                    COPY: nothing,
                }
                calls = {name: stream(forward, block, length) for name, forward in ways.items()}
                for _ in range(3 * len(block) // BATCH):
                    calls[LBCORE]()
                done = compare(calls, rounds=rounds, min_seconds=seconds, operations=BATCH, baseline=C)
                ends = ours.reasons()
                assert list(ends) == ["forwarded"], f"{mode}, IPv{version}: {ends}"
                rows.append(Row(mode, version, name, done))
    return rows


def tables(rows: list[Row]) -> list[Table]:
    """Nanoseconds a packet; and what a flow takes."""

    def line(row: Row) -> tuple[object, ...]:
        million = 1e3 / row.net(LBCORE)
        costs = *(f"{row.net(name):.1f}" for name in (PLAIN_C, C, LBCORE)), f"{million:.1f}"
        speeds = f"{row.speed(C):.2f}", f"{row.speed(PLAIN_C):.2f}"
        return (row.mode, f"IPv{row.version}", row.flows, *costs, *speeds)

    columns = ("mode", "packets", "flows", "C as it is, ns", "C looking ahead, ns", "lbcore, ns", "million a second",
               "speed in C's", "in that of C as it is")  # fmt: skip
    caption = f"CPU time of a packet in batches of {BATCH}, without copying it, {facts_line()}"
    way = 8 * 6
    sizes = (
        ("established, attempts", f"{flow_table.BYTES}", "five words of key, time, backend, one spare; a byte of tag"),
        ("returns (NAT)", f"{flow_table.BYTES + way}", "the same, and six words of the way back"),
    )
    return [
        Table(columns, tuple(map(line, rows)), caption),
        Table(("table of flows", "bytes an entry", "what"), sizes, "memory is fixed: entries are never allocated"),
    ]


def samples(rows: list[Row]) -> dict[str, list[float]]:
    """Series "memory, mode, IPv4, flows, way" in nanoseconds a packet."""
    return {
        f"memory, {row.mode}, IPv{row.version}, {row.flows} flows, {name}": [round(value, 2) for value in values]
        for row in rows
        for name, values in row.times.samples.items()
    }
