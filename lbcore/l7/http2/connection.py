"""One HTTP/2 connection, either end of it: frames in, streams told; streams written to, frames out (RFC 9113).

Rule of this file: no sockets and no clock of its own, and no HTTP: header blocks are lists of lines here. What lines
mean is `translate`'s business, what becomes of them that of `client` and `backend`.

Theory. What a stream has to send (heads, bytes, an end) waits in the stream. `emit` goes round the streams that wait,
a frame of each at a time, as far as the windows of the stream and of the connection go (section 5.2); so a big body
does not keep small ones waiting. What a stream receives is passed on at once, or kept while it is paused; only what
was passed on is given back to the peer as window. So the peer feels a slow reader behind us, and what it can make us
keep is bounded by the windows.

Faults. What is wrong with a stream ends that stream (`Stream.reset`); what leaves the two ends without a common state
(lengths, order, compression, windows of the connection) ends the connection: `receive` raises Fault, when everything
that came before the fault was passed on. Streams that we have reset are remembered for a while: their frames that were
on the way are no fault.

Traps
- A header block changes the HPACK table whatever becomes of its stream, so it is always decoded.
- DATA counts against the connection's window even if its stream has gone: given back at once, or the window leaks.
- SETTINGS_INITIAL_WINDOW_SIZE changes the windows of open streams, which may become negative (6.9.2).
- A GOAWAY ends nothing by itself (6.8): streams up to the one it names go on.
- Streams that nobody reads hold the connection's window, and then the others wait as well: `clogged`. If what was read
  were given back by half of the connection's window, a few such streams would be enough for nothing to move again.
"""

from __future__ import annotations

from collections.abc import Callable
from time import monotonic
from typing import Final

from lbcore.l7.http2 import frames, hpack, limits
from lbcore.l7.http2.frames import Code, Fault
from lbcore.l7.http2.hpack import Line
from lbcore.l7.http2.limits import Http2Limits
from lbcore.l7.limits import Limits

REMEMBERED: Final = 512  # streams that we have reset
BATCH: Final = 131_072  # bytes that `emit` gives at once


