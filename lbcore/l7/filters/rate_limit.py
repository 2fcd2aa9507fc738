"""How often each may ask.

Rule of this file: which bucket a request belongs to, and what is said when it is empty. Buckets are in `rate_store`.

Theory. A limit is as good as its key. An address costs an attacker something; a header, a cookie, costs nothing to make
up, so those serve only behind a filter that has checked them (a claim of a verified token is one). With IPv6 everybody
has at least a /64 of addresses: that is one key, not 2**64.

The answer is 429 (RFC 6585, 4) with Retry-After (RFC 9110, 10.2.3). RateLimit-Policy and RateLimit tell clients how
they stand, as draft-ietf-httpapi-ratelimit-headers-10 has it: a draft, which may change.

Traps
- Behind another proxy every peer is that proxy: the filter `forwarded` belongs in front, or all share one bucket.
- A request without the header or cookie: it goes by its address (`missing`), or leaving it out would be the way round.
- A shared store that does not answer: `on_failure` says who suffers, the backends ("pass") or the clients ("refuse").
  Either is counted, and logged when it begins and when it ends.
"""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Awaitable, Callable
from hashlib import blake2b
from ipaddress import ip_address, ip_network
from pathlib import Path
from typing import Any, Final, Literal
from urllib.parse import urlsplit

import msgspec

from lbcore.l7 import notes
from lbcore.l7.field import TOKEN, name_of
from lbcore.l7.filters.filter import Answer, Exchange, Filter
from lbcore.l7.filters.jwt import CLAIMS
from lbcore.l7.filters.rate_redis import Redis
from lbcore.l7.filters.rate_store import Memory, Store, Unreachable, left
from lbcore.l7.message import Names, Response, text
from lbcore.l7.trust import REMEMBERED

log = logging.getLogger(__name__)
LONGEST: Final = 64
"""Bytes of a key as it is; of a longer one its digest is the key."""


class RateLimitOptions(
    msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True, tag_field="kind", tag="rate_limit"
):
    """So many, for each of these."""

    rate: float
    """Requests a second, in the long run."""
    burst: int
    """Requests at once, after a pause."""
    by: Literal["client", "header", "cookie", "claim", "route"] = "client"
    """What has a bucket of its own."""
    name: str = ""
    """Of the header, the cookie or the claim."""
    missing: Literal["client", "pass", "refuse"] = "client"
    """What of a request without that header, cookie or claim: by its address, unlimited, or 429."""
    ipv6_prefix: int = 64
    """Bits of an IPv6 address that are one client."""
    limit: int = 100_000
    """Buckets in memory, about 200 bytes each."""
    policy: str = "default"
    """Name of this limit: in fields of answers, and of its buckets in a shared store."""
    fields: bool = True
    """Tell clients how they stand."""
    redis: str = ""
    """redis://host:port/database of the store that several proxies share; empty: memory of this process."""
    redis_file: str = ""
    """The same, in a file: it may hold a password."""
    timeout: float = 0.05
    """Seconds to wait for the store."""
    pause: float = 1.0
    """Seconds in which it is not asked after it did not answer."""
    on_failure: Literal["pass", "refuse"] = "pass"
    """What of requests while the store does not answer."""

    def __post_init__(self) -> None:
        if not 1e-6 <= self.rate <= 1e6:
            raise ValueError(f"rate is {self.rate}; must be requests a second, 0.000001 to 1000000")
        if not 1 <= self.burst <= 10**6:
            raise ValueError(f"burst is {self.burst}; must be 1 to 1000000 requests")
        if (self.by in ("header", "cookie", "claim")) != bool(self.name):
            raise ValueError(f"by is {self.by!r} and name {self.name!r}; must be a name for header, cookie, claim only")
        if self.by == "header":
            name_of(self.name, "name")
        if self.by == "cookie" and not TOKEN.fullmatch(self.name.encode()):
            raise ValueError(f"name is {self.name!r}; must be a cookie's name (RFC 6265, 4.1.1)")
        if not 32 <= self.ipv6_prefix <= 128:
            raise ValueError(f"ipv6_prefix is {self.ipv6_prefix}; must be 32 to 128 bits")
        if self.limit < 1:
            raise ValueError(f"limit is {self.limit}; must be 1 bucket or more")
        if not TOKEN.fullmatch(self.policy.encode()):
            raise ValueError(f"policy is {self.policy!r}; must be a name such as 'default'")
        if self.redis and self.redis_file:
            raise ValueError("redis and redis_file; must be one of the two")
        if self.redis:
            _address(self.redis, "redis")
        for field in ("timeout", "pause"):
            if not 0 < getattr(self, field) <= 60:
                raise ValueError(f"{field} is {getattr(self, field)}; must be seconds above 0, at most 60")

    def __repr__(self) -> str:
        return f"RateLimitOptions({self.rate:g}/s, burst {self.burst}, by {self.by} {self.name!r}, {self.policy!r})"


def _address(url: str, where: str) -> str:
    """ValueError if it is none; it is not shown, for it may hold a password."""
    try:
        parts = urlsplit(url)
        right = parts.scheme in ("redis", "rediss", "unix") and parts.port != 0
    except ValueError:  # its words would show a part of what was taken for a port
        right = False
    if not right:
        raise ValueError(
            f"{where} is no address of a Redis; must begin with redis://, rediss:// or unix://, a port is a number"
        )
    return url


