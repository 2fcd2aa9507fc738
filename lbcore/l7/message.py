"""A request and a response as the proxy knows them, whatever version of HTTP carried them.

Rule of this file: no framing, no sockets; of bytes it knows the field line alone, `name: value CRLF`. `http1` and
`http2` read and write these messages; the router, the filters and the pools see nothing else.

Theory. RFC 9110 describes HTTP without its wire formats: a method, a target, fields, content, trailers. A proxy that
keeps to this form can speak one version to its client and another to its backend.

Names of fields are kept in lower case, as HTTP/2 wants them on the wire (RFC 9113, 8.2.1) and HTTP/1.1 allows. Values
are bytes: HTTP says of them only that they contain no CR, LF or NUL.

Most messages pass with their fields unread: as bytes, the way they came. A filter that adds a line, or looks whether
one is there, does so on the bytes (`Message.put`, `lines`, `drop`); a list is made for who goes through all of them.

Traps. Host is not among the headers: it is `authority`, for HTTP/2 has it in a pseudo-header, and a proxy that keeps
two copies will one day route by one and forward the other. What belongs to one connection only (Connection, TE,
Transfer-Encoding...) never gets in here either: framing is the business of each wire format.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import groupby
from typing import Any, Final, Protocol, cast

LF: Final = ord("\n")


class Headers(list[tuple[bytes, bytes]]):
    """Field lines (name in lower case, value) in their order on the wire (RFC 9110, 5.3)."""

    __slots__ = ()

    def get(self, name: bytes, default: bytes | None = None) -> bytes | None:
        """The first value of the field, or the default."""
        for key, value in self:
            if key == name:
                return value
        return default

    def all(self, name: bytes) -> list[bytes]:
        """All values of the field, in order."""
        return [value for key, value in self if key == name]

    def joined(self, name: bytes) -> bytes:
        """All values as one list, by commas (RFC 9110, 5.3); empty if there is none. Not for Set-Cookie."""
        return b", ".join(self.all(name))

    def tokens(self, name: bytes) -> list[bytes]:
        """The elements of a list of tokens, in lower case: `no-cache, No-Store` is [b"no-cache", b"no-store"]."""
        parts = (part.strip(b" \t").lower() for value in self.all(name) for part in value.split(b","))
        return [part for part in parts if part]

    def set(self, name: bytes, value: bytes) -> None:
        """One line of this name, at the place of the first, or at the end."""
        at = next((place for place, (key, _) in enumerate(self) if key == name), None)
        if at is None:
            self.append((name, value))
        else:
            self[at:] = [(name, value), *(line for line in self[at + 1 :] if line[0] != name)]

    def add(self, name: bytes, value: bytes) -> None:
        """One line more."""
        self.append((name, value))

    def drop(self, *names: bytes) -> None:
        """No line of these names."""
        self[:] = [line for line in self if line[0] not in names]

    def has(self, name: bytes) -> bool:
        """Is there a field of this name?"""
        return any(key == name for key, _ in self)

    def copy(self) -> Headers:
        """Lines of its own."""
        return Headers(self)


class Names(frozenset[bytes]):
    """Names of fields, in lower case, that messages are asked for; made once, for making it takes its time."""

    __slots__ = ("find", "line")

    def __init__(self, names: Iterable[bytes] = ()) -> None:
        groups = groupby(sorted(self), key=lambda name: name[:1])  # most lines are told apart by the first letter
        ways = [b"%b(?:%b)" % (re.escape(first), b"|".join(re.escape(name[1:]) for name in g)) for first, g in groups]
        self.line: Final = re.compile(rb"\n(%b): ([^\r]*)\r" % (b"|".join(ways) or b"(?!)"))
        """A line of one of them, from the line end before it; its own LF begins the next."""
        self.find: Final = self.line.findall


class Transform(Protocol):
    """What a body is passed through, piece by piece: a compressor, a decoder, a cache that listens."""

    def feed(self, data: bytes) -> bytes:
        """What comes out for what goes in; may be nothing yet."""
        ...

    def finish(self) -> bytes:
        """What is left; called once, when the body ended as it should."""
        ...

    def abort(self) -> None:
        """The body broke off; what was made so far is not to be trusted. Called instead of `finish`."""
        ...


@dataclass(slots=True)
class Peer:
    """Who is at the other end of the client's connection."""

    address: str
    """Address as text; of the connection's other end, or what a trusted PROXY header says."""
    port: int
    local_port: int = 0
    server_name: str | None = None
    """SNI of the client's TLS, None without TLS or without SNI."""
    tls: str | None = None
    """Version of TLS (`TLSv1.3`), None on a connection in the clear."""
    subject: str | None = None
    """Subject of a verified client certificate (RFC 4514), if there was one."""


