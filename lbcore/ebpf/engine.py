"""The machine: a program, its memory, its maps, and the loop around the compiled loop.

Rule of this file: it ties the parts together. `program` checks, `interpreter` executes, `memory` holds, `calls` answers
helpers; here events become results and errors.

Theory. The compiled loop runs until something happens. If that is a call of a helper, Python does it, and the loop
goes on behind it. A program ends by `exit`, by a fault, or by using up its budget of instructions; it cannot do
anything else, whatever its bytes are.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from random import Random
from typing import Any

import numpy as np
import numpy.typing as npt

from lbcore.ebpf import calls, interpreter, isa, memory, program, signatures
from lbcore.ebpf.access import (
    DEPTH,
    FIRST_FRAME,
    FRAME_SIZE,
    LEFT,
    MAX_FRAMES,
    PC,
    SIZE,
    TOUCHED,
    WRITING,
)
from lbcore.ebpf.isa import Instruction
from lbcore.ebpf.memory import Fault, Memory, Region
from lbcore.ebpf.packet import Packet
from lbcore.ebpf.program import MASK64, Ended, Program, TailCall, VmError
from lbcore.ebpf.storage import Map

LIMIT = 1_000_000
"""Instructions a program may execute: as many as the kernel's verifier is ready to look at."""

TOO_LONG = "not finished after {limit} instructions, which is the limit"
TOO_DEEP = f"calls deeper than {MAX_FRAMES} frames"
FELL_OFF = "the program runs over its end; the last instruction must be an exit or a jump"
TAIL_CALL_INSIDE = "a tail call from within a local call; the machine knows them from the outermost frame only"
REASONS = {interpreter.LIMIT: TOO_LONG, interpreter.TOO_DEEP: TOO_DEEP, interpreter.FELL_OFF: FELL_OFF}

Maps = Mapping[int, Map] | Sequence[Map]
Helper = Callable[..., int | None]


