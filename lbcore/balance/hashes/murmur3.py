"""MurmurHash3: the hash Katran places its backends with, and the finisher that many hashes borrowed.

Rule of this file: it hashes bytes or words and keeps no state.

Theory. Multiply, rotate, multiply, stir in; at the end the lengths and `fmix`, which alone is a good hash of one word:
two multiplications and three shifts, each of them reversible, so that different words stay different.
x64_128 works on two 64-bit halves and gives both; x86_32 on one 32-bit word. Reference: Austin Appleby's SMHasher.

Trap. "MurmurHash3" names three functions that disagree: always say which.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from lbcore.jit import kernel
from lbcore.wire.portable import portable
from lbcore.wire.words import add32, add64, le32, le64, mul32, mul64, rotl32, rotl64, word64

C1 = 0x87C37B91114253D5
C2 = 0x4CF5AD432745937F


@portable
def fmix64(h: int) -> int:
    """The 64-bit finisher: a bijection under which every input bit reaches every output bit."""
    h = mul64(h ^ (h >> 33), word64(0xFF51AFD7ED558CCD))
    h = mul64(h ^ (h >> 33), word64(0xC4CEB9FE1A85EC53))
    return h ^ (h >> 33)


@portable
def fmix32(h: int) -> int:
    """The 32-bit finisher."""
    h = mul32(h ^ (h >> 16), 0x85EBCA6B)
    h = mul32(h ^ (h >> 13), 0xC2B2AE35)
    return h ^ (h >> 16)


@portable
def scramble1(k: int) -> int:
    """The first eight bytes of a block, before they meet the first half."""
    return mul64(rotl64(mul64(k, word64(C1)), 31), word64(C2))


@portable
def scramble2(k: int) -> int:
    """The second eight bytes of a block, before they meet the second half."""
    return mul64(rotl64(mul64(k, word64(C2)), 33), word64(C1))


@portable
def block(h1: int, h2: int, k1: int, k2: int) -> tuple[int, int]:
    """Both halves after one block of 16 bytes."""
    h1 = add64(rotl64(h1 ^ scramble1(k1), 27), h2)
    h1 = add64(mul64(h1, word64(5)), word64(0x52DCE729))
    h2 = add64(rotl64(h2 ^ scramble2(k2), 31), h1)
    h2 = add64(mul64(h2, word64(5)), word64(0x38495AB5))
    return h1, h2


@portable
def finish(h1: int, h2: int, size: int) -> tuple[int, int]:
    """The hash of `size` bytes from the halves they left behind."""
    h1, h2 = h1 ^ word64(size), h2 ^ word64(size)
    h1 = add64(h1, h2)
    h2 = add64(h2, h1)
    h1, h2 = fmix64(h1), fmix64(h2)
    h1 = add64(h1, h2)
    return h1, add64(h2, h1)


@portable
def some_bytes(data: Any, start: int, stop: int) -> int:
    """The little-endian word of data[start:stop], at most eight bytes of it; 0 when there are none."""
    word = word64(0)
    for i in range(start, min(stop, start + 8)):
        word = word | (word64(int(data[i])) << 8 * (i - start))
    return word


@portable
def murmur3_x64_128(data: Any, seed: int) -> tuple[int, int]:
    """MurmurHash3_x64_128 of `data` (bytes, or uint8[n]; any n), `seed` 32 bits: two 64-bit words (h1, h2)."""
    size = len(data)
    h1 = h2 = word64(seed)
    i = 0
    while i + 16 <= size:
        h1, h2 = block(h1, h2, le64(data, i), le64(data, i + 8))
        i += 16
    # A missing byte counts as zero, and a scrambled zero is zero: no case for each length of the tail.
    h1 = h1 ^ scramble1(some_bytes(data, i, size))
    h2 = h2 ^ scramble2(some_bytes(data, i + 8, size))
    return finish(h1, h2, size)


@portable
def murmur3_x64_2words(a: int, b: int, seed: int) -> int:
    """The first half of x64_128 over two little-endian 64-bit words (Katran calls it MurmurHash3_x64_64)."""
    h1, h2 = block(word64(seed), word64(seed), word64(a), word64(b))
    return finish(h1, h2, 16)[0]


@portable
def murmur3_x86_32(data: Any, seed: int) -> int:
    """MurmurHash3_x86_32 of `data` (bytes, or uint8[n]; any n), `seed` 32 bits: a 32-bit word."""
    size = len(data)
    h = seed
    i = 0
    while i + 4 <= size:
        h = h ^ mul32(rotl32(mul32(le32(data, i), 0xCC9E2D51), 15), 0x1B873593)
        h = add32(mul32(rotl32(h, 13), 5), 0xE6546B64)
        i += 4
    tail = 0
    for j in range(i, size):
        tail |= int(data[j]) << 8 * (j - i)
    h = h ^ mul32(rotl32(mul32(tail, 0xCC9E2D51), 15), 0x1B873593)
    return fmix32(h ^ size)


@kernel
def murmur3_x64_2words_many(a: Any, b: Any, seed: int) -> Any:
    """`murmur3_x64_2words` of each pair of `a`, `b` (uint64[n] each): uint64[n]."""
    out = np.empty(a.size, np.uint64)
    for i in range(a.size):
        out[i] = murmur3_x64_2words(a[i], b[i], seed)
    return out
