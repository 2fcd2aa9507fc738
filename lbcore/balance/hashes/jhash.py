"""jhash: Bob Jenkins' lookup3 as the Linux kernel has it, and so IPVS, Katran and many flow tables.

Rule of this file: it hashes bytes or 32-bit words and keeps no state.

Theory. Three 32-bit words of state take in three words of input at a time; `mix` is reversible and lets every bit
reach every other; `final` does so once more, only harder, for the last one to twelve bytes. Everything fits in three
registers and there is no multiplication. Reference: Jenkins, lookup3.c; linux/jhash.h.

Traps. The last block is not mixed and then finished, only finished, even when it is full. No input at all skips even
that. And 32 bits go in and come out: two hashes with two `initval`s when 64 are wanted.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from lbcore.jit import kernel
from lbcore.wire.portable import portable
from lbcore.wire.words import MASK32, add32, le32, rotl32, sub32

GOLDEN = 0xDEADBEEF  # JHASH_INITVAL: an arbitrary number that is not 0


@portable
def mix(a: int, b: int, c: int) -> tuple[int, int, int]:
    """Between blocks of twelve bytes."""
    a, c = sub32(a, c) ^ rotl32(c, 4), add32(c, b)
    b, a = sub32(b, a) ^ rotl32(a, 6), add32(a, c)
    c, b = sub32(c, b) ^ rotl32(b, 8), add32(b, a)
    a, c = sub32(a, c) ^ rotl32(c, 16), add32(c, b)
    b, a = sub32(b, a) ^ rotl32(a, 19), add32(a, c)
    c, b = sub32(c, b) ^ rotl32(b, 4), add32(b, a)
    return a, b, c


@portable
def final(a: int, b: int, c: int) -> int:
    """After the last block: the hash."""
    c = sub32(c ^ b, rotl32(b, 14))
    a = sub32(a ^ c, rotl32(c, 11))
    b = sub32(b ^ a, rotl32(a, 25))
    c = sub32(c ^ b, rotl32(b, 16))
    a = sub32(a ^ c, rotl32(c, 4))
    b = sub32(b ^ a, rotl32(a, 14))
    return sub32(c ^ b, rotl32(b, 24))


@portable
def some_bytes(data: Any, start: int, stop: int) -> int:
    """The little-endian word of data[start:stop], at most four bytes of it; 0 when there are none."""
    word = 0
    for i in range(start, min(stop, start + 4)):
        word |= int(data[i]) << 8 * (i - start)
    return word


@portable
def jhash(data: Any, initval: int) -> int:
    """Linux's jhash() of `data` (bytes, or uint8[n]; any n), `initval` 32 bits: a 32-bit word.

    Words are read little-endian, as on the machines that Linux balancers run on.
    """
    size = len(data)
    a = b = c = (GOLDEN + size + initval) & MASK32
    if size == 0:
        return c
    i = 0
    while i + 12 < size:
        a, b, c = mix(add32(a, le32(data, i)), add32(b, le32(data, i + 4)), add32(c, le32(data, i + 8)))
        i += 12
    a = add32(a, some_bytes(data, i, size))
    b = add32(b, some_bytes(data, i + 4, size))
    return final(a, b, add32(c, some_bytes(data, i + 8, size)))


@portable
def jhash2(words: Any, initval: int) -> int:
    """Linux's jhash2() of an array of 32-bit words (uint32[n], or any sequence of integers): a 32-bit word."""
    size = len(words)
    a = b = c = (GOLDEN + 4 * size + initval) & MASK32
    if size == 0:
        return c
    i = 0
    while i + 3 < size:
        a, b, c = mix(add32(a, int(words[i])), add32(b, int(words[i + 1])), add32(c, int(words[i + 2])))
        i += 3
    a = add32(a, int(words[i]))
    b = add32(b, int(words[i + 1])) if i + 1 < size else b
    c = add32(c, int(words[i + 2])) if i + 2 < size else c
    return final(a, b, c)


# The packet path's forms: one to three 32-bit words, nothing read from memory.
@portable
def jhash_3words(a: int, b: int, c: int, initval: int) -> int:
    """Linux's jhash_3words(): three 32-bit words."""
    base = (GOLDEN + 12 + initval) & MASK32
    return final(add32(base, a), add32(base, b), add32(base, c))


@portable
def jhash_2words(a: int, b: int, initval: int) -> int:
    """Linux's jhash_2words(): two 32-bit words, in Katran the source address and both ports."""
    base = (GOLDEN + 8 + initval) & MASK32
    return final(add32(base, a), add32(base, b), base)


@portable
def jhash_1word(a: int, initval: int) -> int:
    """Linux's jhash_1word(): one 32-bit word."""
    base = (GOLDEN + 4 + initval) & MASK32
    return final(add32(base, a), base, base)


@portable
def jhash_4words(a: int, b: int, c: int, d: int, initval: int) -> int:
    """jhash2() of four 32-bit words: an IPv6 address."""
    base = (GOLDEN + 16 + initval) & MASK32
    a, b, c = mix(add32(base, a), add32(base, b), add32(base, c))
    return final(add32(a, d), b, c)


@kernel
def jhash_3words_many(a: Any, b: Any, c: Any, initval: int) -> Any:
    """`jhash_3words` of each triple of `a`, `b`, `c` (int64[n] or uint32[n] each): uint32[n]."""
    out = np.empty(a.size, np.uint32)
    for i in range(a.size):
        out[i] = jhash_3words(int(a[i]), int(b[i]), int(c[i]), initval)
    return out
