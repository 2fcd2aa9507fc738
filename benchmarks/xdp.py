"""XDP programs made of Python against the same in C; and what a dropped packet costs, by where it is dropped.

    python -m benchmarks.xdp [--rounds 15] [--part ladder | drop] [--json chapters/recorded/xdp.json]

The ladder: every program runs in the kernel (BPF_PROG_TEST_RUN), made by lbcore and made by clang -O2, then compiled by
numba for user space, in the book's machine, and as plain Python. Rounds and ratios are those of `lbcore.measure`. The
kernel's loop around the program costs more than most programs, and a ratio of two sums that are mostly loop would look
better than it is. So the empty program runs in every round, and the ratio to look at, the last one, is of what remains
when its time is taken off. The machine's time is mostly for laying out the packet.

Trap. Whoever has the kernel count runs (`kernel.statistics`) adds some 50 ns to every run on the machine: not now.

The drop: see `xdp_drop`. Exit status: 0, 2 without a C compiler or without the rights that all this takes.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

from benchmarks import xdp_drop
from benchmarks.xdp_twins import BATCH, LADDER, Rung, in_machine, in_numba, in_python, loaded
from lbcore.ebpf import kernel
from lbcore.ebpf.contexts import XDP_TX
from lbcore.ebpf.isa import SLOT
from lbcore.ebpf.programs.pass_all import pass_all
from lbcore.measure import Comparison, Table, compare, facts_line, record
from lbcore.testbed import capabilities

KERNEL_C, KERNEL, EMPTY = "clang", "lbcore", "empty"
SLOWER = ("numba", "machine", "Python")
PARTS = ("ladder", "drop")
SMALL = 1.0
"""Nanoseconds above the empty program below which a ratio says nothing."""

Samples = dict[str, list[float]]


class Size(NamedTuple):
    """Instructions as the verifier left them, and bytes of machine code."""

    instructions: int
    machine_code: int


class Row(NamedTuple):
    """One program on one packet."""

    program: str
    packet: str
    times: Comparison

    @property
    def net(self) -> float | None:
        """lbcore over clang, without the time of the empty program; None where nothing remains."""
        samples = self.times.samples
        rounds = zip(samples[KERNEL], samples[KERNEL_C], samples[EMPTY], strict=True)
        pairs = [(ours - nothing, theirs - nothing) for ours, theirs, nothing in rounds]
        if min(median(ours for ours, _ in pairs), median(theirs for _, theirs in pairs)) < SMALL:
            return None
        return median(ours / theirs for ours, theirs in pairs if theirs)


def measure_ladder(rounds: int, repeat: int, seconds: float) -> tuple[list[Row], dict[str, tuple[Size, Size]]]:
    """Every program on each of its packets, and the sizes (clang's, lbcore's) of each."""
    rows, sizes = [], {}
    with kernel.load(pass_all.object) as nothing:
        for rung in LADDER:
            rung.prepare()
            source = rung.source
            with loaded(source, rung.twin()) as theirs, loaded(source, source.object) as ours:
                sizes[rung.name] = size_of(theirs), size_of(ours)
                programs = {KERNEL_C: theirs, KERNEL: ours, EMPTY: nothing}
                for name, packet in rung.packets.items():
                    how = one_by_one if name in rung.once else repeated
                    times = how(programs, packet, rounds, repeat, seconds)
                    slow = slower(rung, packet, rounds, seconds)
                    rows.append(Row(rung.name, name, Comparison({**times, **slow}, KERNEL_C)))
            rung.prepare()
    return rows, sizes


def size_of(program: kernel.Program) -> Size:
    return Size(len(program.translated) // SLOT, len(program.machine_code))


def repeated(
    programs: dict[str, kernel.Program], packet: bytes, rounds: int, repeat: int, seconds: float
) -> dict[str, tuple[float, ...]]:
    """CPU time of a run, the kernel's loop included."""

    def runs(program: kernel.Program) -> Callable[[], Any]:
        return lambda: program.test_run(packet, repeat)

    work = {name: runs(program) for name, program in programs.items()}
    done = compare(work, rounds=rounds, min_seconds=seconds, operations=repeat, clock=time.thread_time_ns)
    return dict(done.samples)


