"""Calls on loopback in the manner of gRPC: a service that keeps count, and channels that call it.

Rule of this file: real sockets on 127.0.0.1, real frames. What counts as done is what a service did.

Theory. A *channel* is one connection, over which calls go side by side; a *caller* keeps one channel to an address, and
opens another when the service says goodbye (GOAWAY). So do the libraries of gRPC with their simplest policy, pick_first
(grpc/doc/load-balancing.md), and so they treat what the service says it never looked at: a refused stream is sent once
more without asking anybody (gRFC A6, "transparent retries"; RFC 9113 section 8.7).

Trap. A call without an answer is UNAVAILABLE, whether or not its work was done. Nobody here tries those again.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any, NamedTuple

from lbcore.l7.engine.proxy import Proxy
from lbcore.l7.filters.filter import Exchange, Filter
from lbcore.l7.front.door import listen
from lbcore.l7.http2.frames import Code
from lbcore.l7.http2.hpack import Line
from lbcore.l7.http2.limits import Http2Limits
from lbcore.l7.http2.stream import AnyStream, Stream
from lbcore.l7.http2.wire import Wire
from lbcore.l7.limits import Limits
from lbcore.l7.message import Headers, Response
from lbcore.l7.pools.pool import Pool
from lbcore.l7.routing.router import Route, Router
from lbcore.l7.rpc import grpc
from lbcore.testbed.smallest import Address

PATH = "/shop.Cart/Add"


class Answer(NamedTuple):
    """How a call ended. status: of gRPC, 0 is OK. by: the service that says it answered."""

    status: int
    by: str = ""
    message: bytes = b""
    words: str = ""


class Refused(Exception):
    """The service says that it never looked at the call."""


class Call(Stream["Channel"]):
    """One call, from the caller's end."""

    __slots__ = ("answer", "fields", "received")

    def __init__(self, channel: Channel) -> None:
        super().__init__(channel)
        self.answer: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        self.fields: dict[bytes, bytes] = {}
        self.received = bytearray()

    def on_head(self, lines: list[Line], ended: bool) -> None:
        self.fields |= dict(lines)  # the head, later the trailers
        if ended:
            self.take_end([])

    def on_data(self, data: bytes) -> None:
        self.received += data

    def on_end(self, trailers: list[Line]) -> None:
        fields = self.fields
        message = b"".join(grpc.unframed(bytes(self.received)))
        words = fields.get(b"grpc-message", b"").decode("latin-1")
        status = int(fields.get(b"grpc-status", b"%d" % grpc.UNKNOWN))
        self._over(Answer(status, fields.get(b"x-backend", b"").decode(), message, words))

    def on_broken(self, why: str) -> None:
        self._over(Refused(why) if why == "refused stream" else Answer(grpc.UNAVAILABLE, words=why))

    def _over(self, outcome: Answer | Refused) -> None:
        if not self.answer.done():
            if isinstance(outcome, Answer):
                self.answer.set_result(outcome)
            else:
                self.answer.set_exception(outcome)

    def on_ready(self) -> None:
        pass

    def on_settled(self) -> None:
        pass


class Channel(Wire):
    """A connection from the caller's end. sent, received: all bytes, if `keep` is set."""

    def __init__(self, *, keep: bool = False) -> None:
        super().__init__(False, Limits())
        self.keep, self.sent, self.received = keep, bytearray(), bytearray()
        self._settled: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._queue: deque[asyncio.Future[None]] = deque()

    @property
    def usable(self) -> bool:
        """Does it take new calls?"""
        return not self.leaving and self.going is None and not self.ended

    async def call(self, path: str = PATH, message: bytes = b"", deadline: float | None = None) -> Answer:
        """Wait for room, then for the answer. deadline: seconds for both. Refused: it was not looked at."""
        try:
            async with asyncio.timeout(deadline):
                return await self.ask(request_lines(path, deadline), grpc.framed(message))
        except TimeoutError:
            return Answer(grpc.DEADLINE_EXCEEDED, words="the caller waits no longer")

    async def ask(self, lines: list[Line], body: bytes) -> Answer:
        """The same with a head of one's own."""
        await asyncio.shield(self._settled)
        while self.usable and len(self.streams) >= self.peer_streams:
            room: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._queue.append(room)
            await room
        if not self.usable:
            raise Refused("the service has said goodbye")
        call = self._begin(lines, body)
        try:
            return await call.answer
        finally:
            call.reset(Code.CANCEL)  # nothing, unless we wait no longer
            self.flush()

    def unread(self) -> None:
        """A call whose answer is never read, as far as the service will send it."""
        self._begin(request_lines(PATH), grpc.framed(b"")).pause()

    def _begin(self, lines: list[Line], body: bytes) -> Call:
        call = Call(self)
        self.open(call)
        call.put_head(lines)
        call.put_data(body)
        call.put_end([])
        self.flush()
        return call

    def gone(self, stream: AnyStream) -> None:
        super().gone(stream)
        self._wake()

    def on_settings(self) -> None:
        if not self._settled.done():
            self._settled.set_result(None)

    def lost(self, why: str) -> None:
        super().lost(why)
        self.on_settings()
        self._wake()

    def _wake(self) -> None:
        """Let those look again who wait for room: few do, and each looks for itself."""
        while self._queue:
            room = self._queue.popleft()
            if not room.done():
                room.set_result(None)

    def data_received(self, data: bytes) -> None:
        if self.keep:
            self.received += data
        super().data_received(data)

    def emit(self) -> bytes:
        data = super().emit()
        if self.keep:
            self.sent += data
        return data


