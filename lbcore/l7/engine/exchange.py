"""One request and what becomes of it: through the filters, to a backend and back.

Rule of this file: it knows no wire format and no socket. What it says to the two sides, and hears from them, is in
`sides`.

Theory. An exchange goes through few phases, each entered by one method:

    begin      the head is there: find the route, collect the body if a filter wants to read it
    _inwards   ask the filters, from the outside to the inside
    _ask       pick a backend, take or make a connection, send what there is of the request; perhaps more than once:
               that half is in `attempt`
    response_head ... response_end
               tell the filters, from the inside to the outside; pass the body on
    _finish    count, tell the filters that it is over

Everything is a call from a socket's callback; a task is made only where something has to be waited for (a new
connection, a filter that asks a store).

Trap. Once the head of the response is out there is no way back: what breaks afterwards breaks the client's connection.
"""

from __future__ import annotations

from collections.abc import Awaitable, Sequence
from time import monotonic
from typing import TYPE_CHECKING, Any

from lbcore.l7.engine.attempt import NONE, Attempts
from lbcore.l7.engine.sides import Served
from lbcore.l7.engine.transforms import rest, whole
from lbcore.l7.errors import Malformed
from lbcore.l7.filters.chain import Chain
from lbcore.l7.message import Headers, Request, Response, Transform, text
from lbcore.l7.pools.pool import Pool, Result
from lbcore.l7.target import BadTarget, normal

if TYPE_CHECKING:
    from lbcore.l7.engine.proxy import Proxy
    from lbcore.l7.engine.sides import ClientSide
    from lbcore.l7.filters.filter import Filter

REFUSED = frozenset((b"CONNECT", b"TRACE"))
NOBODY = Chain(())


