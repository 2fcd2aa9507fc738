"""Two readers of one stream of bytes, who do not agree where a request ends.

Rule of this file: toys, in memory. Each habit is one that readers of HTTP/1.1 in use have had; `strict` is no toy.

Theory. A connection carries one request after another, and only the head says where a body ends (RFC 9112, 6). A front
that finds one end and a back that finds another take different bytes for the next request: what the front passed on as
a body is executed as a request that no rule of the front has seen.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from lbcore.l7.errors import Malformed
from lbcore.l7.http1.requests import RequestReader
from lbcore.l7.limits import Limits
from lbcore.l7.message import Headers, Peer, Request

INNER: Final = b"GET /admin HTTP/1.1\r\nHost: shop.example\r\n\r\n"
"""What is to arrive unseen."""
LAST_CHUNK: Final = b"0\r\n\r\n"
WAITS: Final = "(waits for more)"


@dataclass(frozen=True, slots=True)
class Habits:
    """What a lenient reader lets pass; each in a way of its own."""

    chunked_wins: bool = False
    """With both fields, Transfer-Encoding decides; else Content-Length."""
    last_length: bool = False
    """Of two lengths the last; else the first."""
    digits_only: bool = False
    """`+5` is no length, and no length is 0; else it is 5."""
    blank_before_colon: bool = False
    """`Name : value` is the field Name; else a field that nobody knows."""
    any_chunked: bool = False
    """Any coding with `chunked` in its name is; else that word alone."""
    lone_lf: bool = False
    """LF ends a line by itself; else it is a byte of the value."""
    unfolds: bool = False
    """A line that begins with a blank goes on with the last; else it is ignored."""


FRONT: Final = Habits()
BACK: Final = Habits(*[True] * 7)


def requests(stream: bytes, habits: Habits) -> list[str]:
    """The request lines that such a reader sees, WAITS at the end if the last request is not whole."""
    found: list[str] = []
    while stream:
        head, blank, rest = stream.partition(b"\r\n\r\n")
        line, _, fields = head.partition(b"\r\n")
        if not blank:
            return [*found, WAITS]
        found.append(line.decode("latin-1"))
        size = _body(_fields(fields, habits), rest, habits)
        if size > len(rest):
            return [*found, WAITS]
        stream = rest[size:]
    return found


def _fields(head: bytes, habits: Habits) -> list[tuple[bytes, bytes]]:
    if habits.unfolds:
        head = re.sub(rb"\r\n[ \t]+", b" ", head)
    fields = []
    for line in re.split(rb"\r?\n" if habits.lone_lf else rb"\r\n", head):
        name, _, value = line.partition(b":")
        fields.append((name.rstrip() if habits.blank_before_colon else name, value.strip()))
    return [(name.lower(), value) for name, value in fields]


def _body(fields: list[tuple[bytes, bytes]], rest: bytes, habits: Habits) -> int:
    """Bytes of the body, more than there are if its end has not come."""
    codings = [value for name, value in fields if name == b"transfer-encoding"]
    lengths = [value for name, value in fields if name == b"content-length"]
    chunked = any(b"chunked" in one if habits.any_chunked else one == b"chunked" for one in codings)
    if chunked and (habits.chunked_wins or not lengths):
        at = rest.find(LAST_CHUNK)
        return len(rest) + 1 if at < 0 else at + len(LAST_CHUNK)
    if not lengths:
        return 0
    length = lengths[-1 if habits.last_length else 0]
    return int(length) if re.fullmatch(rb"[0-9]+" if habits.digits_only else rb"\+?[0-9]+", length) else 0


def variants() -> dict[str, bytes]:
    """Streams by name. All but the first hide INNER in what the front takes for a body."""
    body = LAST_CHUNK + INNER
    length = b"Content-Length: %d\r\n" % len(body)

    def post(fields: bytes, body: bytes) -> bytes:
        return b"POST /search HTTP/1.1\r\nHost: shop.example\r\n%b\r\n%b" % (fields, body)

    return {
        "honest": post(length, body),
        "length and chunked": post(length + b"Transfer-Encoding: chunked\r\n", body),
        "two lengths": post(b"Content-Length: %d\r\nContent-Length: 0\r\n" % len(INNER), INNER),
        "length with a sign": post(b"Content-Length: +%d\r\n" % len(INNER), INNER),
        "blank before the colon": post(length + b"Transfer-Encoding : chunked\r\n", body),
        "almost chunked": post(length + b"Transfer-Encoding: xchunked\r\n", body),
        "a line feed alone": post(length + b"X: y\nTransfer-Encoding: chunked\r\n", body),
        "a folded line": post(length + b"Transfer-Encoding:\r\n chunked\r\n", body),
    }


class _Lines(RequestReader):
    """Our own reader, which writes down what it sees."""

    def __init__(self) -> None:
        super().__init__(Limits(), Peer("127.0.0.1", 1), b"http")
        self.lines: list[str] = []

    def on_head(self, request: Request) -> None:
        self.lines.append(f"{request.method.decode()} {request.target.decode()} HTTP/{request.version}")

    def on_end(self, trailers: Headers) -> None:
        pass


def strict(stream: bytes) -> list[str] | str:
    """The request lines that the proxy's own reader sees; or why it refuses."""
    reader = _Lines()
    try:
        reader.feed(stream)
        while reader.waiting:
            reader.next()
            reader.feed(b"")
    except Malformed as error:
        return error.why
    return reader.lines
