"""BPF instructions as numbers: the fields of RFC 9669, and the way from bytes to instructions and back.

Rule of this file: it knows where the bits are, not what they do (`semantics`) and not how they read (`forms`).

Theory. An instruction is eight bytes, little-endian here: opcode, two register numbers in one byte, a signed 16-bit
offset, a signed 32-bit immediate (section 3.1). The opcode's low three bits are its class; the other five mean
operation and operand for arithmetic and jumps (section 4), size and mode for loads and stores (section 5). One
instruction, the load of a 64-bit constant, takes two slots (section 3.2).

Trap. Jumps count slots, not instructions: everything that others number (jump offsets, relocations, the kernel's
log) is a slot number, and `slots` translates.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import accumulate
from struct import Struct

# Classes (section 3.3)
LD, LDX, ST, STX, ALU, JMP, JMP32, ALU64 = range(8)

# Where an operand comes from (section 4): the immediate or the source register
K, X = 0x00, 0x08

# Arithmetic (section 4.1)
ADD, SUB, MUL, DIV, OR, AND, LSH, RSH, NEG, MOD, XOR, MOV, ARSH, END = range(0x00, 0xE0, 0x10)
# The source bit of END in class ALU (section 4.2)
TO_LE, TO_BE = K, X

# Jumps (section 4.3)
JA, JEQ, JGT, JGE, JSET, JNE, JSGT, JSGE, CALL, EXIT, JLT, JLE, JSLT, JSLE = range(0x00, 0xE0, 0x10)
# Whom a CALL calls: its src field
HELPER, LOCAL, KERNEL = range(3)

# Sizes and modes of loads and stores (section 5)
W, H, B, DW = 0x00, 0x08, 0x10, 0x18
SIZES = {W: 4, H: 2, B: 1, DW: 8}
IMM, ABS, IND, MEM, MEMSX, ATOMIC = 0x00, 0x20, 0x40, 0x60, 0x80, 0xC0

# Atomic operations: ADD, OR, AND, XOR and these, in imm (section 5.3)
FETCH, XCHG, CMPXCHG = 0x01, 0xE1, 0xF1

# What a wide load loads: its src field (section 5.4)
IMM64, MAP_FD, MAP_VALUE_FD, VARIABLE, CODE, MAP_INDEX, MAP_VALUE_INDEX = range(7)
LDDW = LD | IMM | DW

FRAME = 10
"""The register that points to the top of the stack frame; programs only read it."""
REGISTERS = 11
SLOT = 8
"""Bytes in a slot."""

_BASIC = Struct("<BBhi")


class BadCode(ValueError):
    """Bytes that cannot be cut into instructions; `slot` is where."""

    def __init__(self, slot: int, why: str) -> None:
        super().__init__(why)
        self.slot = slot


@dataclass(frozen=True, slots=True)
class Instruction:
    """One instruction: opcode 0..255, registers 0..15, offset signed 16 bits, imm signed 32 bits.

    The imm of a wide load is its 64-bit constant, unsigned (next_imm << 32 | imm).
    """

    opcode: int
    dst: int = 0
    src: int = 0
    offset: int = 0
    imm: int = 0

    @property
    def klass(self) -> int:
        return self.opcode & 0x07

    @property
    def code(self) -> int:
        """The operation, of arithmetic and jumps."""
        return self.opcode & 0xF0

    @property
    def source(self) -> int:
        """K or X, of arithmetic and jumps."""
        return self.opcode & 0x08

    @property
    def mode(self) -> int:
        """The mode of a load or store."""
        return self.opcode & 0xE0

    @property
    def size(self) -> int:
        """Bytes that a load or store moves."""
        return SIZES[self.opcode & 0x18]

    @property
    def wide(self) -> bool:
        return self.opcode == LDDW

    @property
    def slots(self) -> int:
        return 2 if self.wide else 1

    @property
    def low(self) -> int:
        """The first slot's own imm, signed 32 bits: of a wide load the map's descriptor or index."""
        return _signed32(self.imm)

    @property
    def high(self) -> int:
        """A wide load's next_imm, signed 32 bits: the offset into a map's value."""
        return _signed32(self.imm >> 32)


def decode(code: bytes) -> list[Instruction]:
    """The instructions in `code`; any opcode will do, whether or not it means something.

    Raises BadCode for a length that is no multiple of 8, and for a wide load without its second half.
    """
    code = bytes(code)
    if len(code) % SLOT:
        raise BadCode(len(code) // SLOT, f"code: {len(code)} bytes; instructions are {SLOT} bytes each")
    found: list[Instruction] = []
    slot = 0
    while slot * SLOT < len(code):
        opcode, registers, offset, imm = _BASIC.unpack_from(code, slot * SLOT)
        if opcode == LDDW:
            imm = _wide(code, slot, imm)
        found.append(Instruction(opcode, registers & 0x0F, registers >> 4, offset, imm))
        slot += found[-1].slots
    return found


def encode(instructions: Iterable[Instruction]) -> bytes:
    """The bytes of `instructions`. Raises struct.error for a field that does not fit."""
    return b"".join(map(_encode, instructions))


def slots(instructions: Iterable[Instruction]) -> list[int]:
    """The slot in which each instruction starts, and last the number of slots there are."""
    return list(accumulate((i.slots for i in instructions), initial=0))


def _encode(i: Instruction) -> bytes:
    first = _BASIC.pack(i.opcode, i.src << 4 | i.dst, i.offset, i.low if i.wide else i.imm)
    return first + _BASIC.pack(0, 0, 0, i.high) if i.wide else first


def _wide(code: bytes, slot: int, low: int) -> int:
    """The 64-bit constant of the wide load at `slot`."""
    if len(code) < (slot + 2) * SLOT:
        raise BadCode(slot, f"instruction {slot}: the code ends within a wide load, which takes two slots")
    *reserved, high = _BASIC.unpack_from(code, (slot + 1) * SLOT)
    if any(reserved):
        raise BadCode(
            slot + 1, f"instruction {slot + 1}: the second half of a wide load must be zero but for its immediate"
        )
    return int((high & 0xFFFFFFFF) << 32 | low & 0xFFFFFFFF)


def _signed32(x: int) -> int:
    return ((x & 0xFFFFFFFF) ^ 0x80000000) - 0x80000000
