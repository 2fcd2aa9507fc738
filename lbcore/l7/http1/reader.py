"""Messages of HTTP/1.x out of a stream of bytes, cut anywhere.

Rule of this file: no sockets, no clock. Bytes go in by `feed`; heads, pieces of bodies and ends come out by calls to
`on_head`, `on_body` and `on_end`, which the two sides overwrite.

Theory. A reader is always in one of a few states, and a state is the method that reads the next bytes: `_head`,
`_counted`, `_chunk_size`, `_chunk`, `_chunk_end`, `_trailers`, `_until_close`, `_rest`. It takes what it can, says what
is left, and keeps in `_kept` what is not complete yet. After a message's end the reader waits: what follows belongs to
the next message, which is nobody's business before `next` is called.

Traps
- A piece of a body is handed on as it came, not copied; a chunked body is decoded and sent on in chunks of its own.
- An incomplete head is searched for line ends that are none: a client that ends its lines with LF alone would otherwise
  wait for its answer until it is timed out.
"""

from __future__ import annotations

import re
from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from lbcore.l7.errors import Malformed
from lbcore.l7.http1 import scan
from lbcore.l7.http1.head import (
    ABSOLUTE,
    HOST,
    LONELY,
    REQUEST_LINE,
    STATUS_LINE,
    TOKEN,
    Framing,
    split,
)
from lbcore.l7.limits import Limits
from lbcore.l7.message import Headers, Peer, Request, Response

BEGINNING = re.compile(rb"%b(?: |$)" % TOKEN)  # of a request line, as far as it has come
CHUNK_SIZE = re.compile(rb"([0-9A-Fa-f]{1,15})(?:;[\t\x20-\x7e\x80-\xff]*)?\r\n")  # RFC 9112, 7.1
FORBIDDEN_TRAILERS = frozenset(
    (
        b"authorization", b"cache-control", b"content-encoding", b"content-length", b"content-range", b"content-type",
        b"cookie", b"expect", b"host", b"max-forwards", b"set-cookie", b"te", b"trailer", b"transfer-encoding",
    )
)  # RFC 9110, 6.5.1: what must be known before the body  # fmt: skip
BODILESS = frozenset((204, 304))
NONE = Headers()
"""No trailers. Nobody writes to it."""


class Scratch:
    """Where `scan` puts what it finds. One for all readers of a thread: it is empty again before the next one reads."""

    def __init__(self, head: int) -> None:
        self.block: npt.NDArray[np.uint8] = np.empty(2 * head + 64, np.uint8)
        self.facts: npt.NDArray[np.int64] = np.zeros(scan.FACTS, np.int64)
        self._view = memoryview(self.block.data)

    def taken(self, size: int) -> bytes:
        """The first bytes of the block."""
        return bytes(self._view[:size])


class Reader:
    """What both kinds of message have in common. The subclasses know how their head says where the body ends."""

    __slots__ = ("_kept", "_left", "_most", "_state", "limits", "scratch", "started", "waiting")

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
        self._most = limits.head

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
        self._state, self._most = self._head, self.limits.head
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
        self.waiting = True
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
            if len(data) >= self.limits.chunk_line or b"\n" in data or not _may_become_a_size(data):
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
        self._end(Headers(line for line in lines if line[0] not in FORBIDDEN_TRAILERS))
        return data[end + 4 :]


def _may_become_a_size(data: bytes) -> bool:
    return CHUNK_SIZE.match(data.rstrip(b"\r") + b"\r\n") is not None


class RequestReader(Reader):
    """Requests. `framing` is that of the one being read."""

    __slots__ = ("_skipped", "framing", "peer", "scheme")

    def __init__(self, limits: Limits, peer: Peer, scheme: bytes, scratch: Scratch | None = None) -> None:
        super().__init__(limits, scratch)
        self.peer, self.scheme = peer, scheme
        self.framing = Framing(1)
        self._skipped = False  # an empty line before a request

    def on_head(self, request: Request) -> None:
        """A request's head; its body follows."""

    def _head(self, data: bytes) -> bytes:
        scratch, limits = self.scratch, self.limits
        if scan.request(data, limits.target, limits.fields, scratch.block, scratch.facts):
            return self._ordinary(data)
        if data[:1] == b"\r" and not self._skipped:  # one empty line before a request (RFC 9112, 2.2)
            if data == b"\r":
                self._kept = data
                return b""
            self._skipped = True
            return data[2:] if data[1:2] == b"\n" else super()._head(data)
        return super()._head(data)

    def _ordinary(self, data: bytes) -> bytes:
        """A head that `scan` has read: what it found, in the form that `_take_head` gives it."""
        end, block, length, chunked, close, host, host_end, method, target, _, _ = self.scratch.facts.tolist()
        if end > self.limits.head:
            raise self._too_long()
        self.started = True
        framing = self.framing
        framing.minor, framing.keep_alive, framing.expects = 1, not close, False
        size = None if chunked else max(length, 0)
        self.on_head(
            Request(
                data[:method],
                data[method + 1 : target],
                data[host:host_end].lower(),
                self.scheme,
                self.scratch.taken(block),
                self.peer,
                "1.1",
                size,
            )
        )
        if size == 0:
            self.waiting = True
            self.on_end(NONE)
        else:
            self._body(size, bool(chunked))
        return data[end:]

    def _begins_well(self, data: bytes) -> None:
        line, found, _ = data.partition(b"\r\n")
        if not BEGINNING.match(line):
            raise _bad_request_line(data)
        if not found and len(line) > self.limits.target + 40:
            raise Malformed(f"the target has more than {self.limits.target} bytes", 414)

    def next(self) -> None:
        self._skipped = False
        super().next()

    def _take_head(self, head: bytes) -> None:
        line = REQUEST_LINE.match(head)
        if not line:
            raise _bad_request_line(head)
        method, target, minor = line.groups()
        if len(target) > self.limits.target:
            raise Malformed(f"the target has {len(target)} bytes; at most {self.limits.target} are taken", 414)
        headers, framing = split(head, line.end(), 1 if minor == b"1" else 0, self.limits)
        host = framing.host
        if target[0] != 0x2F:
            target, host = _other_form(method, target, host)
        if host is None:
            if framing.minor:
                raise Malformed("no Host; HTTP/1.1 wants exactly one")
            host = b""
        self.framing = framing
        length = None if framing.chunked else framing.length or 0
        self.on_head(
            Request(
                method,
                target,
                host,
                self.scheme,
                headers,
                self.peer,
                "1.1" if framing.minor else "1.0",
                length,
                protocol=framing.upgrade or None,
            )
        )
        self._body(framing.length, framing.chunked)


