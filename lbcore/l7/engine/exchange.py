"""One request and what becomes of it: through the filters, to a backend, perhaps to a second one, and back.

Rule of this file: it knows no wire format and no socket. What it says to the two sides, and hears from them, is in
`sides`.

Theory. An exchange goes through few phases, each entered by one method:

    begin      the head is there: find the route, collect the body if a filter wants to read it
    _inwards   ask the filters, from the outside to the inside
    _ask       pick a backend, take or make a connection, send what there is of the request
    response_head ... response_end
               tell the filters, from the inside to the outside; pass the body on
    _finish    count, tell the filters that it is over

Everything is a call from a socket's callback; a task is made only where something has to be waited for (a new
connection, a filter that asks a store).

An attempt that fails before the response's head may be followed by another one, if the request can be sent again: what
was sent of its body is still kept, and the pool allows it. A connection that was idle and breaks before it answers is
the ordinary race with a backend's idle timeout; that attempt is repeated once on a new connection, for methods that may
be repeated (RFC 9110, 9.2.2), and does not count against the backend.

Traps
- Once the head of the response is out there is no way back: what breaks afterwards breaks the client's connection.
- Late news: a side that was told to cancel reports nothing more, and a task that comes back looks whether it is still
  wanted (`_turn`).
"""

from __future__ import annotations

from collections.abc import Awaitable, Sequence
from time import monotonic
from typing import TYPE_CHECKING, Any

from lbcore.l7.errors import Malformed
from lbcore.l7.filters.filter import Chain
from lbcore.l7.message import Headers, Request, Response, Transform, text
from lbcore.l7.pools.pool import Backend, Pool, Result
from lbcore.l7.target import BadTarget, normal

if TYPE_CHECKING:
    from lbcore.l7.engine.proxy import Proxy
    from lbcore.l7.engine.sides import BackendSide, ClientSide
    from lbcore.l7.filters.filter import Filter

REFUSED = frozenset((b"CONNECT", b"TRACE"))
IDEMPOTENT = frozenset((b"GET", b"HEAD", b"OPTIONS", b"TRACE", b"PUT", b"DELETE"))  # RFC 9110, 9.2.2
NONE = Headers()
NOBODY = Chain(())
REFUSALS = 5  # of streams that a backend says it did not work on (RFC 9113, 8.7), until they count as failures
STATUS_OF = {"timeout": 504, "connect timeout": 504}


