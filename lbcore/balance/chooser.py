"""One by one, in Python: any way of choosing, asked for somebody who may be asked.

Rule of this file: it knows numbers of backends, their shares and how busy they are; why a share is what it is (weight,
health, draining, a slow start) is the caller's business, and so is counting.

Theory. Whatever keeps a backend from being asked is said by one list: `shares`, its weight as it is now, 0 for not at
all. Schedulers take it as their weights and never name a zero. Pickers by key have a table made of the full weights,
which is left alone: a choice stands unless its backend has no share; then the key is hashed once more and the table
asked again, so that keys of the other backends stay where they are and every balancer of a fleet comes to the same
second choice. A backend with part of its weight gets that part of its keys, the same ones on every balancer.

Traps
- After `TRIES` questions a key is dealt out among those left, without weights: with nearly all gone, that is all
  there is to say. It is still the same choice everywhere.
- Shares are lists of float, not arrays: to read one number, Python takes three times as long out of numpy's.
- Round robin and jump know no weights: any share over 0 is a whole one to round robin.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Sequence
from itertools import accumulate
from random import Random as Generator
from typing import Any, Protocol

from lbcore.balance.hashes import xxhash64_word
from lbcore.balance.jump import Jump, jump
from lbcore.balance.least_connections import least_loaded
from lbcore.balance.maglev import Maglev
from lbcore.balance.rendezvous import Rendezvous
from lbcore.balance.ring import Ring
from lbcore.balance.round_robin import smooth_turn
from lbcore.wire.words import MASK32

TABLE = 4099  # slots of a Maglev table: prime, over 100 for each of 40 backends
TRIES = 8
NOBODY = -1


class Chooser(Protocol):
    """key: 64 bits, for those who choose by key. shares, active: float and int for each backend, by number."""

    def choose(self, key: int, shares: Sequence[float], active: Sequence[int]) -> int:
        """The number of a backend whose share is over 0; NOBODY if there is none."""
        ...


class Turns(Chooser):
    """Round robin."""

    def __init__(self) -> None:
        self._next = 0

    def choose(self, key: int, shares: Sequence[float], active: Sequence[int]) -> int:
        """Whose turn it is."""
        count = len(shares)
        for _ in shares:
            number = self._next
            self._next = number + 1 if number + 1 < count else 0
            if shares[number] > 0:
                return number
        return NOBODY


class SmoothTurns(Chooser):
    """Smooth weighted round robin. Who has no share neither gains credit nor loses it."""

    def __init__(self, count: int) -> None:
        self._credit = [0.0] * count

    def choose(self, key: int, shares: Sequence[float], active: Sequence[int]) -> int:
        """Whose turn it is."""
        return smooth_turn(self._credit, shares) if any(shares) else NOBODY


class LeastActive(Chooser):
    """Least connections, or requests: the lowest active / share; equals take turns."""

    def __init__(self) -> None:
        self._start = 0

    def choose(self, key: int, shares: Sequence[float], active: Sequence[int]) -> int:
        """The least busy."""
        number = self._start
        if active[number] or not shares[number] > 0:  # otherwise it is idle, and nobody is less busy than that
            number = least_loaded(active, shares, number)
        if number >= 0:
            self._start = (number + 1) % len(shares)
        return number


class TwoDraws(Chooser):
    """The power of two choices: the lower active / share of two that were drawn, the first of equals."""

    def __init__(self, random: Generator) -> None:
        self._draw = random.random

    def choose(self, key: int, shares: Sequence[float], active: Sequence[int]) -> int:
        """The less busy of two."""
        one, other = self._two(len(shares))
        if not (shares[one] > 0 and shares[other] > 0):
            left = [i for i, share in enumerate(shares) if share > 0]
            if not left:
                return NOBODY
            one, other = (left[place] for place in self._two(len(left)))
        return one if active[one] * shares[other] <= active[other] * shares[one] else other

    def _two(self, count: int) -> tuple[int, int]:
        """Two numbers below `count` that differ (if count is over 1)."""
        one = int(self._draw() * count)
        other = int(self._draw() * (count - 1))
        return one, other + 1 if other >= one and count > 1 else other


class Drawn(Chooser):
    """At random, in proportion to the shares."""

    def __init__(self, random: Generator) -> None:
        self._draw = random.random

    def choose(self, key: int, shares: Sequence[float], active: Sequence[int]) -> int:
        """Whoever is drawn."""
        sums = list(accumulate(shares))
        if sums[-1] <= 0:
            return NOBODY
        number = bisect_right(sums, self._draw() * sums[-1])
        return number if number < len(sums) else bisect_left(sums, sums[-1])  # the product was rounded up to the sum


class ByKey(Chooser):
    """A table made of the full weights, by way of its `pick(hash64)`; passed over where a share is missing."""

    def __init__(self, pick: Callable[[int], int], weights: Sequence[float]) -> None:
        self._pick, self._weights = pick, tuple(weights)

    def choose(self, key: int, shares: Sequence[float], active: Sequence[int]) -> int:
        """The key's own backend, or its next choice."""
        number = self._pick(key)
        if shares[number] >= self._weights[number] > 0:
            return number
        own = key
        for attempt in range(1, TRIES + 1):
            drawn = (xxhash64_word(own, TRIES + 1 + number) >> 11) * 2.0**-53  # the same whenever these two meet
            if drawn * self._weights[number] < shares[number]:
                return number
            key = xxhash64_word(key, attempt)
            number = self._pick(key)
        left = [i for i, share in enumerate(shares) if share > 0]
        return left[jump(key, len(left))] if left else NOBODY


