"""What a row of checks says of a backend.

Rule of this file: one backend's state, no sockets. When to check and what came out of it are given and taken; so is
time.

Theory. One answer proves little either way: `fall` failures in a row bring a backend down, `rise` good answers bring
it up again. Until a crash is noticed pass up to interval * fall + timeout seconds. Proxies that were started together
would check together, for ever: the first check comes at a random moment of the first interval, and each interval is
drawn.

Traps
- A check asks what the check asks. A program that hangs still accepts connections, as its kernel does that for it; one
  that answers /health may have lost its database. Take the check that fails when requests would.
- A check that is late is a failure: who answers after the timeout would answer clients after theirs.
"""

from __future__ import annotations

from random import Random
from typing import Literal

from lbcore.l7.pools.checks import Checked, at_least, seconds, want
from lbcore.l7.pools.probes import ProbeOptions, TcpProbeOptions


class HealthOptions(Checked, frozen=True, kw_only=True):
    """Active checks.

    interval: from one check's beginning to the next's, times 1 - jitter to 1 + jitter; never two at once. timeout: of
    one check. rise, fall: how many in a row bring a backend up, or down. initially: what it is before the first check.
    port: 0 for the backend's own. tls: checks go over TLS (the checker is given the context).
    """

    probe: ProbeOptions = TcpProbeOptions()
    """What a check asks, and what a good answer is."""
    interval: float = 5.0
    timeout: float = 2.0
    rise: int = 2
    fall: int = 3
    jitter: float = 0.1
    """Share of the interval by which checks come earlier or later, so that not all come at once."""
    initially: Literal["up", "down"] = "up"
    port: int = 0
    tls: bool = False

    def __post_init__(self) -> None:
        seconds(self.interval, "interval")
        seconds(self.timeout, "timeout")
        at_least(1, rise=self.rise, fall=self.fall)
        want(0 <= self.jitter < 1, "jitter", self.jitter, "a share from 0 to below 1")
        want(0 <= self.port <= 0xFFFF, "port", self.port, "0 (the backend's own) to 65535")


class Health:
    """The checks of one backend. `up`: in order, as far as is known; `why`: what the last check said, empty if good.

    next: when the next check begins (infinity while one is under way). deadline: when the one under way has failed.
    """

    __slots__ = ("_drawn", "_in_row", "changes", "checks", "deadline", "last", "next", "options", "up", "why")

    def __init__(self, options: HealthOptions, random: Random, now: float) -> None:
        self.options = options
        self.up = options.initially == "up"
        self.why = "" if self.up else "not checked yet"
        self._drawn = random.random
        self._in_row = 0  # answers unlike `up`
        self.next = now + self._drawn() * options.interval
        self.deadline = float("inf")
        self.last: float | None = None
        """When the last check ended; None before."""
        self.checks = 0
        self.changes = 0
        """How often it went up or down."""

    def begin(self, now: float) -> float:
        """A check begins; gives its deadline."""
        spread = 1 + self.options.jitter * (2 * self._drawn() - 1)
        self.next = now + self.options.interval * spread
        self.deadline = now + self.options.timeout
        return self.deadline

    def end(self, why: str, now: float) -> bool:
        """The check ended: `why` not, or empty for a good answer. True if the backend went up or down by it."""
        if now > self.deadline:
            why = why or "late"
        self.deadline = float("inf")
        self.last, self.why = now, why
        self.checks += 1
        good = why == ""
        if good == self.up:
            self._in_row = 0
            return False
        self._in_row += 1
        if self._in_row < (self.options.rise if good else self.options.fall):
            return False
        self.up, self._in_row = good, 0
        self.changes += 1
        return True

    def take_over(self, old: Health, now: float) -> None:
        """Go on with what another of the same backend knew."""
        self.up, self.why, self._in_row, self.last = old.up, old.why, old._in_row, old.last
        self.checks, self.changes = old.checks, old.changes
        self.next = min(max(old.next, now), now + self.options.interval)