def one_by_one(
    programs: dict[str, kernel.Program], packet: bytes, rounds: int, repeat: int, seconds: float
) -> dict[str, tuple[float, ...]]:
    """Time of a run by the kernel's own statistics, for a packet that is changed by it: reading the clock included."""
    samples: dict[str, list[float]] = {name: [] for name in programs}
    calls = max(repeat // 100, 1)
    with kernel.statistics():
        for number in range(rounds):
            for name in programs if number % 2 == 0 else reversed(programs):
                program, before = programs[name], programs[name].statistics
                verdicts = {program.test_run(packet).verdict for _ in range(calls)}
                after = program.statistics
                assert name == EMPTY or verdicts == {XDP_TX}, f"{program.name} returned {verdicts}, wanted XDP_TX"
                samples[name].append((after.nanoseconds - before.nanoseconds) / (after.runs - before.runs))
    return {name: tuple(values) for name, values in samples.items()}


def slower(rung: Rung, packet: bytes, rounds: int, seconds: float) -> dict[str, tuple[float, ...]]:
    """The other places where the same function runs."""
    machine = in_machine(rung.source)
    work = {
        "numba": in_numba(rung.source, packet),
        "machine": lambda: machine.run(packet),
        "Python": in_python(rung.source, packet),
    }
    operations = {"numba": BATCH, "machine": 1, "Python": 1}
    done = compare(work, rounds=rounds, min_seconds=seconds, operations=operations, clock=time.thread_time_ns)
    return dict(done.samples)


def ladder_tables(rows: list[Row], sizes: dict[str, tuple[Size, Size]]) -> list[Table]:
    def line(row: Row) -> tuple[object, ...]:
        times, net = row.times, row.net
        inside = [f"{times.ns(name):.1f}" for name in (EMPTY, KERNEL_C, KERNEL)]
        ratios = f"{times.ratio(KERNEL):.2f}", "-" if net is None else f"{net:.2f}"
        return (row.program, row.packet, *inside, *ratios, *(f"{times.ns(name):,.0f}" for name in SLOWER))

    columns = ("program", "packet", "empty", "C", "lbcore", "ratio", "without empty", *SLOWER)
    caption = f"nanoseconds a packet, {facts_line()}"
    small = (
        (name, theirs.instructions, ours.instructions, theirs.machine_code, ours.machine_code)
        for name, (theirs, ours) in sizes.items()
    )
    heads = ("program", "instructions, C", "instructions, lbcore", "machine code, C", "machine code, lbcore")
    return [
        Table(columns, tuple(map(line, rows)), caption),
        Table(heads, tuple(small), "instructions after the verifier, bytes of machine code"),
    ]


def ladder_samples(rows: list[Row], sizes: dict[str, tuple[Size, Size]]) -> Samples:
    """Series "program, packet, way" in nanoseconds, and "program, instructions, clang" and so on."""
    found: Samples = {}
    for row in rows:
        for name, values in row.times.samples.items():
            found[f"{row.program}, {row.packet}, {name}"] = [round(value, 3) for value in values]
    for program, both in sizes.items():
        for maker, size in zip((KERNEL_C, KERNEL), both, strict=True):
            found[f"{program}, instructions, {maker}"] = [size.instructions]
            found[f"{program}, machine code, {maker}"] = [size.machine_code]
    return found


def lacking() -> str:
    """What this machine lacks for the benchmark, in words; empty if nothing."""
    if shutil.which("clang") is None:
        return "compares with C, and clang is not on PATH (Debian: apt install clang)"
    machine = capabilities.machine()
    return "" if machine.tier >= 2 else f"wants tier 2 ({capabilities.TIERS[2]}); this machine has tier {machine.tier}"


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--part", choices=PARTS, help="only one of the two")
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--repeat", type=int, default=200_000, help="runs in one test run of the kernel")
    parser.add_argument("--seconds", type=float, default=0.02, help="CPU time of one sample")
    parser.add_argument("--packets", type=int, default=50_000, help="packets of a blast")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the samples there too, as a recorded result")
    options = parser.parse_args(arguments)
    lack = lacking()
    if lack:
        print(f"benchmarks.xdp {lack}")
        return 2

    samples: Samples = {}
    tables: list[Table] = []
    if options.part in (None, "ladder"):
        rows, sizes = measure_ladder(options.rounds, options.repeat, options.seconds)
        samples |= ladder_samples(rows, sizes)
        tables += ladder_tables(rows, sizes)
    if options.part in (None, "drop"):
        drops = xdp_drop.measure(options.rounds, options.packets)
        samples |= xdp_drop.samples(drops)
        tables += xdp_drop.tables(drops)
    print(*tables, sep="\n\n")
    if options.json:
        asked = {name: value for name, value in vars(options).items() if value not in (None, parser.get_default(name))}
        told = (f" --{name} {value}" for name, value in asked.items() if name != "json")
        command = "python -m benchmarks.xdp" + "".join(told)
        print("\nwritten:", record(options.json.stem, samples, command, folder=options.json.parent).name)
    return 0


if __name__ == "__main__":
    sys.exit(main())
