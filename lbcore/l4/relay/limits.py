"""How many at once: in all, where more have to wait; from one source, where more are refused.

Rule of this file: counts, and nobody's sockets. A count that falls to zero is forgotten, so memory is bounded by what
is open, not by who has ever been here.

Theory. The two limits protect different things. The total protects the relay: over it, clients wait in the kernel's
queue, and most of them are served a moment later. The limit by source protects clients from each other: to let a greedy
source wait in the same queue would be to let it fill that queue.
"""

from __future__ import annotations

import asyncio
from collections.abc import Hashable
from contextlib import suppress


class Room:
    """total: at once. per_source: 0 for no limit."""

    def __init__(self, total: int, per_source: int) -> None:
        self.total, self.per_source = total, per_source
        self.taken = 0
        self.by_source: dict[Hashable, int] = {}
        self._freed = asyncio.Event()

    def leave(self) -> None:
        """One has ended."""
        self.taken -= 1
        self._freed.set()

    @property
    def left(self) -> int:
        """How many more there may be."""
        return max(0, self.total - self.taken)

    async def free(self) -> None:
        """Wait until there may be one more. Who comes back takes it before the next `await`, by `taken += 1`."""
        while not self.left:
            await self.freed()

    async def freed(self, seconds: float | None = None) -> None:
        """Wait until one has ended, or for so long."""
        self._freed.clear()
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._freed.wait()

    def admit(self, source: Hashable) -> bool:
        """Count one more of this source, unless that is one too many."""
        count = self.by_source.get(source, 0)
        if self.per_source and count >= self.per_source:
            return False
        self.by_source[source] = count + 1
        return True

    def dismiss(self, source: Hashable) -> None:
        """One of an admitted source has ended."""
        self.by_source[source] -= 1
        if not self.by_source[source]:
            del self.by_source[source]
