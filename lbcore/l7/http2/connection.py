"""One HTTP/2 connection, either end of it: frames in, streams told; streams written to, frames out (RFC 9113).

Rule of this file: no sockets and no clock of its own, and no HTTP. What a frame does is said in `handlers`, what one
stream sends and keeps in `stream`; here is what streams share.

Theory. `receive` cuts bytes into frames and has each handled at once. `emit` goes round the streams that wait, a frame
of each at a time, as far as the windows of the stream and of the connection go (section 5.2); so a big body does not
keep small ones waiting.

Faults. `receive` raises Fault when the connection cannot go on, after everything that came before the fault was passed
on. Streams that we have reset are remembered for a while: their frames that were on the way are no fault.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from time import monotonic
from typing import Final

from lbcore.l7.http2 import frames, hpack, patience, settings
from lbcore.l7.http2.frames import Code, Fault
from lbcore.l7.http2.handlers import HANDLERS
from lbcore.l7.http2.hpack import Line
from lbcore.l7.http2.limits import Http2Limits
from lbcore.l7.http2.patience import Patience
from lbcore.l7.http2.stream import AnyStream
from lbcore.l7.http2.windows import Intake
from lbcore.l7.limits import Limits

REMEMBERED: Final = 512  # streams that we have reset
GAPS: Final = 16  # between numbers of streams: what was passed over cannot be opened any more
BATCH: Final = 131_072  # bytes that `emit` gives at once


class Connection:
    """Either end. `out` has what is to be written now; `emit` adds what streams have to send."""

    def __init__(
        self, server: bool, common: Limits, own: Http2Limits | None = None, clock: Callable[[], float] = monotonic
    ) -> None:
        self.server: Final = server
        self.limits, self.own = common, own or common.http2
        self.out: list[bytes] = []
        self.streams: dict[int, AnyStream] = {}
        self.waiting: dict[AnyStream, None] = {}
        """Streams that have something to send, in turn."""
        self.encoder, self.decoder = hpack.Encoder(), hpack.Decoder()
        self.intake = Intake(self.own.connection_window, self.own.window)
        self.room = frames.WINDOW
        """Bytes that the peer would take on all streams together."""
        self.send_initial = frames.WINDOW
        self.largest = frames.LARGEST
        self.blocked = False
        """The socket takes no more for now."""
        self.peer_streams = 100
        """Streams that the peer lets us open; until it has said how many, what RFC 9113 6.5.2 recommends to allow."""
        self.peer_connect = False
        """Does the peer know extended CONNECT (RFC 8441)?"""
        self.going: int | None = None
        """The last stream that the peer will work on, once it has sent GOAWAY."""
        self.leaving = False
        """Have we said that we take no more?"""
        self.last = 0
        """The highest stream that the peer opened."""
        self.skipped: deque[range] = deque(maxlen=GAPS)
        """Numbers that it passed over, and may not use any more (section 5.1.1)."""
        self.completed = 0
        self.moved = 0
        """Bytes of DATA sent."""
        self.pinged = 0
        """How many these were at the peer's last PING."""
        self.block: tuple[int, int, list[bytes]] | None = None
        """A header block that is half here: its stream, its first flags, its pieces."""
        self.touched: dict[AnyStream, None] = {}
        """Streams that have something to report; `on_settled` tells them when that was all."""
        self.charge: Final = Patience(self.own.patience, clock).charge
        """Count what the peer costs, in points. Raises Fault when its credit is used up."""
        self._rest = b""
        self._preface = frames.PREFACE if server else b""
        self._first = True
        self._reset: dict[int, None] = {}
        self._next = 1  # of our own streams, as a client
        self.out += settings.greeting(self)

    # ---- what subclasses do ----

    def on_stream(self, number: int, lines: list[Line], ended: bool) -> AnyStream:
        """The peer opened a stream: its object, which was told of the head. Servers only."""
        raise NotImplementedError

    def on_too_big(self, number: int, why: str) -> None:
        """The peer opened a stream with more lines than we take. Servers only."""
        raise NotImplementedError

    def on_leave(self) -> None:
        """No stream is left, and none will come."""

    def on_settings(self) -> None:
        """The peer's settings have changed."""

    def flush(self) -> None:
        """There is something to write, soon."""

    # ---- receiving ----

    def receive(self, data: bytes) -> None:
        """Take what came. Raises Fault: then `fail` says goodbye."""
        if self._preface:
            data = self._take_preface(data)
        buffer = self._rest + data if self._rest else data
        at, size = 0, len(buffer)
        unpack = frames.HEADER.unpack_from
        try:
            while size - at >= 9:
                high, low, kind, flags, stream = unpack(buffer, at)
                length = high << 16 | low
                if length > frames.LARGEST:
                    raise Fault(Code.FRAME_SIZE_ERROR, f"a frame of {length} bytes; {frames.LARGEST} are taken")
                end = at + 9 + length
                if end > size:
                    break
                self._frame(kind, flags, stream & frames.MOST, buffer[at + 9 : end])
                at = end
        finally:
            self._rest = buffer[at:]
            while self.touched:
                stream_, _ = self.touched.popitem()
                stream_.on_settled()

    def _take_preface(self, data: bytes) -> bytes:
        part = data[: len(self._preface)]
        if not self._preface.startswith(part):
            raise Fault(Code.PROTOCOL_ERROR, "not the preface of HTTP/2 (RFC 9113 section 3.4)")
        self._preface = self._preface[len(part) :]
        return data[len(part) :]

    @property
    def reading_head(self) -> bool:
        """Is a preface, or a header block, half here?"""
        return bool(self._preface) or self.block is not None or self._first

    def _frame(self, kind: int, flags: int, stream: int, payload: bytes) -> None:
        if self.block is not None:
            if kind != frames.CONTINUATION or stream != self.block[0]:
                raise Fault(Code.PROTOCOL_ERROR, "another frame within a header block (RFC 9113 section 4.3)")
        elif self._first:
            if kind != frames.SETTINGS or flags & frames.ACK:
                raise Fault(Code.PROTOCOL_ERROR, "the first frame is not SETTINGS (RFC 9113 section 3.4)")
            self._first = False
        handler = HANDLERS.get(kind)
        if handler is None:
            self.charge(patience.UNKNOWN)
        else:
            handler(self, flags, stream, payload)

    # ---- streams that are not there ----

    def closed(self, number: int, what: str) -> None:
        """A frame for a stream that is not there, or has ended: late, or a fault."""
        if self.idle(number):
            raise Fault(Code.PROTOCOL_ERROR, f"{what} for stream {number}, which is idle")
        self.charge(patience.LATE)
        if number not in self._reset:
            raise Fault(Code.STREAM_CLOSED, f"{what} for stream {number}, which has ended")

    def idle(self, number: int) -> bool:
        """Was it never opened (section 5.1)?"""
        ours = bool(number & 1) != self.server
        return number == 0 or number >= (self._next if ours and not self.server else self.last + 1)

    # ---- sending ----

    def emit(self) -> bytes:
        """What is to be written now, about BATCH bytes at most; b"" when nothing can go out. Raises Fault."""
        out = self.out
        if self.waiting and not self.blocked:
            left = BATCH
            turn = list(self.waiting)
            while left > 0 and turn:
                moved = 0
                for stream in turn:
                    if stream in self.waiting:
                        moved += stream.emit(out, left)
                        self._ready(stream)
                if not moved:
                    break
                left -= moved
                turn = [stream for stream in turn if stream in self.waiting]
            if turn and turn[0] in self.waiting:  # next time another one is first
                self.waiting.pop(turn[0])
                self.waiting[turn[0]] = None
        if not out:
            return b""
        self.out = []
        return out[0] if len(out) == 1 else b"".join(out)

    def _ready(self, stream: AnyStream) -> None:
        if not stream.writable and stream.open and stream.unsent * 2 <= self.limits.buffer:
            stream.writable = True
            stream.on_ready()

    def give_back(self, size: int) -> None:
        """So many bytes were passed on, or dropped: the connection has room for them again."""
        if more := self.intake.give_back(size):
            self.out.append(frames.window_update(0, more))

    @property
    def clogged(self) -> bool:
        """Do streams that nobody reads hold half of what the peer may send on all of them together?"""
        return self.intake.clogged

    # ---- streams ----

    def open(self, stream: AnyStream) -> None:
        """Give our own stream its number. Clients only."""
        stream.id, self._next = self._next, self._next + 2
        self.streams[stream.id] = stream

    def gone(self, stream: AnyStream) -> None:
        """A stream is over."""
        if self.streams.get(stream.id) is stream:
            del self.streams[stream.id]
            if stream.ended_in and stream.ended_out:
                self.completed += 1
            if not self.streams:
                self.perhaps_leave()

    def ended_out(self, stream: AnyStream) -> None:
        """Our end of a stream went out. A server that has answered a request it does not read any further says so."""
        if self.server and not stream.ended_in:
            stream.reset(Code.NO_ERROR)  # section 8.1

    def broken(self, stream: AnyStream, code: Code, why: str) -> None:
        """The peer is wrong about one stream: end it, and tell whoever uses it."""
        stream.reset(code)
        self.touched[stream] = None
        stream.on_broken(f"garbage: {why}")
        self.charge(patience.BAD)

    def remember(self, number: int) -> None:
        """We have reset it: what is still on its way is no fault."""
        self._reset[number] = None
        if len(self._reset) > REMEMBERED:
            del self._reset[next(iter(self._reset))]

    # ---- the end ----

    def say_goodbye(self) -> None:
        """Take no more streams (6.8): first the warning, and when it has come round, the number of the last stream."""
        if not self.leaving:
            self.leaving = True
            if self.server:
                self.out.append(frames.goaway(frames.MOST, Code.NO_ERROR))
                self.out.append(frames.frame(frames.PING, 0, 0, b"goodbye!"))
            else:
                self.out.append(frames.goaway(0, Code.NO_ERROR))
                self.going = self._next

    def fail(self, fault: Fault) -> None:
        """End everything: every stream is told, and the peer."""
        self.leaving = True
        self.out.append(frames.goaway(self.last, fault.code, fault.why))
        self.lost(f"garbage: {fault.why}")

    def lost(self, why: str) -> None:
        """The connection has gone, and every stream with it."""
        self.leaving = True
        streams, self.streams = list(self.streams.values()), {}
        for stream in streams:
            stream.leave()
            stream.on_broken(why)
            stream.on_settled()

    def perhaps_leave(self) -> None:
        """Was that the last stream of a connection that takes no more?"""
        if not self.streams and self.going is not None:
            self.on_leave()
