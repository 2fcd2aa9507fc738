"""What a pool is told: plain fields that a configuration file can fill, checked before anything runs.

Rule of this file: a fault names its field, its value and what would have been right. Durations are seconds.
"""

from __future__ import annotations

import math
from typing import Literal, TypeAlias

from msgspec import Struct, field

from lbcore.balance.chooser import BY_KEY, CHOOSERS, WITHOUT_WEIGHTS
from lbcore.l4.relay.options import endpoint

TOKEN = frozenset(b"!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ")  # RFC 9110, 5.6.2
KEY_BYTES = 32


def want(right: bool, field: str, value: object, wanted: str) -> None:
    """ValueError in the project's words unless `right`."""
    if not right:
        raise ValueError(f"{field} is {value!r}: it must be {wanted}")


def seconds(value: float, field: str, *, zero: bool = False) -> None:
    """ValueError unless it is a duration."""
    right = math.isfinite(value) and (value > 0 or (zero and value == 0))
    want(right, field, value, "seconds, 0 or more" if zero else "seconds, over 0")


def share(value: float, field: str) -> None:
    """ValueError unless it is from 0 to 1."""
    want(0 <= value <= 1, field, value, "a share from 0 to 1")


def at_least(least: int, **values: int) -> None:
    """ValueError unless every value is `least` or more."""
    for name, value in values.items():
        want(value >= least, name, value, f"a whole number from {least} on")


def is_token(text: str) -> bool:
    """May it be the name of a field, a cookie, a method (RFC 9110, 5.6.2)?"""
    return text != "" and text.isascii() and TOKEN.issuperset(text.encode())


class Checked(Struct, frozen=True, forbid_unknown_fields=True):
    """What all options have in common."""


class TimeoutsOptions(Checked, frozen=True, kw_only=True):
    """connect: until TCP and TLS stand. head: from the request's end to the response's head. idle: between two pieces
    of
    a body, either way. keep: how long an unused connection is kept. life: how long any connection is used."""

    connect: float = 3.0
    head: float = 30.0
    idle: float = 60.0
    keep: float = 30.0
    life: float = 3600.0

    def __post_init__(self) -> None:
        for name in self.__struct_fields__:
            seconds(getattr(self, name), name)


class HashOptions(Checked, frozen=True, kw_only=True):
    """What a picker by key hashes: the source's address, a header's value, a cookie's, the path, or a parameter of the
    query. A request that lacks it is hashed by its source. seed: the same on all of a fleet, to choose alike."""

    on: Literal["source", "header", "cookie", "path", "query"] = "source"
    name: str = ""
    seed: int = 0

    def __post_init__(self) -> None:
        if self.on in ("header", "cookie"):
            want(is_token(self.name), "name", self.name, f"the name of the {self.on}")
        elif self.on == "query":
            want(self.name != "", "name", self.name, "the name of the parameter")
        else:
            want(self.name == "", "name", self.name, f"left out: the {self.on} has none")
        want(0 <= self.seed < 1 << 64, "seed", self.seed, "0 to 2**64 - 1")


