"""Arithmetic on fixed-width words, the same in Python, in numba and in the kernel.

Rule of this file: it knows numbers, not packets.

Theory. A Python integer never overflows; a machine word does, and hashes and checksums count on it. So code that is
to run on every target keeps to two kinds of number. *Header fields, ports, lengths and addresses* are below 2**63:
plain integers, the ordinary operators, no surprises (numba calls them int64). *64-bit words*, as hashes make them,
wrap: they come from `word64` or a function of this file and meet only `^`, `&`, `|`, `>>` and the functions here
(numba calls them uint64). Where an algorithm wants to wrap, it says so by name: `add32`, `mul64`, `rotl32`.

Trap. Mixing the two kinds in one `+`, `*` or `%` makes numba choose a signed type and the top bit goes wrong, silently.
`word64` and `int64` are the two doors.
"""

from __future__ import annotations

from typing import Any

from lbcore.wire.portable import portable

MASK32 = 0xFFFFFFFF
MASK64 = 0xFFFFFFFFFFFFFFFF


def word64(x: int) -> int:
    """`x` as a 64-bit word that wraps: modulo 2**64."""
    return x & MASK64


def int64(x: int) -> int:
    """A 64-bit word known to be below 2**63, as a plain integer again."""
    return x


def add32(a: int, b: int) -> int:
    """(a + b) mod 2**32."""
    return (a + b) & MASK32


def sub32(a: int, b: int) -> int:
    """(a - b) mod 2**32."""
    return (a - b) & MASK32


def mul32(a: int, b: int) -> int:
    """(a * b) mod 2**32."""
    return (a * b) & MASK32


def add64(a: int, b: int) -> int:
    """(a + b) mod 2**64."""
    return (a + b) & MASK64


def mul64(a: int, b: int) -> int:
    """(a * b) mod 2**64."""
    return (a * b) & MASK64


def mod64(a: int, n: int) -> int:
    """The remainder of the 64-bit word `a` by n (1 <= n < 2**63), as a plain integer."""
    return a % n


def bswap32(x: int) -> int:
    """The four bytes of a 32-bit word in the opposite order."""
    return int.from_bytes(x.to_bytes(4, "little"), "big")


def bswap64(x: int) -> int:
    """The eight bytes of a 64-bit word in the opposite order."""
    return int.from_bytes(x.to_bytes(8, "little"), "big")


def le32(data: Any, i: int) -> int:
    """The little-endian 32-bit word at data[i:i+4] (bytes, or uint8[n] under numba); the caller checks the range."""
    return int.from_bytes(bytes(data[i : i + 4]), "little")


def le64(data: Any, i: int) -> int:
    """The little-endian 64-bit word at data[i:i+8] (bytes, or uint8[n] under numba); the caller checks the range."""
    return int.from_bytes(bytes(data[i : i + 8]), "little")


def rotl32(x: int, n: int) -> int:
    """A 32-bit word rotated left by n bits (0 < n < 32)."""
    return ((x << n) & MASK32) | (x >> (32 - n))


@portable
def rotl64(x: int, n: int) -> int:
    """A 64-bit word rotated left by n bits (0 < n < 64)."""
    return word64(x << n) | (x >> (64 - n))
