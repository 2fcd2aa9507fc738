"""The half of an exchange that turns to backends: whom it asks, how often, and what it can send again.

Rule of this file: from the picked backend to the head of a response. Filters, and what goes to the client, are the
other half's (`exchange`).

Theory. An attempt that fails before the response's head may be followed by another one, if the request can be sent
again: what was sent of its body is still kept, and the pool allows it. A connection that was idle and breaks before it
answers is the ordinary race with a backend's idle timeout; that attempt is repeated once on a new connection, for
methods that may be repeated (RFC 9110, 9.2.2), and does not count against the backend.

Who finds the pool full may wait for a place (`breaker.pending`), in a row with others, for as long as `timeouts.queue`
allows. Whoever ends calls the first of them, at once, so that nobody who comes anew is faster; it begins a little
later, when the other one is done.

It is a base class, not an object of its own: most requests are answered by their first attempt, and pay for nothing
else.

Traps
- Late news: a side that was told to cancel reports nothing more, and a task that comes back looks whether it is still
  wanted (`_turn`).
- Whatever `began` must have `ended` (see `Pool`): `_target` is there as long as an attempt is.
"""

from __future__ import annotations

from time import monotonic
from typing import TYPE_CHECKING

from lbcore.l7.engine.hedge import Hedge
from lbcore.l7.engine.sides import Carried
from lbcore.l7.message import Headers, Request, Response, text
from lbcore.l7.pools.pool import Backend, Pool, Result

if TYPE_CHECKING:
    from lbcore.l7.engine.proxy import Proxy
    from lbcore.l7.engine.sides import BackendSide, ClientSide

IDEMPOTENT = frozenset((b"GET", b"HEAD", b"OPTIONS", b"TRACE", b"PUT", b"DELETE"))  # RFC 9110, 9.2.2
NONE = Headers()
REFUSALS = 5  # of streams that a backend says it did not work on (RFC 9113, 8.7), until they count as failures
STATUS_OF = {"timeout": 504, "connect timeout": 504}
WORDS = {502: "bad gateway", 503: "no backend", 504: "the backend is too slow"}


