"""Backends that can stand in for each other, and how one of them is chosen.

Rule of this file: decisions and counts; no sockets. The engine asks for a backend, says when it begins and how it
ended. Each concern has a file of its own in `pools`; here they are put together. Clock and randomness are given.

    backend = pool.pick(request)                    None: nobody may be asked; `pool.why` says why
    pool.began(backend) ... pool.ended(backend, result)
    if pool.again(request, result, attempts): backend = pool.pick(request, tried)
    pool.mark(request, backend, response)           before the response's head is sent

Theory. Much can keep a backend from being asked: its operator, its checks, its ejection, its breaker. All of it is
said by one list of numbers, the share of each backend: its weight, less while it starts slowly, 0 while it is out. The
list is worked out anew when something happens or when a moment comes that was known before (an ejection ends, a share
grows); a pick in between reads it, and costs about a microsecond.

Who is out, and how far: a backend that is down (by its operator or its checks) or whose breaker is open is not asked.
One that is ejected is only suspected: it is asked when nobody else is left. Below the panic threshold checks and
ejections are not believed. A client that is stuck to a draining backend gets there until its window ends; nobody else
does.

Trap. A pool counts what it is told. Whoever says `began` must say `ended`, once, whatever happened.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Collection, Sequence
from random import Random
from typing import Any, Final

from lbcore.balance.chooser import NOBODY, make
from lbcore.l4.relay.options import endpoint
from lbcore.l7.message import Request, Response
from lbcore.l7.pools.backend import ACTIVE, BLAMELESS, DOWN, DRAINING, Backend, Result
from lbcore.l7.pools.breaker import HALF_OPEN, OPEN, Breaker
from lbcore.l7.pools.health import Health
from lbcore.l7.pools.key import hashed
from lbcore.l7.pools.options import BackendOptions, BreakerOptions, HashOptions, PoolOptions, TimeoutsOptions
from lbcore.l7.pools.outlier import Record
from lbcore.l7.pools.retry import Retries
from lbcore.l7.pools.slow_start import next_step, ramp
from lbcore.l7.pools.sticky import sticky_of

__all__ = ["ACTIVE", "DOWN", "DRAINING", "Backend", "Pool", "Result", "Timeouts"]

Timeouts = TimeoutsOptions
NEVER = float("inf")
FRESH = 0.2  # weight of the newest attempt in a backend's latency


class Place:
    """What a pool knows of one of its backends."""

    __slots__ = ("breaker", "drained", "health", "outlier", "since")

    def __init__(self, health: Health | None, outlier: Record | None) -> None:
        self.health, self.outlier, self.breaker = health, outlier, Breaker()
        self.since = -NEVER
        """When its slow start began."""
        self.drained = NEVER
        """When its draining ends; NEVER if it is left to the operator."""


class Pool:
    """A pool in force. Without options: in turn, whoever is active, and no retries.

    options: policies; of its name, backends, protocol and timeouts the arguments are taken (see `build`).
    """

    def __init__(
        self,
        name: str,
        backends: Sequence[Backend],
        timeouts: Timeouts | None = None,
        protocol: str = "h1",
        *,
        options: PoolOptions | None = None,
        clock: Callable[[], float] = time.monotonic,
        random: Random | None = None,
    ) -> None:
        if options is None:
            some = BackendOptions(address="127.0.0.1:1")
            options = PoolOptions(name="default", backends=(some,))
        self.name: Final = name
        self.backends = tuple(backends)
        self.timeouts = timeouts or options.timeouts
        self.protocol = protocol
        """How backends are spoken to: "h1", "h2" (TLS with ALPN) or "h2c" (HTTP/2 in the clear, known beforehand)."""
        self.options: Final = options
        self.why = ""
        """Why the last pick gave nobody."""
        self.requests = 0
        """First picks that gave a backend."""
        self.retries: Final = Retries(options.retry)
        self._clock, self._random = clock, random or Random()
        self._limits = options.breaker or BreakerOptions()
        self._judges = options.outlier is not None or options.breaker is not None
        self._flight = 0
        self._waiting: deque[Callable[[], None]] = deque()

        now = clock()
        self._active = [0] * len(self.backends)
        for number, backend in enumerate(self.backends):
            backend.join(self._active, number, self._changed)
        self._places = {
            backend: Place(
                Health(options.health, self._random, now) if options.health else None,
                Record(options.outlier) if options.outlier else None,
            )
            for backend in self.backends
        }
        self._sticky = sticky_of(options.sticky, name, self.backends) if options.sticky else None
        by_key = options.hash or (HashOptions() if options.picker in ("maglev", "ring", "rendezvous", "jump") else None)
        self._key = hashed(by_key) if by_key else None
        self._weights = [-1.0] * len(self.backends)  # that the chooser was made with
        self._shares: list[float] = []
        self._suspects: list[float] = []
        self._limit: list[float] = []
        self._due = -NEVER  # when shares are to be worked out next
        self._work_out(now)

    @classmethod
    def build(
        cls, options: PoolOptions, clock: Callable[[], float] = time.monotonic, random: Random | None = None
    ) -> Pool:
        """A pool as its options say. OSError or ValueError if a file of keys cannot be used."""
        backends = [Backend(*endpoint(each.address), each.weight) for each in options.backends]
        return cls(
            options.name, backends, options.timeouts, options.protocol, options=options, clock=clock, random=random
        )

    # -------------------------------------------------------------------------------------------- what the engine calls
    def pick(self, request: Request, tried: Collection[Backend] = ()) -> Backend | None:
        """Who is to answer this request, not one of `tried`; None: nobody may be asked, and `why` says why."""
        now = self._clock()
        if now >= self._due:
            self._work_out(now)
        if self._limits.pool_active and self._flight >= self._limits.pool_active:
            self.why = f"the pool has {self._flight} requests in flight, its limit"
            return None
        backend = self._sticky.find(request, now) if self._sticky else None
        if backend is None or backend in tried or not self._serves_its_own(backend, now):
            key = self._key(request) if self._key else 0
            number = NOBODY if tried else self._chooser.choose(key, self._shares, self._active)
            if number == NOBODY or self._active[number] >= self._limit[number]:
                number = self._pick_among_few(key, tried)
                if number == NOBODY:
                    return None
            backend = self.backends[number]
        if not tried:
            self.requests += 1
            self.retries.budget.asked(now)
        if self._sticky:
            self._sticky.chose(request, backend, now)
        return backend

    def began(self, backend: Backend) -> None:
        """An attempt begins; `ended` follows, once."""
        self._active[backend._number] += 1
        self._flight += 1

    def ended(self, backend: Backend, result: Result) -> None:
        """It is over, the body included. ValueError if it never began."""
        number = backend._number
        if self._active[number] <= 0:
            raise ValueError(f"backend: {backend.name} has no request in flight; call ended once for each began")
        self._active[number] -= 1
        self._flight -= 1
        backend.total += 1
        if result.error:
            if result.error not in BLAMELESS:
                backend.errors += 1
        elif result.seconds:
            backend.latency += (result.seconds - backend.latency) * (FRESH if backend.latency else 1.0)
        if self._judges:
            self._judge(backend, result)
        if self._waiting:
            self._waiting.popleft()()

    def again(self, request: Request, result: Result, attempts: int) -> bool:
        """May this request be tried at another backend, after so many attempts? Yes takes from the budget."""
        return self.retries.again(request, result, attempts, self._clock())

    def mark(self, request: Request, backend: Backend, response: Response) -> None:
        """A last word on the response's head: a sticky pool sets its cookie here."""
        if self._sticky:
            self._sticky.mark(request, backend, response)

    # ---------------------------------------------------------------------------- what it may call, when it can do that
    def hedge(self, request: Request, attempts: int) -> bool:
        """The delay of `options.hedge` is over: a second attempt beside the first? Yes takes from the budget."""
        return self.options.hedge is not None and self.retries.hedge(request, attempts, self._clock())

    def wait(self, call: Callable[[], None]) -> bool:
        """`call` when a request has ended, first come first served; False: too many wait already. Then pick again."""
        if len(self._waiting) >= self._limits.pending:
            return False
        self._waiting.append(call)
        return True

    def give_up(self, call: Callable[[], None]) -> None:
        """Who waits no longer."""
        if call in self._waiting:
            self._waiting.remove(call)

    # ------------------------------------------------------------------------------------------ what the operator calls
    def find(self, name: str) -> Backend | None:
        """The backend called `host:port`."""
        return next((backend for backend in self.backends if backend.name == name), None)

    def drain(self, backend: Backend, seconds: float | None = None) -> None:
        """Nothing new for it; those who are stuck to it for so many seconds more (None: as the options say)."""
        window = self.options.drain if seconds is None else seconds
        if not 0 <= window < NEVER:
            raise ValueError(f"seconds: {window!r} is no window; give 0 or more")
        backend.state = DRAINING
        self._places[backend].drained = self._clock() + window

    def finished(self, backend: Backend) -> bool:
        """Can a draining backend be switched off: none of its requests is in flight, or its window is over?"""
        if backend.state == ACTIVE:
            return False
        return backend.active == 0 or self._clock() >= self._places[backend].drained

    def health(self, backend: Backend) -> Health | None:
        """Its checks, for the one who carries them out; None if there are none."""
        return self._places[backend].health

    def checked(self, backend: Backend, why: str) -> None:
        """A check that was begun has ended: `why` not, or empty for a good answer."""
        place, now = self._places[backend], self._clock()
        if place.health is not None and place.health.end(why, now):
            if place.health.up:
                place.since = now
            self._changed()

    def why_not(self, backend: Backend) -> str:
        """Why it gets nothing new, in words; empty if it does."""
        if self._clock() >= self._due:
            self._work_out(self._clock())
        return self._reason(backend, self._places[backend])

    def snapshot(self) -> dict[str, Any]:
        """What there is to be seen, in types that JSON knows."""
        now = self._clock()
        if now >= self._due:
            self._work_out(now)
        return {
            "name": self.name,
            "protocol": self.protocol,
            "picker": self.options.picker,
            "panic": self._panic,
            "active": self._flight,
            "waiting": len(self._waiting),
            "requests": self.requests,
            "retries": {"granted": self.retries.granted, "refused": self.retries.refused},
            "backends": [self._show(backend, now) for backend in self.backends],
        }

    def take_over(self, old: Pool) -> None:
        """After a reload: go on with what the pool of the same name knew of backends that stay.

        Health, ejections, breakers, slow starts, draining and latencies; who is stuck to whom; the retries' budget.
        Weights are the new configuration's. Backends that are new start slowly. ValueError for a pool of another name.
        """
        if old.name != self.name:
            raise ValueError(f"old: {old.name} is another pool; {self.name} takes over from the one of its name")
        now = self._clock()
        heirs: dict[Backend, Backend] = {}
        for backend in self.backends:
            place, before = self._places[backend], old.find(backend.name)
            if before is None:
                place.since = now
                continue
            heirs[before] = backend
            known = old._places[before]
            backend.state = before.state
            backend.total, backend.errors, backend.latency = before.total, before.errors, before.latency
            place.since, place.drained = known.since, known.drained
            if place.health and known.health:
                place.health.take_over(known.health, now)
            if place.outlier and known.outlier:
                place.outlier = known.outlier
            if self.options.breaker and old.options.breaker:
                place.breaker = known.breaker
        self.requests = old.requests
        self.retries.take_over(old.retries)
        if self._sticky and old._sticky:
            self._sticky.take_over(old._sticky, heirs)
        self._changed()

    # ------------------------------------------------------------------------------------------------------- inside
    def _changed(self) -> None:
        """Work out the shares before the next pick."""
        self._due = -NEVER

    def _work_out(self, now: float) -> None:
        """The share of each backend, and until when that holds."""
        weights = [backend.weight for backend in self.backends]
        if weights != self._weights:
            names = [backend.name for backend in self.backends]
            self._chooser = make(self.options.picker, names, weights, self._random)
            self._weights = weights
        due = NEVER
        for place in self._places.values():
            if place.outlier and place.outlier.pass_time(now):
                place.since = now
            place.breaker.pass_time(now)
            due = min(due, self._next_change(place, now))
        self._panic = self._in_panic()
        slow = self.options.slow_start
        self._shares, self._suspects, self._limit = [], [], []
        for backend, place in self._places.items():
            share = backend.weight * ramp(slow, place.since, now)
            suspected = place.outlier is not None and place.outlier.until > 0 and not self._panic
            out = self._reason(backend, place, suspects=True) != ""
            self._shares.append(0.0 if out or suspected else share)
            self._suspects.append(0.0 if out else share)
            most = self._limits.active or NEVER
            self._limit.append(min(most, self._limits.trials) if place.breaker.state == HALF_OPEN else most)
        self._due = due

    def _next_change(self, place: Place, now: float) -> float:
        ejected = place.outlier.next_change() if place.outlier else NEVER
        return min(ejected, place.breaker.next_change(), next_step(self.options.slow_start, place.since, now))

    def _in_panic(self) -> bool:
        """Are so few in working order that nobody's verdict is believed?"""
        if not self.options.panic:
            return False
        wanted = [place for backend, place in self._places.items() if backend.state == ACTIVE and backend.weight]
        good = [p for p in wanted if (not p.health or p.health.up) and not (p.outlier and p.outlier.until)]
        return len(good) < self.options.panic * len(wanted)

    def _reason(self, backend: Backend, place: Place, suspects: bool = False) -> str:
        """Why it gets nothing new; empty if it does. suspects: an ejection alone is no reason."""
        if backend.state != ACTIVE:
            return backend.state
        if backend.weight == 0:
            return "weight 0"
        if place.breaker.state == OPEN:
            return "breaker open"
        if self._panic:
            return ""
        if place.health and not place.health.up:
            return f"check: {place.health.why or 'not enough good answers yet'}"
        if place.outlier and place.outlier.until and not suspects:
            return f"ejected: {place.outlier.why}"
        return ""

    def _serves_its_own(self, backend: Backend, now: float) -> bool:
        """May those who are stuck to it go there?"""
        number, place = backend._number, self._places[backend]
        if self._active[number] >= self._limit[number]:
            return False
        if backend.state == DRAINING:
            well = not place.health or place.health.up
            return well and place.breaker.state != OPEN and now < place.drained
        return self._shares[number] > 0 or (backend.weight == 0 and not self._reason_but_weight(backend, place))

    def _reason_but_weight(self, backend: Backend, place: Place) -> bool:
        """Is there a reason beside its weight?"""
        return (
            backend.state != ACTIVE
            or place.breaker.state == OPEN
            or (place.health is not None and not place.health.up and not self._panic)
            or (place.outlier is not None and place.outlier.until > 0 and not self._panic)
        )

    def _pick_among_few(self, key: int, tried: Collection[Backend]) -> int:
        """Past those that were tried or are full; suspects if there is nobody else."""
        for shares in (self._shares, self._suspects):
            left = [
                0.0 if active >= limit or backend in tried else share
                for share, active, limit, backend in zip(shares, self._active, self._limit, self.backends, strict=True)
            ]
            number = self._chooser.choose(key, left, self._active)
            if number != NOBODY:
                return number
        self.why = self._why_nobody(tried)
        return NOBODY

    def _why_nobody(self, tried: Collection[Backend]) -> str:
        words = []
        for backend, place in self._places.items():
            full = f"full, {backend.active} in flight"
            words.append(f"{backend.name}: {'tried' if backend in tried else self._reason(backend, place) or full}")
        return "; ".join(words) or "the pool is empty"

    def _judge(self, backend: Backend, result: Result) -> None:
        """What an attempt's end says of its backend."""
        if result.error in BLAMELESS:
            return
        place, now, options = self._places[backend], self._clock(), self.options
        if options.breaker:
            good = not result.error and result.status not in options.breaker.statuses
            if place.breaker.result(options.breaker, good, now):
                self._changed()
        if options.outlier and place.outlier:
            good = not result.error and result.status not in options.outlier.statuses
            why = place.outlier.result(options.outlier, good, now)
            if why and self._may_eject(now):
                place.outlier.eject(options.outlier, why, now)
                self._changed()

    def _may_eject(self, now: float) -> bool:
        """Is there room for one more, below the cap?"""
        assert self.options.outlier is not None
        out = sum(place.outlier is not None and place.outlier.until > now for place in self._places.values())
        return out + 1 <= int(self.options.outlier.most * len(self.backends))

    def _show(self, backend: Backend, now: float) -> dict[str, Any]:
        place = self._places[backend]
        shown: dict[str, Any] = {
            "name": backend.name,
            "state": backend.state,
            "why": self._reason(backend, place),
            "weight": backend.weight,
            "share": self._shares[backend._number],
            "active": backend.active,
            "total": backend.total,
            "errors": backend.errors,
            "latency": backend.latency,
        }
        if backend.state == DRAINING:
            left = max(0.0, place.drained - now)
            shown["draining"] = {"left": left if left < NEVER else None, "finished": self.finished(backend)}
        if place.health:
            health = place.health
            shown["health"] = {"up": health.up, "why": health.why, "checks": health.checks, "changes": health.changes}
        if place.outlier:
            left = max(0.0, place.outlier.until - now)
            shown["ejection"] = {"left": left, "why": place.outlier.why, "ejections": place.outlier.ejections}
        if self.options.breaker and self.options.breaker.failures:
            shown["breaker"] = {"state": place.breaker.state, "opened": place.breaker.opened}
        return shown
