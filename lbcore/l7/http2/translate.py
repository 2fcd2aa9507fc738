"""Header blocks of HTTP/2 as requests and responses, and back (RFC 9113 section 8).

Rule of this file: lines in, messages out, or Malformed; no frames, no state.

Theory. In HTTP/2 a field's value may hold any byte, for lengths say where it ends; in HTTP/1.1 a CR LF inside would be
the end of a line, and what follows a line of the client's choice. So whoever turns one into the other is the last who
can notice (mitmproxy GHSA-847f-9342-265h). Here a head is judged by what HTTP/1.1 can carry, wherever it goes: what
could be read in two ways later has no way in. The same holds for what says how long a message is: in HTTP/2 frames do,
so Transfer-Encoding has no place (8.2.2), and Content-Length may only repeat what they say.

Traps
- Pseudo-fields come first, each once, and no other than those of their kind of message (8.3).
- Host and :authority are the same thing; two that differ are two opinions about the way.
- Cookie may come in crumbs (8.2.3), to be joined by "; " before anybody without HTTP/2 sees them.
- `te: trailers` is the one TE that is allowed. It is a hop's own, so it is dropped; gRPC wants to see it, so it is
  said again.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final

from lbcore.l7 import websocket
from lbcore.l7.errors import Malformed
from lbcore.l7.field import NOT_IN_TRAILERS
from lbcore.l7.hop_by_hop import LOOKALIKES
from lbcore.l7.http2.hpack import Line
from lbcore.l7.limits import Limits
from lbcore.l7.message import Headers, Peer, Request, Response
from lbcore.l7.rpc import grpc

NAME: Final = re.compile(rb"[!#$%&'*+.^_`|~0-9a-z-]+")  # a token in lower case: RFC 9110 5.6.2, RFC 9113 8.2.1
VALUE: Final = re.compile(rb"(?:[\x21-\x7e\x80-\xff](?:[\t\x20-\x7e\x80-\xff]*[\x21-\x7e\x80-\xff])?)?")
METHOD: Final = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
TARGET: Final = re.compile(rb"/[\x21\x22\x24-\x7e]*")  # as in HTTP/1.1: no blank, no control, no fragment
AUTHORITY: Final = re.compile(rb"(?:[0-9A-Za-z._~-]+|\[[0-9A-Fa-f:.]+\])(?::[0-9]{1,5})?")
LENGTH: Final = re.compile(rb"[0-9]{1,18}")
STATUS: Final = re.compile(rb"[1-5][0-9][0-9]")
BROKEN: Final = re.compile(rb"[\r\n\0]")
PROTOCOL: Final = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z/-]+")

KNOWN: Final = frozenset(
    (b"accept", b"accept-encoding", b"accept-language", b"user-agent", b"cookie", b"referer", b"content-type",
     b"content-length", b"date", b"server", b"cache-control", b"authorization", b"etag", b"vary", b"last-modified",
     b"set-cookie", b"location", b"origin", b"range", b"if-none-match", b"grpc-timeout", b"grpc-status", b"te")
)  # fmt: skip
"""Names that need no second look."""
METHODS: Final = frozenset((b"GET", b"HEAD", b"POST", b"PUT", b"DELETE", b"OPTIONS", b"PATCH", b"CONNECT"))
CONNECTION_ONLY: Final = frozenset(
    (b"connection", b"proxy-connection", b"keep-alive", b"transfer-encoding", b"upgrade")
)  # section 8.2.2
HOPS: Final = frozenset((b"proxy-authorization", b"proxy-authenticate", b"http2-settings"))
"""Meant for us, and not passed on."""
TE: Final = (b"te", b"trailers")


class Fields:
    """What a header block says: pseudo-fields by name, fields, and what is said of the body."""

    __slots__ = ("expects", "headers", "host", "length", "pseudo")

    def __init__(self, lines: Iterable[Line], allowed: frozenset[bytes]) -> None:
        self.pseudo: dict[bytes, bytes] = {}
        self.headers = Headers()
        self.length: int | None = None
        self.host: bytes | None = None
        self.expects = False
        crumbs: list[bytes] = []
        behind = False  # the pseudo-fields
        append, whole = self.headers.append, VALUE.fullmatch
        for line in lines:
            name, value = line
            if whole(value) is None:
                raise Malformed(
                    f"{name!r} is {value[:60]!r}: a value has no control characters, and no blanks around it"
                )
            if name[:1] == b":":
                if behind or name in self.pseudo or name not in allowed:
                    raise Malformed(f"{name!r}: unknown, not the first, or behind a field (RFC 9113 section 8.3)")
                self.pseudo[name] = value
                continue
            behind = True
            note = NOTED.get(name)
            if note is not None:
                if note(self, value):
                    append(line)
            elif name == b"cookie":
                if value:  # an empty one at the end would leave a blank there
                    crumbs.append(value)
            elif name in KNOWN or NAME.fullmatch(name):
                append(line)
            else:
                raise Malformed(f"{name[:60]!r} is no name: a token in lower case (RFC 9113 section 8.2.1)")
        if crumbs:
            append((b"cookie", b"; ".join(crumbs)))

    def _length(self, value: bytes) -> bool:
        if self.length is not None:
            raise Malformed("more than one content-length")
        if not LENGTH.fullmatch(value):
            raise Malformed(f"content-length is {value!r}: a number of bytes, digits only")
        self.length = int(value)
        return False

    def _host(self, value: bytes) -> bool:
        if self.host is not None:
            raise Malformed("more than one host")
        self.host = value
        return False

    def _te(self, value: bytes) -> bool:
        if value.lower() != b"trailers":
            raise Malformed(f"te is {value!r}: only trailers (RFC 9113 section 8.2.2)")
        return False

    def _expect(self, value: bytes) -> bool:
        if value.lower() != b"100-continue":
            raise Malformed(f"expect is {value!r}: only 100-continue can be met", 417)
        self.expects = True
        return False

    def _connection_only(self, value: bytes) -> bool:
        raise Malformed("a field of one connection, which HTTP/2 does not have (RFC 9113 section 8.2.2)")

    def _drop(self, value: bytes) -> bool:
        return False


NOTED: Final = {
    b"content-length": Fields._length,
    b"host": Fields._host,
    b"te": Fields._te,
    b"expect": Fields._expect,
    **dict.fromkeys(CONNECTION_ONLY, Fields._connection_only),
    **dict.fromkeys(HOPS | LOOKALIKES, Fields._drop),
}
OF_REQUEST: Final = frozenset((b":method", b":scheme", b":authority", b":path", b":protocol"))
OF_RESPONSE: Final = frozenset((b":status",))
NO_PSEUDO: Final[frozenset[bytes]] = frozenset()


def request(lines: list[Line], ended: bool, peer: Peer, scheme: bytes, limits: Limits) -> tuple[Request, Fields]:
    """A request's head (section 8.3.1), and what else it says. ended: there is no body.

    Its scheme is the connection's: what the client writes there decides nothing. Malformed, with a status.
    """
    fields = Fields(lines, OF_REQUEST)
    get = fields.pseudo.get
    method, target, protocol = get(b":method", b""), get(b":path"), get(b":protocol")
    authority, host = get(b":authority"), fields.host
    if len(fields.headers) > limits.fields:
        raise Malformed(f"{len(fields.headers)} fields; at most {limits.fields} are taken", 431)
    if method not in METHODS and not METHOD.fullmatch(method):
        raise Malformed(f":method is {method!r}: a token (RFC 9113 section 8.3.1)")
    if authority is None:
        authority = host
    elif host is not None and host.lower() != authority.lower():
        raise Malformed(f"host is {host!r} and :authority {authority!r}: who is meant?")
    if authority is None or not AUTHORITY.fullmatch(authority):
        raise Malformed(f":authority is {authority!r}: a name or an address, with or without a port")
    if protocol is not None and (method != b"CONNECT" or not PROTOCOL.fullmatch(protocol)):
        raise Malformed(f":protocol is {protocol!r} with {method!r}: it goes with CONNECT (RFC 8441 section 4)")
    if protocol is not None and protocol.lower() != websocket.PROTOCOL:
        raise Malformed(f":protocol is {protocol!r}: only websocket is tunnelled", 501)
    if method == b"CONNECT" and protocol is None:
        if target is not None or b":scheme" in fields.pseudo:
            raise Malformed("CONNECT with :path or :scheme (RFC 9113 section 8.5)")
        target = authority
    else:
        _target(target, method, limits)
        if get(b":scheme") not in (b"http", b"https"):
            raise Malformed(f":scheme is {get(b':scheme')!r}: http or https")
    assert target is not None
    length = fields.length
    if ended:
        if length:
            raise Malformed(f"content-length is {length}, and no DATA follows (RFC 9113 section 8.1.1)")
        length = 0
    if protocol is not None:
        method, length = b"GET", 0  # as HTTP/1.1 would ask for it; `protocol` says the rest
    made = Request(
        method=method,
        target=target,
        authority=authority.lower(),
        scheme=scheme,
        headers=fields.headers,
        peer=peer,
        version="2",
        length=length,
        protocol=protocol.lower() if protocol is not None else None,
    )
    return made, fields


def _target(target: bytes | None, method: bytes, limits: Limits) -> None:
    if target is None or not (TARGET.fullmatch(target) or (target == b"*" and method == b"OPTIONS")):
        raise Malformed(f":path is {target!r}: begins with /, and has no blanks (RFC 9113 section 8.3.1)")
    if len(target) > limits.target:
        raise Malformed(f":path has {len(target)} bytes; at most {limits.target} are taken", 414)


def response(lines: list[Line], ended: bool, method: bytes) -> Response:
    """A response's head (section 8.3.2), 1xx too, to a request with this method; `length` as `Response` has it."""
    fields = Fields(lines, OF_RESPONSE)
    written = fields.pseudo.get(b":status", b"")
    if not STATUS.fullmatch(written) or written == b"101":
        raise Malformed(f":status is {written!r}: three digits, 100 to 599 without 101 (RFC 9113 section 8.6)")
    status, length = int(written), fields.length
    if ended and status < 200:
        raise Malformed(f":status is {status}, and nothing follows")
    if ended and length and method != b"HEAD" and status != 304:
        raise Malformed(f"content-length is {length}, and no DATA follows (RFC 9113 section 8.1.1)")
    if ended and length is None and method != b"HEAD" and status != 304:
        length = 0
    return Response(status, fields.headers, None, length=length)


