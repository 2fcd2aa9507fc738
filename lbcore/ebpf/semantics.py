"""What instructions mean, in plain Python: RFC 9669 as a table one can read.

Rule of this file: integers in, integers out, by the name of a form. The compiled machine (`interpreter`) is written
separately; tests hold the two against each other, and against the kernel.
"""

from __future__ import annotations

from collections.abc import Callable

from lbcore.ebpf.isa import CMPXCHG, FETCH, Instruction

MASK64 = (1 << 64) - 1


def signed(x: int, bits: int) -> int:
    """The low bits of x as a signed number."""
    x &= (1 << bits) - 1
    return x - (1 << bits) if x >> (bits - 1) else x


def quotient(a: int, b: int) -> int:
    """Truncated towards zero; 0 for a division by zero (section 4.1)."""
    if b == 0:
        return 0
    size = abs(a) // abs(b)
    return -size if (a < 0) != (b < 0) else size


def remainder(a: int, b: int) -> int:
    """Of the truncated division, so it has a's sign; a itself for a division by zero (section 4.1)."""
    return a - b * quotient(a, b) if b else a


# Section 4.1, with the number of bits as the third argument. Results wrap.
ARITHMETIC: dict[str, Callable[[int, int, int], int]] = {
    "add": lambda a, b, bits: a + b,
    "sub": lambda a, b, bits: a - b,
    "mul": lambda a, b, bits: a * b,
    "div": lambda a, b, bits: quotient(a, b),
    "sdiv": lambda a, b, bits: quotient(signed(a, bits), signed(b, bits)),
    "mod": lambda a, b, bits: remainder(a, b),
    "smod": lambda a, b, bits: remainder(signed(a, bits), signed(b, bits)),
    "or": lambda a, b, bits: a | b,
    "and": lambda a, b, bits: a & b,
    "xor": lambda a, b, bits: a ^ b,
    "lsh": lambda a, b, bits: a << (b & bits - 1),
    "rsh": lambda a, b, bits: a >> (b & bits - 1),
    "arsh": lambda a, b, bits: signed(a, bits) >> (b & bits - 1),
    "neg": lambda a, b, bits: -a,
    "mov": lambda a, b, bits: b,
}

# Section 4.3
COMPARISONS: dict[str, Callable[[int, int, int], bool]] = {
    "jeq": lambda a, b, bits: a == b,
    "jne": lambda a, b, bits: a != b,
    "jgt": lambda a, b, bits: a > b,
    "jge": lambda a, b, bits: a >= b,
    "jlt": lambda a, b, bits: a < b,
    "jle": lambda a, b, bits: a <= b,
    "jsgt": lambda a, b, bits: signed(a, bits) > signed(b, bits),
    "jsge": lambda a, b, bits: signed(a, bits) >= signed(b, bits),
    "jslt": lambda a, b, bits: signed(a, bits) < signed(b, bits),
    "jsle": lambda a, b, bits: signed(a, bits) <= signed(b, bits),
    "jset": lambda a, b, bits: a & b != 0,
}


def arithmetic(name: str, i: Instruction, a: int, b: int) -> int:
    """The new value of the destination; `name` is the form's, `b` the source register or the immediate."""
    if name.startswith("movsx"):
        bits = 32 if name in ("movsx832", "movsx1632") else 64
        return signed(b, i.offset) & (1 << bits) - 1
    if name.startswith(("le", "be", "bswap")):
        low = a & (1 << i.imm) - 1
        order = "little" if name.startswith("le") else "big"
        return int.from_bytes(low.to_bytes(i.imm // 8, "little"), order)  # type: ignore[arg-type]
    name, bits = _width(name)
    mask = (1 << bits) - 1
    return ARITHMETIC[name](a & mask, b & mask, bits) & mask


def jumps(name: str, a: int, b: int) -> bool:
    """Is the branch taken?"""
    name, bits = _width(name)
    mask = (1 << bits) - 1
    return name == "ja" or COMPARISONS[name](a & mask, b & mask, bits)


def atomic(i: Instruction, old: int, value: int, r0: int) -> tuple[int, int | None]:
    """What is in memory afterwards, and what goes to a register: src, or r0 for a cmpxchg (section 5.3)."""
    mask = (1 << 8 * i.size) - 1
    new = {0x00: old + value, 0x40: old | value, 0x50: old & value, 0xA0: old ^ value}.get(i.imm & 0xF0, value)
    if i.imm == CMPXCHG and old != r0 & mask:
        new = old
    return new & mask, old if i.imm & FETCH else None


def _width(name: str) -> tuple[str, int]:
    return (name.removesuffix("32"), 32) if name.endswith("32") else (name, 64)