class StickyCookieOptions(Checked, frozen=True, kw_only=True, tag_field="kind", tag="cookie"):
    """A client belongs to the backend that its cookie names.

    keys, or keys_file with one to a line: secrets of 32 bytes or more; the first signs, all are believed. None at all:
    one is drawn, which no other proxy knows and no restart survives. secure: None follows the client's scheme.
    max_age: 0 is a cookie that ends with the browser's session; it binds the browser only (to end all cookies, change
    the keys). private: where a cookie is set, keep the response out of shared caches (RFC 9111, 5.2.2.7).
    """

    name: str = "lb"
    keys: tuple[str, ...] = ()
    keys_file: str = ""
    path: str = "/"
    domain: str = ""
    max_age: int = 0
    secure: bool | None = None
    http_only: bool = True
    same_site: Literal["Strict", "Lax", "None"] = "Lax"
    private: bool = True

    def __post_init__(self) -> None:
        want(is_token(self.name), "name", self.name, "a token (RFC 6265, 4.1.1)")
        right = self.path.startswith("/") and self.path.isascii() and self.path.isprintable() and ";" not in self.path
        want(right, "path", self.path, "a path such as /, without a semicolon")
        right = all(c.isalnum() or c in "-." for c in self.domain) and self.domain.isascii()
        want(right, "domain", self.domain, "a domain such as shop.example, or left out")
        at_least(0, max_age=self.max_age)
        want(not (self.keys and self.keys_file), "keys_file", self.keys_file, "left out where keys are given")
        check_keys(self.keys, "keys")
        if self.same_site == "None":
            want(self.secure is True, "secure", self.secure, "true with same_site = None: browsers drop it otherwise")
        if self.name.startswith(("__Secure-", "__Host-")):
            want(
                self.secure is True, "secure", self.secure, f"true for a cookie named {self.name} (RFC 6265bis, 4.1.3)"
            )
        if self.name.startswith("__Host-"):
            right = self.path == "/" and self.domain == ""
            want(right, "path", self.path, f"/, and no domain, for a cookie named {self.name} (RFC 6265bis, 4.1.3)")

    def __repr__(self) -> str:
        return f"StickyCookieOptions(name={self.name!r}, {len(self.keys)} keys, keys_file={self.keys_file!r})"


def check_keys(keys: tuple[str, ...], field: str) -> None:
    """ValueError, which does not show them, unless each can be a key."""
    for place, key in enumerate(keys):
        if len(key.encode()) < KEY_BYTES:
            raise ValueError(
                f"{field}[{place}] has {len(key.encode())} bytes: it must have {KEY_BYTES}, as many as the hash gives "
                f"(RFC 2104, section 3)"
            )


class StickyHeaderOptions(Checked, frozen=True, kw_only=True, tag_field="kind", tag="header"):
    """A client belongs to the backend that answered the last request with the same value of a header.

    entries: values remembered at most, the longest unused goes first. idle: how long a value is remembered unused.
    """

    name: str
    entries: int = 100_000
    idle: float = 1800.0

    def __post_init__(self) -> None:
        want(is_token(self.name), "name", self.name, "the name of a header")
        at_least(1, entries=self.entries)
        seconds(self.idle, "idle")


class StickySourceOptions(Checked, frozen=True, kw_only=True, tag_field="kind", tag="source"):
    """The same by the source's address. All who share an address share a backend."""

    entries: int = 100_000
    idle: float = 1800.0

    def __post_init__(self) -> None:
        at_least(1, entries=self.entries)
        seconds(self.idle, "idle")


StickyOptions: TypeAlias = StickyCookieOptions | StickyHeaderOptions | StickySourceOptions


class TcpProbeOptions(Checked, frozen=True, kw_only=True, tag_field="kind", tag="tcp"):
    """A connection that stands is a good answer. It shows that the kernel lives, not that the program does."""


class HttpProbeOptions(Checked, frozen=True, kw_only=True, tag_field="kind", tag="http"):
    """A response with one of these statuses, and `body` somewhere in the first `limit` bytes of its body.

    statuses: numbers, or pairs of first and last. host: of the Host field; empty: the backend's name.
    """

    path: str = "/"
    host: str = ""
    method: Literal["GET", "HEAD"] = "GET"
    headers: dict[str, str] = field(default_factory=dict)
    statuses: tuple[int | tuple[int, int], ...] = ((200, 399),)
    body: str = ""
    limit: int = 65536

    def __post_init__(self) -> None:
        right = self.path.startswith("/") and self.path.isascii() and self.path.isprintable() and " " not in self.path
        want(right, "path", self.path, "a path such as /health, in ASCII, without spaces")
        right = self.host.isascii() and self.host.isprintable() and " " not in self.host
        want(right, "host", self.host, "a host such as shop.example, or left out")
        for name, value in self.headers.items():
            want(is_token(name), "headers", name, "the name of a field")
            reserved = name.lower() in ("host", "connection", "content-length", "transfer-encoding")
            want(not reserved, "headers", name, "no field that the check itself writes")
            right = value.isascii() and value.isprintable()
            want(right, f"headers.{name}", value, "printable ASCII, in one line")
        want(bool(self.statuses), "statuses", self.statuses, "one status at least")
        for status in self.statuses:
            first, last = (status, status) if isinstance(status, int) else status
            want(100 <= first <= last <= 599, "statuses", status, "a status from 100 to 599, or [first, last]")
        want(not (self.body and self.method == "HEAD"), "body", self.body, "left out with HEAD, which has none")
        at_least(1, limit=self.limit)