class Exchange(Attempts, Served):
    """See the head of this file. The attributes up to `bytes_out` are those that filters see, with `Attempts`'."""

    __slots__ = (
        "__weakref__", "_chain", "_collecting", "_instead_of_a_pool", "_passed", "_response_paused", "_transforms",
        "_waits", "bytes_in", "bytes_out", "notes", "route", "started",
    )  # fmt: skip

    def __init__(self, proxy: Proxy, client: ClientSide, request: Request) -> None:
        super().__init__(proxy, client, request)
        self.notes: dict[Any, Any] = {}
        self.started = monotonic()
        self.route = ""
        self.bytes_in = self.bytes_out = 0
        self._chain = NOBODY
        self._passed = 0  # filters that it has passed on its way in
        self._instead_of_a_pool: Response | None = None
        self._transforms: Sequence[Transform] = ()
        self._collecting = self._response_paused = False
        self._waits: list[tuple[Any, ...]] | None = None  # news of the backend, while a filter is awaited

    # ---- inwards ----

    def begin(self, *, expects: bool = False, normal: bool = False) -> None:
        """The request's head is there. expects: its body waits for `100 Continue`. normal: its target is in the one
        form already (see `target`), as its reader has seen."""
        request, self._expects = self.request, expects
        self._request_over = request.length == 0 and request.protocol is None
        self.proxy.exchanges.add(self)
        router = self.proxy.router
        if refusal := self._refusal(normal):
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
            if self._expects:
                self._continue()
            self._wait_for_body()
            return
        self._inwards()

    def _refusal(self, is_normal: bool) -> Response | None:
        """What no route could change.

        From here on the target is in its one form (see `target`): what routes and filters decide by is what the backend
        gets.
        """
        request, limits = self.request, self.proxy.limits
        if request.method in REFUSED and request.protocol is None:
            return text(405, f"{request.method.decode()} is not for this proxy")
        if request.length is not None and request.length > limits.body:
            return text(413, f"a body may have {limits.body} bytes")
        if not is_normal and request.method != b"CONNECT":
            try:
                request.target = normal(request.target, self.proxy.rules)
            except BadTarget as wrong:
                return text(400, str(wrong))
        return None

    def ask(self, pool: Pool) -> None:
        """Instead of `begin`: past route and filters, straight to this pool. The request is whole."""
        self.proxy.exchanges.add(self)
        self._pool, self._request_over = pool, True
        self._ask(pool)

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
        if self._pool is None:
            self.answer(self._instead_of_a_pool or text(404, "nobody answers here"))
        else:
            self._ask(self._pool)

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

    def request_data(self, data: bytes) -> None:
        """A piece of the request's body came."""
        self.bytes_in += len(data)
        if self.request.protocol is None and (wrong := self._too_much_or_too_slow()):
            self.request_malformed(wrong)
            return
        if self._collecting:
            self._collect(data)
            return
        self._pass_on(data)

    def _too_much_or_too_slow(self) -> Malformed | None:
        limits = self.proxy.limits
        if self.bytes_in > limits.body:
            return Malformed(f"the body has more than {limits.body} bytes", 413)
        late = self.proxy.now - self.started - limits.idle_time
        if late > 0 and self._side is not None and self._side.writable and self.bytes_in < late * limits.rate:
            return Malformed(f"the body comes at less than {limits.rate:g} bytes a second", 408)
        return None

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
            self._collecting, self.deadline = False, 0.0  # it was the body's
            self.request.body = b"".join(self._kept or ())
            self._inwards()
        elif self.request.length != 0 or self.request.protocol:
            self._pass_end(trailers)

    def request_malformed(self, wrong: Malformed) -> None:
        """What followed the request's head can't be read, or is too much."""
        self._give_up("bad request", text(wrong.status, wrong.why))

    def out_of_time(self, why: str) -> None:
        """The client, or somebody for it, has set a limit, and it is reached."""
        self._give_up(why, text(504, f"{why} exceeded"))
        self.flush()

    def _give_up(self, why: str, answer: Response) -> None:
        self.error = self.error or why
        self._drop_side(why)
        self.answer(answer) if self.response is None else self._break_off(why)

    # ---- from the backend ----

    def informational(self, status: int, headers: Headers) -> None:
        """A 1xx on the way: 103 is passed on, 100 has been said by ourselves."""
        if status != 100 and self.response is None:
            self.client.informational(status, headers)

    def response_head(self, response: Response) -> None:
        """The backend answers."""
        pool, backend = self._pool, self._target
        assert pool is not None
        assert backend is not None
        if response.body is not None:
            self._side = None
        if response.status >= 500 and self._asks_another(pool, backend, response):
            return
        if self._hedge is not None:
            self._drop_hedge()
        self._took = monotonic() - self._asked
        pool.mark(self.request, backend, response)
        self.deadline = self.proxy.now + pool.timeouts.idle
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
            response.body = whole(response.transforms, response.body)
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
        if self._transforms and (left := rest(self._transforms)):
            self.bytes_out += len(left)
            self.client.send_data(left)
        response = self.response
        self._settle(Result(response.status if response else 0, "", self._took, True))
        self._finish(trailers)

    def backend_failed(self, why: str) -> None:
        """No response, or no more of it."""
        response = self.response
        if response is None:
            super().backend_failed(why)
            return
        self._side = None
        if self._waits is not None:
            self._waits.append((self.backend_failed, why))
            return
        self._settle(Result(response.status, why, monotonic() - self._asked, sent=True))
        self._break_off(why)

    # ---- to the client ----

    def answer(self, response: Response) -> None:
        """Answer without a backend, or instead of one."""
        if self._over or self.response is not None:
            return
        self._collecting = False
        self._outwards(response, self._passed)

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
            result = Result(status, "", self._took or monotonic() - self._asked, sent=True)
            if self._side is None and self._hedge is None:
                self._settle(result)
            else:
                self._drop_side("", result)
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
        self._drop_side("client gone")  # in whatever words it left: they say nothing of the backend
        self._over_and_out()

    # ---- patience and pressure ----

    def expired(self) -> None:
        """The deadline has passed."""
        if self._over:
            return
        response = self.response
        if response is None:
            self._expire()
        else:
            why = "client too slow" if self._response_paused else "timeout"
            silence = Result(101, "", self._took, sent=True)  # of a tunnel, where nobody owes anybody a word
            self._drop_side(why, silence if response.status == 101 else None)
            self._break_off(why)
        self.flush()

    def client_ready(self) -> None:
        """The client takes more."""
        if self._response_paused:
            self._response_paused = False
            if self._side is not None:
                self._side.resume_response()

    def fetch(self, request: Request) -> Awaitable[Response]:
        """Ask the route's pool, past all filters; the whole body in memory."""
        assert self._pool is not None
        return self.proxy.fetch(self._pool, request)
