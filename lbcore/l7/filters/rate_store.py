"""Token buckets: how much each key has left, and where that is kept.

Rule of this file: arithmetic and a table; who is asked about which key is `rate_limit`.

Theory. A bucket of `burst` tokens fills at `rate` tokens a second; a request takes one or is refused. It is enough to
keep one number for each bucket: the time at which it will be full again (the generic cell rate algorithm of ATM, ITU-T
I.371). A request moves that time on by 1/rate; if it then lies more than burst/rate ahead, there was no token. A bucket
that is full needs no entry, so forgetting it changes nothing.

Traps
- A refused request takes nothing: who keeps on asking gets `rate`, not nothing.
- The table is bounded; the bucket that was asked longest ago goes first. Whoever can make up keys can push others out,
  who then have a full bucket again: the bound must be above the number of keys that matter.
- Each process has its own table: n processes let n times as much through. A shared store does not.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Awaitable, Callable
from typing import Protocol


def left(debt: float, rate: float) -> float:
    """Tokens, perhaps a part of one, that are in a bucket after `take` gave this answer."""
    return -debt * rate if debt <= 0 else 1 - debt * rate


class Unreachable(Exception):
    """The store does not answer."""


class Store(Protocol):
    """Where buckets are kept."""

    def take(self, key: bytes) -> float | Awaitable[float]:
        """Take a token of this bucket if it has one. Unreachable, at once or when awaited: it cannot be asked.

        The answer is the bucket's debt in seconds. Above 0: it has no token for so long. Else one was taken, and what
        is left took so long to come.
        """
        ...

    def close(self) -> None:
        """Let go of everything."""
        ...


class Memory:
    """A table of this process. `clock` counts seconds and never goes back."""

    def __init__(self, rate: float, burst: int, limit: int, clock: Callable[[], float]) -> None:
        self._step, self._depth = 1 / rate, burst / rate
        self._limit, self._clock = limit, clock
        self._full_at: OrderedDict[bytes, float] = OrderedDict()

    def __len__(self) -> int:
        return len(self._full_at)

    def take(self, key: bytes) -> float:
        """See Store."""
        now, table = self._clock(), self._full_at
        full_at = table.get(key)
        if full_at is None:
            if len(table) >= self._limit:
                table.popitem(last=False)
            full_at = now
        else:
            table.move_to_end(key)
            if full_at < now:
                full_at = now
        after = full_at + self._step
        debt = after - now - self._depth
        if debt > 1e-9:  # of clocks that count in floats
            return debt
        table[key] = after
        return debt if debt < 0 else 0.0

    def close(self) -> None:
        """See Store."""
        self._full_at.clear()
