"""A circuit breaker: who fails altogether is left alone for a while, and then asked by single trials.

Rule of this file: one backend's state. Time is given.

    closed --failures in a row--> open --rest is over--> half-open --successes--> closed
                                    ^------------ a failure -----------'

Theory (Nygard, "Release It!", 2007). A backend that answers nothing costs each request its whole timeout, and holds the
proxy's memory and the client's patience for that long. Failing at once is cheaper for everybody, and leaves the backend
alone while it recovers. Half-open, it is asked by a few real requests at a time: as many as it has `trials`.

How it differs from ejection (`outlier`): ejection compares with others and always leaves enough of them in the pool,
and who comes back gets everything at once. A breaker looks at nobody else and may take out everyone.

Trap. What was under way when the breaker opened still ends, sooner or (a WebSocket) much later, and says nothing about
the trials: while open, results count for nothing, and afterwards those do that began before. Nor do they take a trial's
place.
"""

from __future__ import annotations

from lbcore.l7.pools.checks import Checked, at_least, each_status, seconds

CLOSED, OPEN, HALF_OPEN = "closed", "open", "half-open"


class BreakerOptions(Checked, frozen=True, kw_only=True):
    """Circuit breakers, and what a pool takes on at once.

    failures: in a row that open a backend's breaker, 0 for never. rest: seconds until it is tried again. trials:
    requests at once while it is, and successes that close it. statuses: as with outliers. active: requests in flight
    at one backend; pool_active: in the whole pool; pending: how many may wait for a place (`Pool.wait`). 0 for no
    limit; of pending, for none may wait.
    """

    failures: int = 0
    rest: float = 5.0
    trials: int = 1
    statuses: tuple[int, ...] = (502, 503, 504)
    active: int = 0
    pool_active: int = 0
    pending: int = 0

    def __post_init__(self) -> None:
        at_least(0, failures=self.failures, active=self.active, pool_active=self.pool_active, pending=self.pending)
        at_least(1, trials=self.trials)
        seconds(self.rest, "rest")
        each_status(self.statuses)


class Breaker:
    """One backend's breaker. `state`: CLOSED, OPEN or HALF_OPEN; `until`: when OPEN ends. `left`: while HALF_OPEN,
    requests in flight that began before."""

    __slots__ = ("_failed", "_since", "_succeeded", "left", "opened", "state", "until")

    def __init__(self) -> None:
        self.state = CLOSED
        self.until = 0.0
        self.opened = 0
        """How often it opened."""
        self.left = self._failed = self._succeeded = 0
        self._since = 0.0  # it is half-open

    def result(self, options: BreakerOptions, good: bool | None, began: float, now: float) -> bool:
        """An attempt ended that began then; good None: that says nothing of the backend. True if anything changed."""
        if self.state == HALF_OPEN and self.left and began < self._since:
            self.left -= 1
            return True
        if good is None or self.state == OPEN or not options.failures:
            return False
        if good:
            self._failed = 0
            self._succeeded += 1
            if self.state == HALF_OPEN and self._succeeded >= options.trials:
                self.state = CLOSED
                return True
            return False
        self._failed += 1
        if self.state == HALF_OPEN or self._failed >= options.failures:
            self.state, self.until, self._failed = OPEN, now + options.rest, 0
            self.opened += 1
            return True
        return False

    def pass_time(self, now: float, active: int) -> None:
        """Half-open when the rest is over. active: requests in flight."""
        if self.state == OPEN and now >= self.until:
            self.state, self._succeeded, self._since, self.left = HALF_OPEN, 0, now, active

    def take_over(self, old: Breaker) -> None:
        """Go on with what another of the same backend knew. Each of the two then has its own: who was under way with
        the old one says nothing here, for nobody here would hear of it."""
        self.state, self.until, self.opened = old.state, old.until, old.opened
        self._failed, self._succeeded = old._failed, old._succeeded

    def next_change(self) -> float:
        """When time alone will change it."""
        return self.until if self.state == OPEN else float("inf")
