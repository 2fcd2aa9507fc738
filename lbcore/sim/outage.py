"""One server of a pool breaks: for how long is it asked all the same, and how many clients notice?

Rule of this file: the decisions are the pool's own (`lbcore.l7.pools`); it has no sockets, and its clock is a number.

The model. Requests arrive in a Poisson stream and healthy servers answer at once. At second 0 the first one breaks, for
good, at a random moment between two checks. `before` lets all be well for so long: a retries' budget looks back.

Theory. A check that asks the right thing fails at once if the port is closed, and after its timeout T if nobody
answers. `fall` failures in a row take the server out, and no two checks overlap, so with an interval I

    window = U + (fall - 1) max(I, T) + T,    U even between 0 and I;    T = 0 for a port that is closed

At r requests a second for this server, r times the window are sent to it meanwhile. Ejection counts requests and not
seconds: `consecutive` of them, and what is sent while the first failures are not known yet, r times the time in which a
request fails.

Trap. A check that does not ask for what is broken never fails: its window has no end (`seen` is false).
"""

from __future__ import annotations

import heapq
from collections.abc import Callable
from functools import partial
from math import inf
from random import Random
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from lbcore.l7.message import Headers, Peer, Request
from lbcore.l7.pools.backend import Backend, Result
from lbcore.l7.pools.health import HealthOptions
from lbcore.l7.pools.options import BackendOptions, PoolOptions
from lbcore.l7.pools.pool import Pool

FAULTS = {
    "refuses": Result(error="refused"),
    "hangs": Result(error="timeout", sent=True),
    "answers 503": Result(503, sent=True),
}


class Outage(NamedTuple):
    """What came of it. Seconds count from the moment of the break."""

    failed: npt.NDArray[np.float64]
    """When each request was sent that its client saw fail, ascending: float64[n]."""
    window: float
    """When the server was left out; infinity: never."""
    requests: int
    """All that came, also before the break."""


def pool_options(backends: int = 4, **options: Any) -> PoolOptions:
    """A pool of servers that nobody dials. options: those of `PoolOptions`."""
    servers = tuple(BackendOptions(address=f"192.0.2.1:{port}") for port in range(1, backends + 1))
    return PoolOptions(name="site", backends=servers, **options)


def checks(interval: float, fall: int, timeout: float = 1.0, jitter: float = 0.0) -> HealthOptions:
    """Active checks, every `interval` seconds sharp unless there is jitter."""
    return HealthOptions(interval=interval, fall=fall, timeout=timeout, jitter=jitter)


def expected_window(interval: float, fall: int, fails_after: float = 0.0) -> float:
    """Seconds until active checks leave a broken server out, on average. fails_after: seconds of a failing check."""
    return interval / 2 + (fall - 1) * max(interval, fails_after) + fails_after


def longest_window(interval: float, fall: int, fails_after: float = 0.0) -> float:
    """The same, when the break came just after a check."""
    return expected_window(interval, fall, fails_after) + interval / 2


def play(
    options: PoolOptions,
    fault: str,
    *,
    rate: float,
    seconds: float,
    method: str = "GET",
    seen: bool = True,
    before: float = 0.0,
    seed: int = 0,
) -> Outage:
    """The first `seconds` after a break. fault: one of FAULTS. rate: requests a second for the pool. seen: checks fail.

    before: seconds of good health that come first.

    ValueError for a fault that there is not, or a rate or time that cannot be.
    """
    if fault not in FAULTS:
        raise ValueError(f"fault is {fault!r}, wanted one of: {', '.join(FAULTS)}")
    for name, value in (("rate", rate), ("seconds", seconds)):
        if not 0 < value < inf:
            raise ValueError(f"{name} is {value}, wanted a finite number over 0")
    if not 0 <= before < inf:
        raise ValueError(f"before is {before}, wanted seconds, 0 or more")
    return _Stage(options, fault, method, seen, before, seed).play(rate, seconds)


def leaks(
    fault: str,
    *,
    rate: float,
    seconds: float,
    runs: int = 20,
    method: str = "GET",
    before: float = 0.0,
    **options: Any,
) -> npt.NDArray[np.int64]:
    """Requests whose clients saw a failure, in each of so many outages: int64[runs]. options: as for `pool_options`."""
    pool, how = pool_options(**options), {"rate": rate, "seconds": seconds, "method": method, "before": before}
    return np.array([play(pool, fault, **how, seed=run).failed.size for run in range(runs)])  # type: ignore[arg-type]


class _Stage:
    """A pool, an agenda of what happens when, and a clock that is set to each of it in turn."""

    def __init__(self, options: PoolOptions, fault: str, method: str, seen: bool, before: float, seed: int) -> None:
        self.now, self.random, self.breaks = 0.0, Random(seed), before
        self.pool = Pool.build(options, clock=lambda: self.now, random=self.random)
        self.broken = self.pool.backends[0]
        self.result = FAULTS[fault]
        hangs = self.result.error == "timeout"
        self.request_takes = options.timeouts.head if hangs else 0.0
        self.check_takes = options.health.timeout if hangs and options.health else 0.0
        self.seen = seen
        self.request = Request(method.encode(), b"/", b"shop.example", b"http", Headers(), Peer("192.0.2.9", 1024))
        self.failed: list[float] = []
        self.window = inf
        self._agenda: list[tuple[float, int, Callable[[], None]]] = []
        self._entries = 0

    def play(self, rate: float, seconds: float) -> Outage:
        arrivals, moment, end = 0, self.random.expovariate(rate), self.breaks + seconds
        while moment < end:
            self._at(moment, partial(self._ask, moment - self.breaks, ()))
            arrivals, moment = arrivals + 1, moment + self.random.expovariate(rate)
        health = self.pool.health(self.broken)
        if health is not None and self.seen:
            self._at(health.next, self._check)
        while self._agenda:
            moment, _, happens = heapq.heappop(self._agenda)
            if moment > end and happens == self._check:
                continue  # requests that are under way end, checks would go on for ever
            self.now = moment
            happens()
            if self.window == inf and self.pool.why_not(self.broken):
                self.window = self.now - self.breaks
        return Outage(np.sort(np.array(self.failed, np.float64)), self.window, arrivals)

    def _at(self, moment: float, happens: Callable[[], None]) -> None:
        self._entries += 1
        heapq.heappush(self._agenda, (moment, self._entries, happens))

    # ---- requests ----

    def _ask(self, sent: float, tried: tuple[Backend, ...]) -> None:
        backend = self.pool.pick(self.request, tried)
        if backend is None:
            self.failed.append(sent)
            return
        self.pool.began(backend)
        if backend is self.broken and self.now >= self.breaks:
            self._at(self.now + self.request_takes, partial(self._fails, sent, (*tried, backend)))
        else:
            self.pool.ended(backend, Result(200, sent=True))

    def _fails(self, sent: float, tried: tuple[Backend, ...]) -> None:
        self.pool.ended(self.broken, self.result)
        if self.pool.again(self.request, self.result, len(tried), tried=tried):
            self._ask(sent, tried)
        else:
            self.failed.append(sent)

    # ---- checks ----

    def _check(self) -> None:
        health = self.pool.health(self.broken)
        assert health is not None
        health.begin(self.now)
        ill = self.now >= self.breaks
        self._at(self.now + self.check_takes * ill, partial(self._checked, "it is broken" if ill else ""))

    def _checked(self, why: str) -> None:
        health = self.pool.health(self.broken)
        assert health is not None
        self.pool.checked(self.broken, why)
        self._at(max(self.now, health.next), self._check)
