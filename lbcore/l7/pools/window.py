"""How many in the last seconds, in constant memory.

Rule of this file: it counts, and is told the time.

Theory. The span is cut into parts; each has a counter, and the oldest is thrown away when a new part begins. So the
counts reach back between (parts - 1) / parts of the span and all of it: never further.
"""

from __future__ import annotations


class Window:
    """Counts of `kinds` kinds of events in the last `span` seconds.

    sums: of each kind, as of the last call. A clock that goes back counts into the part that is open.
    """

    __slots__ = ("_counts", "_end", "_open", "_part", "_width", "sums")

    def __init__(self, span: float, kinds: int = 1, parts: int = 10) -> None:
        self.sums = [0] * kinds
        self._counts = [[0] * kinds for _ in range(parts)]
        self._width = span / parts
        self._open = self._counts[0]
        self._part = 0  # that is open, counted from the clock's zero: whole numbers, so that no part is skipped
        self._end = float("-inf")

    def add(self, kind: int, now: float) -> None:
        """One more of that kind."""
        if now >= self._end:
            self.roll(now)
        self._open[kind] += 1
        self.sums[kind] += 1

    def roll(self, now: float) -> None:
        """Forget what is too long ago."""
        part, parts = int(now / self._width), len(self._counts)
        for passed in range(max(self._part, part - parts) + 1, part + 1):
            counts = self._counts[passed % parts]
            for kind, count in enumerate(counts):
                self.sums[kind] -= count
                counts[kind] = 0
        self._part = max(self._part, part)
        self._open, self._end = self._counts[self._part % parts], (self._part + 1) * self._width

    def clear(self) -> None:
        """Forget everything."""
        self.sums = [0] * len(self.sums)
        for counts in self._counts:
            counts[:] = [0] * len(counts)