def _bad_request_line(head: bytes) -> Malformed:
    line = head.partition(b"\r\n")[0]
    if line[:2] == b"\x16\x03":
        return Malformed("this is TLS; HTTP in the clear is spoken here")
    if head.startswith(b"PRI * HTTP/2.0"):
        return Malformed("HTTP/2 in the clear is not spoken here", 505)
    if re.fullmatch(rb".* HTTP/[0-9]\.[0-9]", line, re.DOTALL) and not line.endswith((b"HTTP/1.0", b"HTTP/1.1")):
        return Malformed(f"{line[-8:].decode()} is not spoken here; HTTP/1.1 is", 505)
    return Malformed(f"not a request line: {line[:60]!r}; it should be `method target HTTP/1.1`")


def _other_form(method: bytes, target: bytes, host: bytes | None) -> tuple[bytes, bytes | None]:
    """Target and host of a request whose target is not a path (RFC 9112, 3.2.2 to 3.2.4)."""
    if method == b"CONNECT":
        if not HOST.fullmatch(target) or (host is not None and host != target.lower()):
            raise Malformed(f"CONNECT {target[:40]!r}: should be host:port, the same as in Host")
        return target, target.lower()
    if target == b"*" and method == b"OPTIONS":
        return target, host
    absolute = ABSOLUTE.fullmatch(target)
    if not absolute or not HOST.fullmatch(absolute[1]):
        raise Malformed(f"target {target[:60]!r}: should begin with / or with http://host")
    authority, path = absolute[1].lower(), absolute[2]
    if host is not None and host != authority:
        raise Malformed(f"target and Host name different hosts: {authority!r} and {host!r}")
    return path if path.startswith(b"/") else b"/" + path, authority


class ResponseReader(Reader):
    """Responses. `expect` says for each what was asked."""

    __slots__ = ("framing", "method", "protocol")

    def __init__(self, limits: Limits, scratch: Scratch | None = None) -> None:
        super().__init__(limits, scratch)
        self.framing = Framing(1)
        self.method = b"GET"
        self.protocol: bytes | None = None

    def expect(self, method: bytes, protocol: bytes | None) -> None:
        """The next response answers a request of this method, which wanted the connection to become `protocol`."""
        self.method, self.protocol = method, protocol
        if self.waiting:
            self.next()

    def on_head(self, response: Response) -> None:
        """The head of a response; its body follows."""

    def on_informational(self, status: int, headers: Headers) -> None:
        """A 1xx other than 101; the response proper follows."""

    def _head(self, data: bytes) -> bytes:
        scratch = self.scratch
        if not scan.response(data, self.limits.fields, scratch.block, scratch.facts):
            return super()._head(data)
        end, block, length, chunked, close, _, _, _, _, status, reason = scratch.facts.tolist()
        if end > self.limits.head:
            raise self._too_long()
        self.started = True
        framing, size = self.framing, None if length < 0 else length
        bodiless = self.method == b"HEAD" or status in BODILESS
        until_close = not bodiless and not chunked and size is None
        framing.minor, framing.keep_alive, framing.upgrade = 1, not close and not until_close, b""
        self.on_head(Response(status, scratch.taken(block), None, size, None, data[13:reason]))
        if size is not None and not bodiless and len(data) == end + size:  # the whole response at once: most of them
            if size:
                self.on_body(data[end:])
            self._end(NONE)
            return b""
        if bodiless:
            self._end(NONE)
        else:
            self._body(size, bool(chunked), until_close)
        return data[end:]

    def _take_head(self, head: bytes) -> None:
        line = STATUS_LINE.match(head)
        if not line:
            raise Malformed(f"not a status line: {head.partition(bytes([13, 10]))[0][:60]!r}")
        status = int(line[2])
        headers, framing = split(head, line.end(), 1 if line[1] == b"1" else 0, self.limits)
        if framing.host is not None:
            headers.append((b"host", framing.host))
        self.framing = framing
        if status < 200:
            self._take_informational(status, headers, framing)
            return
        bodiless = self.method == b"HEAD" or status in BODILESS
        until_close = not bodiless and not framing.chunked and framing.length is None
        if until_close:
            framing.keep_alive = False
        length = framing.length if bodiless or not framing.chunked else None
        self.on_head(Response(status, headers, None, length, reason=line[3] or b""))
        if bodiless:
            self._end(NONE)
        else:
            self._body(framing.length, framing.chunked, until_close)

    def _take_informational(self, status: int, headers: Headers, framing: Framing) -> None:
        if framing.length is not None or framing.chunked:
            raise Malformed(f"a {status} with a body")
        if status != 101:
            self.on_informational(status, headers)
        elif self.protocol is None or framing.upgrade != self.protocol:
            raise Malformed(f"101 to {framing.upgrade!r}, which was not asked for")
        else:
            self._state = self._until_close
            self.on_head(Response(101, headers, None, None))