def trailers(lines: list[Line]) -> Headers:
    """The fields behind a body (section 8.1); those that may not stand there (RFC 9110, 6.5.1) are left out."""
    fields = Fields(lines, NO_PSEUDO).headers
    fields.drop(*NOT_IN_TRAILERS)
    return fields


def request_lines(request: Request) -> list[Line]:
    """A request's head for a backend."""
    method = b"CONNECT" if request.protocol is not None else request.method
    lines: list[Line] = [
        (b":method", method),
        (b":scheme", request.scheme),
        (b":authority", request.authority),
        (b":path", request.target),
    ]
    if not request.authority:
        del lines[2]  # HTTP/1.0 can do without, and an empty one is none (section 8.3.1)
    if request.protocol is not None:
        lines.append((b":protocol", request.protocol))
    lines += request.headers
    lines.append((b"via", b"%b lbcore" % request.version.encode()))
    if request.length and request.protocol is None:
        lines.append((b"content-length", b"%d" % request.length))
    if grpc.is_grpc(request.headers):
        lines.append(TE)
    return _checked(lines)


def response_lines(response: Response, length: int | None) -> list[Line]:
    """A response's head for a client; `length` is said if it is known."""
    lines: list[Line] = [(b":status", b"%d" % response.status)]
    lines += response.headers
    if length is not None:
        lines.append((b"content-length", b"%d" % length))
    return _checked(lines)


def trailer_lines(trailers: Headers) -> list[Line]:
    """Trailers for anybody."""
    return _checked(list(trailers)) if trailers else []


def _checked(lines: list[Line]) -> list[Line]:
    """Whatever filters did: ValueError for a line that another reader takes for two."""
    values = b" ".join([value for _, value in lines])
    if b"\n" in values or b"\r" in values or 0 in values:
        name, value = next(line for line in lines if BROKEN.search(line[1]))
        raise ValueError(f"{name!r} is {value[:60]!r}: CR, LF or NUL inside a field")
    return lines
