"""Who is new gets its share bit by bit.

Rule of this file: one number as a function of time.

Theory. A program that has just started has cold caches, no connections to its database and code not yet compiled.
Given its full share in that state it answers slowly or not at all, is taken out, comes back, and so on. A share that
grows in a straight line lets it warm up with real requests.

Trap. It helps beside others that carry the rest. When all of a pool are new, all have the same small share, which is
the whole of it: nothing is slowed down.
"""

from __future__ import annotations

from lbcore.l7.pools.checks import Checked, seconds, want

STEPS = 50  # of a ramp: shares are worked out anew at each, not at every request


class SlowStartOptions(Checked, frozen=True, kw_only=True):
    """A backend that comes back, or is new after a reload, gets its weight bit by bit.

    window: seconds until it has all of it. least: share of the weight that it starts with.
    """

    window: float = 30.0
    least: float = 0.1

    def __post_init__(self) -> None:
        seconds(self.window, "window")
        want(0 < self.least <= 1, "least", self.least, "a share over 0, up to 1: with nothing it would never start")


def ramp(options: SlowStartOptions | None, since: float, now: float) -> float:
    """The part of its weight that a backend has which came in at `since`."""
    if options is None or now - since >= options.window:
        return 1.0
    return max(options.least, (now - since) / options.window)


def next_step(options: SlowStartOptions | None, since: float, now: float) -> float:
    """When that is to be worked out again; infinity if it will not change."""
    if options is None or now - since >= options.window:
        return float("inf")
    return now + options.window / STEPS
