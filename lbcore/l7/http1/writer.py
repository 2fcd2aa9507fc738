"""Heads and chunks of HTTP/1.1 as bytes.

Rule of this file: it adds the fields that say where a body ends, and no other. No sockets.

Trap. Whatever filters did to the headers, no line may leave that its readers take for two: line ends are counted in
what was made, which costs less than to look at every value.
"""

from __future__ import annotations

from http import HTTPStatus

from lbcore.l7.message import Headers, Request, Response

STATUS_LINES = {status: b"HTTP/1.1 %d \r\n" % status for status in range(100, 600)} | {
    status.value: b"HTTP/1.1 %d %b\r\n" % (status, status.phrase.encode()) for status in HTTPStatus
}
WITH_BODY = frozenset((b"POST", b"PUT", b"PATCH"))
"""Methods whose empty body is said (RFC 9110, 8.6)."""
LAST_CHUNK = b"0\r\n"


VIA = {version: b"via: %b lbcore\r\n" % version.encode() for version in ("1.0", "1.1", "2")}
"""Of every request that is passed on, by the version that it came in (RFC 9110, 7.6.3)."""


def request_head(request: Request) -> bytes:
    """A request's head for a backend (RFC 9112, 3). ValueError: a field that would be two."""
    length, unread = request.length, request.unread
    if unread is not None and length == 0 and request.protocol is None and request.method not in WITH_BODY:
        return b"%b %b HTTP/1.1\r\nhost: %b\r\n%b%b\r\n" % (
            request.method,
            request.target,
            request.authority,
            unread,
            VIA[request.version],
        )
    lines = [b"%b %b HTTP/1.1\r\n" % (request.method, request.target), b"host: %b\r\n" % request.authority]
    lines += [b"%b: %b\r\n" % line for line in request.headers]
    lines.append(VIA[request.version])
    if length is None:
        lines.append(b"transfer-encoding: chunked\r\n")
    elif length or request.method in WITH_BODY:
        lines.append(b"content-length: %d\r\n" % length)
    if request.protocol:
        lines += (b"connection: upgrade\r\n", b"upgrade: %b\r\n" % request.protocol)
    lines.append(b"\r\n")
    return _whole(lines)


def response_head(response: Response, *, chunked: bool, length: int | None, close: bool, keep: bool = False) -> bytes:
    """A response's head for a client (RFC 9112, 4).

    chunked, length: how the body's end is found; neither: by the connection's end, or there is none. close: this
    connection takes no further request. keep: it does, and a client of HTTP/1.0 has to be told. ValueError: a field
    that would be two.
    """
    status, unread = STATUS_LINES[response.status], response.unread
    if unread is not None and length is not None and not close and not keep:
        return b"%b%bcontent-length: %d\r\n\r\n" % (status, unread, length)
    lines = [b"HTTP/1.1 %d %b\r\n" % (response.status, response.reason) if response.reason else status]
    lines += [b"%b: %b\r\n" % line for line in response.headers]
    if chunked:
        lines.append(b"transfer-encoding: chunked\r\n")
    elif length is not None:
        lines.append(b"content-length: %d\r\n" % length)
    if close:
        lines.append(b"connection: close\r\n")
    elif keep:
        lines.append(b"connection: keep-alive\r\n")
    lines.append(b"\r\n")
    return _whole(lines)


def switching(headers: Headers, protocol: bytes) -> bytes:
    """The head of a 101: from here on the connection speaks `protocol` (RFC 9110, 15.2.2)."""
    lines = [STATUS_LINES[101], b"connection: upgrade\r\n", b"upgrade: %b\r\n" % protocol]
    return _whole([*lines, *(b"%b: %b\r\n" % line for line in headers), b"\r\n"])


def informational(status: int, headers: Headers) -> bytes:
    """The head of another 1xx."""
    return _whole([STATUS_LINES[status], *(b"%b: %b\r\n" % line for line in headers), b"\r\n"])


def chunk(data: bytes) -> bytes:
    """A piece of a body of unknown length (RFC 9112, 7.1); `data` is not empty, for an empty chunk is the last."""
    return b"%x\r\n%b\r\n" % (len(data), data)


def last_chunk(trailers: Headers) -> bytes:
    """The end of such a body (RFC 9112, 7.1.2)."""
    return _whole([LAST_CHUNK, *(b"%b: %b\r\n" % line for line in trailers), b"\r\n"]) if trailers else b"0\r\n\r\n"


def _whole(lines: list[bytes]) -> bytes:
    head = b"".join(lines)
    count = len(lines)
    if head.count(b"\n") != count or head.count(b"\r") != count or 0 in head:
        bad = next(line for line in lines if line.count(b"\n") != 1 or line.count(b"\r") != 1 or 0 in line)
        raise ValueError(f"{bad[:60]!r}: CR, LF or NUL inside a field")
    return head
