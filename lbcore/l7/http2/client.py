"""The client's side over HTTP/2: each stream carries one exchange.

Rule of this file: what belongs to a connection with a client, and how a stream is the exchange's `ClientSide`.

Traps
- A response that is not whole must not look whole: an abort resets the stream, it never sends END_STREAM.
- A client that opens streams and resets them (CVE-2023-44487) is cheap for itself and dear for us; see `limits`.
- A client that takes nothing (a window of 0) holds what is ready for it. No byte taken for `idle_time`, and the
  streams that wait are reset.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from lbcore.l7 import websocket
from lbcore.l7.errors import Malformed
from lbcore.l7.http2 import patience, translate
from lbcore.l7.http2.frames import Code, Fault
from lbcore.l7.http2.hpack import Line
from lbcore.l7.http2.limits import Http2Limits
from lbcore.l7.http2.stream import AnyStream, Stream
from lbcore.l7.http2.wire import Wire
from lbcore.l7.message import Headers, Peer, Request, Response, text
from lbcore.l7.rpc import grpc

if TYPE_CHECKING:
    from lbcore.l7.engine.exchange import Exchange
    from lbcore.l7.engine.proxy import Proxy

EARLY = 8  # 1xx that wait for a client who does not read; more are of no use to it
BODILESS = frozenset((204, 205, 304))


class ClientStream(Stream["ClientConnection"]):
    """One exchange with a client: its `ClientSide`."""

    __slots__ = ("_bodiless", "_grpc", "_held", "_timer", "exchange")

    def __init__(self, connection: ClientConnection, number: int) -> None:
        super().__init__(connection)
        self.id = number
        self.exchange: Exchange | None = None
        self._bodiless = False
        self._grpc = False
        self._held = False  # what is for a tunnel waits until there is one
        self._timer: asyncio.TimerHandle | None = None

    def begin(self, request: Request, fields: translate.Fields) -> None:
        """The request's head is there."""
        self.expected = request.length if request.protocol is None else None
        self._bodiless = request.method == b"HEAD"
        if request.protocol is not None:
            self._held = True
            self.pause()
        if request.protocol == websocket.PROTOCOL:
            request.headers.set(websocket.KEY, websocket.new_key())
            websocket.check_request(request.method, request.headers)
        self._grpc = request.method == b"POST" and grpc.is_grpc(request.headers)
        if self._grpc and (seconds := grpc.timeout(request.headers)) is not None:
            self._timer = asyncio.get_running_loop().call_later(seconds, self._too_late)
        self.exchange = self.connection.proxy.exchange(self, request)
        self.exchange.begin(expects=fields.expects)

    def _too_late(self) -> None:
        """The client's own deadline: it waits no longer."""
        if self.exchange is not None:
            self.exchange.out_of_time("deadline")

    def leave(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        super().leave()

    # ---- from the stream ----

    def on_head(self, lines: list[Line], ended: bool) -> None:
        """Trailers: the head itself made the stream."""
        try:
            if self.exchange is not None and self.exchange.request.protocol is not None:
                raise Malformed("fields in a tunnel (RFC 9113 section 8.5)")
            if not ended or self.expected:
                raise Malformed("fields in the middle of a body, or before all of it came (RFC 9113 section 8.1)")
            trailers = translate.trailers(lines)
        except Malformed as wrong:
            self.connection.broken(self, Code.PROTOCOL_ERROR, wrong.why)
            return
        self.take_end(trailers)

    def on_data(self, data: bytes) -> None:
        if self.exchange is not None:
            self.exchange.request_data(data)

    def on_end(self, trailers: list[Line]) -> None:
        if self.exchange is not None:
            self.exchange.request_end(Headers(trailers))

    def on_broken(self, why: str) -> None:
        exchange, self.exchange = self.exchange, None
        if exchange is not None:
            exchange.client_gone(why)

    def on_ready(self) -> None:
        if self.exchange is not None:
            self.exchange.client_ready()

    def on_settled(self) -> None:
        if self.exchange is not None:
            self.exchange.flush()

    # ---- ClientSide ----

    def informational(self, status: int, headers: Headers) -> None:
        if len(self._heads) < EARLY:
            self.put_head([(b":status", b"%d" % status), *headers])

    def send_head(self, response: Response) -> None:
        status, length = response.status, response.length
        if status == 101:
            self._tunnel(response)
            return
        if self._held and status < 300:  # no tunnel, and to this client it would say that there is one (RFC 8441, 5)
            status = response.status = 502
        if self._grpc and response.body is not None and not grpc.is_grpc(response.headers):
            response = grpc.instead_of(response)
            status = response.status
        if response.body is not None:
            length = len(response.body)
        self._bodiless = self._bodiless or status in BODILESS
        said = None if status == 204 or self._grpc else length
        self.put_head(translate.response_lines(response, said))
        if response.body and not self._bodiless:
            self.put_data(response.body)

    def _tunnel(self, response: Response) -> None:
        """The backend agreed to another protocol: here that is 200 (RFC 8441 section 5)."""
        response.headers.drop(websocket.ACCEPT)
        lines = translate.response_lines(response, None)
        lines[0] = (b":status", b"200")
        self.put_head(lines)
        self._held = False
        self.resume()

    def send_data(self, data: bytes) -> None:
        if not self._bodiless:
            self.put_data(data)

    def send_end(self, trailers: Headers | None = None) -> None:
        self.exchange = None
        self.put_end(translate.trailer_lines(trailers) if trailers else [])
        self.resume()  # what is still to come is of no interest, and not kept

    def abort(self, why: str) -> None:
        self.exchange = None
        self.reset(Code.INTERNAL_ERROR)

    def pause_request(self) -> None:
        self.pause()

    def resume_request(self) -> None:
        if not self._held:
            self.resume()

    def flush(self) -> None:
        self.connection.flush()


class ClientConnection(Wire):
    """One connection with a client. `deadline`, in seconds of `monotonic`, is looked at by the proxy's clock."""

    def __init__(self, proxy: Proxy, peer: Peer | None = None, own: Http2Limits | None = None) -> None:
        super().__init__(True, proxy.limits, own)
        self.proxy = proxy
        self.peer = peer or Peer("", 0)
        self.scheme = b"http"
        self.deadline = 0.0
        self._served = 0
        self._state: tuple[object, ...] = ()
        self._wrong = self._linger = False

    # ---- the connection ----

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
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
        self.proxy.clients.add(self)
        if self.proxy.draining:
            self.say_goodbye()
        self._wait()

    def connection_lost(self, error: Exception | None) -> None:
        self.proxy.clients.discard(self)
        super().connection_lost(error)

    def write(self) -> None:
        super().write()
        self._wait()

    def _wait(self) -> None:
        """Set the deadline, unless nothing has changed: only what gets on gives a client more time."""
        if self._linger:
            return
        state = (self.reading_head, bool(self.streams), bool(self.waiting), self.moved, self.last)
        if state == self._state:
            return
        self._state = state
        now, limits = self.proxy.now, self.limits
        if self.reading_head:
            self.deadline = now + limits.head_time
        elif self.waiting or not self.streams:
            self.deadline = now + limits.idle_time
        else:
            self.deadline = 0.0  # the exchanges have theirs

    def expired(self) -> None:
        """The deadline has passed without what it was set for."""
        if self._closing:
            self.transport.abort()
        elif self.reading_head:
            self.failed(Fault(Code.ENHANCE_YOUR_CALM, "a header block took too long"))
        elif self.streams:
            for stream in list(self.waiting):
                stream.reset(Code.CANCEL)
                stream.on_broken("client too slow")
            self.flush()
        else:
            self.goodbye()
        self.deadline = self.proxy.now + self.limits.linger if self._closing else 0.0

    def failed(self, fault: Fault) -> None:
        self._wrong = True
        super().failed(fault)

    def hang_up(self) -> None:
        """Who is wrong may still be sending, and a close with bytes unread is a reset, which takes the GOAWAY with it:
        so our half first, and what still comes is dropped for a while."""
        if self._linger:
            return
        if self._wrong and self.transport.can_write_eof():
            self._linger = True
            self.transport.write_eof()
            self.deadline = self.proxy.now + self.limits.linger
        else:
            self.transport.close()

    def finish(self) -> None:
        """Take no further request."""
        self.say_goodbye()
        self.flush()

    # ---- requests ----

    def on_stream(self, number: int, lines: list[Line], ended: bool) -> AnyStream:
        stream = ClientStream(self, number)
        self.streams[number] = stream
        self._served += 1
        try:
            request, fields = translate.request(lines, ended, self.peer, self.scheme, self.limits)
            stream.begin(request, fields)
        except Malformed as wrong:
            self._refuse(stream, wrong, ended)
            return stream
        if ended:
            stream.take_end([])
        if self._served >= self.limits.requests:
            self.say_goodbye()
        return stream

    def on_too_big(self, number: int, why: str) -> None:
        stream = ClientStream(self, number)
        self.streams[number] = stream
        self._refuse(stream, Malformed(why, 431), False)

    def _refuse(self, stream: ClientStream, wrong: Malformed, ended: bool) -> None:
        """What is malformed is an error of the stream (section 8.1.1); what is only too much gets an answer."""
        self.proxy.refused(self.peer, wrong.status, wrong.why)
        if wrong.status == 400:
            stream.reset(Code.PROTOCOL_ERROR)
            self.charge(patience.BAD)
            return
        stream.ended_in = ended
        stream.send_head(text(wrong.status, wrong.why))
        stream.send_end()