class GrpcProbeOptions(Checked, frozen=True, kw_only=True, tag_field="kind", tag="grpc"):
    """SERVING, said by grpc.health.v1.Health/Check. service: empty asks for the server as a whole."""

    service: str = ""
    authority: str = ""

    def __post_init__(self) -> None:
        right = self.authority.isascii() and self.authority.isprintable() and " " not in self.authority
        want(right, "authority", self.authority, "a host such as shop.example, or left out")


ProbeOptions: TypeAlias = TcpProbeOptions | HttpProbeOptions | GrpcProbeOptions


class HealthOptions(Checked, frozen=True, kw_only=True):
    """Active checks.

    interval: from one check's beginning to the next's, times 1 - jitter to 1 + jitter; never two at once. timeout: of
    one check. rise, fall: how many in a row bring a backend up, or down. initially: what it is before the first check.
    port: 0 for the backend's own. tls: checks go over TLS (the checker is given the context).
    """

    probe: ProbeOptions = TcpProbeOptions()
    interval: float = 5.0
    timeout: float = 2.0
    rise: int = 2
    fall: int = 3
    jitter: float = 0.1
    initially: Literal["up", "down"] = "up"
    port: int = 0
    tls: bool = False

    def __post_init__(self) -> None:
        seconds(self.interval, "interval")
        seconds(self.timeout, "timeout")
        at_least(1, rise=self.rise, fall=self.fall)
        want(0 <= self.jitter < 1, "jitter", self.jitter, "a share from 0 to below 1")
        want(0 <= self.port <= 0xFFFF, "port", self.port, "0 (the backend's own) to 65535")


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
    window: float = 10.0
    statuses: tuple[int, ...] = (502, 503, 504)
    ejection: float = 30.0
    longest: float = 300.0
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
        for status in self.statuses:
            want(100 <= status <= 599, "statuses", status, "a status from 100 to 599")


class SlowStartOptions(Checked, frozen=True, kw_only=True):
    """A backend that comes back, or is new after a reload, gets its weight bit by bit.

    window: seconds until it has all of it. least: share of the weight that it starts with.
    """

    window: float = 30.0
    least: float = 0.1

    def __post_init__(self) -> None:
        seconds(self.window, "window")
        want(0 < self.least <= 1, "least", self.least, "a share over 0, up to 1: with nothing it would never start")


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
        for status in self.statuses:
            want(100 <= status <= 599, "statuses", status, "a status from 100 to 599")


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
    window: float = 10.0

    def __post_init__(self) -> None:
        at_least(1, attempts=self.attempts)
        share(self.budget, "budget")
        want(0 <= self.per_second < math.inf, "per_second", self.per_second, "retries a second, 0 or more")
        seconds(self.window, "window")
        for status in self.statuses:
            want(500 <= status <= 599, "statuses", status, "a status from 500 to 599: others are answers")


class HedgeOptions(Checked, frozen=True, kw_only=True):
    """A second attempt while the first still runs, for what may be asked twice. It takes from the retries' budget.

    delay: seconds without a response's head until it is made.
    """

    delay: float

    def __post_init__(self) -> None:
        seconds(self.delay, "delay")


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
    backends: tuple[BackendOptions, ...]
    protocol: Literal["h1", "h2", "h2c"] = "h1"
    picker: str = "round_robin"
    hash: HashOptions | None = None
    timeouts: TimeoutsOptions = TimeoutsOptions()
    health: HealthOptions | None = None
    sticky: StickyOptions | None = None
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
