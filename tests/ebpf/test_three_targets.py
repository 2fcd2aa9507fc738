"""One source, every target: plain Python, numba, the machine and the kernel agree, packet by packet and map by map."""

from __future__ import annotations

import os
from functools import cache
from random import Random

import numpy as np
import pytest
from numba import njit

from lbcore.ebpf import compiler, kernel
from lbcore.ebpf.machine import Machine
from lbcore.wire.portable import portable
from lbcore.wire.seam import Frame
from lbcore.wire.seam_numba import checked_context, memory_context, new_cell, place
from tests import needs
from tests.ebpf import portable_programs as programs
from tests.wire.corpus import FRAMES, cut

PROGRAMS = [programs.parse, programs.nat, programs.encapsulate, programs.count]
ROOM = 128
each_program = pytest.mark.parametrize("function", PROGRAMS, ids=lambda function: function.__name__)


@cache
def packets():
    """Frames of all kinds; whole, cut, and with bytes changed, mostly in the headers."""
    random, made = Random(1), list(FRAMES)
    while len(made) < 3000:
        packet = bytearray(random.choice(FRAMES))
        if random.random() < 0.3:
            packet = bytearray(cut(bytes(packet), random.randrange(14, len(packet) + 1)))
        elif random.random() < 0.2:
            del packet[random.randrange(14, len(packet) + 1) :]
        for _ in range(random.choice((0, 0, 1, 1, 2, 5))):
            packet[random.randrange(min(len(packet), 74))] = random.choice(
                (0, 1, 6, 17, 0x45, 0x81, random.randrange(256))
            )
        made.append(bytes(packet))
    return made


@cache
def compiled(function):
    return compiler.compile(function), compiler.lower(function)[1]


def fill(maps):
    """What the programs expect to find; everything else empty."""
    for one in maps.values():
        for key in list(one.storage) if one.kind not in ("array", "percpu_array", "ringbuf") else ():
            del one.storage[key]
        if one.kind in ("array", "percpu_array"):
            one.storage.table.values[:] = 0
        if one.kind == "ringbuf":
            one.storage.consume()
    destinations = {int.from_bytes(frame[30:34], "big") for frame in FRAMES if frame[12:14] == b"\x08\0"}
    for number, address in enumerate(sorted(destinations)):
        if "services" in maps:
            assert maps["services"].update(address, (0xC0A80000 + 257 * number, 8080 + number)) == 0
        if "prefixes" in maps:
            assert maps["prefixes"].update((8 + 8 * (number % 3), address), 1 + number) == 0


def contents(maps):
    kept = {name: dict(one.storage) for name, one in maps.items() if one.kind != "ringbuf"}
    return kept, {name: one.storage.consume() for name, one in maps.items() if one.kind == "ringbuf"}


def in_python(function):
    results = []
    for packet in packets():
        frame = Frame(packet, headroom=ROOM, tailroom=ROOM)
        verdict = function(frame)
        results.append((int(verdict) & 0xFFFFFFFF, bytes(frame)))
    return results


def in_numba(function, enter):
    function = portable(function)

    @njit(error_model="numpy")
    def run(cell, buffer, size):
        place(cell, buffer, ROOM, ROOM + size)
        return function(enter(cell))

    cell, results = new_cell(), []
    for packet in packets():
        buffer = np.frombuffer(Frame(packet, headroom=ROOM, tailroom=ROOM).buffer, np.uint8)
        verdict = run(cell, buffer, len(packet))
        start, end = (int(n) for n in cell[:2] - cell[2])
        results.append((int(verdict) & 0xFFFFFFFF, buffer[start:end].tobytes()))
    return results


@cache
def expected(function):
    """What plain Python makes of the packets, and leaves in the maps."""
    maps = compiled(function)[1]
    fill(maps)
    return in_python(function), contents(maps)


@each_program
@pytest.mark.parametrize("enter", [memory_context, checked_context], ids=["unchecked", "checked"])
def test_numba_does_what_python_does(function, enter):
    maps = compiled(function)[1]
    results = expected(function)
    fill(maps)
    assert (in_numba(function, enter), contents(maps)) == results


@each_program
def test_the_machine_does_what_python_does(function):
    obj, maps = compiled(function)
    results = expected(function)
    fill(maps)
    machine = Machine(obj.program, {name: one.storage for name, one in maps.items()})
    done = [machine.run(packet) for packet in packets()]
    assert ([(result.verdict, result.packet) for result in done], contents(maps)) == results


@pytest.fixture
def one_cpu():
    """The kernel keeps free map entries for each CPU: which insert finds a map full depends on where it runs."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(before)})
    yield
    os.sched_setaffinity(0, before)


@needs.tier(2)
@each_program
@pytest.mark.usefixtures("one_cpu")
def test_the_kernel_does_what_python_does(function):
    obj, maps = compiled(function)
    results, (kept, records) = expected(function)
    fill(maps)
    with kernel.load(obj) as program:
        give(program, maps)
        runs = [program.test_run(packet) for packet in packets()]
        assert [(run.verdict, run.packet) for run in runs] == results
        for name, content in kept.items():
            assert taken(program.maps[name]) == content, name
        for name, lines in records.items():
            assert program.maps[name].consume() == lines, name


SKB_LEAST = 54
"""The kernel makes no socket buffer, for a test run, of an IP packet shorter than its header."""


@needs.tier(2)
def test_traffic_control_sees_the_same_packets():
    obj, maps = compiler.compile(programs.nat, "tc"), compiler.lower(programs.nat, "tc")[1]
    results = [result for result, packet in zip(expected(programs.nat)[0], packets(), strict=True) if enough(packet)]
    sent = list(filter(enough, packets()))
    fill(maps)
    machine = Machine(obj.program, {name: one.storage for name, one in maps.items()})
    assert [(run.verdict, run.packet) for run in map(machine.run, sent)] == results
    with kernel.load(obj) as program:
        give(program, maps)
        assert [(run.verdict, run.packet) for run in map(program.test_run, sent)] == results


@needs.tier(2)
def test_a_socket_filter_reads_the_same_packets():
    """In a test run the kernel shows a socket filter the packet from its network layer on."""
    obj = compiler.compile(programs.network_layer, "socket")
    sent = list(filter(enough, packets()))
    results = [programs.network_layer(packet[14:]) & 0xFFFFFFFF for packet in sent]
    assert len(set(results)) > 200
    machine = Machine(obj.program)
    assert [machine.run(packet[14:]).verdict for packet in sent] == results
    with kernel.load(obj) as program:
        assert [program.test_run(packet).verdict for packet in sent] == results


def enough(packet):
    return len(packet) >= SKB_LEAST


def give(program, maps):
    """Copy what is in the maps into the kernel's."""
    for name, one in maps.items():
        if one.kind in ("hash", "lpm_trie"):
            for key, value in one.storage.items():
                program.maps[name][key] = value


def taken(kernel_map):
    """The content of a map of the kernel's; values of per-CPU maps added up."""
    if kernel_map.kind != "percpu_array":
        return dict(kernel_map)
    size = kernel_map.value_size
    parts = {key: np.frombuffer(value, f"<u{size}") for key, value in kernel_map.items()}
    return {key: int(numbers.sum()).to_bytes(size, "little") for key, numbers in parts.items()}


def test_the_packets_reach_every_branch():
    """Verdicts of all kinds occur, so that agreement means something."""
    for function, least in zip(PROGRAMS, (300, 4, 2, 50), strict=True):
        results, _ = expected(function)
        assert len({verdict for verdict, _ in results}) >= least, function.__name__
