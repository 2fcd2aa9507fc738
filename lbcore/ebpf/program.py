"""From bytes to what the compiled loop executes.

Rule of this file: every check that can be made before a program runs is made here, and only here.

A program is refused if it holds something that is no instruction (`forms.problem`), or a jump that leads out of the
code or into the middle of a wide load. It need not terminate and may touch what it should not: running finds out.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from lbcore.ebpf import assembler, forms, isa
from lbcore.ebpf.isa import ALU, ALU64, ATOMIC, JMP, JMP32, ST, STX, Instruction, K, X

MASK64 = (1 << 64) - 1


class VmError(Exception):
    """A program that the machine refuses, or stops.

    instruction: its slot number; text: its disassembly; reason: what is wrong; registers: r0 to r10 at that moment
    (empty if the program did not run).
    """

    def __init__(self, instruction: int, text: str, reason: str, registers: tuple[int, ...] = ()) -> None:
        state = "\n  " + "  ".join(f"r{n}={value:#x}" for n, value in enumerate(registers)) if registers else ""
        super().__init__(f"instruction {instruction}: {text}: {reason}{state}")
        self.instruction, self.text, self.reason, self.registers = instruction, text, reason, registers


@dataclass(frozen=True)
class Program:
    """A checked program.

    slots: the slot of each instruction, and last the number of slots. targets: for each jump or local call, the index
    of the instruction it leads to.
    """

    instructions: tuple[Instruction, ...]
    slots: tuple[int, ...]
    targets: dict[int, int]

    @cached_property
    def texts(self) -> list[str]:
        return [assembler.describe(i) for i in self.instructions]

    def compile(self, resolve: Callable[[int, Instruction], int]) -> tuple[npt.NDArray[np.uint64], list[int]]:
        """The words of the loop (uint64[n]), and the constants that follow the registers.

        `resolve` gives the value of a wide load: a number, or a map's address.
        """
        constants: dict[int, int] = {}
        words = np.zeros(len(self.instructions), np.uint64)
        for index, i in enumerate(self.instructions):
            opcode, source, argument = i.opcode, i.src, i.offset
            constant: int | None = None
            if i.wide:
                constant = resolve(index, i)
            elif i.klass in (ALU, ALU64):
                constant = i.imm if i.source == K or i.code == isa.END else None
                if i.code == isa.END:
                    # To little-endian order there is nothing to swap here, only bits to drop.
                    opcode = ALU | isa.END if opcode == ALU | isa.END | isa.TO_LE else ALU64 | isa.END
                elif i.code != isa.NEG:
                    opcode = opcode & ~X if i.offset else opcode | X
            elif i.klass in (JMP, JMP32):
                argument = self.targets[index] - index - 1 if index in self.targets else 0
                if i.code == isa.JA:
                    opcode = JMP | isa.JA
                elif i.code == isa.CALL:
                    opcode = JMP | isa.CALL | (K if i.src == isa.LOCAL else X)
                elif i.code != isa.EXIT and i.source == K:
                    opcode, constant = opcode | X, i.imm
            elif i.klass == ST:
                opcode, constant = opcode & ~7 | STX, i.imm
            elif i.klass == STX and i.mode == ATOMIC:
                argument = i.imm << 16 | i.offset & 0xFFFF
            if constant is not None:
                source = isa.REGISTERS + constants.setdefault(constant & MASK64, len(constants))
            words[index] = opcode | i.dst << 8 | source << 12 | (argument & 0xFFFFFFFF) << 32
        return words, list(constants)


MAX_TAIL_CALLS = 33


class TailCall(Exception):
    """Raised by the helper of that name: go on with another program."""

    def __init__(self, program: Program) -> None:
        super().__init__()
        self.program = program


class Ended(Exception):
    """Raised by a packet load of old that is out of the packet: the program is over, its result 0 (section 5.5)."""


def check(code: bytes) -> Program:
    """`code` as a checked program. Raises VmError."""
    try:
        instructions = tuple(isa.decode(code))
    except isa.BadCode as error:
        raise VmError(error.slot, "code", str(error)) from None
    slots = tuple(isa.slots(instructions))
    if len(instructions) >= 1 << 19:
        raise VmError(0, "code", f"{len(instructions)} instructions; there may be {1 << 19}")
    at = {slot: index for index, slot in enumerate(slots[:-1])}
    targets = {}
    for index, (slot, instruction) in enumerate(zip(slots, instructions, strict=False)):
        reason = forms.problem(instruction)
        if not reason and (distance := forms.distance(instruction)) is not None:
            target = slot + 1 + distance
            if target in at:
                targets[index] = at[target]
            elif 0 <= target < slots[-1]:
                reason = f"it leads to {target}, the second half of a wide load"
            else:
                reason = f"it leads to {target}; there are instructions 0 to {slots[-1] - 1}"
        if reason:
            raise VmError(slot, assembler.describe(instruction), reason)
    return Program(instructions, slots, targets)
