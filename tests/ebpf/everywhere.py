"""A program on every target: what it makes of packets, and what it leaves in its maps."""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from typing import Any, NamedTuple

import numpy as np
from numba import njit

from lbcore.ebpf import kernel
from lbcore.ebpf.compiler import Source
from lbcore.ebpf.kinds import PER_CPU
from lbcore.ebpf.machine import Machine
from lbcore.ebpf.maps import Map, ProgramArray
from lbcore.wire.portable import portable
from lbcore.wire.seam import Frame
from lbcore.wire.seam_numba import checked_context, new_cell, place

ROOM = 128
ARRAYS = ("array", "percpu_array")


class Sent(NamedTuple):
    """A packet, and where it came in."""

    packet: bytes
    interface: int = 1
    queue: int = 0
    mark: int = 0


Outcome = tuple[list[tuple[int, bytes]], dict[str, Any]]
"""Verdict and packet, each; and what the maps hold."""


def fill(maps: Mapping[str, Map], given: Mapping[str, Mapping[Any, Any]]) -> None:
    """Only what is given is in the maps."""
    for name, one in maps.items():
        for key in list(one.storage) if one.kind not in (*ARRAYS, "ringbuf") else ():
            del one.storage[key]
        if one.kind in ARRAYS:
            one.storage.table.values[:] = 0
        one.storage.consume() if one.kind == "ringbuf" else None
        for key, value in given.get(name, {}).items():
            assert one.update(key, value) == 0


def held(maps: Mapping[str, Map]) -> dict[str, Any]:
    return {name: one.storage.consume() if one.kind == "ringbuf" else dict(one.storage) for name, one in maps.items()}


def in_python(program: Source, sent: Sequence[Sent]) -> Outcome:
    results = []
    for packet, interface, queue, mark in sent:
        frame = Frame(packet, headroom=ROOM, tailroom=ROOM, interface=interface, queue=queue, mark=mark)
        results.append((int(program(frame)) & 0xFFFFFFFF, bytes(frame)))
    return results, held(program.maps)


def in_numba(program: Source, sent: Sequence[Sent]) -> Outcome:
    function = portable(program.function)

    @njit(error_model="numpy")
    def run(cell: Any, buffer: Any, size: int) -> Any:
        place(cell, buffer, ROOM, ROOM + size)
        return function(checked_context(cell))

    results = []
    for packet, *where in sent:
        cell = new_cell(*where)
        buffer = np.frombuffer(Frame(packet, headroom=ROOM, tailroom=ROOM).buffer, np.uint8)
        verdict = run(cell, buffer, len(packet))
        start, end = (int(n) for n in cell[:2] - cell[2])
        results.append((int(verdict) & 0xFFFFFFFF, buffer[start:end].tobytes()))
    return results, held(program.maps)


def in_machine(program: Source, sent: Sequence[Sent], **options: Any) -> Outcome:
    stages = [
        source for one in program.maps.values() if isinstance(one, ProgramArray) for source in one.sources.items()
    ]
    numbered = {number: source.object.program for number, source in stages}
    machine = Machine(program.object.program, storages(program), programs=numbered, **options)
    done = [machine.run(one.packet, interface=one.interface, queue=one.queue, mark=one.mark) for one in sent]
    return [(result.verdict, result.packet) for result in done], held(program.maps)


def storages(program: Source) -> dict[str, Any]:
    """The maps of a program and of those it hands packets to."""
    maps = dict(program.maps)
    for one in list(maps.values()):
        for source in one.sources.values() if isinstance(one, ProgramArray) else ():
            maps |= source.maps
    return {name: one.storage for name, one in maps.items()}


def in_kernel(program: Source, sent: Sequence[Sent], sockets: Mapping[str, Mapping[int, int]] | None = None) -> Outcome:
    """sockets: descriptors for the entries of xskmaps."""
    with ExitStack() as stack:
        loaded = stack.enter_context(kernel.load(program.object))
        for name, one in program.maps.items():
            theirs = loaded.maps[name]
            if isinstance(one, ProgramArray):
                for index, source in one.sources.items():
                    shared = {key: map_ for key, map_ in loaded.maps.items() if key in source.maps}
                    stage = stack.enter_context(kernel.load(source.object, maps=shared))
                    theirs[struct.pack("<I", index)] = struct.pack("<i", stage.fd)
            elif one.kind not in (*ARRAYS, "ringbuf", "xskmap"):
                theirs.update(one.storage)
            for index, descriptor in (sockets or {}).get(name, {}).items():
                theirs[struct.pack("<I", index)] = struct.pack("<i", descriptor)
        runs = [loaded.test_run(one.packet, context=_context(program, one)) for one in sent]
        readable = {name: one for name, one in loaded.maps.items() if one.kind not in ("prog_array", "xskmap")}
        return [(run.verdict, run.packet) for run in runs], {name: _taken(one) for name, one in readable.items()}


def _context(program: Source, sent: Sent) -> bytes:
    """What a test run takes for the context; without one, the kernel's loopback interface is meant."""
    if program.kind != "tc":
        return b""
    context = bytearray(192)
    struct.pack_into("<I", context, 8, sent.mark)
    struct.pack_into("<I", context, 40, sent.interface)
    return bytes(context)


def _taken(theirs: Any) -> Any:
    if theirs.kind == "ringbuf":
        return theirs.consume()
    if theirs.kind in PER_CPU:  # the test runs on one CPU, so the others' copies are zero
        parts = {key: np.frombuffer(value, np.uint8).reshape(-1, theirs.value_size) for key, value in theirs.items()}
        return {key: np.bitwise_or.reduce(rows).tobytes() for key, rows in parts.items()}
    return dict(theirs)
