"""Who is new gets its share bit by bit.

Rule of this file: one number as a function of time.

Theory. A program that has just started has cold caches, no connections to its database and code not yet compiled.
Given its full share in that state it answers slowly or not at all, is taken out, comes back, and so on. A share that
grows in a straight line lets it warm up with real requests.

Trap. It helps beside others that carry the rest. When all of a pool are new, all have the same small share, which is
the whole of it: nothing is slowed down.
"""

from __future__ import annotations

from lbcore.l7.pools.options import SlowStartOptions

STEPS = 50  # of a ramp: shares are worked out anew at each, not at every request


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
