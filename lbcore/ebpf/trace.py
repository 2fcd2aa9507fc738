"""A program step by step: every instruction, what it changed and what it touched.

Rule of this file: the same machine as `engine`, driven in plain Python by `semantics`, one step at a time.

    for step in vm.trace(code, memory): print(step.slot, step.text, step.changed)
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from lbcore.ebpf import forms, isa, memory, semantics
from lbcore.ebpf.access import FIRST_FRAME, FRAME_SIZE, MAX_FRAMES
from lbcore.ebpf.engine import FELL_OFF, LIMIT, TAIL_CALL_INSIDE, TOO_DEEP, TOO_LONG, Vm
from lbcore.ebpf.forms import Form
from lbcore.ebpf.isa import Instruction
from lbcore.ebpf.memory import Fault
from lbcore.ebpf.program import MASK64, Ended, TailCall

Registers = tuple[int, ...]


class Touch(NamedTuple):
    """Bytes that an instruction read or wrote: the program's address, and where that is (offset in bytes)."""

    address: int
    size: int
    writing: bool
    region: str
    offset: int
    before: bytes
    after: bytes


class Step(NamedTuple):
    """One instruction executed. slot: its number; depth: 0, or how deep in local calls; registers r0 to r10."""

    slot: int
    text: str
    instruction: Instruction
    depth: int
    before: Registers
    after: Registers
    touched: Touch | None

    @property
    def changed(self) -> tuple[int, ...]:
        """The numbers of the registers that have another value now."""
        return tuple(n for n, (old, new) in enumerate(zip(self.before, self.after, strict=True)) if old != new)


def steps(vm: Vm, limit: int = LIMIT) -> Iterator[Step]:
    """The steps of the program in a machine that has all it needs."""
    vm.start(limit)
    stepper = Stepper(vm)
    for _ in range(limit):
        step = stepper.step()
        if step is None:
            return
        yield step
        if stepper.done:
            return
    raise vm.error(stepper.index, TOO_LONG.format(limit=limit), stepper.registers)


class Stepper:
    """Executes one instruction at a time; `done` after the last exit, the result then is registers[0]."""

    def __init__(self, vm: Vm) -> None:
        self.vm = vm
        self.index = 0
        self.registers = [int(value) for value in vm.registers[: isa.REGISTERS]]
        self.frames: list[tuple[int, list[int]]] = []
        self.done = False

    def step(self) -> Step | None:
        """Execute the next instruction. Raises VmError."""
        vm, index, before = self.vm, self.index, tuple(self.registers)
        program = vm.program
        if index >= len(program.instructions):
            raise vm.error(index, FELL_OFF, before)
        instruction, depth = program.instructions[index], len(self.frames)
        form = forms.find(instruction)
        assert form is not None, "a checked program has only known forms"
        try:
            touched = self._execute(form, instruction)
        except Fault as fault:
            raise vm.error(index, str(fault), before) from None
        after = tuple(self.registers)
        return Step(program.slots[index], program.texts[index], instruction, depth, before, after, touched)

    def _execute(self, form: Form, i: Instruction) -> Touch | None:
        registers, next_index = self.registers, self.index + 1
        source = registers[i.src] if i.source else i.imm & MASK64
        touched = None
        if i.klass in (isa.ALU, isa.ALU64):
            registers[i.dst] = semantics.arithmetic(form.name, i, registers[i.dst], source)
        elif form.name == "exit":
            next_index = self._leave()
        elif form.name == "call local":
            self._enter(next_index)
            next_index = self.vm.program.targets[self.index]
        elif i.klass in (isa.JMP, isa.JMP32) and i.code != isa.CALL:
            if semantics.jumps(form.name, registers[i.dst], source):
                next_index = self.vm.program.targets[self.index]
        elif i.wide:
            registers[i.dst] = self.vm.constant(self.index, i) & MASK64
        elif i.klass == isa.LDX:
            touched = self._touch(registers[i.src] + i.offset, i.size)
            value = int.from_bytes(touched.before, "little", signed=i.mode == isa.MEMSX)
            registers[i.dst] = value & MASK64
        elif i.klass in (isa.ST, isa.STX):
            touched = self._store(i)
        else:
            next_index = self._call(i, next_index)
        self.index = next_index
        return touched

    def _store(self, i: Instruction) -> Touch:
        registers = self.registers
        value, at = registers[i.src] if i.klass == isa.STX else i.imm, registers[i.dst] + i.offset
        if i.mode == isa.ATOMIC:
            old = int.from_bytes(self._touch(at, i.size, writing=True).before, "little")
            value, fetched = semantics.atomic(i, old, value, registers[0])
            if fetched is not None:
                registers[0 if i.imm == isa.CMPXCHG else i.src] = fetched
        data = (value & (1 << 8 * i.size) - 1).to_bytes(i.size, "little")
        return self._touch(at, i.size, writing=True, data=data)

    def _touch(self, at: int, size: int, *, writing: bool = False, data: bytes | None = None) -> Touch:
        at &= MASK64
        where, before = self.vm.memory.peek(at, size, writing=writing)
        if data is not None:
            self.vm.memory.write(at, data)
        offset = (at & memory.OFFSET_MASK) - where.origin
        return Touch(at, size, writing, where.name, offset, before, data if data is not None else before)

    def _call(self, i: Instruction, next_index: int) -> int:
        try:
            self.registers[0] = self.vm.trapped(i, self.registers)
        except Ended:
            self.registers[0], self.done = 0, True
        except TailCall as tail:
            if self.frames:
                raise Fault(TAIL_CALL_INSIDE) from None
            self.vm.load(tail.program)
            return 0
        return next_index

    def _enter(self, back: int) -> None:
        depth = len(self.frames) + 1
        if depth >= MAX_FRAMES:
            raise Fault(TOO_DEEP)
        self.frames.append((back, self.registers[6:10]))
        self.vm.memory.bound(FIRST_FRAME + depth, 0, FRAME_SIZE)
        self.registers[isa.FRAME] = memory.address(FIRST_FRAME + depth, FRAME_SIZE)

    def _leave(self) -> int:
        if not self.frames:
            self.done = True
            return self.index
        self.vm.memory.bound(FIRST_FRAME + len(self.frames), 0, 0)
        back, self.registers[6:10] = self.frames.pop()
        self.registers[isa.FRAME] = memory.address(FIRST_FRAME + len(self.frames), FRAME_SIZE)
        return back