def _store(options: RateLimitOptions, clock: Callable[[], float]) -> Store:
    if not options.redis and not options.redis_file:
        return Memory(options.rate, options.burst, options.limit, clock)
    url = options.redis or _address(Path(options.redis_file).read_text().strip(), f"redis_file {options.redis_file!r}")
    prefix = b"lbcore:rate:%b:" % options.policy.encode()
    return Redis(options.rate, options.burst, url, prefix, timeout=options.timeout, pause=options.pause, clock=clock)


class RateLimit(Filter):
    """Refuses what is too much. `clock` counts seconds and never goes back; `store` instead of the options'."""

    def __init__(
        self, options: RateLimitOptions, clock: Callable[[], float] = time.monotonic, store: Store | None = None
    ) -> None:
        self._options = options
        self._store = _store(options, clock) if store is None else store  # one that is empty is false
        self._rate, self._burst, self._tells = options.rate, options.burst, options.fields
        self._name, self._names = options.name.encode(), Names((options.name.lower().encode(),))
        self._find = {
            "client": self._client, "route": _route, "header": self._header, "cookie": self._cookie,
            "claim": self._claim,
        }[options.by]  # fmt: skip
        self._clients: dict[str, bytes] = {}
        self._failing = False
        self._given_on = False  # another one has the store now
        self.counts = {"passed": 0, "refused": 0, "store_failed": 0}
        """Of requests; `store_failed` are among the passed or refused too."""
        window = math.ceil(options.burst / options.rate)
        policy = options.policy.encode()
        self._said = b'ratelimit-policy: "%b";q=%d;w=%d\r\nratelimit: "%b";r=%%d;t=%%d\r\n' % (
            *(policy.replace(b"%", b"%%"), options.burst, window),
            policy.replace(b"%", b"%%"),
        )

    @property
    def policy(self) -> str:
        """The name of this limit."""
        return self._options.policy

    def share(self, other: RateLimit) -> bool:
        """Before the first exchange: go on with what another one has counted; that one may be closed.

        False, nothing done: the two are configured differently, and so are their buckets.
        """
        if other._options != self._options:
            return False
        self._store.close()
        self._store, self.counts, other._given_on = other._store, other.counts, True
        return True

    def on_request(self, exchange: Exchange) -> Answer | Awaitable[Answer]:
        key = self._find(exchange)
        if key is None:
            if self._options.missing == "pass":
                return None
            if self._options.missing == "refuse":
                self.counts["refused"] += 1
                return text(429, "Too many requests of nobody in particular.")
            key = self._client(exchange)
        try:
            debt = self._store.take(key)
        except Unreachable as error:
            return self._failed(error)
        if isinstance(debt, float):
            return self._judged(exchange, debt)
        return self._later(exchange, debt)

    async def _later(self, exchange: Exchange, asked: Awaitable[float]) -> Answer:
        try:
            debt = await asked
        except Unreachable as error:
            return self._failed(error)
        if self._failing:
            self._failing = False
            log.warning("rate limit %r: its store answers again", self._options.policy)
        return self._judged(exchange, debt)

    def _judged(self, exchange: Exchange, debt: float) -> Answer:
        if self._tells:
            exchange.notes[self] = debt
        if debt <= 0:
            self.counts["passed"] += 1
            return None
        self.counts["refused"] += 1
        return text(429, "Too many requests.", (b"retry-after", b"%d" % math.ceil(debt)))

    def _failed(self, error: Unreachable) -> Answer:
        self.counts["store_failed"] += 1
        if not self._failing:
            self._failing = True
            log.error(
                "rate limit %r: its store fails (%s); requests %s",
                self._options.policy,
                error,
                self._options.on_failure,
            )
        if self._options.on_failure == "pass":
            self.counts["passed"] += 1
            return None
        self.counts["refused"] += 1
        return text(503, "It is not known how many requests are too many.", (b"retry-after", b"1"))

    def on_response(self, exchange: Exchange, response: Response) -> None:
        debt: float | None = exchange.notes.get(self)
        if debt is not None:
            tokens = left(debt, self._rate)
            full_in = math.ceil((self._burst - tokens) / self._rate)
            response.put_checked(self._said % (tokens + 1e-6, full_in))

    def close(self) -> None:
        """Let go of the store."""
        if not self._given_on:
            self._store.close()

    # ---- keys: a letter for the kind, and which one; None if the request has none ----

    def _client(self, exchange: Exchange) -> bytes:
        address = notes.client(exchange)
        key = self._clients.get(address)
        if key is None:
            if len(self._clients) >= REMEMBERED:
                self._clients.clear()
            key = self._clients[address] = b"a" + _network(address, self._options.ipv6_prefix).encode()
        return key

    def _header(self, exchange: Exchange) -> bytes | None:
        lines = exchange.request.lines(self._names)
        return _short(b"h" + b",".join([value for _, value in lines])) if lines else None

    def _cookie(self, exchange: Exchange) -> bytes | None:
        value = exchange.request.cookie(self._name)
        return None if value is None else _short(b"c" + value)

    def _claim(self, exchange: Exchange) -> bytes | None:
        claims: dict[str, Any] = exchange.notes.get(CLAIMS, {})
        value = claims.get(self._options.name)
        return None if value is None else _short(b"j" + repr(value).encode())


def _route(exchange: Exchange) -> bytes:
    return _short(b"r" + exchange.route.encode())


def _short(key: bytes) -> bytes:
    return key if len(key) <= LONGEST else key[:1] + blake2b(key, digest_size=32).hexdigest().encode()


def _network(address: str, bits: int) -> str:
    """Who an address belongs to: itself, or its network of so many bits if it is of IPv6. What is none, stays."""
    try:
        found = ip_address(address)
    except ValueError:
        return address
    if found.version == 4:
        return address
    return str(found.ipv4_mapped or ip_network((int(found), bits), strict=False))
