"""What may be tried again, and how much of it in all.

Rule of this file: decisions; it sends nothing and waits for nothing. Time is given.

Theory. A request may be sent twice when that does no more than to send it once: its method is idempotent (RFC 9110,
9.2.2), or no byte of it reached anybody. And a backend that fails because it has too much to do is not helped by
getting every request three times: so retries come out of a budget, a share of the requests of the last seconds, and
what all clients together may cause is bounded, however many of them fail.

Traps
- Idempotent is not the same as harmless: a PUT that was carried out and answered by a reset is carried out twice. The
  standard allows it; whether the application agrees, its owner knows.
- A body that was streamed is gone. Whether enough of it was kept to send it again, the engine knows.
- The budget counts over a little less than `window` what it allows, and over a little more what it allowed: rounding is
  always against the retry.
"""

from __future__ import annotations

import math

from lbcore.l7.message import Request
from lbcore.l7.pools.backend import Result, verdict
from lbcore.l7.pools.checks import Checked, at_least, each_status, seconds, share, want
from lbcore.l7.pools.window import Window

IDEMPOTENT = frozenset({b"GET", b"HEAD", b"OPTIONS", b"TRACE", b"PUT", b"DELETE"})  # RFC 9110, 9.2.2
PARTS = 10


class RetryOptions(Checked, frozen=True, kw_only=True):
    """What is tried again, at another backend.

    attempts: in all, the first included; 1 for no retry. statuses: of responses that are tried again. errors: those
    that are ("refused", "unreachable", "connect timeout", "timeout", "reset", ...); None: all that are the backend's.
    budget: retries as a share of the requests of the last `window` seconds, on top of `per_second` that are always
    allowed (times the window).
    """

    attempts: int = 2
    statuses: tuple[int, ...] = (502, 503, 504)
    errors: tuple[str, ...] | None = None
    budget: float = 0.2
    per_second: float = 3.0
    """Retries a second that are always allowed, whatever the budget."""
    window: float = 10.0
    """Seconds that the budget looks back."""

    def __post_init__(self) -> None:
        at_least(1, attempts=self.attempts)
        share(self.budget, "budget")
        want(0 <= self.per_second < math.inf, "per_second", self.per_second, "retries a second, 0 or more")
        seconds(self.window, "window")
        each_status(self.statuses, 500)


class HedgeOptions(Checked, frozen=True, kw_only=True):
    """A second attempt while the first still runs, for what may be asked twice. It takes from the retries' budget.

    delay: seconds without a response's head until it is made.
    """

    delay: float

    def __post_init__(self) -> None:
        seconds(self.delay, "delay")


def repeatable(request: Request, result: Result) -> bool:
    """May it be sent again, as far as its meaning goes?"""
    return not result.sent or request.method in IDEMPOTENT


class Budget:
    """Retries of the last `window` seconds: at most `budget` of the requests in them, and `per_second` a second."""

    def __init__(self, options: RetryOptions) -> None:
        self._share, self._always = options.budget, options.per_second * options.window
        self._requests = Window(options.window, parts=PARTS)
        self._granted = Window(options.window * (PARTS + 1) / PARTS, parts=PARTS + 1)

    def asked(self, now: float) -> None:
        """A request came that is not a retry."""
        self._requests.add(0, now)

    def take(self, now: float) -> bool:
        """One retry, if there is one left."""
        self._requests.roll(now)
        self._granted.roll(now)
        if self._granted.sums[0] + 1 > self._always + self._share * self._requests.sums[0]:
            return False
        self._granted.add(0, now)
        return True

    def take_over(self, old: Budget) -> None:
        """Go on with another's counts, of a window as long."""
        self._requests, self._granted = old._requests, old._granted


class Retries:
    """A pool's word on second attempts."""

    def __init__(self, options: RetryOptions) -> None:
        self.options = options
        self.budget = Budget(options)
        self.granted = 0
        self.refused = 0
        """For want of budget."""

    def again(self, request: Request, result: Result, attempts: int, now: float) -> bool:
        """May it be tried again, after so many attempts? Yes takes from the budget."""
        return attempts < self.options.attempts and self._failed(result) and self._granted(request, result, now)

    def hedge(self, request: Request, attempts: int, now: float) -> bool:
        """May a second attempt be made beside the first? Yes takes from the budget."""
        return attempts < self.options.attempts and self._granted(request, Result(sent=True), now)

    def take_over(self, old: Retries) -> None:
        """Go on where another pool's left off: what it granted counts, as far as the windows are alike."""
        self.granted, self.refused = old.granted, old.refused
        if old.options.window == self.options.window:
            self.budget.take_over(old.budget)

    def _failed(self, result: Result) -> bool:
        if verdict(result, self.options.statuses) is not False:
            return False
        return not result.error or self.options.errors is None or result.error.partition(":")[0] in self.options.errors

    def _granted(self, request: Request, result: Result, now: float) -> bool:
        if not repeatable(request, result):
            return False
        if self.budget.take(now):
            self.granted += 1
            return True
        self.refused += 1
        return False
