"""The ladder's programs and the same in C: built, filled and run, for the benchmark and for the test of equality.

Rule of this file: one entry in LADDER for each program: which packets it is measured on, and what its maps hold then.

Theory. A twin is worth comparing with if it is what somebody would write in C, and if it does the same: the same maps,
the same checks in the same order, found equal packet by packet. clang has the same processor to compile for (v3), and
what it makes is loaded by the same loader.
"""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from random import Random
from typing import Any, NamedTuple

import numpy as np
from numba import njit

from lbcore.ebpf import elf, kernel
from lbcore.ebpf.compiler import Source
from lbcore.ebpf.machine import Machine
from lbcore.ebpf.object import Object
from lbcore.ebpf.programs.block_list import BLOCK, block_list, rules4, rules6
from lbcore.ebpf.programs.count_protocols import count_protocols
from lbcore.ebpf.programs.drop_all import drop_all
from lbcore.ebpf.programs.echo import echo
from lbcore.ebpf.programs.parse import parse
from lbcore.ebpf.programs.pass_all import pass_all
from lbcore.ebpf.programs.rate_limit import rate_limit
from lbcore.ebpf.programs.redirect import other_port, redirect
from lbcore.wire.compose import ip_frame, tcp_frame, udp_frame
from lbcore.wire.portable import portable
from lbcore.wire.seam import Frame
from lbcore.wire.seam_numba import memory_context, new_cell, place

FOLDER = Path(__file__).parent / "c" / "xdp_twins"
COMPILER = ("clang", "-O2", "-g", "-Wall", "-Werror", "-target", "bpf", "-mcpu=v3")
RULES = 1000
BATCH = 256
"""Packets in one call of what numba compiled."""
LOOPBACK = 1

IPV4 = udp_frame(payload=bytes(18))
TAGGED = tcp_frame(vlan=(3, 4), ip_options=bytes(12))
IPV6 = udp_frame(source="[2001:db8::1]:40000", destination="[2001:db8::2]:53", payload=bytes(10))
OPTIONS = bytes((60, 0, 1, 4, 0, 0, 0, 0))  # a header of eight bytes, after which comes one with number 60 again
CHAIN = ip_frame(
    source="2001:db8::1", destination="2001:db8::2", protocol=60, payload=OPTIONS * 3 + bytes((17,)) + bytes(35)
)
QUESTION = udp_frame(destination="10.0.0.9:7", payload=bytes(18))
COMMON = {"IPv4 UDP": IPV4, "IPv4 TCP, 2 tags, options": TAGGED, "IPv6 UDP": IPV6, "IPv6 UDP, 4 extensions": CHAIN}


class Rung(NamedTuple):
    """A program, the packets it is measured on, and what fills its maps first.

    once: packets that are another thing to the program once it has seen them: they are run one by one.
    """

    source: Source
    packets: dict[str, bytes]
    fill: Callable[[], None] = lambda: None
    once: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        return self.source.__name__

    def twin(self) -> Object:
        """The same in C."""
        return twin(self.name)

    def prepare(self) -> None:
        """The program's own maps as the measurement wants them."""
        empty(self.source)
        self.fill()


def some_rules() -> None:
    """RULES prefixes for each version, none of which the measured packets meet, and two that they do."""
    random = Random(4)
    for _ in range(RULES):
        rules4.update((random.randrange(8, 33), random.getrandbits(32) | 0x80000000), BLOCK)
        high, low = 0x2002 << 48 | random.getrandbits(48), random.getrandbits(64)
        rules6.update((random.randrange(17, 129), high, low), BLOCK)
    rules4.update((8, 0x0A000000), BLOCK)
    rules6.update((32, 0x20010DB8 << 32, 0), BLOCK)


def a_port() -> None:
    other_port.update(0, LOOPBACK)


LADDER = (
    Rung(pass_all, {"IPv4 UDP": IPV4}),
    Rung(drop_all, {"IPv4 UDP": IPV4}),
    Rung(count_protocols, {name: COMMON[name] for name in list(COMMON)[:3]}),
    Rung(parse, COMMON),
    Rung(echo, {"IPv4 UDP": IPV4, "a question": QUESTION}, once=("a question",)),
    Rung(block_list, COMMON, some_rules),
    Rung(rate_limit, {name: COMMON[name] for name in list(COMMON)[:3]}),
    Rung(redirect, {"IPv4 UDP": IPV4}, a_port),
)


def empty(source: Source) -> None:
    """The program's maps outside of the kernel, as they were at first."""
    for one in source.maps.values():
        if one.kind == "percpu_array":
            one.storage.table.values[:] = 0
        else:
            one.storage.clear()


@cache
def twin(name: str) -> Object:
    """The C program FOLDER/`name`.c, compiled. Raises CalledProcessError, whose stderr says what is wrong."""
    command = [*COMPILER, "-c", f"{name}.c", "-o", "-"]
    return elf.read(subprocess.run(command, cwd=FOLDER, check=True, capture_output=True).stdout)


@contextmanager
def loaded(source: Source, program: Object) -> Iterator[kernel.Program]:
    """The source's program, or its twin, in the kernel, its maps filled as the source's are."""
    with kernel.load(program) as made:
        for name, one in source.maps.items():
            if one.kind != "percpu_array":
                made.maps[name].update(one.storage)
        yield made


def in_machine(source: Source) -> Machine:
    """The book's machine with the program and its maps."""
    return Machine(source.object.program, {name: one.storage for name, one in source.maps.items()})


def in_python(source: Source, packet: bytes) -> Callable[[], Any]:
    return lambda: source(Frame(packet))


def in_numba(source: Source, packet: bytes) -> Callable[[], Any]:
    """A call runs the program, compiled for this processor, on BATCH fresh copies of the packet."""
    run = _batch(source)
    fresh = np.tile(np.frombuffer(packet, np.uint8), (BATCH, 1))
    cell, frames = new_cell(), fresh.copy()

    def batch() -> Any:
        frames[:] = fresh
        return run(cell, frames)

    return batch


@cache
def _batch(source: Source) -> Any:
    program = portable(source.function)

    @njit(nogil=True, error_model="numpy")
    def run(cell: Any, frames: Any) -> Any:
        total = 0
        for i in range(frames.shape[0]):
            place(cell, frames[i], 0, frames.shape[1])
            total += program(memory_context(cell))
        return total

    return run
