"""Toeplitz: the hash that network cards compute to spread flows over receive queues (RSS).

Rule of this file: it hashes bytes or words under a key and keeps no state.

Theory. Slide a 32-bit window along the key, one bit for each bit of input; xor together the windows at the bits that
are set. That is a matrix product over single bits, cheap in hardware. It is also linear,
hash(x ^ y) = hash(x) ^ hash(y): the words of a header can be hashed apart and xored, and a stranger who may choose
ports can choose the queue.
Specification: Microsoft, "RSS hashing functions"; the key below is the one its verification suite uses.

Traps. Fields go in as they are in the packet, high byte first, source before destination. The key must be four bytes
longer than the input.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba.extending import register_jitable

from lbcore.jit import kernel
from lbcore.wire.portable import portable
from lbcore.wire.words import MASK32, bswap32, le32, word64

MICROSOFT_KEY = bytes.fromhex("6d5a56da255b0ec24167253d43a38fb0d0ca2bcbae7b30b477cb2da38030f20c6a42b73bbeac01fa")


@portable
def toeplitz_word(value: int, key: int, next_key: int) -> int:
    """What one 32-bit word of input adds, where the key goes on with the 32-bit words `key`, `next_key`."""
    window = word64(key << 32) | word64(next_key)
    result = word64(0)
    for bit in range(32):
        if (value >> (31 - bit)) & 1:
            result = result ^ (window >> (32 - bit))
    return result & word64(MASK32)


@portable
def big_endian(data: Any, i: int) -> int:
    """The big-endian 32-bit word at data[i:i+4], where bytes past the end count as zero."""
    if i + 4 <= len(data):
        return bswap32(le32(data, i))
    word = 0
    for j in range(i, len(data)):
        word |= int(data[j]) << 8 * (3 - (j - i))
    return word


@register_jitable
def toeplitz(data: Any, key: Any) -> int:
    """Toeplitz hash of `data` under `key` (bytes, or uint8[n] each): a 32-bit word.

    ValueError when the key is not at least four bytes longer than the data.
    """
    if len(key) < len(data) + 4:
        raise ValueError(f"key: {len(key)} bytes for {len(data)} bytes of data; it must be 4 bytes longer at least")
    result = word64(0)
    for i in range(0, len(data), 4):
        result = result ^ toeplitz_word(big_endian(data, i), big_endian(key, i), big_endian(key, i + 4))
    return result


@portable
def toeplitz_3words(a: int, b: int, c: int, k0: int, k1: int, k2: int, k3: int) -> int:
    """Three 32-bit words under the first four words of the key: an IPv4 flow (source, destination, both ports)."""
    return toeplitz_word(a, k0, k1) ^ toeplitz_word(b, k1, k2) ^ toeplitz_word(c, k2, k3)


@kernel
def toeplitz_3words_many(a: Any, b: Any, c: Any, k0: int, k1: int, k2: int, k3: int) -> Any:
    """`toeplitz_3words` of each triple of `a`, `b`, `c` (int64[n] or uint32[n] each): uint32[n]."""
    out = np.empty(a.size, np.uint32)
    for i in range(a.size):
        out[i] = toeplitz_3words(int(a[i]), int(b[i]), int(c[i]), k0, k1, k2, k3)
    return out
