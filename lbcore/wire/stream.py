"""A cursor over bytes that arrive piece by piece.

Rule of this file: it knows bytes and big-endian numbers; protocols and sockets are elsewhere.

Theory. A parser of a TCP stream must stop in the middle of any field and go on when more bytes come. Written as a
generator it needs no table of states: it reads field after field as if everything were there, and `yield`s where it
has to wait; the place where it stopped *is* the state. No byte is read twice, so a stream that drips in byte by byte
costs as much parsing as one that comes at once.

Trap. A length field says something before it is complete: if its first byte is already too high, no second byte can
help. `number` refuses at that moment, so that nobody can make a proxy hold bytes that will never be of use.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from typing import TypeAlias, TypeVar

from lbcore.wire.errors import Malformed

T = TypeVar("T")
Wait: TypeAlias = Generator[None, None, T]
"""Yields whenever more bytes are needed; returns a T."""


def arrival() -> Wait[None]:
    """Wait until somebody has appended to `Cursor.bytes`."""
    yield


class Cursor:
    """Reads fields off `bytes`, from `at` on.

    more: called when bytes run out, again and again until there are enough; a generator that appends what it can get.
    place: the offset in the input of an offset in `bytes`, for error messages.
    """

    def __init__(self, more: Callable[[], Wait[None]] = arrival, place: Callable[[int], int] = lambda at: at) -> None:
        self.bytes = bytearray()
        self.at = 0
        self.more, self.place = more, place

    def take(self, size: int) -> Wait[bytes]:
        """The next `size` bytes."""
        while len(self.bytes) - self.at < size:
            yield from self.more()
        self.at += size
        return bytes(self.bytes[self.at - size : self.at])

    def number(self, field: str, size: int, low: int, high: int, why: str) -> Wait[int]:
        """The next big-endian number, `size` bytes wide. Malformed once it cannot be within low..high any more."""
        while True:
            raw = self.bytes[self.at : self.at + size]
            missing = 8 * (size - len(raw))
            least = int.from_bytes(raw, "big") << missing
            most = least | (1 << missing) - 1
            if most < low or least > high or low > high:
                value = f"0x{raw.hex()}{'..' if missing else f' ({least})'}" if raw else "not to be had"
                raise Malformed(field, value, f"{_allowed(low, high)} ({why})", self.place(self.at))
            if not missing:
                self.at += size
                return least
            yield from self.more()


def _allowed(low: int, high: int) -> str:
    if low > high:
        return "no value fits in the bytes that are left"
    return f"must be {low}" if low == high else f"must be {low} to {high}"
