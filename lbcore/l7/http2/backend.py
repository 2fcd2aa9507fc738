"""The backend's side over HTTP/2: one connection, as many requests at a time as the backend allows.

Rule of this file: what belongs to a connection with a backend, and how a stream is an exchange's `BackendSide`.

Traps
- A stream that the backend says it did not work on (REFUSED_STREAM, or behind the last one of a GOAWAY) may be tried
  again whatever its method (RFC 9113 section 8.7): it fails as "refused stream".
- A connection whose other end has vanished looks like a slow one. Who gives up a stream after nothing at all was heard
  on the connection for a while takes no chances: it opens no more streams there.
- Clients that do not read clog the connection that their answers come on. Whoever comes next goes to another one.
- A response may be complete before the request is: what is left of the request is then of no use, and is not sent.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from time import monotonic
from typing import TYPE_CHECKING

from lbcore.l7 import websocket
from lbcore.l7.errors import Malformed
from lbcore.l7.http2 import translate
from lbcore.l7.http2.frames import Code
from lbcore.l7.http2.hpack import Line
from lbcore.l7.http2.stream import AnyStream, Stream
from lbcore.l7.http2.wire import Wire
from lbcore.l7.limits import Limits
from lbcore.l7.message import Headers, Request

if TYPE_CHECKING:
    from lbcore.l7.engine.sides import Carried

SILENCE = 1.0  # seconds without a byte on a connection that is waited for, until it is not trusted any more
MOST = 1000  # streams of ours at once, whatever a backend allows


class BackendStream(Stream["BackendConnection"]):
    """One exchange with a backend: its `BackendSide`."""

    __slots__ = ("_answered", "_key", "_method", "_opened", "_protocol", "exchange", "reused")

    def __init__(self, connection: BackendConnection, exchange: Carried) -> None:
        super().__init__(connection)
        self.exchange: Carried | None = exchange
        self.reused = connection.completed > 0
        self._method = b""
        self._key = b""
        self._protocol: bytes | None = None
        self._answered = False
        self._opened = monotonic()

    # ---- BackendSide ----

    def send_head(self, request: Request) -> None:
        self._method, self._protocol = request.method, request.protocol
        if request.protocol is not None and not self.connection.peer_connect:
            self.leave()
            self.connection.later(self.on_broken, "garbage: a backend without extended CONNECT (RFC 8441)")
            return
        if request.protocol == websocket.PROTOCOL:
            self._key = request.headers.get(websocket.KEY) or b""
        lines = translate.request_lines(request)
        if self._key:
            lines = [line for line in lines if line[0] != websocket.KEY]
        if self.open:
            self.connection.open(self)
        self.put_head(lines)
        if request.length == 0 and request.protocol is None:
            self.put_end([])

    def send_data(self, data: bytes) -> None:
        self.put_data(data)

    def send_end(self, trailers: Headers | None = None) -> None:
        self.put_end(translate.trailer_lines(trailers) if trailers else [])

    def cancel(self) -> None:
        self.exchange = None
        self.reset(Code.CANCEL)
        if monotonic() - max(self._opened, self.connection.heard) > SILENCE:
            self.connection.finish()
        self.connection.flush()

    def pause_response(self) -> None:
        self.pause()

    def resume_response(self) -> None:
        self.resume()

    def flush(self) -> None:
        self.connection.flush()

    # ---- from the stream ----

    def on_head(self, lines: list[Line], ended: bool) -> None:
        try:
            if self._answered:
                if not ended or self.expected or self._protocol is not None:
                    raise Malformed("fields in a tunnel, in the middle of a body, or before all of it came")
                self.take_end(translate.trailers(lines))
                return
            self._response(lines, ended)
        except Malformed as wrong:
            self.connection.broken(self, Code.PROTOCOL_ERROR, wrong.why)

    def _response(self, lines: list[Line], ended: bool) -> None:
        response = translate.response(lines, ended, self._method)
        if self.exchange is None:
            return
        if response.status < 200:
            self.exchange.informational(response.status, response.headers)
            return
        self._answered = True
        if response.status != 200:
            self._protocol = None  # no tunnel
        if self._protocol is not None:
            response.status, response.length = 101, None
            if self._key:
                response.headers.set(websocket.ACCEPT, websocket.proof(self._key))
        elif self._method != b"HEAD" and response.status != 304:
            self.expected = response.length
        self.exchange.response_head(response)
        if ended:
            self.take_end([])

    def on_data(self, data: bytes) -> None:
        if not self._answered:
            self.connection.broken(self, Code.PROTOCOL_ERROR, "DATA before a head")
        elif self.exchange is not None:
            self.exchange.response_data(data)

    def on_end(self, trailers: list[Line]) -> None:
        exchange = self.exchange
        if not self._answered:
            self.connection.broken(self, Code.PROTOCOL_ERROR, "an end before a head")
            return
        self.exchange = None
        if not self.ended_out:
            self.reset(Code.CANCEL)
        if exchange is not None:
            exchange.response_end(Headers(trailers))
            exchange.flush()

    def on_broken(self, why: str) -> None:
        exchange, self.exchange = self.exchange, None
        if exchange is not None:
            exchange.backend_failed(why)
            exchange.flush()

    def on_ready(self) -> None:
        if self.exchange is not None:
            self.exchange.backend_ready()

    def on_settled(self) -> None:
        if self.exchange is not None:
            self.exchange.flush()


class BackendConnection(Wire):
    """One connection with a backend. `when_gone` is called once, when it can take no more streams for good.

    keep: seconds that it may stand without a stream.
    """

    def __init__(self, limits: Limits, when_gone: Callable[[BackendConnection], None], keep: float) -> None:
        super().__init__(False, limits)
        self.keep = keep
        self.born = self.idle_since = self.heard = monotonic()
        self.ready: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        """Done when the backend has sent its settings, so that it is known how many streams it takes."""
        self._when_gone = when_gone

    @property
    def usable(self) -> bool:
        """Can it take one more stream now?"""
        room = len(self.streams) < min(self.peer_streams, MOST) and not self.clogged
        return room and not self.leaving and self.going is None

    def open_stream(self, exchange: Carried) -> BackendStream:
        """A stream for this exchange."""
        return BackendStream(self, exchange)

    def data_received(self, data: bytes) -> None:
        self.heard = monotonic()
        super().data_received(data)

    def on_settings(self) -> None:
        if not self.ready.done():
            self.ready.set_result(None)

    def gone(self, stream: AnyStream) -> None:
        super().gone(stream)
        if not self.streams:
            self.idle_since = monotonic()

    def connection_lost(self, error: Exception | None) -> None:
        if not self.ready.done():
            self.ready.set_exception(ConnectionResetError("the backend closed before its SETTINGS"))
            self.ready.exception()
        self._when_gone(self)
        super().connection_lost(error)

    def finish(self) -> None:
        """Open no more streams; close when the last has ended."""
        self.say_goodbye()
        self.flush()
        if not self.streams:
            self.close()
