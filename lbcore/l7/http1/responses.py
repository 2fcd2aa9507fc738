"""Responses of HTTP/1.x out of a stream of bytes.

Rule of this file: what a status line says, and how the body ends, which depends on what was asked (RFC 9112, 6.3); the
rest is `reader`.
"""

from __future__ import annotations

from lbcore.l7.errors import Malformed
from lbcore.l7.http1 import scan
from lbcore.l7.http1.head import STATUS_LINE, Framing, split
from lbcore.l7.http1.reader import NONE, Reader
from lbcore.l7.http1.scan import Scratch
from lbcore.l7.limits import Limits
from lbcore.l7.message import Headers, Response

BODILESS = frozenset((204, 304))
"""Status codes whose responses have no body, whatever their fields say."""


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
        if protocol is not None:
            self.framing = Framing(1)  # what the last response offered is not agreed on
        if self.waiting:
            self.next()

    def on_head(self, response: Response) -> None:
        """The head of a response; its body follows."""

    def on_whole(self, response: Response, body: bytes) -> None:
        """A response that came in one piece, body and all, and nothing after it. Instead of the three calls below."""
        self.on_head(response)
        if body:
            self.on_body(body)
        self.on_end(NONE)

    def on_informational(self, status: int, headers: Headers) -> None:
        """A 1xx other than 101; the response proper follows."""

    def _head(self, data: bytes) -> bytes:
        scratch = self.scratch
        found: scan.Response = scan.response(data, self.limits.fields, scratch.block)
        end, block, length, chunked, close, _, _, status, reason = found
        if not end:
            return super()._head(data)
        if end > self.limits.head:
            raise self._too_long()
        self.started = True
        framing, size = self.framing, None if length < 0 else length
        bodiless = self.method == b"HEAD" or status in BODILESS
        until_close = not bodiless and not chunked and size is None
        framing.minor, framing.keep_alive, framing.upgrade = 1, not close and not until_close, b""
        response = Response(status, scratch.view[:block].tobytes(), None, size, None, data[13:reason])
        if size is not None and not bodiless and len(data) == end + size:  # most of them
            self.waiting = True
            self.on_whole(response, data[end:])
            return b""
        self.on_head(response)
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
