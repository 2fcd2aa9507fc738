"""The client's side over HTTP/1.x: requests in, one at a time, responses out in the same order.

Rule of this file: what belongs to one connection with a client: its framing, its end, its patience. What becomes of a
request is the exchange's business.

Theory. A connection carries one exchange at a time; what a client sends ahead (pipelining, RFC 9112, 9.3.2) waits in
the reader, and reading is paused when more of it waits than a head may have. Everything sent is gathered and written by
`flush`, so that a short response leaves in one packet.

Traps
- A response that is not whole must not look whole: with a length or chunks the client sees that the end is missing if
  the connection just ends. So an abort never writes the last chunk.
- A request refused in the middle of its body: closing at once would reset the connection, and the client might lose the
  answer with it (RFC 9112, 9.6). So only our half is closed, and what still comes is read for a while and dropped.
- Closing waits until the client has taken the last byte, for ever if it takes none. So what is closing has a deadline,
  too; who takes a little now and then gets all of it.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, cast

from lbcore.l7 import websocket
from lbcore.l7.errors import Malformed
from lbcore.l7.http1 import writer
from lbcore.l7.http1.requests import RequestReader
from lbcore.l7.http1.responses import BODILESS
from lbcore.l7.message import Headers, Peer, Request, Response, text

if TYPE_CHECKING:
    from lbcore.l7.engine.exchange import Exchange
    from lbcore.l7.engine.proxy import Proxy


class ClientConnection(RequestReader, asyncio.Protocol):
    """One connection with a client. `deadline`, in seconds of `monotonic`, is looked at by the proxy's clock."""

    __slots__ = (
        "_bodiless", "_body_over", "_chunked", "_close", "_gone", "_half", "_linger", "_out", "_paused", "_reading",
        "_served", "_taken", "_unsent", "deadline", "exchange", "proxy", "transport", "writable",
    )  # fmt: skip

    def __init__(self, proxy: Proxy, peer: Peer | None = None) -> None:
        super().__init__(proxy.limits, peer or Peer("", 0), b"http", proxy.scratch)
        self.proxy = proxy
        self.exchange: Exchange | None = None
        self.transport = cast("asyncio.Transport", None)
        self.writable = True
        self.deadline = 0.0
        self._out: list[bytes] = []
        self._served = 0
        self._chunked = self._bodiless = False
        self._close = False  # after this response
        self._half = False  # the client has no more to ask, but may wait for its answers
        self._body_over = True  # of the request
        self._paused = False
        self._gone = False
        self._linger = False
        self._unsent, self._taken = 0, 0.0  # once it is closing: bytes left to send, and when there were more
        self._reading = False  # inside feed: an answer that is given at once must not start the next request there

    # ---- the connection ----

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)
        self.transport.set_write_buffer_limits(self.limits.buffer)
        name, local = transport.get_extra_info("peername"), transport.get_extra_info("sockname")
        if not self.peer.address and isinstance(name, tuple):
            self.peer.address, self.peer.port = name[0], name[1]
        if isinstance(local, tuple):
            self.peer.local_port = local[1]
        tls: Any = transport.get_extra_info("ssl_object")
        if tls is not None:
            self.scheme = b"https"
            self.peer.tls = tls.version()
            self.peer.server_name = getattr(tls, "server_name", None)
            self.peer.subject = getattr(tls, "subject", None)
        self.deadline = self.proxy.now + self.limits.head_time
        self.proxy.clients.add(self)

    def connection_lost(self, error: Exception | None) -> None:
        self._gone = True
        self.proxy.clients.discard(self)
        if self.exchange is not None:
            self.exchange.client_gone("client gone")
            self.exchange = None

    def data_received(self, data: bytes) -> None:
        if self._linger:
            return
        if self.exchange is None and not self.started:
            self.deadline = self.proxy.now + self.limits.head_time
        self._take(data)
        if self._kept and self.exchange is not None and len(self._kept) > self.limits.head and not self._paused:
            self.pause_request()

    def eof_received(self) -> bool:
        if self._linger:
            return False
        if self.exchange is None:
            self._hang_up()
            return False
        try:
            self.eof()
        except Malformed:
            return False  # a request cut off: nobody is there to be told
        self._half = True
        self.exchange.flush()
        return True

    def pause_writing(self) -> None:
        self.writable = False

    def resume_writing(self) -> None:
        self.writable = True
        if self.exchange is not None:
            self.exchange.client_ready()

    def expired(self) -> None:
        """The deadline has passed without what it was set for."""
        if self._linger or self.transport.is_closing():
            self._still_closing()
        elif self.exchange is None and self.started:
            self._refuse(408, "the request's head took too long")
        else:
            self._hang_up()

    def _hang_up(self) -> None:
        """Close, when what is left has been sent."""
        self.transport.close()
        self._wait_for_client()

    def _wait_for_client(self) -> None:
        self._unsent, self._taken = self.transport.get_write_buffer_size(), self.proxy.now
        self.deadline = self.proxy.now + self.limits.linger

    def _still_closing(self) -> None:
        """As long as it takes bytes, with pauses no longer than a body's, and a last while once it has them all."""
        now, unsent = self.proxy.now, self.transport.get_write_buffer_size()
        if unsent < self._unsent:
            self._unsent, self._taken = unsent, now
        elif not unsent or now - self._taken > self.limits.idle_time:
            self.transport.abort()
            return
        self.deadline = now + self.limits.linger

    def finish(self) -> None:
        """Take no further request; an idle connection is closed at once."""
        self._close = True
        if self.exchange is None and not self.started:
            self._hang_up()

    # ---- requests ----

    def _take(self, data: bytes) -> None:
        self._reading = True
        try:
            self.feed(data)
            while self.waiting and self.exchange is None and not self._gone and not self._linger:
                self.next()
        except Malformed as wrong:
            self._malformed(wrong)
        finally:
            self._reading = False
        if self.exchange is not None:
            self.exchange.flush()
        else:
            if self._out:
                self.flush()
            if self._half and not self._linger:
                self._hang_up()  # what is left, if anything, is no request

    def _last(self) -> bool:
        """Of a client that has no more to ask: is this the last response? While its request is still being read, what
        follows is not known."""
        return not self._kept and not self._reading

    def _malformed(self, wrong: Malformed) -> None:
        if self.exchange is None:
            self._refuse(wrong.status, wrong.why)
        else:
            exchange, self._close = self.exchange, True
            exchange.request_malformed(wrong)

    def _refuse(self, status: int, why: str) -> None:
        """Answer what is no request, and say goodbye."""
        self.proxy.refused(self.peer, status, why)
        self._close, self._body_over, self._bodiless = True, False, False
        self.send_head(text(status, why))
        self.send_end(Headers())
        self.flush()

    def on_head(self, request: Request) -> None:
        self._served += 1
        self._body_over = request.length == 0 and request.protocol is None
        if not self.framing.keep_alive or self._served >= self.limits.requests or self.proxy.draining:
            self._close = True
        self._bodiless = request.method == b"HEAD"
        if request.protocol == websocket.PROTOCOL:
            websocket.check_request(request.method, request.headers)
        self.deadline = 0.0
        self.exchange = self.proxy.exchange(self, request)
        self.exchange.begin(expects=self.framing.expects, normal=self.framing.normal)

    def on_body(self, data: bytes) -> None:
        if self.exchange is not None:
            self.exchange.request_data(data)

    def on_end(self, trailers: Headers) -> None:
        known, self._body_over, exchange = self._body_over, True, self.exchange
        if exchange is not None and (not known or exchange.request.protocol):  # known: by the head there is none
            exchange.request_end(trailers)

    def pause_request(self) -> None:
        if not self._paused and not self._gone:
            self._paused = True
            self.transport.pause_reading()

    def resume_request(self) -> None:
        if self._paused and not self._gone:
            self._paused = False
            self.transport.resume_reading()

    # ---- responses ----

    def informational(self, status: int, headers: Headers) -> None:
        if self.framing.minor:
            self._out.append(writer.informational(status, headers))

    def send_head(self, response: Response) -> None:
        status, length = response.status, response.length
        if status == 101:
            self._out.append(writer.switching(response.headers, self.exchange.request.protocol or b""))  # type: ignore[union-attr]
            self._chunked, self._close = False, True
            self.raw()
            return
        if response.body is not None:
            length = len(response.body)
        self._bodiless = self._bodiless or status in BODILESS
        if status == 204:
            length = None
        self._chunked = length is None and not self._bodiless and self.framing.minor == 1
        if length is None and not self._bodiless and not self._chunked:
            self._close = True  # HTTP/1.0: the end of the connection is the end of the body
        self._out.append(
            writer.response_head(
                response,
                chunked=self._chunked,
                length=length,
                close=self._close or (self._half and self._last()),
                keep=not self.framing.minor,
            )
        )
        if response.body and not self._bodiless:
            self._out.append(writer.chunk(response.body) if self._chunked else response.body)

    def send_data(self, data: bytes) -> None:
        if data and not self._bodiless:
            self._out.append(writer.chunk(data) if self._chunked else data)

    def send_end(self, trailers: Headers) -> None:
        if self._chunked:
            self._out.append(writer.last_chunk(trailers))
            self._chunked = False
        self.exchange = None
        if self._close or not self._body_over or (self._half and self._last()):
            self._say_goodbye()
            return
        self.deadline = self.proxy.now + self.limits.idle_time
        if not self._reading:
            if self._paused:
                self.resume_request()
            if self._kept:
                self.flush()
                self._take(b"")
            else:
                self.next()

    def _say_goodbye(self) -> None:
        self.flush()
        if self._gone:
            return
        if self._body_over and not self._kept:
            self._hang_up()
            return
        self._linger = True
        self.resume_request()
        if self.transport.can_write_eof():
            self.transport.write_eof()
            self._wait_for_client()
        else:
            self._hang_up()

    def abort(self, why: str) -> None:
        self.exchange = None
        if self._gone:
            return
        self.flush()
        if self._chunked or not self._close:
            self._hang_up()  # the end that was promised is missing, so the client knows
        else:
            self.transport.abort()  # the end of the connection would be the end of the body: a reset is not
        self._gone = True

    def flush(self) -> None:
        if self._out:
            data = b"".join(self._out)
            self._out.clear()
            if not self._gone:
                self.transport.write(data)
