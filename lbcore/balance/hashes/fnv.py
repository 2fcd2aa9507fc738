"""FNV: the smallest hash that is any good, one multiplication a byte.

Rule of this file: it hashes bytes and keeps no state.

Theory (draft-eastlake-fnv). FNV-1a: xor a byte in, multiply by a prime with few bits set; FNV-1 does the two the
other way round. Simple enough to write from memory, good enough for short names.

Trap. The last byte meets only one multiplication: keys that differ in their last bytes differ little in the high bits.
FNV-1 is worse still: its last byte reaches only the low eight bits. Do not take the top bits of either as a bucket.
"""

from __future__ import annotations

from typing import Any

from lbcore.wire.portable import portable
from lbcore.wire.words import mul32, mul64, word64

BASIS32, PRIME32 = 0x811C9DC5, 0x01000193
BASIS64, PRIME64 = 0xCBF29CE484222325, 0x00000100000001B3


@portable
def fnv1a_32(data: Any) -> int:
    """FNV-1a, 32 bits, of `data` (bytes, or uint8[n]; any n)."""
    h = BASIS32
    for i in range(len(data)):
        h = mul32(h ^ int(data[i]), PRIME32)
    return h


@portable
def fnv1a_64(data: Any) -> int:
    """FNV-1a, 64 bits, of `data` (bytes, or uint8[n]; any n)."""
    h = word64(BASIS64)
    for i in range(len(data)):
        h = mul64(h ^ word64(int(data[i])), word64(PRIME64))
    return h


@portable
def fnv1_32(data: Any) -> int:
    """FNV-1, 32 bits, of `data` (bytes, or uint8[n]; any n)."""
    h = BASIS32
    for i in range(len(data)):
        h = mul32(h, PRIME32) ^ int(data[i])
    return h


@portable
def fnv1_64(data: Any) -> int:
    """FNV-1, 64 bits, of `data` (bytes, or uint8[n]; any n)."""
    h = word64(BASIS64)
    for i in range(len(data)):
        h = mul64(h, word64(PRIME64)) ^ word64(int(data[i]))
    return h


@portable
def fnv1a_64_word(a: int) -> int:
    """FNV-1a, 64 bits, of the eight little-endian bytes of the 64-bit word `a`: the packet path's form."""
    h = word64(BASIS64)
    for i in range(8):
        h = mul64(h ^ ((word64(a) >> 8 * i) & word64(0xFF)), word64(PRIME64))
    return h
