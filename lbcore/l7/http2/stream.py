"""One stream of HTTP/2, either end of it: what it has to send, what it has received, and when it is over (RFC 9113 5).

Rule of this file: no frames are read here, and no HTTP: header blocks are lists of lines. What lines mean is
`translate`'s business, what becomes of them that of `client` and `backend`.

Theory. What a stream has to send (heads, bytes, an end) waits in the stream until `emit` is called, and goes out a
frame at a time as far as both windows allow. What it receives is passed on at once, or kept while it is paused; only
what was passed on is given back to the peer as window. So the peer feels a slow reader behind us, and what it can make
us keep is bounded by the windows.

States. RFC 9113 figure 2 is three bits here: `ended_in`, `ended_out`, and `open`, which falls when both ends have
ended or either has reset. Nothing is reported, and nothing sent, by a stream that is not open.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Generic, TypeAlias, TypeVar

from lbcore.l7.http2 import frames, patience
from lbcore.l7.http2.frames import Code
from lbcore.l7.http2.hpack import Line
from lbcore.l7.http2.windows import Intake

if TYPE_CHECKING:
    from lbcore.l7.http2.connection import Connection

C = TypeVar("C", bound="Connection")


class Stream(Generic[C]):
    """One stream. Subclasses say what is done with what comes: `on_...`."""

    __slots__ = (
        "_body", "_end", "_heads", "_inbox", "_inbox_end", "_intake", "_paused", "begun", "connection",
        "ended_in", "ended_out", "expected", "id", "open", "room", "writable",
    )  # fmt: skip

    def __init__(self, connection: C) -> None:
        self.connection: C = connection
        self.id = 0
        self.writable = True
        self.open = True
        """False once it has gone; what is sent then is dropped."""
        self.room = connection.send_initial
        """Bytes that the peer would take."""
        self.expected: int | None = None
        """Bytes of the body by content-length, which DATA must agree with (8.1.1)."""
        self.ended_in = self.ended_out = False
        self.begun = connection.server
        """Does the peer know of it?"""
        self._intake = Intake(connection.own.window)
        self._heads: list[list[Line]] = []
        self._body = bytearray()
        self._end: list[Line] | None = None
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
            connection.charge(patience.MOVED)
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
            self.connection.charge(patience.DONE)
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
        if not self._intake.take(size):
            self.connection.give_back(size)
            self.connection.broken(self, Code.FLOW_CONTROL_ERROR, "more than the window has room for")
            return
        if size != len(data):
            self._give_back(size - len(data))
        if self.expected is not None:
            self.expected -= len(data)
            if self.expected < 0 or (ended and self.expected):
                self.connection.give_back(len(data))
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
            self.connection.charge(patience.DONE)
            self.leave()

    def _give_back(self, size: int) -> None:
        if self.open and not self.ended_in and (more := self._intake.give_back(size)):
            self.connection.out.append(frames.window_update(self.id, more))
        self.connection.give_back(size)


AnyStream: TypeAlias = Stream[Any]
"""Whatever end it is of."""
