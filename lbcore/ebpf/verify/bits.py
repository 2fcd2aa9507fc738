"""What is known of a number bit by bit: the kernel's "tristate numbers".

Rule of this file: pairs of integers in, pairs out. In a pair (value, mask) the bits of the mask are unknown, and the
value holds the others (an unknown bit is 0 in it). Everything has 64 bits unless a function says otherwise.

Theory. Intervals know how large a number is, bits know how it is made: after `x & ~3` the interval is as wide as ever,
and yet every x is a multiple of four. For sums, the trick is that carries can only appear where a sum of all-ones in
the unknown places differs from a sum of all-zeros there (Vishwanathan et al., "Sound, Precise, and Fast Abstract
Interpretation with Tristate Numbers", CGO 2022).
"""

from __future__ import annotations

M32, M64 = (1 << 32) - 1, (1 << 64) - 1

Bits = tuple[int, int]

UNKNOWN: Bits = (0, M64)


def between(low: int, high: int) -> Bits:
    """All bits above the highest one in which the ends of an interval differ are common to everything between."""
    mask = (1 << (low ^ high).bit_length()) - 1
    return low & ~mask, mask


def both(a: Bits, b: Bits) -> Bits:
    """What is known if both are true. (If they contradict each other, a's and b's ones are all kept.)"""
    mask = a[1] & b[1]
    return (a[0] | b[0]) & ~mask, mask


def includes(a: Bits, b: Bits) -> bool:
    """Is every number that fits b also one that fits a?"""
    return not b[1] & ~a[1] and a[0] == b[0] & ~a[1]


def add(a: Bits, b: Bits) -> Bits:
    least = a[0] + b[0]
    unknown = (a[1] + b[1] + least ^ least) | a[1] | b[1]
    return least & ~unknown & M64, unknown & M64


def sub(a: Bits, b: Bits) -> Bits:
    middle = a[0] - b[0]
    unknown = (middle + a[1] ^ middle - b[1]) | a[1] | b[1]
    return middle & ~unknown & M64, unknown & M64


def mul(a: Bits, b: Bits) -> Bits:
    """The school's way: for every bit of a that may be set, b shifted to its place, and doubt where a bit is unsure."""
    value, mask = a
    known, doubt = (value * b[0] & M64, 0), (0, 0)
    while value or mask:
        if value & 1:
            doubt = add(doubt, (0, b[1]))
        elif mask & 1:
            doubt = add(doubt, (0, b[0] | b[1]))
        value, mask = value >> 1, mask >> 1
        b = (b[0] << 1 & M64, b[1] << 1 & M64)
    return add(known, doubt)


def and_(a: Bits, b: Bits) -> Bits:
    ones = a[0] & b[0]
    return ones, (a[0] | a[1]) & (b[0] | b[1]) & ~ones


def or_(a: Bits, b: Bits) -> Bits:
    ones = a[0] | b[0]
    return ones, (a[1] | b[1]) & ~ones


def xor(a: Bits, b: Bits) -> Bits:
    unknown = a[1] | b[1]
    return (a[0] ^ b[0]) & ~unknown, unknown


def lsh(a: Bits, n: int) -> Bits:
    return a[0] << n & M64, a[1] << n & M64


def rsh(a: Bits, n: int) -> Bits:
    return a[0] >> n, a[1] >> n


def arsh(a: Bits, n: int, bits: int) -> Bits:
    """The sign is copied, or the doubt about it."""
    sign, top = 1 << bits - 1, (1 << bits) - 1
    value, mask = (((part & top ^ sign) - sign >> n) & top for part in a)
    return value & ~mask, mask


def low(a: Bits) -> Bits:
    """The lower 32 bits, with zeros above."""
    return a[0] & M32, a[1] & M32