class Message:
    """What requests and responses have in common: fields. They come as a list, or as bytes that nobody has read yet.

    `headers` makes the list at the first look. Until then the bytes are what `http1` passes on as they are: each line
    `name: value CRLF`, the name in lower case, checked already. All else that can be done here is done on either form.
    """

    __slots__ = ("_fields",)

    def __init__(self, headers: Headers | bytes) -> None:
        self._fields = headers

    @property
    def headers(self) -> Headers:
        """The field lines; may be changed in place."""
        fields = self._fields
        if isinstance(fields, bytes):
            fields = self._fields = Headers(_listed(fields))
        return fields

    @headers.setter
    def headers(self, headers: Headers) -> None:
        self._fields = headers

    @property
    def unread(self) -> bytes | None:
        """The lines as bytes if nobody has looked at them, else None."""
        fields = self._fields
        return fields if isinstance(fields, bytes) else None

    def lines(self, names: Names) -> list[tuple[bytes, bytes]]:
        """The lines of these names, in their order."""
        fields = self._fields
        if isinstance(fields, bytes):
            return names.find(b"\n" + fields)
        return [line for line in fields if line[0] in names]

    def get(self, name: bytes) -> bytes | None:
        """The first value of the field; None without one."""
        fields = self._fields
        if not isinstance(fields, bytes):
            return fields.get(name)
        start = name + b": "
        at = fields.find(start)
        while at > 0 and fields[at - 1] != LF:
            at = fields.find(start, at + 1)
        return None if at < 0 else fields[at + len(start) : fields.index(b"\r", at)]

    def drop(self, names: Names) -> None:
        """No line of these names."""
        fields = self._fields
        if isinstance(fields, bytes):
            block = b"\n" + fields
            if names.find(block):  # seldom
                self._fields = names.line.sub(b"", block)[1:]
        else:
            fields[:] = [line for line in fields if line[0] not in names]

    def put(self, lines: bytes, count: int = 1) -> None:
        """Put so many lines at the end, each `name: value CRLF`, the name in lower case.

        ValueError unless there are so many: a value with a line end in it would be two lines (response splitting).
        """
        self.put_checked(checked(lines, count))

    def put_checked(self, lines: bytes) -> None:
        """The same, unchecked: for lines that were `checked` once, and those in which only digits, or what a strict
        pattern has matched, differs from one message to the next."""
        fields = self._fields
        if isinstance(fields, bytes):
            self._fields = fields + lines
        else:
            fields += _listed(lines)


def checked(lines: bytes, count: int = 1) -> bytes:
    """These lines, each `name: value CRLF`. ValueError unless there are so many, see `Message.put`."""
    if len(lines.splitlines()) != count or 0 in lines:
        raise ValueError(f"{lines[:200]!r}: must be {count} lines; CR, LF or NUL inside a field")
    return lines


def _listed(block: bytes) -> list[tuple[bytes, bytes]]:
    """Names and values of lines."""
    return [cast(Any, tuple(line.split(b": ", 1))) for line in block.split(b"\r\n")[:-1]]


def block_of(lines: Iterable[tuple[bytes, bytes]]) -> bytes:
    """Lines as `Message` takes them unread."""
    return b"".join([b"%b: %b\r\n" % line for line in lines])


COOKIE: Final = Names((b"cookie",))
NO_LINES: Final[list[tuple[bytes, bytes]]] = []


