"""Ejection: a backend that fails real requests is left out for a while.

Rule of this file: one backend's record. Who may be out at the same time as others is the pool's to say. Time is given.

Theory. Active checks find out that a backend is gone, by asking something of their own every few seconds. Requests
find out at once, and they ask what clients ask. But they tell of the client as well (a request that always fails,
everywhere), so that ejection ends by itself and there is a cap on it: `most` of a pool.

Traps
- A backend that refuses at once looks idle, and least connections sends it everything: this is what takes it out.
- When all fail alike, none is an outlier. With the cap, as many as it allows go out all the same; they come back.
"""

from __future__ import annotations

import math

from lbcore.l7.pools.checks import Checked, at_least, each_status, seconds, share, want
from lbcore.l7.pools.window import Window

GOOD, BAD = 0, 1


class OutlierOptions(Checked, frozen=True, kw_only=True):
    """Passive checks: real requests say who fails.

    consecutive: failures in a row that eject, 0 for never. rate: share of failures in the last `window` seconds that
    ejects, once there were `requests`; 0 for never. statuses: those that count as failures, as errors always do.
    ejection: seconds of the first, times n for the n-th, at most `longest`; every `ejection` seconds in the pool
    forgive one. most: share of the pool that may be out at once, rounded down: a lone backend is never ejected.
    """

    consecutive: int = 5
    rate: float = 0.0
    requests: int = 20
    """How many there must have been before `rate` says anything."""
    window: float = 10.0
    """Seconds that `rate` looks back."""
    statuses: tuple[int, ...] = (502, 503, 504)
    ejection: float = 30.0
    longest: float = 300.0
    """Seconds of an ejection at most."""
    most: float = 0.5

    def __post_init__(self) -> None:
        at_least(0, consecutive=self.consecutive)
        at_least(1, requests=self.requests)
        share(self.rate, "rate")
        share(self.most, "most")
        seconds(self.window, "window")
        seconds(self.ejection, "ejection")
        want(
            self.ejection <= self.longest < math.inf, "longest", self.longest, f"{self.ejection:g} or more: `ejection`"
        )
        each_status(self.statuses)


class Record:
    """What a backend's last requests say of it. `until`: when its ejection ends, 0 if it is in. `why`: in words."""

    __slots__ = ("_in_row", "_since", "_window", "ejections", "times", "until", "why")

    def __init__(self, options: OutlierOptions) -> None:
        self.until, self.why = 0.0, ""
        self.times = 0
        """Ejections that are not forgiven yet."""
        self.ejections = 0
        """All of them."""
        self._in_row = 0
        self._since = 0.0
        self._window = Window(options.window, kinds=2)

    def result(self, options: OutlierOptions, good: bool, now: float) -> str:
        """An attempt ended. Gives the reason to eject it now, or nothing."""
        self._in_row = 0 if good else self._in_row + 1
        if options.rate:
            self._window.add(GOOD if good else BAD, now)
        if self.until or good:
            return ""
        if options.consecutive and self._in_row >= options.consecutive:
            return f"{self._in_row} failures in a row"
        bad, total = self._window.sums[BAD], sum(self._window.sums)
        if options.rate and total >= options.requests and bad >= options.rate * total:
            return f"{bad} of the last {total} requests failed"
        return ""

    def eject(self, options: OutlierOptions, why: str, now: float) -> None:
        """Out, for longer each time."""
        self.times = max(0, self.times - int((now - self._since) / options.ejection)) + 1
        self.ejections += 1
        self.until, self.why = now + min(options.ejection * self.times, options.longest), why

    def pass_time(self, now: float) -> None:
        """Its ejection ends when it is over, and everything is forgotten but that it was."""
        if self.until and now >= self.until:
            self.until, self.why, self._since, self._in_row = 0.0, "", now, 0
            self._window.clear()

    def take_over(self, old: Record) -> None:
        """Go on with what another of the same backend knew; failures are counted anew."""
        self.until, self.why, self.times, self.ejections = old.until, old.why, old.times, old.ejections
        self._since = old._since

    def next_change(self) -> float:
        """When time alone will change it."""
        return self.until or float("inf")
