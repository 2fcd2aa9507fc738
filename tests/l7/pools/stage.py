"""What the tests of pools have in common: requests, a clock that stands until it is moved, pools with options."""

from __future__ import annotations

from random import Random
from typing import Any

from lbcore.l7.message import Headers, Peer, Request
from lbcore.l7.pools.options import BackendOptions, PoolOptions
from lbcore.l7.pools.pool import Backend, Pool, Result

GOOD = Result(200, "", 0.01, True)
RESET = Result(0, "reset", 0.01, True)
REFUSED = Result(0, "refused", 0.0, False)


class Clock:
    """Seconds, moved by hand."""

    def __init__(self, now: float = 1000.0) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now


def a_request(
    target: str = "/", *, method: str = "GET", source: str = "192.0.2.1", scheme: str = "http", **headers: str
) -> Request:
    """A request without a body; x_name="v" is the header x-name."""
    lines = Headers((name.replace("_", "-").encode(), value.encode()) for name, value in headers.items())
    return Request(method.encode(), target.encode(), b"shop.example", scheme.encode(), lines, Peer(source, 50000))


def addresses(count: int) -> list[str]:
    return [f"10.0.0.{i}:80" for i in range(1, count + 1)]


def options(count: int = 3, weights: list[float] | None = None, **fields: Any) -> PoolOptions:
    """Of a pool of so many backends."""
    each = zip(addresses(count), weights or [1.0] * count, strict=True)
    backends = tuple(BackendOptions(address=address, weight=weight) for address, weight in each)
    return PoolOptions(name=fields.pop("name", "web"), backends=backends, **fields)


def a_pool(count: int = 3, clock: Clock | None = None, seed: int = 1, **fields: Any) -> Pool:
    """A pool in force, with a clock that stands."""
    return Pool.build(options(count, **fields), clock or Clock(), Random(seed))


def attempt(pool: Pool, backend: Backend, result: Result = GOOD) -> None:
    """One whole attempt."""
    pool.began(backend)
    pool.ended(backend, result)


def picks(pool: Pool, count: int, request: Request | None = None) -> list[str]:
    """Names of so many picks in a row, none of which begins."""
    chosen = [pool.pick(request or a_request()) for _ in range(count)]
    return ["" if backend is None else backend.name for backend in chosen]