class Attempts(Carried):
    """See the head of this file."""

    __slots__ = (
        "_asked", "_expects", "_hedge", "_kept", "_kept_size", "_over", "_pool", "_queued", "_repeatable",
        "_request_over", "_side", "_stale", "_target", "_took", "_trailers", "_tried", "_turn", "attempts", "backend",
        "client", "deadline", "error", "proxy", "request", "response",
    )  # fmt: skip

    def __init__(self, proxy: Proxy, client: ClientSide, request: Request) -> None:
        self.proxy, self.client, self.request = proxy, client, request
        self.response: Response | None = None
        self.backend = self.error = ""
        self.attempts = 0
        self.deadline = self._asked = 0.0
        self._took = 0.0  # seconds, until the backend answered
        self._pool: Pool | None = None
        self._target: Backend | None = None
        self._tried: tuple[Backend, ...] = ()
        self._side: BackendSide | None = None
        self._hedge: Hedge | None = None
        self._kept: list[bytes] | None = None  # of the request's body, to be sent (again)
        self._kept_size = 0
        self._repeatable = True  # nothing of the body was sent that is not kept
        self._trailers = NONE
        self._request_over = self._over = self._stale = self._expects = self._queued = False
        self._turn = 0  # of the attempt; what belongs to an earlier one comes too late

    def answer(self, response: Response) -> None:
        """The other half's: answer in a backend's place."""
        raise NotImplementedError

    def flush(self) -> None:
        """Whoever reported has no more to report."""
        if self._side is not None:
            self._side.flush()
        self.client.flush()

    # ---- one attempt ----

    def _ask(self, pool: Pool) -> None:
        """Somebody of this pool who was not asked yet."""
        backend = pool.pick(self.request, self._tried)
        if backend is None:
            if pool.wait(self._called):
                self._queued, self.deadline = True, self.proxy.now + pool.timeouts.queue
            else:
                self._failed("no backend", 503)
            return
        if self._expects:
            self._continue()
        self._try(pool, backend)
        if pool.options.hedge is not None:
            self._hedge_later(pool, pool.options.hedge.delay)

    def _called(self) -> bool:
        """There may be a place: take it now, and begin when whoever has left it is done. Was there one?"""
        pool = self._pool
        assert pool is not None
        backend = pool.pick(self.request, self._tried)
        if backend is None:
            if not pool.in_flight:
                self.deadline = self.proxy.now  # there is nothing to wait for
            return False
        self._queued = False
        if self._expects:
            self._continue()
        self._try(pool, backend, later=True)
        if pool.options.hedge is not None:
            self._hedge_later(pool, pool.options.hedge.delay)
        return True

    def _continue(self) -> None:
        """Somebody wants the body: say so to a client that waits for it (RFC 9110, 10.1.1)."""
        self._expects = False
        self.client.informational(100, Headers())

    def _try(self, pool: Pool, backend: Backend, *, later: bool = False) -> None:
        self.attempts += 1
        self._turn += 1
        self._target, self.backend, self._asked = backend, backend.name, monotonic()
        pool.began(backend)
        connection = None if self._stale or later else self.proxy.connections.take(pool, backend)
        if connection is None:
            self.deadline = 0.0
            self.proxy.task(self._connect(pool, backend, self._turn))
        else:
            self._send(connection.open(self))

    async def _connect(self, pool: Pool, backend: Backend, turn: int) -> None:
        connections, why = self.proxy.connections, ""
        wanted = not (self._over or self._stale or turn != self._turn)
        connection = connections.take(pool, backend) if wanted else None  # one may be idle by now
        if connection is None:
            connection, why = await connections.reach(pool, backend)
        if self._over or turn != self._turn:
            if connection is not None:
                connection.close()
            return
        if connection is None:
            self.backend_failed(why)
        else:
            self._send(connection.open(self))
        self.flush()

    def _send(self, side: BackendSide) -> None:
        request, self._side = self.request, side
        if request.body is not None:
            request.length = len(request.body)
        try:
            side.send_head(request)
        except ValueError as error:
            self.proxy.broken(self, error)
            self._drop_side("proxy")
            self.answer(text(500, "the proxy failed"))
            return
        if request.body is not None:
            if request.body:
                side.send_data(request.body)
                side.send_end(self._trailers)
        elif request.length != 0 or request.protocol:
            for piece in self._kept or ():
                side.send_data(piece)
            if self._kept_size > self.proxy.limits.kept:
                self._repeatable, self._kept = False, None
            if self._request_over and request.length != 0:
                side.send_end(self._trailers)
            self.client.resume_request()
        self._wait_for_head()

    def _wait_for_head(self) -> None:
        pool = self._pool
        if pool is not None:
            times = pool.timeouts
            self.deadline = self.proxy.now + (times.head if self._request_over else times.idle)

    def _moved(self) -> None:
        """Something came: patience begins anew."""
        pool = self._pool
        self.deadline = self.proxy.now + (pool.timeouts.idle if pool is not None else self.proxy.limits.idle_time)

    # ---- the request's body ----

    def _pass_on(self, data: bytes) -> None:
        """A piece to the backend, and kept for another one as long as that is allowed."""
        if self._repeatable and self.response is None:
            self._keep(data)
            if self._kept_size > self.proxy.limits.kept:
                if self._side is None:
                    self.client.pause_request()
                else:
                    self._repeatable, self._kept = False, None
        if self._side is not None:
            self._side.send_data(data)
            self._wait_for_head() if self.response is None else self._moved()
            if not self._side.writable:
                self.client.pause_request()

    def _keep(self, data: bytes) -> None:
        if self._kept is None:
            self._kept = []
        self._kept.append(data)
        self._kept_size += len(data)

    def _pass_end(self, trailers: Headers) -> None:
        if self.request.length == 0 and self.response is None:
            return  # the request has ended; the tunnel has not begun
        if self._side is not None:
            self._side.send_end(trailers)
            if self.response is None:
                self._wait_for_head()

    # ---- how it ended, and whether there is another one ----

    def backend_failed(self, why: str) -> None:
        """No response."""
        side, self._side = self._side, None
        pool, backend = self._pool, self._target
        assert pool is not None
        assert backend is not None
        refused = why == "refused stream"  # nobody worked on it: whatever the method, it can be sent again
        result = Result(0, why, monotonic() - self._asked, sent=side is not None and not refused)
        if refused and self.attempts < REFUSALS and self._can_repeat():
            self._settle(None)
            self._try(pool, backend)
            return
        raced = side is not None and side.reused and why == "reset" and not self._stale
        if raced and self._can_repeat() and self.request.method in IDEMPOTENT:
            self._settle(None)
            self._stale, self.attempts = True, self.attempts - 1
            self._try(pool, backend)
            return
        self._settle(result)
        if self._leaves_it_to_hedge(pool, backend):
            return
        if self._can_repeat() and pool.again(self.request, result, self.attempts, tried=(*self._tried, backend)):
            self._stale = False
            self._tried = (*self._tried, backend)
            self._ask(pool)
        else:
            self._failed(why, STATUS_OF.get(why, 502))

    def _asks_another(self, pool: Pool, backend: Backend, response: Response) -> bool:
        """Instead of taking this response, which says that the backend failed?"""
        if not self._can_repeat():
            return False
        result, tried = Result(response.status, "", monotonic() - self._asked, sent=True), (*self._tried, backend)
        if self._leaves_it_to_hedge(pool, backend):
            self._drop_attempt("", result)
            return True
        if not pool.again(self.request, result, self.attempts, tried=tried):
            return False
        self._drop_side("", result)
        self._tried = tried
        self._ask(pool)
        return True

    def _can_repeat(self) -> bool:
        return self._repeatable and self.request.protocol is None

    def _settle(self, result: Result | None) -> None:
        """The attempt is over; result None: it does not count."""
        if self._pool is not None and self._target is not None:
            self._pool.ended(self._target, result or Result(error="stale"), self._asked)
            self._target = None

    def _drop_side(self, why: str, result: Result | None = None) -> None:
        """Whatever is under way, or waited for, is not wanted any more."""
        if self._queued and self._pool is not None:
            self._queued = False
            self._pool.give_up(self._called)
        self._drop_hedge()
        self._drop_attempt(why, result)

    def _drop_attempt(self, why: str, result: Result | None = None) -> None:
        side, self._side = self._side, None
        self._turn += 1
        if side is not None:
            side.cancel()
        if self._target is not None:
            self._settle(result or Result(0, why, monotonic() - self._asked, sent=side is not None))

    # ---- a second one beside it ----

    @property
    def asked(self) -> tuple[Backend, ...]:
        """Who was asked, if one of them still is, nothing is known of the answer, and another may be asked too."""
        if self._target is None or self._over or self.response is not None:
            return ()
        plain = self._request_over and self.request.length == 0 and self.request.protocol is None
        return (*self._tried, self._target) if plain else ()

    def adopt(self, hedge: Hedge) -> None:
        """It takes the place of the attempt that there is, or was."""
        self._hedge = None
        self._drop_attempt("cancelled")
        self._asked = hedge.asked
        self._side, self._target = hedge.leave()
        if self._target is not None:
            self.backend = self._target.name
        if self._side is not None:
            self._side.exchange = self

    def _hedge_later(self, pool: Pool, delay: float) -> None:
        self._drop_hedge()
        self._hedge = Hedge(self, pool, delay)

    def _leaves_it_to_hedge(self, pool: Pool, backend: Backend) -> bool:
        """Is there another one that may yet be answered?"""
        if self._hedge is None or self._hedge.backend is None:
            return False
        self._tried = (*self._tried, backend)
        self.deadline = self.proxy.now + pool.timeouts.head
        return True

    def _drop_hedge(self) -> None:
        hedge, self._hedge = self._hedge, None
        if hedge is not None:
            hedge.cancel()

    def _failed(self, why: str, status: int) -> None:
        self.error = why
        self.answer(text(status, WORDS[status]))

    def _expire(self) -> None:
        """The response's head did not come in time: whose fault is it?"""
        if self._queued:
            self._drop_side("")
            self._failed("no place", 503)
            return
        if self._target is None and self._hedge is not None:
            self.adopt(self._hedge)
        side = self._side
        if not self._request_over and self.request.length != 0 and (side is None or side.writable):
            self.error = "client too slow"
            self._drop_side("client too slow")
            self.answer(text(408, "the request's body took too long"))
            return
        if side is not None:
            side.cancel()
        self._turn += 1
        self.backend_failed("timeout")

    def backend_ready(self) -> None:
        """The backend takes more."""
        self.client.resume_request()
