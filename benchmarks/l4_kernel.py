"""The balancer in the kernel, made of Python and made by clang: what a packet costs under BPF_PROG_TEST_RUN.

Rule of this file: the same packets and the same maps, filled alike.

Theory. The kernel runs a program many times on one packet, and a balancer changes its packet. So a small program goes
before: it cuts off what the last run has put in front, writes the packet anew, and goes on in the balancer by a tail
call. Its cost, with a program behind it that does nothing, is measured in every round and taken off.

Trap. Whoever has the kernel count runs (`kernel.statistics`) adds some 50 ns to every run on the machine: not now.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from statistics import median
from typing import Any, NamedTuple

from benchmarks.l4_memory import config
from benchmarks.l4_twins import InKernelInC
from lbcore.ebpf import kernel, maps
from lbcore.ebpf.compiler import xdp
from lbcore.ebpf.contexts import XDP_ABORTED, XDP_TX
from lbcore.ebpf.isa import SLOT
from lbcore.ebpf.maps import B64
from lbcore.l4.xdp import InKernel
from lbcore.measure import Comparison, Table, compare, facts_line
from lbcore.wire.compose import tcp_frame
from lbcore.wire.seam import grow_head, need, set64, size_of, view
from lbcore.wire.tcp import ACK

MODES = ("dsr", "ipip", "nat")
SIZE = 80
"""Bytes of a packet."""
REPEAT = 50_000
"""Runs in one test run of the kernel."""
C, LBCORE, EMPTY = "C", "lbcore", "empty"

original = maps.array("original", 1, value=(B64,) * (SIZE // 8))
then = maps.prog_array("then", 1)


@xdp
def afresh(context: Any) -> int:
    """The packet as it was, then on to the program that is measured."""
    extra = size_of(view(context)) - SIZE
    if 0 < extra < 256:
        grow_head(context, -extra)
    p = view(context)
    if need(p, SIZE):
        words = original.lookup(0)[1]
        set64(p, 0, words[0])
        set64(p, 8, words[1])
        set64(p, 16, words[2])
        set64(p, 24, words[3])
        set64(p, 32, words[4])
        set64(p, 40, words[5])
        set64(p, 48, words[6])
        set64(p, 56, words[7])
        set64(p, 64, words[8])
        set64(p, 72, words[9])
    then.tail_call(context, 0)
    return XDP_ABORTED


@xdp
def nothing(context: Any) -> int:
    return XDP_TX


class Size(NamedTuple):
    """Instructions as the verifier left them, bytes of machine code, instructions that the verifier looked at."""

    instructions: int
    machine_code: int
    verified: int


class Row(NamedTuple):
    """One mode, one version of IP."""

    mode: str
    version: int
    times: Comparison
    sizes: dict[str, Size]

    def net(self, name: str) -> float:
        """Nanoseconds of CPU a packet, without the empty program."""
        samples = self.times.samples
        return median(one - empty for one, empty in zip(samples[name], samples[EMPTY], strict=True))

    @property
    def ratio(self) -> float:
        """lbcore's time over clang's, both without the empty program's."""
        samples = self.times.samples
        rounds = zip(samples[LBCORE], samples[C], samples[EMPTY], strict=True)
        return median((ours - empty) / (theirs - empty) for ours, theirs, empty in rounds)


def frame(version: int) -> bytes:
    """A packet of a TCP connection, SIZE bytes."""
    source, vip = ("10.9.0.1", "203.0.113.80") if version == 4 else ("[2001:db8:c::1]", "[2001:db8:80::1]")
    made = tcp_frame(source=f"{source}:1024", destination=f"{vip}:80", flags=ACK)
    return tcp_frame(source=f"{source}:1024", destination=f"{vip}:80", flags=ACK, payload=bytes(SIZE - len(made)))


@contextmanager
def preceded(program: kernel.Program) -> Iterator[kernel.Program]:
    """`afresh`, which goes on in a program."""
    with kernel.load(afresh.object) as first:
        first.maps["then"][bytes(4)] = program.fd.to_bytes(4, "little")
        yield first


def size_of_program(program: kernel.Program) -> Size:
    """What the kernel says about a program."""
    return Size(len(program.translated) // SLOT, len(program.machine_code), program.verified_instructions)


def measure(rounds: int, seconds: float) -> list[Row]:
    """Every mode and version."""
    rows = []
    for mode in MODES:
        for version in (4, 6):
            with ExitStack() as stack:
                told, packet = config(mode, version, 1 << 12), frame(version)
                ours, theirs = (stack.enter_context(kind(told)) for kind in (InKernel, InKernelInC))
                empty = stack.enter_context(kernel.load(nothing.object))
                programs = {C: theirs.program, LBCORE: ours.program, EMPTY: empty}
                first = {name: stack.enter_context(preceded(program)) for name, program in programs.items()}
                for program in first.values():
                    program.maps["original"][bytes(4)] = packet
                    assert program.test_run(packet, 3).verdict == XDP_TX

                def runs(program: kernel.Program, packet: bytes = packet) -> Callable[[], Any]:
                    return lambda: program.test_run(packet, REPEAT)

                work = {name: runs(program) for name, program in first.items()}
                done = compare(
                    work, rounds=rounds, min_seconds=seconds, operations=REPEAT, baseline=C, clock=time.thread_time_ns
                )
                for one in (ours, theirs):
                    assert list(one.reasons()) == ["forwarded"], f"{mode}, IPv{version}: {one.reasons()}"
                sizes = {name: size_of_program(program) for name, program in programs.items()}
                rows.append(Row(mode, version, done, sizes))
    return rows


def tables(rows: list[Row]) -> list[Table]:
    """Nanoseconds a packet, and sizes."""

    def line(row: Row) -> tuple[object, ...]:
        costs = (f"{row.times.ns(EMPTY):.1f}", f"{row.net(C):.1f}", f"{row.net(LBCORE):.1f}", f"{row.ratio:.2f}")
        return (row.mode, f"IPv{row.version}", *costs)

    columns = ("mode", "packets", "empty, ns", "C, ns", "lbcore, ns", "lbcore's time in C's")
    sizes = (
        (row.mode, *(number for pair in zip(row.sizes[C], row.sizes[LBCORE], strict=True) for number in pair))
        for row in rows
        if row.version == 4
    )
    what = ("instructions", "machine code", "verified")
    heads = ("mode", *(f"{name}, {who}" for name in what for who in (C, LBCORE)))
    caption = f"CPU time of a packet, without the empty program's, {facts_line()}"
    return [
        Table(columns, tuple(map(line, rows)), caption),
        Table(heads, tuple(sizes), "the program of the mode's family; the verifier looks at a million at most"),
    ]


def samples(rows: list[Row]) -> dict[str, list[float]]:
    """Series "kernel, mode, IPv4, who" in nanoseconds, and the sizes as "kernel, mode, instructions, who"."""
    found = {
        f"kernel, {row.mode}, IPv{row.version}, {name}": [round(value, 2) for value in values]
        for row in rows
        for name, values in row.times.samples.items()
    }
    for row in rows:
        for who in (C, LBCORE):
            for what, number in row.sizes[who]._asdict().items():
                found[f"kernel, {row.mode}, {what}, {who}"] = [number]
    return found
