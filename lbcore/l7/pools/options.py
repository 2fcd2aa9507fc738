"""What a pool is told, all of it: plain fields that a configuration file can fill, checked before anything runs.

Rule of this file: what belongs to one policy stands beside that policy; here they are put together. Durations are
seconds.
"""

from __future__ import annotations

import math
from typing import Literal

from lbcore.balance.chooser import BY_KEY, CHOOSERS, WITHOUT_WEIGHTS
from lbcore.l4.relay.options import endpoint
from lbcore.l7.pools.breaker import BreakerOptions
from lbcore.l7.pools.checks import Checked, seconds, share, want
from lbcore.l7.pools.health import HealthOptions
from lbcore.l7.pools.key import HashOptions
from lbcore.l7.pools.outlier import OutlierOptions
from lbcore.l7.pools.probes import GrpcProbeOptions, HttpProbeOptions, ProbeOptions, TcpProbeOptions
from lbcore.l7.pools.retry import HedgeOptions, RetryOptions
from lbcore.l7.pools.slow_start import SlowStartOptions
from lbcore.l7.pools.sticky import StickyOptions
from lbcore.l7.pools.sticky_cookie import StickyCookieOptions
from lbcore.l7.pools.sticky_table import StickyHeaderOptions, StickySourceOptions

__all__ = [
    "BackendOptions",
    "BreakerOptions",
    "GrpcProbeOptions",
    "HashOptions",
    "HealthOptions",
    "HedgeOptions",
    "HttpProbeOptions",
    "OutlierOptions",
    "PoolOptions",
    "ProbeOptions",
    "RetryOptions",
    "SlowStartOptions",
    "StickyCookieOptions",
    "StickyHeaderOptions",
    "StickyOptions",
    "StickySourceOptions",
    "TcpProbeOptions",
    "TimeoutsOptions",
]


class TimeoutsOptions(Checked, frozen=True, kw_only=True):
    """connect: until TCP and TLS stand. head: from the request's end to the response's head. idle: between two pieces
    of a body, either way. keep: how long an unused connection is kept. life: how long any connection is used. queue:
    how long a request waits for a place in a pool that is full (`breaker.pending`)."""

    connect: float = 3.0
    head: float = 30.0
    idle: float = 60.0
    keep: float = 30.0
    life: float = 3600.0
    queue: float = 3.0

    def __post_init__(self) -> None:
        for name in self.__struct_fields__:
            seconds(getattr(self, name), name)


class BackendOptions(Checked, frozen=True, kw_only=True):
    """address: "10.0.0.1:80" or "[2001:db8::1]:80"; names are not resolved. weight: 0 takes nothing new."""

    address: str
    weight: float = 1.0

    def __post_init__(self) -> None:
        _, port = endpoint(self.address)
        want(port > 0, "address", self.address, "with a port of 1 to 65535")
        want(0 <= self.weight < math.inf, "weight", self.weight, "a finite number, 0 or more")


class PoolOptions(Checked, frozen=True, kw_only=True):
    """Backends that can stand in for each other.

    protocol: how they are spoken to, "h1", "h2" (TLS with ALPN) or "h2c" (HTTP/2 in the clear, known beforehand).
    panic: share of backends in working order below which all are used, in order or not: when most seem down, it is
    likely that the checks are wrong, and certain that the rest cannot carry the load of all. 0 for never. drain:
    seconds that a drained backend still serves those who are stuck to it.
    """

    name: str
    """As routes, logs and metrics call it."""
    backends: tuple[BackendOptions, ...]
    protocol: Literal["h1", "h2", "h2c"] = "h1"
    picker: str = "round_robin"
    """How one of them is chosen: round_robin, smooth_weighted, least_connections, power_of_two, random; by key maglev,
    ring, rendezvous, jump."""
    hash: HashOptions | None = None
    timeouts: TimeoutsOptions = TimeoutsOptions()
    health: HealthOptions | None = None
    sticky: StickyOptions | None = None
    """How a client keeps its backend; without it each request is free to go anywhere."""
    retry: RetryOptions = RetryOptions()
    hedge: HedgeOptions | None = None
    outlier: OutlierOptions | None = None
    breaker: BreakerOptions | None = None
    slow_start: SlowStartOptions | None = None
    panic: float = 0.0
    drain: float = 30.0

    def __post_init__(self) -> None:
        want(self.name != "", "name", self.name, "a name")
        want(bool(self.backends), "backends", self.backends, "at least one")
        addresses = [endpoint(backend.address) for backend in self.backends]
        for backend, address in zip(self.backends, addresses, strict=True):
            want(addresses.count(address) == 1, "backends", backend.address, "an address that is there once")
        self._check_picker()
        want(
            self.hedge is None or self.sticky is None, "hedge", self.hedge, "left out: sticky clients have one backend"
        )
        share(self.panic, "panic")
        seconds(self.drain, "drain", zero=True)

    def _check_picker(self) -> None:
        want(self.picker in CHOOSERS, "picker", self.picker, f"one of {', '.join(CHOOSERS)}")
        by_key = self.picker in BY_KEY
        want(by_key or self.hash is None, "hash", self.hash, f"left out: {self.picker} looks at no key")
        if self.picker == "round_robin":
            want(self.slow_start is None, "slow_start", self.slow_start, "left out, or picker smooth_weighted")
        if self.picker in WITHOUT_WEIGHTS:
            for backend in self.backends:
                right = backend.weight in (0, 1)
                want(right, "weight", backend.weight, f"1 (or 0): {self.picker} knows no weights")
