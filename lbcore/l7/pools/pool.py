"""Backends that can stand in for each other, and how one of them is chosen.

Rule of this file: decisions and counts; no sockets. The engine asks for a backend, says when it begins and how it
ended. Each concern has a file of its own in `pools`; here they are put together. Clock and randomness are given.

    backend = pool.pick(request)                    None: nobody may be asked; `pool.why` says why
    pool.began(backend) ... pool.ended(backend, result)
    if pool.again(request, result, attempts): backend = pool.pick(request, tried)
    pool.mark(request, backend, response)           before the response's head is sent

Theory. Two questions, asked apart. Who may be asked, and for how large a share (`pools.standing`): that changes when
something happens, and is worked out then. Who of them it is (`lbcore.balance.chooser`): that is asked for every
request, reads the shares as they stand, and takes about a microsecond.

A client that is stuck to a backend goes there as long as that serves its own: even while it drains, until the window
ends, and nobody new does.

Trap. A pool counts what it is told. Whoever says `began` must say `ended`, once, whatever happened.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Collection, Sequence
from random import Random
from typing import Any, Final

from lbcore.balance.chooser import BY_KEY, NOBODY, WITHOUT_WEIGHTS, make
from lbcore.l4.relay.options import endpoint
from lbcore.l7.message import Request, Response
from lbcore.l7.pools.backend import ACTIVE, DOWN, DRAINING, Backend, Result, verdict
from lbcore.l7.pools.health import Health
from lbcore.l7.pools.key import hashed
from lbcore.l7.pools.options import (
    BackendOptions,
    BreakerOptions,
    HashOptions,
    PoolOptions,
    RetryOptions,
    TimeoutsOptions,
)
from lbcore.l7.pools.retry import Retries
from lbcore.l7.pools.show import show
from lbcore.l7.pools.standing import NEVER, Standing
from lbcore.l7.pools.sticky import sticky_of

__all__ = ["ACTIVE", "DOWN", "DRAINING", "Backend", "Pool", "Result", "Timeouts"]

Timeouts = TimeoutsOptions
PLAIN: Final = PoolOptions(
    name="plain", backends=(BackendOptions(address="127.0.0.1:1"),), retry=RetryOptions(attempts=1)
)
FRESH = 0.2  # weight of the newest attempt in a backend's latency


class Pool:
    """A pool in force. Without options: in turn, whoever is active, and no retries.

    options: its policies; name, backends, protocol and timeouts are the other arguments (`build` takes all from there).
    """

    def __init__(
        self,
        name: str,
        backends: Sequence[Backend],
        timeouts: Timeouts | None = None,
        protocol: str = "h1",
        *,
        options: PoolOptions = PLAIN,
        clock: Callable[[], float] = time.monotonic,
        random: Random | None = None,
    ) -> None:
        self.name: Final = name
        self.backends = tuple(backends)
        self.timeouts = timeouts or options.timeouts
        self.protocol = protocol
        """How backends are spoken to: "h1", "h2" (TLS with ALPN) or "h2c" (HTTP/2 in the clear, known beforehand)."""
        self.options: Final = options
        self.why = ""
        """Why the last pick gave nobody."""
        self.requests = 0
        """Picks that gave a backend, without the second ones of a request."""
        self.in_flight = 0
        self.retries: Final = Retries(options.retry)
        self._clock, self._random = clock, random or Random()
        self._most = options.breaker or BreakerOptions()
        self._spares = options.retry.attempts > 1 or options.hedge is not None
        self._judges = options.outlier is not None or options.breaker is not None
        self._waiting: deque[Callable[[], bool]] = deque()
        self._standing = Standing(options, self.backends, self._random, clock())
        self._active = [0] * len(self.backends)
        for number, backend in enumerate(self.backends):
            backend.join(self._active, number, self._changed)
        self._sticky = sticky_of(options.sticky, name, self.backends) if options.sticky else None
        self._key = hashed(options.hash or HashOptions()) if options.picker in BY_KEY else None
        self._weights: list[float] = []  # that the chooser was made with
        self._changed()
        self._standing.work_out(clock())

    @classmethod
    def build(
        cls, options: PoolOptions, clock: Callable[[], float] = time.monotonic, random: Random | None = None
    ) -> Pool:
        """A pool as its options say. OSError or ValueError if a file of keys cannot be used."""
        backends = [Backend(*endpoint(each.address), each.weight) for each in options.backends]
        return cls(
            options.name, backends, options.timeouts, options.protocol, options=options, clock=clock, random=random
        )

    # ---- what the engine calls ----

    def pick(self, request: Request, tried: Collection[Backend] = ()) -> Backend | None:
        """Who is to answer this request, not one of `tried`; None: nobody may be asked, and `why` says why."""
        now, standing = self._clock(), self._standing
        if now >= standing.due:
            standing.work_out(now)
        if self._most.pool_active and self.in_flight >= self._most.pool_active:
            self.why = f"{self.in_flight} requests in flight, as many as the pool may have"
            return None
        backend = self._sticky.find(request, now) if self._sticky is not None else None
        if backend is None or backend in tried or not standing.serves_its_own(backend, now):
            key = self._key(request) if self._key else 0
            number = NOBODY if tried else self._chooser.choose(key, standing.shares, self._active)
            if number == NOBODY or self._active[number] >= standing.limits[number]:
                number = self._pick_among_few(key, tried)
                if number == NOBODY:
                    return None
            backend = self.backends[number]
        if not tried:
            self.requests += 1
            if self._spares:
                self.retries.budget.asked(now)
        if self._sticky is not None:
            self._sticky.chose(request, backend, now)
        return backend

    def began(self, backend: Backend) -> None:
        """An attempt begins; `ended` follows, once."""
        self._active[backend.number] += 1
        self.in_flight += 1

    def ended(self, backend: Backend, result: Result, began: float = NEVER) -> None:
        """It is over, the body included. began: when it did, by the pool's clock; just now, if that is not said.
        ValueError if it never did."""
        number = backend.number
        if self._active[number] <= 0:
            raise ValueError(f"backend: {backend.name} has no request in flight; call ended once for each began")
        self._active[number] -= 1
        self.in_flight -= 1
        backend.total += 1
        if result.error:
            backend.errors += verdict(result, ()) is False
        elif result.status:
            backend.latency += (result.seconds - backend.latency) * (FRESH if backend.latency else 1.0)
        if self._judges:
            self._standing.judge(backend, result, began, self._clock())
        for call in self._waiting:
            if call():
                self._waiting.remove(call)
                break

    def again(
        self, request: Request, result: Result, attempts: int, *, tried: Collection[Backend] | None = None
    ) -> bool:
        """May this request be tried at another backend, after so many attempts? Yes takes from the budget.

        tried: who was asked; without it, as many as there were attempts, whoever they were. If nobody else is left, the
        answer is no: a bad answer of the last one is better than none. Whether the request's body can be sent again is
        for whoever has it to know.
        """
        return self._somebody_else(attempts, tried) and self.retries.again(request, result, attempts, self._clock())

    def mark(self, request: Request, backend: Backend, response: Response) -> None:
        """A last word on the response's head: a sticky pool sets its cookie here."""
        if self._sticky is not None:
            self._sticky.mark(request, backend, response)

    # ---- what it may call, if it can do that ----

    def hedge(self, request: Request, attempts: int) -> bool:
        """The delay of `options.hedge` is over: a second attempt beside the first? Yes takes from the budget."""
        return self.options.hedge is not None and self.retries.hedge(request, attempts, self._clock())

    def wait(self, call: Callable[[], bool]) -> bool:
        """`call` when a request has ended, first come first served: it picks again, and says whether it found a place.
        Who finds none (it has asked that backend already) keeps its turn, and the next one is called.

        False: too many wait already, or no request is in flight that could end. Nobody is called for any other reason
        (a backend that comes back): whoever waits has a deadline of their own, and `give_up`.
        """
        if len(self._waiting) >= self._most.pending or not self.in_flight:
            return False
        self._waiting.append(call)
        return True

    def give_up(self, call: Callable[[], bool]) -> None:
        """It waits no longer."""
        if call in self._waiting:
            self._waiting.remove(call)

    # ---- what the operator and the checker call ----

    def find(self, name: str) -> Backend | None:
        """The backend called `host:port`."""
        return next((backend for backend in self.backends if backend.name == name), None)

    def drain(self, backend: Backend, seconds: float | None = None) -> None:
        """Nothing new for it; those who are stuck to it for so many seconds more (None: as the options say)."""
        window = self.options.drain if seconds is None else seconds
        if not 0 <= window < NEVER:
            raise ValueError(f"seconds: {window!r} is no window; give 0 or more")
        backend.state = DRAINING
        self._standing.places[backend].drained = self._clock() + window

    def finished(self, backend: Backend) -> bool:
        """May a backend that drains or is down be switched off?

        When none of its requests is in flight, or its window is over. A sticky pool waits for the window: clients that
        are stuck come back until then.
        """
        if backend.state == ACTIVE:
            return False
        over = self._clock() >= self._standing.places[backend].drained
        return over or (backend.active == 0 and (self._sticky is None or backend.state == DOWN))

    def health(self, backend: Backend) -> Health | None:
        """Its checks, for whoever carries them out; None if there are none."""
        return self._standing.places[backend].health

    def checked(self, backend: Backend, why: str) -> None:
        """A check that was begun has ended: `why` not, or empty for a good answer."""
        health = self.health(backend)
        if health is not None and health.end(why, self._clock()):
            self._standing.changed()

    def why_not(self, backend: Backend) -> str:
        """Why it gets nothing new, in words; empty if it does."""
        self._up_to_date()
        return self._standing.places[backend].out(self._standing.panic)

    def snapshot(self) -> dict[str, Any]:
        """What there is to be seen, in types that JSON knows."""
        now = self._up_to_date()
        return {
            "name": self.name,
            "protocol": self.protocol,
            "picker": self.options.picker,
            "panic": self._standing.panic,
            "active": self.in_flight,
            "waiting": len(self._waiting),
            "requests": self.requests,
            "retries": {"granted": self.retries.granted, "refused": self.retries.refused},
            "backends": [
                show(self._standing, backend, now) | {"finished": self.finished(backend)} for backend in self.backends
            ],
        }

    def take_over(self, old: Pool) -> None:
        """After a reload: go on with what the pool of the same name knew of backends that stay.

        Health, ejections, breakers, slow starts, draining and figures; who is stuck to whom; the retries' budget.
        Weights are the new configuration's. Backends that are new start slowly. ValueError for a pool of another name.
        """
        if old.name != self.name:
            raise ValueError(f"old: {old.name} is another pool; {self.name} takes over from the one of its name")
        known = {backend.name: backend for backend in old.backends}
        heirs = {known[backend.name]: backend for backend in self.backends if backend.name in known}
        for before, backend in heirs.items():
            backend.total, backend.errors, backend.latency = before.total, before.errors, before.latency
        self.requests = old.requests
        self.retries.take_over(old.retries)
        self._standing.take_over(old._standing, heirs, self._clock())
        if self._sticky is not None and old._sticky is not None:
            self._sticky.take_over(old._sticky, heirs)

    # ---- inside ----

    def _up_to_date(self) -> float:
        now = self._clock()
        if now >= self._standing.due:
            self._standing.work_out(now)
        return now

    def _changed(self) -> None:
        """Somebody's state or weight is another; for new weights a new chooser. ValueError if they cannot be."""
        weights, picker = [backend.weight for backend in self.backends], self.options.picker
        if weights != self._weights:
            if picker in WITHOUT_WEIGHTS and any(weight not in (0, 1) for weight in weights):
                raise ValueError(f"weight: {picker} knows none but 1 (and 0); take picker smooth_weighted")
            self._chooser = make(picker, [backend.name for backend in self.backends], weights, self._random)
            self._weights = weights
        self._standing.changed()

    def _somebody_else(self, attempts: int, tried: Collection[Backend] | None) -> bool:
        """Is there anybody to be asked who was not asked yet?"""
        self._up_to_date()
        if tried is None:
            return attempts < len(self.backends) and any(self._standing.suspects)
        return any(self._left(self._standing.suspects, tried))

    def _left(self, shares: Sequence[float], tried: Collection[Backend]) -> list[float]:
        """Shares without those that were tried or are full."""
        return [
            0.0 if active >= limit or backend in tried else share
            for share, active, limit, backend in zip(
                shares, self._active, self._standing.limits, self.backends, strict=True
            )
        ]

    def _pick_among_few(self, key: int, tried: Collection[Backend]) -> int:
        """Past those that were tried or are full; suspects if there is nobody else."""
        for shares in (self._standing.shares, self._standing.suspects):
            number = self._chooser.choose(key, self._left(shares, tried), self._active)
            if number != NOBODY:
                return number
        self.why = self._why_nobody(tried)
        return NOBODY

    def _why_nobody(self, tried: Collection[Backend]) -> str:
        words = []
        for backend, place in self._standing.places.items():
            why = place.out(self._standing.panic) or f"full, {backend.active} in flight"
            words.append(f"{backend.name}: {'tried' if backend in tried else why}")
        return "; ".join(words)
