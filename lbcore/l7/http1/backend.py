"""The backend's side over HTTP/1.1: one connection, one request at a time.

Rule of this file: what belongs to one connection with a backend. Which backend, and how often, is decided elsewhere.

Theory. After a response has come to its end the connection is given back, to carry another request. While it lies idle
nothing may come from it: whatever does (a 408, garbage, an end) makes it useless, for the next request would take it
for its answer.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from time import monotonic
from typing import TYPE_CHECKING, cast

from lbcore.l7 import websocket
from lbcore.l7.errors import Malformed
from lbcore.l7.http1 import writer
from lbcore.l7.http1.responses import ResponseReader
from lbcore.l7.http1.scan import Scratch
from lbcore.l7.limits import Limits
from lbcore.l7.message import Headers, Request, Response

if TYPE_CHECKING:
    from lbcore.l7.engine.sides import Carried


class BackendConnection(ResponseReader, asyncio.Protocol):
    """One connection with a backend. `give_back(connection, usable)` is called when it is free again, or of no use."""

    __slots__ = (
        "_chunked", "_ended", "_give_back", "_gone", "_key",
        "_out", "_paused", "_sent", "born", "exchange", "idle_since",
        "keep", "reused", "transport", "writable",
    )  # fmt: skip

    def __init__(
        self,
        limits: Limits,
        give_back: Callable[[BackendConnection, bool], None],
        keep: float,
        scratch: Scratch | None = None,
    ) -> None:
        super().__init__(limits, scratch)
        self.keep = keep
        """Seconds that it may lie idle."""
        self.transport = cast("asyncio.Transport", None)
        self.exchange: Carried | None = None
        self.writable, self.reused, self.born = True, False, monotonic()
        self.idle_since = self.born
        self._give_back = give_back
        self._out: list[bytes] = []
        self._chunked = False
        self._sent = True  # the whole request
        self._ended: Headers | None = None
        self._key: bytes | None = None  # of a WebSocket that is asked for
        self._paused = self._gone = False

    # ---- the connection ----

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)
        self.transport.set_write_buffer_limits(self.limits.buffer)

    def connection_lost(self, error: Exception | None) -> None:
        if not self._gone:
            exchange = self.exchange
            self._drop("reset")
            if exchange is not None:
                exchange.flush()

    def eof_received(self) -> bool:
        if self.exchange is None:
            self._drop("closed")
            return False
        exchange = self.exchange
        try:
            self.eof()
        except Malformed:
            self._drop("reset")
        if self._ended is not None:
            self._settle(self._ended)
        elif self.exchange is not None:
            self._drop("reset")
        exchange.flush()
        return False

    def data_received(self, data: bytes) -> None:
        exchange = self.exchange
        if exchange is None:
            self._drop("unasked for")
            return
        try:
            self.feed(data)
        except Malformed as wrong:
            self._drop(f"garbage: {wrong.why}")
        if self._ended is not None:
            self._settle(self._ended)
        exchange.flush()

    def pause_writing(self) -> None:
        self.writable = False

    def resume_writing(self) -> None:
        self.writable = True
        if self.exchange is not None:
            self.exchange.backend_ready()

    def _drop(self, why: str) -> None:
        """This connection is of no use any more; whoever waited for an answer is told."""
        exchange, self.exchange = self.exchange, None
        self._gone = True
        self.waiting = True
        self._out.clear()
        self.transport.abort()
        self._give_back(self, False)
        if exchange is not None:
            exchange.backend_failed(why)

    def close(self) -> None:
        """Let go of it, idle as it is."""
        self._gone = True
        self.transport.close()

    # ---- requests ----

    def open(self, exchange: Carried) -> BackendConnection:
        """Carry this exchange."""
        self.exchange = exchange
        return self

    def send_head(self, request: Request) -> None:
        self.expect(request.method, request.protocol)
        self._key = request.headers.get(websocket.KEY) if request.protocol == websocket.PROTOCOL else None
        self._out.append(writer.request_head(request))
        self._chunked = request.length is None
        self._sent = request.length == 0 and request.protocol is None

    def send_data(self, data: bytes) -> None:
        self._out.append(writer.chunk(data) if self._chunked else data)

    def send_end(self, trailers: Headers) -> None:
        if self._chunked:
            self._out.append(writer.last_chunk(trailers))
        elif self.protocol is not None and self.framing.upgrade and not self._gone:
            self.flush()
            if self.transport.can_write_eof():
                self.transport.write_eof()
        self._sent = True

    def cancel(self) -> None:
        if self.exchange is not None:
            self.exchange = None
            self._drop("cancelled")

    def flush(self) -> None:
        if self._out:
            data = b"".join(self._out)
            self._out.clear()
            if not self._gone:
                self.transport.write(data)

    # ---- responses ----

    def on_informational(self, status: int, headers: Headers) -> None:
        if self.exchange is not None:
            self.exchange.informational(status, headers)

    def on_head(self, response: Response) -> None:
        if response.status == 101:
            if self._key is not None:
                websocket.check_response(self._key, response.headers)
            self._chunked = False
        if self.exchange is not None:
            self.exchange.response_head(response)

    def on_whole(self, response: Response, body: bytes) -> None:
        exchange, response.body = self.exchange, body
        self._free()
        if exchange is not None:
            exchange.response_head(response)

    def on_body(self, data: bytes) -> None:
        if self.exchange is not None:
            self.exchange.response_data(data)

    def on_end(self, trailers: Headers) -> None:
        self._ended = trailers  # not settled yet: more may have come than the response, and that condemns us

    def _settle(self, trailers: Headers) -> None:
        exchange, self._ended = self.exchange, None
        self._free()
        if exchange is not None:
            exchange.response_end(trailers)

    def _free(self) -> None:
        """The response has come to its end: ready for another request, or of no use any more."""
        self.exchange = None
        usable = self.framing.keep_alive and self._sent and not self._kept and not self._gone
        if self._paused:
            self.resume_response()
        self.reused = True
        if usable:
            self._give_back(self, True)
        elif not self._gone:
            self._gone = True
            if self._sent or self.protocol is not None:
                self.transport.close()
            else:
                self.transport.abort()  # a close waits until the backend has read what is left of the request
            self._give_back(self, False)

    def pause_response(self) -> None:
        if not self._paused and not self._gone:
            self._paused = True
            self.transport.pause_reading()

    def resume_response(self) -> None:
        if self._paused and not self._gone:
            self._paused = False
            self.transport.resume_reading()
