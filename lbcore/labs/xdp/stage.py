"""Where a student's program is run: as Python, in the book's machine, in the kernel; always on the same packets.

Rule of this file: it runs and reports; what is right, it does not know. A report is plain: for each packet
[verdict, bytes afterwards in hex, port it was redirected to], and the map's entries that have changed.

Theory. As Python a program can do whatever Python can, so that runs where `sandbox` runs it. Compiled it can do no
harm: the machine checks every access and counts instructions, the kernel verifies before it runs. What becomes of the
bytes of a dropped packet is nobody's business, so they are not reported.

Trap. A map has a length, so an empty one is false: here it is always asked whether a map `is None`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from functools import cache
from types import CodeType
from typing import Any

import numpy as np

from lbcore.ebpf import kernel, maps, storage
from lbcore.ebpf.compiler import Source
from lbcore.ebpf.contexts import XDP_ABORTED, XDP_DROP, XDP_REDIRECT
from lbcore.ebpf.errors import CompileError
from lbcore.ebpf.machine import Machine
from lbcore.ebpf.maps import Map
from lbcore.ebpf.tables import ARRAY
from lbcore.labs.xdp.packets import Traffic
from lbcore.wire.seam import Frame

VERDICTS = ("XDP_ABORTED", "XDP_DROP", "XDP_PASS", "XDP_TX", "XDP_REDIRECT")
LEAST = 14
"""Bytes of a frame that machine and kernel take."""

Report = list[Any]
"""[[verdict, hex, port or None] for each packet], entries of the map that changed, as text."""
Entries = Mapping[int, int]


class InPython:
    """A program as a plain function of traffic, for `sandbox.run`, which is to call it in a process of its own."""

    def __init__(self, program: Source, table: Map | None = None, entries: Entries | None = None) -> None:
        self.program, self.table = program, table
        maps = [*([] if table is None else [table]), *(one for one in maps_of(program) if one is not table)]
        self.states = [(one.storage, image(one, (entries or {}) if one is table else {})) for one in maps]
        self.ports: list[int] = []
        self.listening = False
        warm()

    @property
    def __code__(self) -> CodeType:
        """The student's own: what `sandbox` calls the line of an error is one of these."""
        return self.program.function.__code__

    def __call__(self, traffic: Traffic) -> Report:
        if self.table is not None and not self.listening:
            self.listening = True
            listen(self.table, self.ports)
        self.reset()
        results = []
        for packet in traffic.packets:
            if traffic.apart:
                self.reset()
            self.ports.clear()
            frame = Frame(packet.frame)
            results.append(result(self.program(frame), bytes(frame), self.ports[-1] if self.ports else None))
        return [results, "" if self.table is None else changed(self.table, *self.states[0])]

    def reset(self) -> None:
        """Every map as it was before the first packet."""
        for content, before in self.states:
            restore(content, before)


def maps_of(program: Source) -> list[Map]:
    """The maps that a program uses; none if it is not yet one that compiles."""
    try:
        return list(program.maps.values())
    except CompileError:
        return []


@cache
def warm() -> None:
    """Have numba compile what maps are made of here: in the child, its lines would count as the student's."""
    some = maps.hash_map("some", 1, key=maps.U32)
    some.update(1, 1)
    some.lookup(1)
    some.delete(1)


def listen(table: Map, ports: list[int]) -> None:
    """Have a map write down which of its entries packets are redirected to."""
    redirect = table.redirect

    def heard(key: int, otherwise: int) -> int:
        verdict = redirect(key, otherwise)
        if verdict == XDP_REDIRECT:
            ports.append(key)
        return verdict

    table.redirect = heard  # type: ignore[method-assign]


def in_machine(program: Source, table: Map | None, entries: Entries, traffic: Sequence[Traffic]) -> list[Report]:
    """The reports of the book's machine. Raises CompileError, VmError."""
    before = {name: image(one, entries if one is table else {}) for name, one in program.maps.items()}
    fresh = {name: image(one, {}) for name, one in program.maps.items()}
    machine = Machine(program.object.program, fresh)

    def reset() -> None:
        for name, one in fresh.items():
            restore(one, before[name])

    def run(frame: bytes) -> list[Any]:
        done = machine.run(frame)
        return result(done.verdict, done.packet, done.redirect[1] if done.redirect else None)

    def tally() -> str:
        return (
            changed(table, fresh[table.name], before[table.name]) if table is not None and table.name in fresh else ""
        )

    return [attend(one, run, reset, tally) for one in traffic]


def in_kernel(program: Source, table: Map | None, entries: Entries, traffic: Sequence[Traffic]) -> list[Report]:
    """The reports of the kernel, by BPF_PROG_TEST_RUN; where a packet was redirected to, it does not tell.

    Raises CompileError; kernel.Rejected; OSError without the right to load programs.
    """
    with ExitStack() as loaded:
        programs: list[kernel.Program] = []
        before = None if table is None else image(table, entries)

        def reset() -> None:
            if programs and not programs[0].maps:
                return
            loaded.close()
            programs[:] = [loaded.enter_context(kernel.load(program.object))]
            if table is not None and before is not None and table.name in programs[0].maps:
                programs[0].maps[table.name].update(before)

        def run(frame: bytes) -> list[Any]:
            done = programs[0].test_run(frame)
            return result(done.verdict, done.packet, None)

        def tally() -> str:
            if table is None or before is None or table.name not in programs[0].maps:
                return ""
            return changed(table, programs[0].maps[table.name], before)

        return [attend(one, run, reset, tally) for one in traffic]


def attend(
    traffic: Traffic, run: Callable[[bytes], list[Any]], reset: Callable[[], None], tally: Callable[[], str]
) -> Report:
    """Traffic through a program whose state can be reset."""
    reset()
    results = []
    for packet in traffic.packets:
        if traffic.apart:
            reset()
        results.append(run(packet.frame))
    return [results, tally()]


def result(verdict: Any, frame: bytes, port: Any) -> list[Any]:
    """What became of one packet."""
    number = int(verdict) if isinstance(verdict, int) else -1
    known = VERDICTS[number] if 0 <= number < len(VERDICTS) else f"{str(verdict)[:40]}, which is no verdict"
    gone = number in (XDP_ABORTED, XDP_DROP)
    return [known, "" if gone else frame.hex(), int(port) if isinstance(port, int) else None]


# ---- maps ----
def image(map_: Map, entries: Entries) -> storage.Map:
    """A map's content of its own, with these entries."""
    made = storage.Map(map_.kind, map_.key.size, map_.value.size, map_.max_entries, name=map_.name)
    for key, value in entries.items():
        made.update_entry(map_.key.pack(key), map_.value.pack(value))
    return made


def restore(content: storage.Map, before: storage.Map) -> None:
    """As it was."""
    if content.family == ARRAY:
        content.table.values[:] = before.table.values
        return
    for key in list(content):
        del content[key]
    content.update(before)


def changed(map_: Map, content: Mapping[bytes, bytes], before: storage.Map) -> str:
    """The entries that are not what they were: "6: 1, 17: 2"."""
    if isinstance(content, storage.Map) and np.array_equal(content.table.values, before.table.values):
        return ""
    differ = {map_.key.unpack(key): value for key, value in content.items() if before.get(key) != value}
    return ", ".join(f"{key}: {map_.value.unpack(bytes(differ[key]))}" for key in sorted(differ))