def request_lines(path: str, deadline: float | None = None) -> list[Line]:
    """The head of a call (grpc/doc/PROTOCOL-HTTP2.md)."""
    lines = [
        (b":method", b"POST"), (b":scheme", b"http"), (b":path", path.encode()), (b":authority", b"shop.example"),
        (b"content-type", b"application/grpc"), (b"te", b"trailers"), (b"user-agent", b"grpc-book/1"),
    ]  # fmt: skip
    if deadline is not None:
        lines.append((b"grpc-timeout", b"%dm" % (deadline * 1000)))
    return lines


class Caller:
    """One channel at a time to one address; `opened` counts them."""

    def __init__(self, door: Address) -> None:
        self.door, self.opened = door, 0
        self._channel: Channel | None = None
        self._coming = asyncio.Lock()

    async def channel(self) -> Channel:
        """One that takes calls, opened if there is none. OSError: nobody listens."""
        async with self._coming:
            if self._channel is None or not self._channel.usable:
                _, self._channel = await asyncio.get_running_loop().create_connection(Channel, *self.door)
                self.opened += 1
            return self._channel

    async def call(self, path: str = PATH, message: bytes = b"", deadline: float | None = None) -> Answer:
        """One call; what was refused is sent again, a few times."""
        for _ in range(5):
            try:
                return await (await self.channel()).call(path, message, deadline)
            except Refused as refused:
                why = str(refused)
        return Answer(grpc.UNAVAILABLE, words=why)

    def close(self) -> None:
        """Hang up."""
        if self._channel is not None and not self._channel.ended:
            self._channel.transport.abort()


class Service(Filter):
    """One backend. Each call is counted, worked on for `work` seconds, and answered with `size` bytes.

    dies: after the work of the first call the process is gone, as far as anybody can see. calls: of one connection,
    then it says goodbye. streams: at once on one connection. It speaks HTTP/2 in the clear, and HTTP/1.1.
    """

    body_limit = 1 << 20

    def __init__(
        self,
        name: str,
        *,
        work: float = 0.0,
        size: int = 2,
        dies: bool = False,
        calls: int = 100_000,
        streams: int = 128,
    ) -> None:
        self.name, self.work, self.dies = name, work, dies
        self.done = self.most = self.connections = self.now = self.cancelled = 0
        self.address: Address = ("127.0.0.1", 0)
        self._body = grpc.framed(b"x" * size)
        nobody = Pool("nobody", ())
        router = Router([Route("all", lambda request: True, lambda request: nobody, (self,))])
        self.proxy = Proxy(router, Limits(requests=calls, linger=0.1, http2=Http2Limits(streams=streams, patience=1e6)))

    def on_request(self, exchange: Exchange) -> Any:
        self.now += 1
        self.most = max(self.most, self.now)
        self.connections = max(self.connections, len(self.proxy.clients))
        return self._later() if self.work else self._answer()

    def on_end(self, exchange: Exchange) -> None:
        self.now -= 1
        self.cancelled += bool(exchange.error)

    async def _later(self) -> Response:
        await asyncio.sleep(self.work)
        return self._answer()

    def _answer(self) -> Response:
        self.done += 1
        if self.dies and self.done == 1:
            for client in list(self.proxy.clients):
                client.transport.abort()
        head = Headers([grpc.CONTENT_TYPE, (b"x-backend", self.name.encode())])
        return Response(200, head, self._body, trailers=Headers([(b"grpc-status", b"0")]))


@asynccontextmanager
async def serving(*services: Service) -> AsyncIterator[list[Address]]:
    """All of them listen; where."""
    async with AsyncExitStack() as stack:
        for one in services:
            await stack.enter_async_context(one.proxy)
            one.address = await listen(one.proxy, "127.0.0.1")
        yield [one.address for one in services]


@asynccontextmanager
async def calling(doors: Sequence[Address]) -> AsyncIterator[list[Caller]]:
    """A caller to each."""
    callers = [Caller(door) for door in doors]
    try:
        yield callers
    finally:
        for one in callers:
            one.close()
