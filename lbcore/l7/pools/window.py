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

    __slots__ = ("_at", "_counts", "_end", "_part", "sums")

    def __init__(self, span: float, kinds: int = 1, parts: int = 10) -> None:
        self.sums = [0] * kinds
        self._counts = [[0] * kinds for _ in range(parts)]
        self._part = span / parts
        self._at, self._end = 0, float("-inf")

    def add(self, kind: int, now: float) -> None:
        """One more of that kind."""
        if now >= self._end:
            self.roll(now)
        self._counts[self._at][kind] += 1
        self.sums[kind] += 1

    def roll(self, now: float) -> None:
        """Forget what is too long ago."""
        if now < self._end:
            return
        passed = min((now - self._end) / self._part + 1, len(self._counts))
        for _ in range(int(passed)):
            self._at = (self._at + 1) % len(self._counts)
            for kind, count in enumerate(self._counts[self._at]):
                self.sums[kind] -= count
                self._counts[self._at][kind] = 0
        behind = now - self._end
        self._end = self._end + (behind // self._part + 1) * self._part if behind < float("inf") else now + self._part
        if self._end <= now:  # so far from zero that a part is below the clock's last digit
            self._end = now + self._part

    def clear(self) -> None:
        """Forget everything."""
        self.sums = [0] * len(self.sums)
        for counts in self._counts:
            counts[:] = [0] * len(counts)