class Vm:
    """A machine with one program (or several, by tail calls) in it, its maps, and what helpers need to know.

    clock: gives nanoseconds; random: for get_prandom_u32; printed: what programs printed; programs: whom an entry of
    a prog_array means, by number; packet: the packet, where there is one.
    """

    def __init__(
        self,
        code: bytes | Program,
        *,
        maps: Maps = (),
        helpers: Mapping[int, Helper] | None = None,
        clock: Callable[[], int] = lambda: 1,
        random: Random | None = None,
    ) -> None:
        self.numbers, self.maps = _numbered(maps)
        self.memory = Memory(len(self.maps))
        for index, map_ in enumerate(self.maps):
            _place_map(self.memory, index, map_)
        self.own_helpers = helpers or {}
        self.clock, self.random = clock, random or Random(0)
        self.printed: list[str] = []
        self.programs: dict[int, Program] = {}
        self.packet: Packet | None = None
        self.state = np.zeros(6, np.int64)
        self.frames = np.zeros((MAX_FRAMES, 5), np.int64)
        self.tail_calls = 0
        self.first = code if isinstance(code, Program) else program.check(code)
        self.arguments: tuple[int, int] = (0, 0)
        self.registers = np.zeros(isa.REGISTERS, np.uint64)
        self._compiled: dict[int, tuple[Program, npt.NDArray[np.uint64], list[int]]] = {}
        self.load(self.first)

    def place(self, data: bytearray | bytes = b"", context: bytearray | None = None) -> None:
        """Give the program memory, a context, and with them its arguments r1 and r2."""
        self.memory.place(memory.MEMORY, _region("the memory", data), writable=isinstance(data, bytearray))
        self.arguments = (memory.address(memory.MEMORY) if len(data) else 0, len(data))
        if context is not None:
            self.memory.place(memory.CONTEXT, _region("the context", context))
            self.arguments = (memory.address(memory.CONTEXT), len(data))

    def run(self, limit: int = LIMIT) -> int:
        """Run from the start; returns r0. Raises VmError. `executed` says afterwards how many instructions it took."""
        self.start(limit)
        while True:
            event = interpreter.execute(self.words, self.registers, self.memory.table, self.frames, self.state)
            if event == interpreter.EXITED:
                return int(self.registers[0])
            if event != interpreter.TRAP:
                raise self._error(event)
            try:
                self._trap()
            except Ended:
                return 0

    def start(self, limit: int = LIMIT) -> None:
        """Set everything to the start of the program."""
        self.limit, self.tail_calls = limit, 0
        self.load(self.first)
        self.state[:] = 0
        self.state[LEFT] = limit
        self.registers[: isa.REGISTERS] = 0
        self.registers[1], self.registers[2] = self.arguments
        self.registers[isa.FRAME] = memory.address(FIRST_FRAME, FRAME_SIZE)
        self.memory.close_frames()

    @property
    def executed(self) -> int:
        """Instructions executed since the start."""
        return int(self.limit - self.state[LEFT])

    def load(self, new: Program) -> None:
        """Make `new` the program that runs; the first eleven registers stay as they are."""
        if id(new) not in self._compiled:
            self._compiled[id(new)] = (new, *new.compile(lambda index, i: self.constant(index, i, new)))
        self.program, self.words, constants = self._compiled[id(new)]
        self.registers = np.array([*self.registers[: isa.REGISTERS].tolist(), *constants], np.uint64)

    def call(self, number: int, arguments: Sequence[int]) -> int:
        """Call helper `number` with r1 to r5; returns what becomes r0. Raises Fault for arguments that do not do."""
        if number in self.own_helpers:
            return int(self.own_helpers[number](self, *arguments) or 0) & MASK64
        signature, helper = signatures.HELPERS.get(number), calls.HELPERS.get(number)
        if signature is None:
            raise Fault(f"there is no helper {number} in this machine")
        if helper is None:
            raise Fault(f"{signature.name} asks the kernel, and there is none in this machine")
        return int(helper(self, *self._arguments(signature, arguments)) or 0) & MASK64

    def error(self, index: int, reason: str, registers: Iterable[int]) -> VmError:
        """The error of instruction `index` of the running program."""
        there = index < len(self.program.instructions)
        text = self.program.texts[index] if there else "end of the code"
        return VmError(self.program.slots[index], text, reason, tuple(map(int, registers)))

    def map_at(self, at: int) -> Map:
        """The map whose handle a program has. Raises Fault."""
        number = (at >> memory.OFFSET_BITS) - memory.FIRST_MAP
        if at & memory.OFFSET_MASK or number % 2 or not 0 <= number < 2 * len(self.maps):
            raise Fault(f"{at:#x} is no map")
        return self.maps[number // 2]

    def value_address(self, map_: Map, slot: int) -> int:
        """The program's address of a map's value."""
        index = next(index for index, one in enumerate(self.maps) if one is map_)
        region = memory.FIRST_MAP + 2 * index + 1
        return memory.address(region, slot << self.memory.regions[region].shift)

    def handle(self, index: int) -> int:
        """The program's address of its map number `index` (in order)."""
        return memory.address(memory.FIRST_MAP + 2 * index)

    def constant(self, index: int, instruction: Instruction, program: Program | None = None) -> int:
        """What wide load number `index` of a program (the running one) loads (section 5.4)."""
        program = program or self.program
        if instruction.src == isa.IMM64:
            return instruction.imm
        kind, number = instruction.src, instruction.low
        if kind == isa.CODE:
            return memory.address(memory.CODE, program.slots[index] + 1 + number)
        if kind == isa.VARIABLE:
            reason = f"there is no platform variable {number} in this machine"
        elif number not in self.numbers:
            reason = f"there is no map {number}; given were {', '.join(map(str, self.numbers)) or 'none'}"
        elif kind in (isa.MAP_FD, isa.MAP_INDEX):
            return self.handle(self.numbers[number])
        else:
            map_ = self.maps[self.numbers[number]]
            if map_.kind in ("array", "percpu_array"):
                return self.value_address(map_, 0) + (instruction.high & 0xFFFFFFFF)
            reason = f"map {map_.name!r} is a {map_.kind}; only an array has a first value"
        raise VmError(program.slots[index], program.texts[index], reason)

    def _trap(self) -> None:
        """Do what the compiled loop leaves to us: a helper's call, or a packet load of old."""
        index = int(self.state[PC])
        registers = self.registers
        try:
            outcome = self.trapped(self.program.instructions[index], [int(r) for r in registers[: isa.REGISTERS]])
        except TailCall as tail:
            if self.state[DEPTH]:
                raise self.error(index, TAIL_CALL_INSIDE, registers[: isa.REGISTERS]) from None
            self.load(tail.program)
            self.state[PC] = 0
            return
        except Fault as fault:
            raise self.error(index, str(fault), registers[: isa.REGISTERS]) from None
        registers[0] = outcome
        self.state[PC] = index + 1

    def trapped(self, instruction: Instruction, registers: Sequence[int]) -> int:
        """r0 after a helper's call or a packet load of old. Raises Fault, TailCall, Ended."""
        if instruction.klass == isa.LD:
            if self.packet is None:
                raise Fault("loads from the packet, and there is none")
            offset = instruction.imm + (registers[instruction.src] & 0xFFFFFFFF if instruction.mode == isa.IND else 0)
            data = self.packet.peek(offset, instruction.size)
            if data is None:
                raise Ended
            return int.from_bytes(data, "big")
        number = registers[instruction.dst] if instruction.source else instruction.imm
        if instruction.src == isa.KERNEL:
            raise Fault("calls a function of the kernel by its BTF number; there is no kernel here")
        return self.call(number, registers[1:6])

    def _arguments(self, signature: signatures.Signature, registers: Sequence[int]) -> Iterable[Any]:
        """What a helper's implementation gets: maps as Map, pointers to input as bytes, all else as numbers.

        The size of memory is part of the bytes; a buffer to be filled comes as address and size.
        """
        arguments: list[Any] = []
        map_: Map | None = None
        for position, kind in enumerate(signature.arguments):
            value = registers[position]
            try:
                if kind == signatures.MAP:
                    map_ = self.map_at(value)
                    if map_.kind not in signature.maps and (signature.maps or not map_.key_size):
                        raise Fault(
                            f"{map_.name!r} is a {map_.kind}, not a {' or '.join(signature.maps) or 'map with keys'}"
                        )
                    arguments.append(map_)
                elif kind in (signatures.KEY, signatures.VALUE):
                    assert map_ is not None
                    size = map_.key_size if kind == signatures.KEY else map_.value_size
                    arguments.append(self.memory.read(value, size))
                elif kind == signatures.MEMORY:
                    size = registers[position + 1] & 0xFFFFFFFF
                    arguments.append(self.memory.read(value, size) if size else b"")
                elif kind == signatures.SIZE and signature.arguments[position - 1] == signatures.MEMORY:
                    continue
                else:
                    arguments.append(value)
            except Fault as fault:
                raise Fault(f"argument {position + 1} ({kind}) of {signature.name}: {fault}") from None
        return arguments

    def _error(self, event: int) -> VmError:
        index, registers = int(self.state[PC]), self.registers[: isa.REGISTERS]
        if event == interpreter.FAULT:
            at = int(self.state[TOUCHED]) & MASK64
            reason = self.memory.explain(at, int(self.state[SIZE]), writing=bool(self.state[WRITING]))
        else:
            reason = REASONS[event].format(limit=self.limit)
        return self.error(index, reason, registers)


def _numbered(maps: Maps) -> tuple[dict[int, int], list[Map]]:
    """Which number means which of the maps, and the maps."""
    given = maps if isinstance(maps, Mapping) else dict(enumerate(maps))
    return {number: index for index, number in enumerate(given)}, list(given.values())


def _region(name: str, data: bytearray | bytes) -> Region:
    return Region(name, np.frombuffer(data, np.uint8) if len(data) else np.zeros(0, np.uint8))


def _place_map(where: Memory, index: int, map_: Map) -> None:
    """The two regions of a map: its handle and its values."""
    values = map_.table.values
    stride = values.shape[1]
    size = map_.value_size or stride  # a ring buffer is one big value
    number = memory.FIRST_MAP + 2 * index
    where.place(number, Region(f"map {map_.name!r} itself", values[:0].reshape(-1)))
    slots = Region(f"map {map_.name!r}", values.reshape(-1), shift=stride.bit_length(), stride=stride)
    where.place(number + 1, slots, high=size, writable=not map_.readonly)
