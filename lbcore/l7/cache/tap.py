"""A body that passes, and is listened to.

Rule of this file: it keeps what passes until it is whole, or too much; it delays nothing and changes nothing.

Traps. What broke off is never stored. And what is on its way takes memory too: `Room` bounds all of it together, or a
thousand clients that each ask for something large have a thousand times the largest.
"""

from __future__ import annotations

from collections.abc import Callable


class Room:
    """Bytes on their way into the store, of all taps together; at most `limit`."""

    def __init__(self, limit: int) -> None:
        self.limit, self.used = limit, 0

    def take(self, size: int) -> bool:
        """So many more. False: there is no room for them."""
        if self.used + size > self.limit:
            return False
        self.used += size
        return True


class Tap:
    """whole(body): it passed. lost(why): it will not: `too_large` (for itself or for the room), or `broken`."""

    def __init__(self, room: Room, largest: int, whole: Callable[[bytes], None], lost: Callable[[str], None]) -> None:
        self._room, self._largest, self._whole, self._lost = room, largest, whole, lost
        self._pieces: list[bytes] | None = []
        self._size = 0

    def feed(self, data: bytes) -> bytes:
        if self._pieces is not None and data:
            if self._size + len(data) <= self._largest and self._room.take(len(data)):
                self._pieces.append(data)
                self._size += len(data)
            else:
                self._empty()
                self._lost("too_large")
        return data

    def finish(self) -> bytes:
        if self._pieces is not None:
            self._whole(self._empty())
        return b""

    def abort(self) -> None:
        if self._pieces is not None:
            self._empty()
            self._lost("broken")

    def _empty(self) -> bytes:
        body = b"".join(self._pieces or ())
        self._room.used -= self._size
        self._pieces, self._size = None, 0
        return body