class Stream:
    """One stream. Subclasses say what is done with what comes: `on_...`."""

    __slots__ = (
        "_body", "_end", "_heads", "_inbox", "_inbox_end", "_paused", "_unacknowledged", "begun", "connection",
        "ended_in", "ended_out", "expected", "id", "open", "room", "window", "writable",
    )  # fmt: skip

    def __init__(self, connection: Connection) -> None:
        self.connection: Connection = connection
        self.id = 0
        self.writable = True
        self.open = True
        """False once it has gone; what is sent then is dropped."""
        self.room = connection.send_initial
        """Bytes that the peer would take."""
        self.window = connection.own.window
        """Bytes that the peer may still send."""
        self.expected: int | None = None
        """Bytes of the body by content-length, which DATA must agree with (8.1.1)."""
        self.ended_in = self.ended_out = False
        self.begun = connection.server
        """Does the peer know of it?"""
        self._heads: list[list[Line]] = []
        self._body = bytearray()
        self._end: list[Line] | None = None
        self._unacknowledged = 0
        self._paused = False
        self._inbox: list[bytes] = []
        self._inbox_end: list[Line] | None = None

    # ---- what subclasses do ----

    def on_head(self, lines: list[Line], ended: bool) -> None:
        """A header block that is no trailers."""
        raise NotImplementedError

    def on_data(self, data: bytes) -> None:
        """A piece of the body."""
        raise NotImplementedError

    def on_end(self, trailers: list[Line]) -> None:
        """The end of it."""
        raise NotImplementedError

    def on_broken(self, why: str) -> None:
        """No more will come, and no more will be sent. Called at most once, and not after `reset`."""
        raise NotImplementedError

    def on_ready(self) -> None:
        """Writable again."""
        raise NotImplementedError

    def on_settled(self) -> None:
        """All that was to be reported for now has been."""
        raise NotImplementedError

    # ---- sending ----

    def put_head(self, lines: list[Line]) -> None:
        """A header block, before any data."""
        if self.open:
            self._heads.append(lines)
            self.connection.waiting[self] = None

    def put_data(self, data: bytes) -> None:
        """Bytes of the body."""
        if self.open and data:
            self._body += data
            self.connection.waiting[self] = None
            if len(self._body) > self.connection.limits.buffer or self.connection.blocked:
                self.writable = False

    def put_end(self, trailers: list[Line]) -> None:
        """The end."""
        if self.open:
            self._end = trailers
            self.connection.waiting[self] = None

    def reset(self, code: Code) -> None:
        """Break off. Nothing more will be reported."""
        if self.open:
            connection = self.connection
            self._heads.clear()
            if self.begun and connection.streams.get(self.id) is self:
                connection.out.append(frames.reset(self.id, code))
                connection.remember(self.id)
            self.leave()

    def leave(self) -> None:
        """It is over, however it ended."""
        if self.open:
            self.open = self.writable = False
            left = sum(map(len, self._inbox))
            self._inbox.clear()
            self._body.clear()
            self.connection.waiting.pop(self, None)
            self.connection.give_back(left)
            self.connection.gone(self)

    def emit(self, out: list[bytes], most: int) -> int:
        """One round: heads, at most one frame of data, the end. How many bytes of data went out."""
        connection = self.connection
        while self._heads:  # one, or an informational one before it
            lines = self._heads.pop(0)
            ended = not self._heads and not self._body and self._end == []
            block = connection.encoder.encode(lines)
            out.append(frames.head(self.id, block, ended, connection.largest))
            self.begun = True
            if ended:
                self._sent_end()
                return 0
        size = min(len(self._body), self.room, connection.room, connection.largest, most)
        if size > 0:
            ended = size == len(self._body) and self._end == []
            data = bytes(self._body) if size == len(self._body) else bytes(self._body[:size])
            del self._body[:size]
            self.room -= size
            connection.room -= size
            connection.moved += size
            connection.charge(limits.MOVED)
            out.append(frames.frame(frames.DATA, frames.END_STREAM if ended else 0, self.id, data))
            if ended:
                self._sent_end()
                return size
        if self._body:
            return max(size, 0)
        if self._end is not None:
            if self._end:
                block = connection.encoder.encode(self._end)
                out.append(frames.head(self.id, block, True, connection.largest))
            else:
                out.append(frames.frame(frames.DATA, frames.END_STREAM, self.id))
            self._sent_end()
        else:
            connection.waiting.pop(self, None)
        return max(size, 0)

    def _sent_end(self) -> None:
        self.ended_out = True
        self.connection.waiting.pop(self, None)
        self.connection.ended_out(self)
        if self.ended_in and self.open:
            self.connection.charge(limits.DONE)
            self.leave()

    @property
    def unsent(self) -> int:
        """Bytes of the body that wait for windows or for the socket."""
        return len(self._body)

    # ---- receiving ----

    def pause(self) -> None:
        """Keep what comes."""
        self._paused = True

    def resume(self) -> None:
        """Report what was kept, and what comes."""
        if not self._paused:
            return
        self._paused = False
        if not self._inbox and self._inbox_end is None:
            return
        while self._inbox and not self._paused:
            self._pass_on(self._inbox.pop(0))
        if self._inbox_end is not None and not self._inbox and not self._paused:
            end, self._inbox_end = self._inbox_end, None
            self._pass_end(end)
        self.on_settled()
        self.connection.flush()

    def take(self, data: bytes, size: int, ended: bool) -> None:
        """A DATA frame: its bytes, its size with padding."""
        self.window -= size
        if self.window < 0:
            self.connection.broken(self, Code.FLOW_CONTROL_ERROR, "more than the window has room for")
            return
        if size != len(data):
            self._give_back(size - len(data))
        if self.expected is not None:
            self.expected -= len(data)
            if self.expected < 0 or (ended and self.expected):
                self.connection.broken(self, Code.PROTOCOL_ERROR, "content-length does not agree with DATA")
                return
        if data:
            if self._paused or self._inbox:
                self._inbox.append(data)
            else:
                self._pass_on(data)
        if ended:
            self.take_end([])

    def take_end(self, trailers: list[Line]) -> None:
        """The end, in the order of the stream."""
        self.ended_in = True
        if self._inbox or self._paused:
            self._inbox_end = trailers
        else:
            self._pass_end(trailers)

    def _pass_on(self, data: bytes) -> None:
        self._give_back(len(data))
        if self.open:
            self.on_data(data)

    def _pass_end(self, trailers: list[Line]) -> None:
        if self.open:
            self.on_end(trailers)
        if self.ended_out and self.open:
            self.connection.charge(limits.DONE)
            self.leave()

    def _give_back(self, size: int) -> None:
        self._unacknowledged += size
        if not self.ended_in and self.open and self._unacknowledged * 2 >= self.connection.own.window:
            self.connection.out.append(frames.window_update(self.id, self._unacknowledged))
            self.window += self._unacknowledged
            self._unacknowledged = 0
        self.connection.give_back(size)