def _ring(ring: Ring) -> Callable[[int], int]:
    """`ring.pick` by the standard library's search: a tenth of the time, one key at a time."""
    points, owners = ring.points.tolist(), ring.owners.tolist()
    points.append(1 << 32)  # past the top
    owners.append(owners[0])
    return lambda key: owners[bisect_left(points, key & MASK32)]  # type: ignore[no-any-return]


def _maglev(maglev: Maglev) -> Callable[[int], int]:
    """`maglev.pick` out of a list."""
    table: list[int] = maglev.table.tolist()
    size = maglev.size
    return lambda key: table[key % size]


Make = Callable[[Sequence[str], Sequence[float], Generator], Chooser]
CHOOSERS: dict[str, Make] = {
    "round_robin": lambda names, weights, random: Turns(),
    "smooth_weighted": lambda names, weights, random: SmoothTurns(len(names)),
    "least_connections": lambda names, weights, random: LeastActive(),
    "power_of_two": lambda names, weights, random: TwoDraws(random),
    "random": lambda names, weights, random: Drawn(random),
    "maglev": lambda names, weights, _: ByKey(_maglev(Maglev(names, size=TABLE, weights=weights)), weights),
    "ring": lambda names, weights, _: ByKey(_ring(Ring(names, weights)), weights),
    "rendezvous": lambda names, weights, _: ByKey(Rendezvous(names, weights).pick, weights),
    "jump": lambda names, weights, _: ByKey(Jump(names).pick, weights),
}
BY_KEY = ("maglev", "ring", "rendezvous", "jump")
"""Those that look at the key; to the others it is nothing."""
WITHOUT_WEIGHTS = ("round_robin", "jump")


def make(picker: str, names: Sequence[str], weights: Sequence[float], random: Any = None) -> Chooser:
    """The chooser of that name. ValueError for names or weights that cannot be (`balance.pool` says what can).

    Weights that are all 0 are taken as all 1: the table does not matter then, for nobody has a share.
    """
    if picker not in CHOOSERS:
        raise ValueError(f"picker: {picker!r} is none; take one of {', '.join(CHOOSERS)}")
    return CHOOSERS[picker](names, weights if any(weights) else [1.0] * len(names), random or Generator())
