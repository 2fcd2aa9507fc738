"""xxHash64: a fast hash without a key. Envoy hashes its backends with it, and so does our Maglev.

Rule of this file: it hashes bytes or words and keeps no state.

Theory. Four lanes eat 32 bytes a round, each with a multiply, a rotate and a multiply; the lanes are merged, the tail
is stirred in 8, 4 and 1 bytes at a time, and the avalanche at the end spreads every input bit over the whole word.
Specification: the xxHash document, "XXH64 algorithm description".

Trap. Fast is not safe: who may choose keys can choose keys that collide. Flow tables open to strangers want SipHash.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from lbcore.jit import kernel
from lbcore.wire.portable import portable
from lbcore.wire.words import add64, le32, le64, mul64, rotl64, word64

Words = npt.NDArray[np.uint64]

P1 = 0x9E3779B185EBCA87
P2 = 0xC2B2AE3D27D4EB4F
P3 = 0x165667B19E3779F9
P4 = 0x85EBCA77C2B2AE63
P5 = 0x27D4EB2F165667C5


@portable
def lane(state: int, word: int) -> int:
    """One lane after one 8-byte word."""
    return mul64(rotl64(add64(state, mul64(word, word64(P2))), 31), word64(P1))


@portable
def merge(state: int, one_lane: int) -> int:
    """The lanes come together: one lane stirred into the state."""
    return add64(mul64(state ^ lane(word64(0), one_lane), word64(P1)), word64(P4))


@portable
def stir(state: int, word: int) -> int:
    """Eight bytes that did not fill a round of four lanes."""
    return add64(mul64(rotl64(state ^ lane(word64(0), word), 27), word64(P1)), word64(P4))


@portable
def avalanche(state: int) -> int:
    """The last step: every bit of the state reaches every bit of the hash."""
    state = mul64(state ^ (state >> 33), word64(P2))
    state = mul64(state ^ (state >> 29), word64(P3))
    return state ^ (state >> 32)


@portable
def xxhash64(data: Any, seed: int) -> int:
    """xxHash64 of `data` (bytes, or uint8[n]; any n) under the 64-bit `seed`: a 64-bit word."""
    size = len(data)
    i = 0
    state = add64(word64(seed), word64(P5))
    if size >= 32:
        v1 = add64(add64(word64(seed), word64(P1)), word64(P2))
        v2 = add64(word64(seed), word64(P2))
        v3 = word64(seed)
        v4 = add64(word64(seed), word64(-P1))
        while i + 32 <= size:
            v1 = lane(v1, le64(data, i))
            v2 = lane(v2, le64(data, i + 8))
            v3 = lane(v3, le64(data, i + 16))
            v4 = lane(v4, le64(data, i + 24))
            i += 32
        state = add64(add64(rotl64(v1, 1), rotl64(v2, 7)), add64(rotl64(v3, 12), rotl64(v4, 18)))
        state = merge(merge(merge(merge(state, v1), v2), v3), v4)
    state = add64(state, word64(size))
    while i + 8 <= size:
        state = stir(state, le64(data, i))
        i += 8
    if i + 4 <= size:
        state = add64(mul64(rotl64(state ^ mul64(word64(le32(data, i)), word64(P1)), 23), word64(P2)), word64(P3))
        i += 4
    while i < size:
        state = mul64(rotl64(state ^ mul64(word64(int(data[i])), word64(P5)), 11), word64(P1))
        i += 1
    return avalanche(state)


@portable
def xxhash64_word(a: int, seed: int) -> int:
    """xxHash64 of the eight little-endian bytes of the 64-bit word `a`: the packet path's form, no memory touched."""
    return avalanche(stir(add64(add64(word64(seed), word64(P5)), word64(8)), word64(a)))


def xxhash64_word_many(a: Words, seed: int) -> Words:
    """`xxhash64_word` of each of `a` (uint64[n]) under the 64-bit `seed`: uint64[n]."""
    return each_word(a, np.uint64(seed))  # type: ignore[no-any-return]


@kernel
def each_word(a: Any, seed: Any) -> Any:
    """The compiled loop; the seed as uint64, for numba takes a Python int for int64."""
    out = np.empty(a.size, np.uint64)
    for i in range(a.size):
        out[i] = xxhash64_word(a[i], seed)
    return out
