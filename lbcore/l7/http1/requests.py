"""Requests of HTTP/1.x out of a stream of bytes.

Rule of this file: what a request's first line says, and how its body ends; the rest is `reader`.

Theory. `scan` reads the ordinary head in one pass of compiled code; what it will not judge is read again by `head`.
"""

from __future__ import annotations

import re

from lbcore.l7.errors import Malformed
from lbcore.l7.http1 import scan
from lbcore.l7.http1.head import ABSOLUTE, HOST, REQUEST_LINE, TOKEN, Framing, split
from lbcore.l7.http1.reader import NONE, Reader
from lbcore.l7.http1.scan import Scratch
from lbcore.l7.limits import Limits
from lbcore.l7.message import Peer, Request

BEGINNING = re.compile(rb"%b(?: |$)" % TOKEN)  # of a request line, as far as it has come


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
        found: scan.Request = scan.request(data, limits.target, limits.fields, scratch.block)
        end, block, length, chunked, close, host, host_end, method, target, normal = found
        if not end:
            return self._unusual(data)
        if end > limits.head:
            raise self._too_long()
        self.started, self._skipped = True, False
        framing = self.framing
        framing.minor, framing.keep_alive = 1, not close
        framing.expects, framing.normal = False, normal == 1
        size = length if length > 0 else None if chunked else 0
        self.on_head(
            Request(
                data[:method],
                data[method + 1 : target],
                data[host:host_end].lower(),
                self.scheme,
                scratch.view[:block].tobytes(),
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

    def _unusual(self, data: bytes) -> bytes:
        """A head that `scan` has not read."""
        if data[:1] == b"\r" and not self._skipped:  # one empty line before a request (RFC 9112, 2.2)
            if data == b"\r":
                self._kept = data
                return b""
            self._skipped = True
            return data[2:] if data[1:2] == b"\n" else super()._head(data)
        return super()._head(data)

    def _begins_well(self, data: bytes) -> None:
        line, found, _ = data.partition(b"\r\n")
        if not BEGINNING.match(line):
            raise _bad_request_line(data)
        if not found and len(line) > self.limits.target + 40:
            raise Malformed(f"the target has more than {self.limits.target} bytes", 414)

    def _take_head(self, head: bytes) -> None:
        self._skipped = False
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
    if not path and method == b"OPTIONS":
        return b"*", authority  # of the whole server: RFC 9112, 3.2.4
    return path if path.startswith(b"/") else b"/" + path, authority