class Connection:
    """Either end. `out` has what is to be written now; `emit` adds what streams have to send."""

    def __init__(
        self, server: bool, common: Limits, own: Http2Limits | None = None, clock: Callable[[], float] = monotonic
    ) -> None:
        self.server: Final = server
        self.limits, self.own = common, own or Http2Limits()
        self.out: list[bytes] = []
        self.streams: dict[int, Stream] = {}
        self.waiting: dict[Stream, None] = {}
        """Streams that have something to send, in turn."""
        self.encoder, self.decoder = hpack.Encoder(), hpack.Decoder()
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
        self.completed = 0
        self.moved = 0
        """Bytes of DATA sent."""
        self._touched: dict[Stream, None] = {}
        self._window = self.own.connection_window
        self._unacknowledged = 0
        self._rest = b""
        self._preface = frames.PREFACE if server else b""
        self._first = True
        self._block: tuple[int, int, list[bytes]] | None = None
        self._reset: dict[int, None] = {}
        self._next = 1  # of our own streams, as a client
        self._clock = clock
        self._patience, self._looked = self.own.patience, clock()
        self._start()

    def _start(self) -> None:
        values = {
            frames.INITIAL_WINDOW: self.own.window,
            frames.MAX_HEAD: self.limits.head,
        }
        if self.server:
            values |= {frames.MAX_STREAMS: self.own.streams, frames.ENABLE_CONNECT: 1}
        else:
            values |= {frames.ENABLE_PUSH: 0}
            self.out.append(frames.PREFACE)
        self.out.append(frames.settings(values))
        if (more := self.own.connection_window - frames.WINDOW) > 0:
            self.out.append(frames.window_update(0, more))

    # ---- what subclasses do ----

    def on_stream(self, number: int, lines: list[Line], ended: bool) -> Stream:
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

    # ---- patience ----

    def charge(self, points: float) -> None:
        """Count what a peer costs. Raises Fault when its credit is used up."""
        self._patience -= points
        if points < 0:
            self._patience = min(self._patience, self.own.patience)
        elif self._patience < 0:
            now = self._clock()
            self._patience = min(self._patience + now - self._looked, self.own.patience)
            self._looked = now
            if self._patience < 0:
                raise Fault(Code.ENHANCE_YOUR_CALM, "too many frames that ask for nothing")

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
            while self._touched:
                stream_, _ = self._touched.popitem()
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
        return bool(self._preface) or self._block is not None or self._first

    def _frame(self, kind: int, flags: int, stream: int, payload: bytes) -> None:
        if self._block is not None:
            if kind != frames.CONTINUATION or stream != self._block[0]:
                raise Fault(Code.PROTOCOL_ERROR, "another frame within a header block (RFC 9113 section 4.3)")
        elif self._first:
            if kind != frames.SETTINGS or flags & frames.ACK:
                raise Fault(Code.PROTOCOL_ERROR, "the first frame is not SETTINGS (RFC 9113 section 3.4)")
            self._first = False
        handler = HANDLERS.get(kind)
        if handler is None:
            self.charge(limits.UNKNOWN)
        else:
            handler(self, flags, stream, payload)

    def _on_data(self, flags: int, number: int, payload: bytes) -> None:
        size = len(payload)
        ended = bool(flags & frames.END_STREAM)
        if flags & frames.PADDED:
            payload = frames.unpadded(payload, flags & frames.PADDED)
        self._window -= size
        if self._window < 0:
            raise Fault(Code.FLOW_CONTROL_ERROR, "more than the connection's window has room for")
        stream = self.streams.get(number)
        if stream is None or stream.ended_in:
            self._closed(number, "DATA")
            self.give_back(size)
            return
        self.charge(limits.MOVED if payload else limits.EMPTY if not ended else 0.0)
        self._touched[stream] = None
        stream.take(payload, size, ended)

    def _closed(self, number: int, what: str) -> None:
        """A frame for a stream that is not there, or has ended: late, or a fault."""
        if self._idle(number):
            raise Fault(Code.PROTOCOL_ERROR, f"{what} for stream {number}, which is idle")
        self.charge(limits.LATE)
        if number not in self._reset:
            raise Fault(Code.STREAM_CLOSED, f"{what} for stream {number}, which has ended")

    def _idle(self, number: int) -> bool:
        ours = bool(number & 1) != self.server
        return number == 0 or number >= (self._next if ours and not self.server else self.last + 1)

    def _on_headers(self, flags: int, number: int, payload: bytes) -> None:
        if flags & frames.PADDED_PRIORITIZED:
            if flags & frames.PRIORITIZED:
                at = 1 if flags & frames.PADDED else 0
                if len(payload) >= at + 4 and frames.WORD.unpack_from(payload, at)[0] & frames.MOST == number:
                    raise Fault(Code.PROTOCOL_ERROR, f"stream {number} depends on itself")
            payload = frames.unpadded(payload, flags)
        if flags & frames.END_HEADERS:
            self._head(flags, number, payload)
        else:
            self._block = (number, flags, [payload])

    def _on_continuation(self, flags: int, number: int, payload: bytes) -> None:
        if self._block is None:
            raise Fault(Code.PROTOCOL_ERROR, "CONTINUATION that continues nothing (RFC 9113 section 6.10)")
        _, first, pieces = self._block
        pieces.append(payload)
        if len(pieces) > self.own.continuations or sum(map(len, pieces)) > self.limits.head:
            raise Fault(Code.ENHANCE_YOUR_CALM, "a header block in too many frames, or of too many bytes")
        if flags & frames.END_HEADERS:
            self._block = None
            self._head(first, number, b"".join(pieces))

    def _head(self, flags: int, number: int, block: bytes) -> None:
        ended = bool(flags & frames.END_STREAM)
        lines: list[Line] | None
        why = ""
        try:
            lines = self.decoder.decode(block, self.limits.head, self.limits.fields + 8)
        except hpack.TooBig as error:
            lines, why = None, str(error)
        except hpack.BadBlock as error:
            raise Fault(Code.COMPRESSION_ERROR, str(error)) from None
        stream = self.streams.get(number)
        if stream is None:
            self._new(number, lines, ended, why)
            return
        self._touched[stream] = None
        if stream.ended_in:
            self._closed(number, "HEADERS")
        elif lines is None:
            self.broken(stream, Code.ENHANCE_YOUR_CALM, why)
        else:
            stream.on_head(lines, ended)

    def _new(self, number: int, lines: list[Line] | None, ended: bool, why: str) -> None:
        if self.server and not number & 1:
            raise Fault(
                Code.PROTOCOL_ERROR, f"HEADERS for stream {number}: a client's are odd (RFC 9113 section 5.1.1)"
            )
        if not self.server or number <= self.last:
            self._closed(number, "HEADERS")
            return
        self.last = number
        if self.leaving and self.going is not None and number > self.going:
            self.out.append(frames.reset(number, Code.REFUSED_STREAM))
            self.remember(number)
        elif len(self.streams) >= self.own.streams:
            self.charge(limits.RESET)
            self.out.append(frames.reset(number, Code.REFUSED_STREAM))
            self.remember(number)
        elif lines is None:
            self.charge(limits.BAD)
            self.on_too_big(number, why)
        else:
            self._touched[self.on_stream(number, lines, ended)] = None

    def _on_priority(self, flags: int, number: int, payload: bytes) -> None:
        if len(payload) != 5:
            raise Fault(Code.FRAME_SIZE_ERROR, "PRIORITY has 5 bytes (RFC 9113 section 6.3)")
        if number == 0 or frames.WORD.unpack_from(payload)[0] & frames.MOST == number:
            raise Fault(Code.PROTOCOL_ERROR, "PRIORITY of no stream, or on itself")
        self.charge(limits.COST[frames.PRIORITY])

    def _on_reset(self, flags: int, number: int, payload: bytes) -> None:
        if len(payload) != 4:
            raise Fault(Code.FRAME_SIZE_ERROR, "RST_STREAM has 4 bytes (RFC 9113 section 6.4)")
        if self._idle(number):
            raise Fault(Code.PROTOCOL_ERROR, f"RST_STREAM for stream {number}, which is idle")
        stream = self.streams.get(number)
        if stream is None:
            self.charge(limits.LATE)
            return
        code = frames.WORD.unpack(payload)[0]
        stream.leave()
        self._touched[stream] = None
        stream.on_broken("refused stream" if code == Code.REFUSED_STREAM else f"reset: {frames.name_of(code)}")
        if self.server:
            self.charge(limits.RESET)

    def _on_settings(self, flags: int, number: int, payload: bytes) -> None:
        if number:
            raise Fault(Code.PROTOCOL_ERROR, "SETTINGS for a stream (RFC 9113 section 6.5)")
        if len(payload) % 6 or (flags & frames.ACK and payload):
            raise Fault(Code.FRAME_SIZE_ERROR, "SETTINGS of a size that they cannot have (RFC 9113 section 6.5)")
        if flags & frames.ACK:
            return
        self.charge(limits.COST[frames.SETTINGS])
        for kind, value in frames.SETTING.iter_unpack(payload):
            if kind == frames.TABLE_SIZE:
                self.encoder.resize(value)
            elif kind == frames.INITIAL_WINDOW:
                self._initial_window(value)
            elif kind == frames.MAX_FRAME:
                if not frames.LARGEST <= value < 1 << 24:
                    raise Fault(Code.PROTOCOL_ERROR, f"SETTINGS_MAX_FRAME_SIZE is {value}: 16384 to 16777215")
                self.largest = min(value, frames.LARGEST)  # larger ones help nobody who shares the connection
            elif kind == frames.MAX_STREAMS:
                self.peer_streams = value
            elif kind in (frames.ENABLE_PUSH, frames.ENABLE_CONNECT):
                if value > 1 or (kind == frames.ENABLE_PUSH and value and not self.server):
                    raise Fault(Code.PROTOCOL_ERROR, f"setting {kind} is {value} (RFC 9113 section 6.5.2)")
                self.peer_connect = self.peer_connect or (kind == frames.ENABLE_CONNECT and value == 1)
        self.out.append(frames.frame(frames.SETTINGS, frames.ACK, 0))
        self.on_settings()

    def _initial_window(self, value: int) -> None:
        if value > frames.MOST:
            raise Fault(Code.FLOW_CONTROL_ERROR, f"SETTINGS_INITIAL_WINDOW_SIZE is {value}: at most {frames.MOST}")
        change, self.send_initial = value - self.send_initial, value
        for stream in self.streams.values():
            stream.room += change
            if stream.room > frames.MOST:
                raise Fault(Code.FLOW_CONTROL_ERROR, f"the window of stream {stream.id} is too large")

    def _on_push(self, flags: int, number: int, payload: bytes) -> None:
        raise Fault(Code.PROTOCOL_ERROR, "PUSH_PROMISE, which was switched off (RFC 9113 section 8.4)")

    def _on_ping(self, flags: int, number: int, payload: bytes) -> None:
        if number:
            raise Fault(Code.PROTOCOL_ERROR, "PING for a stream (RFC 9113 section 6.7)")
        if len(payload) != 8:
            raise Fault(Code.FRAME_SIZE_ERROR, "PING has 8 bytes (RFC 9113 section 6.7)")
        if not flags & frames.ACK:
            self.charge(limits.COST[frames.PING])
            self.out.append(frames.frame(frames.PING, frames.ACK, 0, payload))
        elif self.leaving and self.going is None:
            self.going = self.last
            self.out.append(frames.goaway(self.last, Code.NO_ERROR))
            self._perhaps_leave()

    def _on_goaway(self, flags: int, number: int, payload: bytes) -> None:
        if number:
            raise Fault(Code.PROTOCOL_ERROR, "GOAWAY for a stream (RFC 9113 section 6.8)")
        if len(payload) < 8:
            raise Fault(Code.FRAME_SIZE_ERROR, "GOAWAY has 8 bytes at least (RFC 9113 section 6.8)")
        if self.server:
            self.leaving = True  # a client that says goodbye: nothing of ours is in question
            self.going = self.last
        else:
            self.going = frames.WORD.unpack_from(payload)[0] & frames.MOST
            for stream in [one for key, one in self.streams.items() if key > self.going or not one.begun]:
                stream.leave()
                self._touched[stream] = None
                stream.on_broken("refused stream")
        self._perhaps_leave()

    def _on_window_update(self, flags: int, number: int, payload: bytes) -> None:
        if len(payload) != 4:
            raise Fault(Code.FRAME_SIZE_ERROR, "WINDOW_UPDATE has 4 bytes (RFC 9113 section 6.9)")
        more = frames.WORD.unpack(payload)[0] & frames.MOST
        self.charge(limits.COST[frames.WINDOW_UPDATE])
        if not number:
            if not more:
                raise Fault(Code.PROTOCOL_ERROR, "WINDOW_UPDATE by 0 (RFC 9113 section 6.9)")
            self.room += more
            if self.room > frames.MOST:
                raise Fault(Code.FLOW_CONTROL_ERROR, "the connection's window is too large (RFC 9113 section 6.9.1)")
            return
        stream = self.streams.get(number)
        if stream is None:
            if self._idle(number):
                raise Fault(Code.PROTOCOL_ERROR, f"WINDOW_UPDATE for stream {number}, which is idle")
            return
        stream.room += more
        if not more:
            self.broken(stream, Code.PROTOCOL_ERROR, "WINDOW_UPDATE by 0")
        elif stream.room > frames.MOST:
            self.broken(stream, Code.FLOW_CONTROL_ERROR, "a window that is too large")

    # ---- sending ----

    def emit(self) -> bytes:
        """What is to be written now, about BATCH bytes at most; b"" when nothing can go out. Raises Fault."""
        out = self.out
        if self.waiting and not self.blocked:
            left, idle = BATCH, 0
            turn = list(self.waiting)
            while left > 0 and turn:
                moved = 0
                for stream in turn:
                    if stream in self.waiting:
                        moved += stream.emit(out, left)
                        self._ready(stream)
                left -= moved
                idle = idle + 1 if not moved else 0
                if idle:
                    break
                turn = [stream for stream in turn if stream in self.waiting]
            if turn and turn[0] in self.waiting:  # next time another one is first
                self.waiting.pop(turn[0])
                self.waiting[turn[0]] = None
        if not out:
            return b""
        self.out = []
        return out[0] if len(out) == 1 else b"".join(out)

    def _ready(self, stream: Stream) -> None:
        if not stream.writable and stream.open and stream.unsent * 2 <= self.limits.buffer:
            stream.writable = True
            stream.on_ready()

    def give_back(self, size: int) -> None:
        """So many bytes were passed on, or dropped: the connection has room for them again."""
        self._unacknowledged += size
        if self._unacknowledged * 2 >= min(self.own.connection_window, self.own.window):  # see `clogged`
            self.out.append(frames.window_update(0, self._unacknowledged))
            self._window += self._unacknowledged
            self._unacknowledged = 0

    @property
    def clogged(self) -> bool:
        """Do streams that nobody reads hold half of what the peer may send on all of them together?

        What is read is given back by at most half a stream's window at a time, so nothing else takes that much.
        """
        return self._window * 2 < self.own.connection_window

    # ---- streams ----

    def open(self, stream: Stream) -> None:
        """Give our own stream its number. Clients only."""
        stream.id, self._next = self._next, self._next + 2
        self.streams[stream.id] = stream

    def gone(self, stream: Stream) -> None:
        """A stream is over."""
        if self.streams.get(stream.id) is stream:
            del self.streams[stream.id]
            if stream.ended_in and stream.ended_out:
                self.completed += 1
            if not self.streams:
                self._perhaps_leave()

    def ended_out(self, stream: Stream) -> None:
        """Our end of a stream went out. A server that has answered a request it does not read any further says so."""
        if self.server and not stream.ended_in:
            stream.reset(Code.NO_ERROR)  # section 8.1

    def broken(self, stream: Stream, code: Code, why: str) -> None:
        """The peer is wrong about one stream: end it, and tell whoever uses it."""
        stream.reset(code)
        self._touched[stream] = None
        stream.on_broken(f"garbage: {why}")
        self.charge(limits.BAD)

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

    def _perhaps_leave(self) -> None:
        if not self.streams and self.going is not None:
            self.on_leave()


HANDLERS: Final[dict[int, Callable[[Connection, int, int, bytes], None]]] = {
    frames.DATA: Connection._on_data,
    frames.HEADERS: Connection._on_headers,
    frames.PRIORITY: Connection._on_priority,
    frames.RST_STREAM: Connection._on_reset,
    frames.SETTINGS: Connection._on_settings,
    frames.PUSH_PROMISE: Connection._on_push,
    frames.PING: Connection._on_ping,
    frames.GOAWAY: Connection._on_goaway,
    frames.WINDOW_UPDATE: Connection._on_window_update,
    frames.CONTINUATION: Connection._on_continuation,
}
