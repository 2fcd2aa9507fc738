"""Runs a program of the book, or anybody's, on packets: XDP, tc or socket filter.

    Machine(program, maps).run(frame)  ->  Result(verdict=2, packet=b"...", ...)

Rule of this file: it turns what a loader knows (code, maps by name, relocations) into what `engine` takes, and a packet
into a result. Maps stay from packet to packet, as in the kernel.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from random import Random
from typing import Any, Protocol

from lbcore.ebpf import isa
from lbcore.ebpf.engine import LIMIT, Helper, Vm
from lbcore.ebpf.packet import SK_BUFF, XDP_MD, Layout, Packet
from lbcore.ebpf.program import check
from lbcore.ebpf.storage import Map
from lbcore.ebpf.trace import Step, steps

LAYOUTS: dict[str, Layout] = {
    "xdp": XDP_MD, "tc": SK_BUFF, "classifier": SK_BUFF, "sched_cls": SK_BUFF,
    "socket": SK_BUFF, "socket_filter": SK_BUFF,
}  # fmt: skip


class Relocation(Protocol):
    """A wide load that is to load a map: the slot of the instruction, the map's name, an offset into its value."""

    @property
    def instruction(self) -> int: ...
    @property
    def symbol(self) -> str: ...


class Linked(Protocol):
    """What the machine needs of a program; a loader's objects have it."""

    @property
    def kind(self) -> str: ...
    @property
    def code(self) -> bytes: ...
    @property
    def relocations(self) -> Sequence[Any]: ...


@dataclass(frozen=True)
class Result:
    """What a program made of a packet.

    verdict: r0, 32 bits; redirect: (map or None, key or interface) of the last redirect helper, if the verdict is that;
    printed: lines of trace_printk; executed: instructions; mark: the packet's in the end, where its context has one.
    """

    verdict: int
    packet: bytes
    redirect: tuple[Map | None, int] | None
    printed: tuple[str, ...]
    executed: int
    mark: int = 0


class Machine:
    """One program, its maps, a clock and a source of random numbers.

    program: bytes whose wide loads name maps by index, or what a loader made (`Linked`), whose relocations name them.
    maps: by index, or by name. kind: "xdp", "tc" or "socket"; a `Linked` program knows its own.
    clock: nanoseconds; `seed` of get_prandom_u32. programs: whom the entries of a prog_array mean, by number.
    """

    def __init__(
        self,
        program: bytes | Linked,
        maps: Mapping[str, Map] | Sequence[Map] = (),
        *,
        kind: str = "xdp",
        clock: Callable[[], int] = time.monotonic_ns,
        seed: int = 0,
        helpers: Mapping[int, Helper] | None = None,
        programs: Mapping[int, bytes | Linked] | None = None,
    ) -> None:
        names = list(maps) if isinstance(maps, Mapping) else [map_.name for map_ in maps]
        self.maps = list(maps.values()) if isinstance(maps, Mapping) else list(maps)
        kind = program.kind if not isinstance(program, bytes) else kind
        if kind not in LAYOUTS:
            raise ValueError(f"kind {kind!r}: the machine runs {', '.join(LAYOUTS)}")
        self.layout = LAYOUTS[kind]
        code = check(_link(program, names))
        self.vm = Vm(code, maps=self.maps, helpers=helpers, clock=clock, random=Random(seed))
        self.vm.programs = {number: check(_link(one, names)) for number, one in (programs or {}).items()}

    def run(self, packet: bytes, *, interface: int = 1, queue: int = 0, mark: int = 0, limit: int = LIMIT) -> Result:
        """Run on one packet (at least 14 bytes). Raises VmError."""
        placed = self._place(packet, interface, queue, mark)
        verdict = self.vm.run(limit) & 0xFFFFFFFF
        redirect = placed.redirect if verdict == placed.redirect_verdict else None
        return Result(verdict, bytes(placed), redirect, tuple(self.vm.printed), self.vm.executed, placed.mark)

    def trace(
        self, packet: bytes, *, interface: int = 1, queue: int = 0, mark: int = 0, limit: int = LIMIT
    ) -> Iterator[Step]:
        """The same, step by step; `self.vm.packet` is the packet at any moment."""
        self._place(packet, interface, queue, mark)
        return steps(self.vm, limit)

    def _place(self, data: bytes, interface: int, queue: int, mark: int) -> Packet:
        packet = Packet(self.vm.memory, data, self.layout, interface=interface, queue=queue, mark=mark)
        self.vm.packet = packet
        self.vm.arguments = (packet.context_address, 0)
        self.vm.printed.clear()
        return packet


def _link(program: bytes | Linked, names: list[str]) -> bytes:
    """The program's code, with the wide loads that the relocations name turned into loads of maps by index."""
    if isinstance(program, bytes):
        return program
    code = bytearray(program.code)
    for relocation in program.relocations:
        at = relocation.instruction * isa.SLOT
        kind = getattr(relocation, "kind", "map")
        if kind == "setting":
            raise ValueError(f"{relocation.symbol!r}: a setting of the kernel's; `settings.filled` gives it a value")
        if kind == "kernel":
            if not relocation.optional:
                raise ValueError(f"{relocation.symbol!r}: the program wants it of the kernel; there is none here")
            kept = isa.IMM64 if code[at] == isa.LDDW else isa.KERNEL  # an address of 0, or a call that faults
            code[at + 1] = kept << 4 | code[at + 1] & 0x0F
            continue
        if at + 2 * isa.SLOT > len(code) or code[at] != isa.LDDW:
            continue
        if relocation.symbol not in names:
            raise ValueError(f"map {relocation.symbol!r}: the program uses it; given were {', '.join(names) or 'none'}")
        source = code[at + 1] >> 4
        by_index = isa.MAP_VALUE_INDEX if source in (isa.MAP_VALUE_FD, isa.MAP_VALUE_INDEX) else isa.MAP_INDEX
        code[at + 1] = by_index << 4 | code[at + 1] & 0x0F
        code[at + 4 : at + 8] = names.index(relocation.symbol).to_bytes(4, "little")
    return bytes(code)
