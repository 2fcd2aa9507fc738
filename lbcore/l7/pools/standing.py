"""Who is in and how far: one number for each backend, out of all that is known about it.

Rule of this file: it joins what operator, checks, requests and time say of a backend; it chooses nobody. Time is given.

Theory. Pickers want to know of a backend only how much of the traffic is its due: its weight; a part of it while it
starts slowly; nothing while it is out. These shares are worked out anew when something has happened (`changed`) or when
a moment comes that was known before (`due`: an ejection ends, a share grows), and not at every request.

Not all who are out are out alike:
- its operator wants nothing new for it, or its breaker is open: out, whatever else there is;
- its checks fail: out, unless so many do that the checks are not believed (panic);
- its requests failed: suspected, asked when nobody else is left.

Trap. Whoever comes back starts slowly, whatever had kept it out. At the very start all are there at once: no slow
start.
"""

from __future__ import annotations

from collections.abc import Sequence
from random import Random

from lbcore.l7.pools.backend import ACTIVE, DRAINING, Backend, Result, verdict
from lbcore.l7.pools.breaker import HALF_OPEN, OPEN, Breaker
from lbcore.l7.pools.health import Health
from lbcore.l7.pools.options import BreakerOptions, PoolOptions
from lbcore.l7.pools.outlier import Record
from lbcore.l7.pools.slow_start import next_step, ramp

NEVER = float("inf")


class Place:
    """All that is known of one backend. since: when its slow start began. drained: when its window ends."""

    __slots__ = ("backend", "breaker", "drained", "health", "inside", "outlier", "since")

    def __init__(self, backend: Backend, health: Health | None, outlier: Record | None) -> None:
        self.backend, self.health, self.outlier, self.breaker = backend, health, outlier, Breaker()
        self.since, self.drained = -NEVER, NEVER
        self.inside = True

    def trouble(self, panic: bool, suspects: bool = False) -> str:
        """What is wrong with it, in words; empty if nothing. suspects: a suspicion is not enough."""
        if self.breaker.state == OPEN:
            return "breaker open"
        if panic:
            return ""
        if self.health and not self.health.up:
            return f"check: {self.health.why or 'not enough good answers yet'}"
        if self.outlier and self.outlier.until and not suspects:
            return f"ejected: {self.outlier.why}"
        return ""

    def out(self, panic: bool, suspects: bool = False) -> str:
        """Why it gets nothing new; empty if it does."""
        if self.backend.state != ACTIVE:
            return self.backend.state
        return self.trouble(panic, suspects) if self.backend.weight else "weight 0"


class Standing:
    """All places of a pool. Lists by number of backend:

    shares: what is due to each. suspects: the same with those who are only suspected. limits: requests in flight.
    """

    def __init__(self, options: PoolOptions, backends: Sequence[Backend], random: Random, now: float) -> None:
        self.options = options
        self.places = {
            backend: Place(
                backend,
                Health(options.health, random, now) if options.health else None,
                Record(options.outlier) if options.outlier else None,
            )
            for backend in backends
        }
        self.panic = False
        self.due = -NEVER
        """When shares are to be worked out next."""
        self.shares: list[float] = []
        self.suspects: list[float] = []
        self.limits: list[float] = []
        self._most = (options.breaker or BreakerOptions()).active or NEVER
        self._trials = min((options.breaker or BreakerOptions()).trials, self._most)

    def changed(self) -> None:
        """Work out the shares before the next pick."""
        self.due = -NEVER

    def work_out(self, now: float) -> None:
        """What is due to each, and until when that holds."""
        places, slow = self.places.values(), self.options.slow_start
        for place in places:
            place.breaker.pass_time(now, place.backend.active)
            if place.outlier:
                place.outlier.pass_time(now)
        self.panic = self._in_panic()
        self.shares, self.suspects, self.limits, self.due = [], [], [], NEVER
        for place in places:
            was_inside, place.inside = place.inside, place.out(self.panic) == ""
            if place.inside and not was_inside:
                place.since = now
            if place.backend.state == ACTIVE:
                place.drained = NEVER
            share = place.backend.weight * ramp(slow, place.since, now)
            self.shares.append(share if place.inside else 0.0)
            self.suspects.append(0.0 if place.out(self.panic, suspects=True) else share)
            trials = min(self._trials + place.breaker.left, self._most)
            self.limits.append(trials if place.breaker.state == HALF_OPEN else self._most)
            self.due = min(self.due, place.breaker.next_change(), next_step(slow, place.since, now))
            if place.outlier:
                self.due = min(self.due, place.outlier.next_change())

    def serves_its_own(self, backend: Backend, now: float) -> bool:
        """May those who are stuck to it go there? While it drains, until the window ends; and without any weight."""
        place = self.places[backend]
        wanted = backend.state == ACTIVE or (backend.state == DRAINING and now < place.drained)
        return wanted and not place.trouble(self.panic) and backend.active < self.limits[backend.number]

    def judge(self, backend: Backend, result: Result, began: float, now: float) -> None:
        """What the end of an attempt that began then says of it."""
        place, options = self.places[backend], self.options
        if options.breaker:
            good = verdict(result, options.breaker.statuses)
            if place.breaker.result(options.breaker, good, began, now):
                self.changed()
        if options.outlier and place.outlier:
            good = verdict(result, options.outlier.statuses)
            why = "" if good is None else place.outlier.result(options.outlier, good, now)
            if why and self._room_for_one_more(options.outlier.most, now):
                place.outlier.eject(options.outlier, why, now)
                self.changed()

    def take_over(self, old: Standing, heirs: dict[Backend, Backend], now: float) -> None:
        """Go on with what another knew, of whose backends these are the heirs. The others start slowly."""
        for place in self.places.values():
            place.since = now
        for before, backend in heirs.items():
            place, known = self.places[backend], old.places[before]
            backend.state = before.state
            place.since, place.drained, place.inside = known.since, known.drained, known.inside
            if place.health and known.health:
                place.health.take_over(known.health, now)
            if place.outlier and known.outlier:
                place.outlier.take_over(known.outlier)
            if self.options.breaker and old.options.breaker:
                place.breaker.take_over(known.breaker)
        self.changed()

    def _in_panic(self) -> bool:
        """Are so few in working order that nobody's verdict is believed?"""
        if not self.options.panic:
            return False
        wanted = [place for place in self.places.values() if place.backend.state == ACTIVE and place.backend.weight]
        good = [p for p in wanted if not (p.health and not p.health.up) and not (p.outlier and p.outlier.until)]
        return len(good) < self.options.panic * len(wanted)

    def _room_for_one_more(self, most: float, now: float) -> bool:
        """Would one more ejection leave it at `most` of all, rounded down?"""
        out = sum(place.outlier is not None and place.outlier.until > now for place in self.places.values())
        return out + 1 <= int(most * len(self.places))
