"""SpookyHash V2, for messages of up to 191 bytes: how Katran's control plane names IPv6 backends.

Rule of this file: it hashes bytes and keeps no state.

Theory. Four 64-bit words of state take in 32 bytes a round and are stirred by rotations and additions alone, no
multiplication. Reference: Bob Jenkins, SpookyHash (public domain). Only its short form is here: longer messages are
hashed another way, and nobody's address is that long.
"""

from __future__ import annotations

from lbcore.wire.words import MASK64, rotl64

MARK = 0xDEADBEEFDEADBEEF  # neither 0 nor regular
MIX = (50, 52, 30, 41, 54, 48, 38, 37, 62, 34, 5, 36)
END = (15, 52, 26, 51, 28, 9, 47, 54, 32, 25, 63)
LONGEST = 191


def spooky128(data: bytes, seed1: int = 0, seed2: int = 0) -> tuple[int, int]:
    """The two 64-bit words of a message's hash. ValueError above 191 bytes."""
    if len(data) > LONGEST:
        raise ValueError(f"{len(data)} bytes: the short form takes at most {LONGEST}")
    state = [seed1, seed2, MARK, MARK]
    whole, rest = divmod(len(data), 32)
    words = [int.from_bytes(data[at : at + 8], "little") for at in range(0, len(data) + 16, 8)]
    for block in range(whole):
        _add(state, (0, 0, *words[4 * block : 4 * block + 2]))
        _mix(state)
        _add(state, words[4 * block + 2 : 4 * block + 4])
    at = 4 * whole
    if rest >= 16:
        _add(state, (0, 0, *words[at : at + 2]))
        _mix(state)
        at, rest = at + 2, rest - 16
    _add(state, (0, 0, 0, len(data) << 56))
    _add(state, (0, 0, *(words[at : at + 2] if rest else (MARK, MARK))))
    _end(state)
    return state[0], state[1]


def _add(state: list[int], words: tuple[int, ...] | list[int]) -> None:
    for i, word in enumerate(words):
        state[i] = (state[i] + word) & MASK64


def _mix(h: list[int]) -> None:
    for i, turn in enumerate(MIX):
        a, b, c = (i + 2) % 4, (i + 3) % 4, i % 4
        h[a] = (rotl64(h[a], turn) + h[b]) & MASK64
        h[c] ^= h[a]


def _end(h: list[int]) -> None:
    for i, turn in enumerate(END):
        a, b = (i + 3) % 4, (i + 2) % 4
        h[a] ^= h[b]
        h[b] = rotl64(h[b], turn)
        h[a] = (h[a] + h[b]) & MASK64