class Exchange:
    """See the head of this file. The attributes up to `bytes_out` are those that filters see."""

    __slots__ = (
        "__weakref__", "_asked", "_chain", "_collecting", "_expects", "_instead_of_a_pool", "_kept", "_kept_size",
        "_over", "_passed", "_pool", "_repeatable", "_request_over", "_response_paused", "_side", "_stale", "_target",
        "_trailers", "_transforms", "_tried", "_turn", "_waits", "attempts", "backend", "bytes_in", "bytes_out",
        "client", "deadline", "error", "notes", "proxy", "request", "response", "route", "started",
    )  # fmt: skip

    def __init__(self, proxy: Proxy, client: ClientSide, request: Request) -> None:
        self.proxy, self.client, self.request = proxy, client, request
        self.response: Response | None = None
        self.notes: dict[Any, Any] = {}
        self.started = monotonic()
        self.route = self.backend = self.error = ""
        self.attempts = self.bytes_in = self.bytes_out = 0
        self.deadline = self._asked = 0.0
        self._chain = NOBODY
        self._passed = 0  # filters that it has passed on its way in
        self._pool: Pool | None = None
        self._instead_of_a_pool: Response | None = None
        self._target: Backend | None = None
        self._tried: tuple[Backend, ...] = ()
        self._side: BackendSide | None = None
        self._kept: list[bytes] | None = None  # of the request's body, to be sent (again)
        self._kept_size = 0
        self._repeatable = True  # nothing of the body was sent that is not kept
        self._trailers = NONE
        self._transforms: Sequence[Transform] = ()
        self._collecting = self._request_over = self._over = self._stale = self._expects = False
        self._response_paused = False
        self._waits: list[tuple[Any, ...]] | None = None  # news of the backend, while a filter is awaited
        self._turn = 0  # of the attempt; what belongs to an earlier one comes too late

    # ---- inwards ----

    def begin(self, *, expects: bool = False) -> None:
        """The request's head is there. expects: its body waits for `100 Continue`."""
        request, self._expects = self.request, expects
        self.proxy.exchanges.add(self)
        router = self.proxy.router
        if refusal := self._refusal():
            self._instead_of_a_pool, self._chain = refusal, router.everywhere
        elif route := router.find(request):
            self.route, self._chain = route.name, route.chain
            self._pool = route.choose(request)
        else:
            self._instead_of_a_pool, self._chain = text(404, "no route fits this request"), router.everywhere
        if request.length != 0 and (limit := self._chain.body_limit):
            if request.length is not None and request.length > limit:
                self.answer(text(413, f"a body may have {limit} bytes here"))
                return
            self._collecting = True
            self._continue()
            self._wait_for_body()
            return
        self._inwards()

    def _refusal(self) -> Response | None:
        """What no route could change.

        From here on the target is in its one form (see `target`): what routes and filters decide by is what the backend
        gets.
        """
        request, limits = self.request, self.proxy.limits
        if request.method in REFUSED and request.protocol is None:
            return text(405, f"{request.method.decode()} is not for this proxy")
        if request.length is not None and request.length > limits.body:
            return text(413, f"a body may have {limits.body} bytes")
        if request.method != b"CONNECT":
            try:
                request.target = normal(request.target, self.proxy.rules)
            except BadTarget as wrong:
                return text(400, str(wrong))
        return None

    def ask(self, pool: Pool) -> None:
        """Instead of `begin`: past route and filters, straight to this pool. The request is whole."""
        self.proxy.exchanges.add(self)
        self._pool, self._request_over = pool, True
        self._ask()

    def _continue(self) -> None:
        """Somebody wants the body: say so to a client that waits for it (RFC 9110, 10.1.1)."""
        if self._expects:
            self._expects = False
            self.client.informational(100, Headers())

    def _wait_for_body(self) -> None:
        self.deadline = self.proxy.now + self.proxy.limits.idle_time

    def _inwards(self) -> None:
        passed, filters = self._passed, self._chain.filters
        for place, ask in self._chain.requests:
            if place <= passed:
                continue  # before one had to wait
            self._passed = place
            try:
                said = ask(self)
            except Exception as error:
                self.proxy.broken(filters[place - 1], error)
                said = text(500, "the proxy failed")
            if said is None:
                continue
            if isinstance(said, Response):
                self.answer(said)
            else:
                self.proxy.task(self._after(filters[place - 1], said))
            return
        self._passed = len(filters)
        self._ask()

    async def _after(self, one: Filter, said: Awaitable[Response | None]) -> None:
        """A filter that had to wait has come to its answer."""
        try:
            answer = await said
        except Exception as error:
            self.proxy.broken(one, error)
            answer = text(500, "the proxy failed")
        if self._over:
            return
        if answer is None:
            self._inwards()
        else:
            self.answer(answer)
        self.flush()

    # ---- to a backend ----

    def _ask(self) -> None:
        pool, request = self._pool, self.request
        if pool is None:
            self.answer(self._instead_of_a_pool or text(404, "nobody answers here"))
            return
        backend = pool.pick(request, self._tried)
        if backend is None:
            self._failed("no backend", 503)
            return
        self._continue()
        self._try(pool, backend)

    def _try(self, pool: Pool, backend: Backend) -> None:
        self.attempts += 1
        self._turn += 1
        self._target, self.backend, self._asked = backend, backend.name, monotonic()
        pool.began(backend)
        connection = None if self._stale else self.proxy.connections.take(pool, backend)
        if connection is None:
            self.deadline = 0.0
            self.proxy.task(self._connect(pool, backend, self._turn))
        else:
            self._send(connection.open(self))

    async def _connect(self, pool: Pool, backend: Backend, turn: int) -> None:
        connection, why = None, ""
        try:
            connection = await self.proxy.connections.connect(pool, backend)
        except TimeoutError:
            why = "connect timeout"
        except ConnectionRefusedError:
            why = "refused"
        except OSError as error:
            why = f"unreachable: {error}"
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
            side.cancel()
            self._side = None
            self._settle(Result(error="proxy"))
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
            if self._request_over and not request.protocol:
                side.send_end(self._trailers)
            self.client.resume_request()
        self._wait_for_head()

    def _wait_for_head(self) -> None:
        pool = self._pool
        if pool is not None:
            over = self._request_over or self.request.length == 0
            self.deadline = self.proxy.now + (pool.timeouts.head if over else pool.timeouts.idle)

    def request_data(self, data: bytes) -> None:
        """A piece of the request's body came."""
        self.bytes_in += len(data)
        if self.request.protocol is None and (wrong := self._too_much_or_too_slow()):
            self.request_malformed(wrong)
            return
        if self._collecting:
            self._collect(data)
            return
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

    def _too_much_or_too_slow(self) -> Malformed | None:
        limits = self.proxy.limits
        if self.bytes_in > limits.body:
            return Malformed(f"the body has more than {limits.body} bytes", 413)
        late = self.proxy.now - self.started - limits.idle_time
        if late > 0 and self._side is not None and self._side.writable and self.bytes_in < late * limits.rate:
            return Malformed(f"the body comes at less than {limits.rate:g} bytes a second", 408)
        return None

    def _keep(self, data: bytes) -> None:
        if self._kept is None:
            self._kept = []
        self._kept.append(data)
        self._kept_size += len(data)

    def _collect(self, data: bytes) -> None:
        limit = self._chain.body_limit
        self._keep(data)
        if self._kept_size > limit:
            self._collecting = False
            self.answer(text(413, f"a body may have {limit} bytes here"))
            return
        self._wait_for_body()

    def request_end(self, trailers: Headers) -> None:
        """The request is complete."""
        self._request_over, self._trailers = True, trailers
        if self._collecting:
            self._collecting = False
            self.request.body = b"".join(self._kept or ())
            self._inwards()
        elif self.request.protocol and self.response is None:
            return  # the request has ended; the tunnel has not begun
        elif self._side is not None and (self.request.length != 0 or self.request.protocol):
            self._side.send_end(trailers)
            if self.response is None:
                self._wait_for_head()

    def request_malformed(self, wrong: Malformed) -> None:
        """What followed the request's head can't be read, or is too much."""
        self.error = self.error or "bad request"
        self._drop_side("bad request")
        if self.response is None:
            self.answer(text(wrong.status, wrong.why))
        else:
            self._break_off("bad request")

    def out_of_time(self, why: str) -> None:
        """The client, or somebody for it, has set a limit, and it is reached."""
        self.error = self.error or why
        self._drop_side(why)
        if self.response is None:
            self.answer(text(504, f"{why} exceeded"))
        else:
            self._break_off(why)
        self.flush()

    # ---- from the backend ----

    def informational(self, status: int, headers: Headers) -> None:
        """A 1xx on the way: 103 is passed on, 100 has been said by ourselves."""
        if status != 100 and self.response is None:
            self.client.informational(status, headers)

    def response_head(self, response: Response) -> None:
        """The backend answers."""
        pool, backend, request = self._pool, self._target, self.request
        assert pool is not None
        assert backend is not None
        if response.status >= 500 and self._can_repeat():
            result = Result(response.status, "", monotonic() - self._asked, sent=True)
            if pool.again(request, result, self.attempts, tried=(*self._tried, backend)):
                self._drop_side("", result)
                self._tried = (*self._tried, backend)
                self._ask()
                return
        pool.mark(request, backend, response)
        self._moved()
        self._outwards(response, self._passed)

    def _outwards(self, response: Response, at: int) -> None:
        """Tell the first `at` filters, from the inside to the outside, and send the head."""
        self.response, self._repeatable, self._kept = response, False, None
        for place, tell in self._chain.responses:
            if place > at:
                continue
            try:
                said = tell(self, response)
            except Exception as error:
                response = self.response = self._instead(self._chain.filters[place - 1], error)
                continue
            if said is not None:
                if self._waits is None:
                    self._waits = []
                    if self._side is not None:
                        self._side.pause_response()
                self.proxy.task(self._outwards_later(self._chain.filters[place - 1], said, place - 1))
                return
        self._send_response(response)
        waits, self._waits = self._waits, None
        if waits is not None and not self._over:
            for what, *arguments in waits:
                what(*arguments)
            if self._side is not None:
                self._side.resume_response()

    async def _outwards_later(self, one: Filter, said: Awaitable[None], at: int) -> None:
        response = self.response
        assert response is not None
        try:
            await said
        except Exception as error:
            response = self._instead(one, error)
        if not self._over:
            self._outwards(response, at)
            self.flush()

    def _instead(self, who: object, error: Exception) -> Response:
        """What is sent instead of a response that somebody failed to finish: better none than half of one."""
        self.proxy.broken(who, error)
        self.error = "proxy"
        self._drop_side("proxy")
        if self._waits is not None:
            self._waits.clear()
        return text(500, "the proxy failed")

    def _send_response(self, response: Response) -> None:
        if response.body is not None and response.transforms:
            response.body = _whole(response.transforms, response.body)
            response.transforms = None
        if response.transforms:
            self._transforms = response.transforms
        try:
            self.client.send_head(response)
        except ValueError as error:
            response = self.response = self._instead(self, error)
            self.client.send_head(response)
        if response.body is not None:
            self.bytes_out += len(response.body)
            self._finish(response.trailers or NONE)
        elif response.status == 101:
            self.deadline = self.proxy.now + self.proxy.limits.idle_time

    def response_data(self, data: bytes) -> None:
        """A piece of the response's body came."""
        if self._waits is not None:
            self._waits.append((self.response_data, data))
            return
        for one in self._transforms:
            data = one.feed(data)
        if data:
            self.bytes_out += len(data)
            self.client.send_data(data)
        self._moved()
        if not self.client.writable and self._side is not None and not self._response_paused:
            self._response_paused = True
            self._side.pause_response()

    def response_end(self, trailers: Headers) -> None:
        """The response is complete."""
        self._side = None
        if self._waits is not None:
            self._waits.append((self.response_end, trailers))
            return
        for at, one in enumerate(self._transforms):
            rest = one.finish()
            for after in self._transforms[at + 1 :]:
                rest = after.feed(rest)
            if rest:
                self.bytes_out += len(rest)
                self.client.send_data(rest)
        response = self.response
        self._settle(Result(response.status if response else 0, "", monotonic() - self._asked, sent=True))
        self._finish(trailers)

    def backend_failed(self, why: str) -> None:
        """No response, or no more of it."""
        side, self._side = self._side, None
        if self._waits is not None and self.response is not None:
            self._waits.append((self.backend_failed, why))
            return
        if self.response is not None:
            self._settle(Result(self.response.status, why, monotonic() - self._asked, sent=True))
            self._break_off(why)
            return
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
        if self._can_repeat() and pool.again(self.request, result, self.attempts, tried=(*self._tried, backend)):
            self._stale = False
            self._tried = (*self._tried, backend)
            self._ask()
        else:
            self._failed(why, STATUS_OF.get(why, 502))

    def _can_repeat(self) -> bool:
        return self._repeatable and self.request.protocol is None

    def _settle(self, result: Result | None) -> None:
        """The attempt is over; result None: it does not count."""
        if self._pool is not None and self._target is not None:
            self._pool.ended(self._target, result or Result(error="stale"))
            self._target = None

    def _drop_side(self, why: str, result: Result | None = None) -> None:
        side, self._side = self._side, None
        self._turn += 1
        if side is not None:
            side.cancel()
        if self._target is not None:
            self._settle(result or Result(0, why, monotonic() - self._asked, sent=side is not None))

    # ---- to the client ----

    def answer(self, response: Response) -> None:
        """Answer without a backend, or instead of one."""
        if self._over or self.response is not None:
            return
        self._collecting = False
        self._outwards(response, self._passed)

    def _failed(self, why: str, status: int) -> None:
        self.error = why
        self.answer(text(status, {502: "bad gateway", 503: "no backend", 504: "the backend is too slow"}[status]))

    def _break_off(self, why: str) -> None:
        """The response has begun and can't be completed."""
        self.error = self.error or why
        for one in self._transforms:
            one.abort()
        self.client.abort(why)
        self._over_and_out()

    def _finish(self, trailers: Headers) -> None:
        if self._over:
            return
        if self._target is not None:  # a filter answered in its place, or it has heard enough
            status = self.response.status if self.response is not None else 0
            self._drop_side("", Result(status, "", monotonic() - self._asked, sent=True))
        client = self.client
        self._over_and_out()
        client.send_end(trailers)

    def _over_and_out(self) -> None:
        self._over = True
        self._turn += 1
        self.proxy.exchanges.discard(self)
        for place, end in self._chain.ends:
            if place > self._passed:
                break
            try:
                end(self)
            except Exception as error:
                self.proxy.broken(self._chain.filters[place - 1], error)

    def client_gone(self, why: str) -> None:
        """The client broke off."""
        if self._over:
            return
        self.error = self.error or why
        for one in self._transforms:
            one.abort()
        self._drop_side(why)
        self._over_and_out()

    # ---- patience and pressure ----

    def _moved(self) -> None:
        pool = self._pool
        self.deadline = self.proxy.now + (pool.timeouts.idle if pool is not None else self.proxy.limits.idle_time)

    def expired(self) -> None:
        """The deadline has passed."""
        if self._over:
            return
        if self._collecting or (self.response is None and not self._request_over and self._side is None):
            self.error = "client too slow"
            self.answer(text(408, "the request's body took too long"))
        elif self.response is None:
            self._expire_backend()
        else:
            self._drop_side("timeout")
            self._break_off("timeout")
        self.flush()

    def _expire_backend(self) -> None:
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

    def client_ready(self) -> None:
        """The client takes more."""
        if self._response_paused:
            self._response_paused = False
            if self._side is not None:
                self._side.resume_response()

    def backend_ready(self) -> None:
        """The backend takes more."""
        self.client.resume_request()

    def flush(self) -> None:
        """Whoever reported has no more to report."""
        if self._side is not None:
            self._side.flush()
        self.client.flush()

    def fetch(self, request: Request) -> Awaitable[Response]:
        """Ask the route's pool, past all filters; the whole body in memory."""
        assert self._pool is not None
        return self.proxy.fetch(self._pool, request)


def _whole(transforms: list[Transform], body: bytes) -> bytes:
    for one in transforms:
        body = one.feed(body) + one.finish()
    return body
