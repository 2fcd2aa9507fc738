"""SipHash-2-4: the hash for keys that strangers choose.

Rule of this file: it hashes bytes or words under a 128-bit key and keeps no state.

Theory (Aumasson and Bernstein, "SipHash: a fast short-input PRF", 2012). Four 64-bit words start from the key and
four constants. Each 8-byte word of input goes in at one end (v3), is mixed by two rounds of add, rotate and xor, and
goes in again at the other (v0); the last word carries the length in its top byte, and four rounds finish. Who does not
know the key cannot steer flows into one bucket: that is what a hash table open to the Internet needs.

Trap. The key must be random and secret. With a key everybody knows, this is only a slow hash.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from lbcore.jit import kernel
from lbcore.wire.portable import portable
from lbcore.wire.words import add64, le64, rotl64, word64

State = tuple[int, int, int, int]
Words = npt.NDArray[np.uint64]


def key_words(key: bytes) -> tuple[int, int]:
    """(k0, k1) of a 16-byte key: its halves as little-endian words."""
    if len(key) != 16:
        raise ValueError(f"key: {len(key)} bytes given; a SipHash key has 16")
    return le64(key, 0), le64(key, 8)


@portable
def sip_round(v0: int, v1: int, v2: int, v3: int) -> State:
    """One SipRound."""
    v0, v2 = add64(v0, v1), add64(v2, v3)
    v1, v3 = rotl64(v1, 13) ^ v0, rotl64(v3, 16) ^ v2
    v0 = rotl64(v0, 32)
    v2, v0 = add64(v2, v1), add64(v0, v3)
    v1, v3 = rotl64(v1, 17) ^ v2, rotl64(v3, 21) ^ v0
    return v0, v1, rotl64(v2, 32), v3


@portable
def start(k0: int, k1: int) -> State:
    """The state before any input: the key over "somepseudorandomlygeneratedbytes"."""
    return (
        word64(k0) ^ word64(0x736F6D6570736575),
        word64(k1) ^ word64(0x646F72616E646F6D),
        word64(k0) ^ word64(0x6C7967656E657261),
        word64(k1) ^ word64(0x7465646279746573),
    )


@portable
def absorb(state: State, word: int) -> State:
    """The state after one more word of input: the 2 of SipHash-2-4."""
    v0, v1, v2, v3 = state
    v0, v1, v2, v3 = sip_round(v0, v1, v2, v3 ^ word)
    v0, v1, v2, v3 = sip_round(v0, v1, v2, v3)
    return v0 ^ word, v1, v2, v3


@portable
def finish(state: State) -> int:
    """The hash: the 4 of SipHash-2-4."""
    v0, v1, v2, v3 = state
    v0, v1, v2, v3 = sip_round(v0, v1, v2 ^ word64(0xFF), v3)
    v0, v1, v2, v3 = sip_round(v0, v1, v2, v3)
    v0, v1, v2, v3 = sip_round(v0, v1, v2, v3)
    v0, v1, v2, v3 = sip_round(v0, v1, v2, v3)
    return v0 ^ v1 ^ v2 ^ v3


@portable
def siphash24(data: Any, k0: int, k1: int) -> int:
    """SipHash-2-4 of `data` (bytes, or uint8[n]; any n) under the key words k0, k1: a 64-bit word."""
    size = len(data)
    state = start(k0, k1)
    i = 0
    while i + 8 <= size:
        state = absorb(state, le64(data, i))
        i += 8
    last = word64((size & 0xFF) << 56)
    for j in range(i, size):
        last = last | word64(int(data[j]) << 8 * (j - i))
    return finish(absorb(state, last))


# The packet path's forms: the words a header gives, as siphash24 would hash their little-endian bytes.
@portable
def siphash24_2words(a: int, b: int, k0: int, k1: int) -> int:
    """Two 64-bit words: an IPv4 flow (both addresses; both ports and the protocol)."""
    state = absorb(absorb(start(k0, k1), word64(a)), word64(b))
    return finish(absorb(state, word64(16 << 56)))


@portable
def siphash24_4words(a: int, b: int, c: int, d: int, k0: int, k1: int) -> int:
    """Four 64-bit words: two IPv6 addresses."""
    state = absorb(absorb(start(k0, k1), word64(a)), word64(b))
    state = absorb(absorb(state, word64(c)), word64(d))
    return finish(absorb(state, word64(32 << 56)))


@portable
def siphash24_5words(a: int, b: int, c: int, d: int, e: int, k0: int, k1: int) -> int:
    """Five 64-bit words: an IPv6 flow (both addresses; both ports and the protocol)."""
    state = absorb(absorb(start(k0, k1), word64(a)), word64(b))
    state = absorb(absorb(absorb(state, word64(c)), word64(d)), word64(e))
    return finish(absorb(state, word64(40 << 56)))


def siphash24_2words_many(a: Words, b: Words, k0: int, k1: int) -> Words:
    """`siphash24_2words` of each pair of `a`, `b` (uint64[n] each): uint64[n]."""
    return each_2words(a, b, np.uint64(k0), np.uint64(k1))  # type: ignore[no-any-return]


@kernel
def each_2words(a: Any, b: Any, k0: Any, k1: Any) -> Any:
    """The compiled loop; the key as uint64, for numba takes a Python int for int64 and half of all keys do not fit."""
    out = np.empty(a.size, np.uint64)
    for i in range(a.size):
        out[i] = siphash24_2words(a[i], b[i], k0, k1)
    return out