class Request(Message):
    """What a client asks for. Framing fields are not among the headers; Host is `authority`.

    - target: path and query as the client wrote them, `/a%20b?c=d`; `*` of OPTIONS; the authority of CONNECT.
    - authority: host and port, in lower case; empty only of HTTP/1.0.
    - scheme: b"http" or b"https", of the client's connection.
    - version: "1.0", "1.1" or "2": for logs, and for what HTTP/1.0 cannot take.
    - length: bytes of the body if the client said so, 0 without one, None if it ends when it ends (chunked, HTTP/2).
    - body: the whole body where a filter asked for it (`Filter.body_limit`) or one was put here; None: it is streamed.
    - trailers: what came after the body, if anything did.
    - protocol: what the connection is to become: b"websocket", by Upgrade (RFC 9110, 7.8) or extended CONNECT
      (RFC 8441).
    """

    __slots__ = (
        "_found", "_searched", "authority", "body", "length", "method", "peer", "protocol", "scheme", "target",
        "trailers", "version",
    )  # fmt: skip

    def __init__(
        self,
        method: bytes,
        target: bytes,
        authority: bytes,
        scheme: bytes,
        headers: Headers | bytes,
        peer: Peer,
        version: str = "1.1",
        length: int | None = 0,
        body: bytes | None = None,
        trailers: Headers | None = None,
        protocol: bytes | None = None,
    ) -> None:
        self._fields, self._searched = headers, b""
        self._found: list[tuple[bytes, bytes]] = NO_LINES  # of cookies, in `_searched`
        self.method, self.target = method, target
        self.authority, self.scheme = authority, scheme
        self.peer, self.version = peer, version
        self.length, self.body = length, body
        self.trailers, self.protocol = trailers, protocol

    @property
    def path(self) -> bytes:
        """The target without its query."""
        return self.target.partition(b"?")[0]

    @property
    def query(self) -> bytes:
        """What follows the first `?`, undecoded; empty if nothing does."""
        return self.target.partition(b"?")[2]

    @property
    def host(self) -> bytes:
        """The authority without its port (and an IPv6 address without its brackets)."""
        if self.authority.startswith(b"["):
            return self.authority[1:].partition(b"]")[0]
        return self.authority.partition(b":")[0]

    def cookies(self) -> Iterable[tuple[bytes, bytes]]:
        """Names and values of the cookies, as they stand (RFC 6265, 4.2)."""
        for _, line in self.lines(COOKIE):
            for pair in line.split(b";"):
                name, found, value = pair.strip(b" \t").partition(b"=")
                if found:
                    yield name, value

    def cookie(self, wanted: bytes) -> bytes | None:
        """The first cookie of that name."""
        fields = self._fields
        if not isinstance(fields, bytes):
            found = self.lines(COOKIE)
        elif fields is self._searched:
            found = self._found  # several ask for cookies: they are looked for once in the same bytes
        else:
            found = self._found = COOKIE.find(b"\n" + fields)
            self._searched = fields
        if found:
            mark = wanted + b"="
            for _, line in found:
                if mark in line:  # most have none of that name, and need not be taken apart
                    for pair in line.split(b";"):
                        pair = pair.strip(b" \t")
                        if pair.startswith(mark):
                            return pair[len(mark) :]
        return None


class Response(Message):
    """What is answered.

    - body: None if it comes in pieces from the backend.
    - length: bytes of a streamed body if known; of an answer to HEAD and of a 304 what Content-Length said, no body
      follows. Whoever transforms the body into another number of bytes sets it to None.
    - trailers: what follows the body, if anything does.
    - reason: the phrase of HTTP/1.x; empty: the usual one of the status.
    - transforms: what the body passes through on its way to the client, in order; None is the same as empty.
    """

    __slots__ = ("body", "length", "reason", "status", "trailers", "transforms")

    def __init__(
        self,
        status: int,
        headers: Headers | bytes | None = None,
        body: bytes | None = b"",
        length: int | None = None,
        trailers: Headers | None = None,
        reason: bytes = b"",
        transforms: list[Transform] | None = None,
    ) -> None:
        self._fields = Headers() if headers is None else headers
        self.status, self.body, self.length = status, body, length
        self.trailers, self.reason, self.transforms = trailers, reason, transforms

    def transform(self, one: Transform) -> None:
        """Pass the body through this as well, last."""
        self.transforms = [*(self.transforms or ()), one]


def text(status: int, words: str, *headers: tuple[bytes, bytes]) -> Response:
    """A short answer in plain text, with a line's end after it."""
    body = f"{words}\n".encode()
    return Response(status, Headers([(b"content-type", b"text/plain; charset=utf-8"), *headers]), body)
