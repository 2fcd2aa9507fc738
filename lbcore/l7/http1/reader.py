"""Messages of HTTP/1.x out of a stream of bytes, cut anywhere.

Rule of this file: no sockets, no clock. Bytes go in by `feed`; heads, pieces of bodies and ends come out by calls to
`on_head`, `on_body` and `on_end`, which the two sides overwrite. What is particular to requests and to responses is in
the files of that name.

Theory. A reader is always in one of a few states, and a state is the method that reads the next bytes: `_head`,
`_counted`, `_chunk_size`, `_chunk`, `_chunk_end`, `_trailers`, `_until_close`. It takes what it can, says what is left,
and keeps in `_kept` what is not complete yet. After a message's end the reader waits: what follows belongs to the next
message, which is nobody's business before `next` is called.

Traps
- A piece of a body is handed on as it came, not copied; a chunked body is decoded and sent on in chunks of its own.
- An incomplete head is searched for line ends that are none: a client that ends its lines with LF alone would otherwise
  wait for its answer until it is timed out.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from lbcore.l7.errors import Malformed
from lbcore.l7.field import NOT_IN_TRAILERS
from lbcore.l7.http1.head import LONELY, TOKEN, split
from lbcore.l7.http1.scan import Scratch
from lbcore.l7.limits import Limits
from lbcore.l7.message import Headers

QUOTED = rb'"(?:[\t\x20\x21\x23-\x5b\x5d-\x7e\x80-\xff]|\\[\t\x20-\x7e\x80-\xff])*"'  # RFC 9110, 5.6.4
CHUNK_SIZE = re.compile(rb"([0-9A-Fa-f]{1,15})(?:;%b(?:=(?:%b|%b))?)*\r\n" % (TOKEN, TOKEN, QUOTED))  # RFC 9112, 7.1
MAY_BECOME_A_SIZE = re.compile(rb"[0-9A-Fa-f]{1,15}(?:;[\t\x20-\x7e\x80-\xff]*)?\r?")
NONE = Headers()
"""No trailers. Nobody writes to it."""


class Reader:
    """What both kinds of message have in common. The subclasses know how their head says where the body ends."""

    __slots__ = ("_kept", "_left", "_state", "limits", "scratch", "started", "waiting")

    def __init__(self, limits: Limits, scratch: Scratch | None = None) -> None:
        self.limits = limits
        self.scratch = scratch or Scratch(limits.head)
        self.waiting = False
        """A message has ended, `next` has not been called."""
        self.started = False
        """The first byte of a message has come."""
        self._state: Callable[[bytes], bytes] = self._head
        self._kept = b""
        self._left = 0

    # ---- what comes out ----

    def on_body(self, data: bytes) -> None:
        """A piece of the body, never empty."""

    def on_end(self, trailers: Headers) -> None:
        """The message is complete."""

    # ---- what goes in ----

    def feed(self, data: bytes) -> None:
        """Bytes as they came. Malformed: the stream can't be read any further."""
        if self._kept:
            data = self._kept + data
            self._kept = b""
        while data and not self.waiting:
            data = self._state(data)
        if data:
            self._kept = data

    def next(self) -> None:
        """Read the next message; what has come of it already is read at once."""
        self.waiting = self.started = False
        if self._kept:
            self.feed(b"")

    @property
    def pending(self) -> int:
        """Bytes that came and were not read yet."""
        return len(self._kept)

    def raw(self) -> None:
        """No more messages on this connection: all that comes from here on is body (RFC 9110, 7.8)."""
        self._state, self.waiting = self._until_close, False
        if self._kept:
            self.feed(b"")

    def eof(self) -> None:
        """The other end sends no more. Malformed: in the middle of a message."""
        if self._state == self._until_close and not self.waiting:
            self._end(NONE)
        elif not self.waiting and (self.started or self._kept):
            raise Malformed("the connection ended in the middle of a message")

    # ---- states: each takes bytes, at least one, and gives back what it did not take ----

    def _head(self, data: bytes) -> bytes:
        self.started = True
        end = data.find(b"\r\n\r\n") + 4
        if end < 4 or end > self.limits.head:
            self._begins_well(data)
            return self._incomplete(data)
        self._take_head(data[:end])
        return data[end:]

    def _incomplete(self, data: bytes) -> bytes:
        if len(data) > self.limits.head:
            raise self._too_long()
        if LONELY.search(data[:-1] if data.endswith(b"\r") else data):
            raise Malformed("a CR, an LF or a NUL by itself in the head; lines end with CRLF")
        self._kept = data
        return b""

    def _begins_well(self, data: bytes) -> None:
        """Malformed: this can't become a head, whatever follows."""

    def _too_long(self) -> Malformed:
        return Malformed(f"the head has more than {self.limits.head} bytes", 431)

    def _take_head(self, head: bytes) -> None:
        raise NotImplementedError

    def _body(self, length: int | None, chunked: bool, until_close: bool = False) -> None:
        """After a head: how the body ends (RFC 9112, 6.3)."""
        if chunked:
            self._state = self._chunk_size
        elif until_close:
            self._state = self._until_close
        elif length:
            self._left, self._state = length, self._counted
        else:
            self._end(NONE)

    def _end(self, trailers: Headers) -> None:
        self._state, self.waiting = self._head, True
        self.on_end(trailers)

    def _counted(self, data: bytes) -> bytes:
        size = len(data)
        if size < self._left:
            self._left -= size
            self.on_body(data)
            return b""
        piece, rest = (data, b"") if size == self._left else (data[: self._left], data[self._left :])
        self._left = 0
        self.on_body(piece)
        self._end(NONE)
        return rest

    def _until_close(self, data: bytes) -> bytes:
        self.on_body(data)
        return b""

    def _chunk_size(self, data: bytes) -> bytes:
        match = CHUNK_SIZE.match(data, 0, self.limits.chunk_line)
        if not match:
            if len(data) >= self.limits.chunk_line or b"\n" in data or not MAY_BECOME_A_SIZE.fullmatch(data):
                raise Malformed(f"a chunk's size should be hexadecimal digits and CRLF, not {data[:20]!r}")
            self._kept = data
            return b""
        self._left = int(match[1], 16)
        self._state = self._chunk if self._left else self._trailers
        return data[match.end() :]

    def _chunk(self, data: bytes) -> bytes:
        piece = data[: self._left]
        self._left -= len(piece)
        if not self._left:
            self._state = self._chunk_end
        self.on_body(piece)
        return data[len(piece) :]

    def _chunk_end(self, data: bytes) -> bytes:
        if data[:2] == b"\r\n":
            self._state = self._chunk_size
            return data[2:]
        if data != b"\r":
            raise Malformed(f"a chunk should end with CRLF, not {data[:2]!r}")
        self._kept = data
        return b""

    def _trailers(self, data: bytes) -> bytes:
        if data[:2] == b"\r\n":
            self._end(NONE)
            return data[2:]
        end = data.find(b"\r\n\r\n")
        if end < 0 or end > self.limits.head:
            return self._incomplete(data)
        lines, _ = split(b"\n" + data[: end + 4], 1, 1, self.limits)
        self._end(Headers(line for line in lines if line[0] not in NOT_IN_TRAILERS))
        return data[end + 4 :]
