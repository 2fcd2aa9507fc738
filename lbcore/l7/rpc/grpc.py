"""What a proxy has to know of gRPC (grpc/doc/PROTOCOL-HTTP2.md): where its status is, how long a call may take.

Rule of this file: heads, statuses and the five bytes before each message. What is in a message is the two ends'
business.

Theory. A call is a POST over HTTP/2 whose body is a row of messages, and its outcome is in the trailers: grpc-status,
whatever :status says. An error without any message is a head that is its own trailers ("Trailers-Only"). A client that
gets a plain 503 with a page of HTML from a proxy has to guess; so our own errors to gRPC clients are of that form.

Trap. grpc-timeout is the time left when the call was sent, not a point in time: the proxy takes it as a limit of its
own and passes it on as it came. The few milliseconds in between are the client's loss, who gives up first.
"""

from __future__ import annotations

import re
from typing import Final
from urllib.parse import quote_from_bytes

from lbcore.l7.errors import Malformed
from lbcore.l7.message import Headers, Response

CONTENT_TYPE: Final = (b"content-type", b"application/grpc")
TIMEOUT: Final = re.compile(rb"([0-9]{1,8})([HMSmun])")
UNITS: Final = {b"H": 3600.0, b"M": 60.0, b"S": 1.0, b"m": 1e-3, b"u": 1e-6, b"n": 1e-9}

OK, UNKNOWN, DEADLINE_EXCEEDED, PERMISSION_DENIED, UNIMPLEMENTED, INTERNAL = 0, 2, 4, 7, 12, 13
INVALID_ARGUMENT, NOT_FOUND, ALREADY_EXISTS, RESOURCE_EXHAUSTED, FAILED_PRECONDITION = 3, 5, 6, 8, 9
ABORTED, OUT_OF_RANGE, UNAVAILABLE, DATA_LOSS, UNAUTHENTICATED, CANCELLED = 10, 11, 14, 15, 16, 1

OF_HTTP: Final = {
    400: INTERNAL,
    401: UNAUTHENTICATED,
    403: PERMISSION_DENIED,
    404: UNIMPLEMENTED,
    408: DEADLINE_EXCEEDED,
    413: RESOURCE_EXHAUSTED,
    429: UNAVAILABLE,
    431: RESOURCE_EXHAUSTED,
    500: INTERNAL,
    502: UNAVAILABLE,
    503: UNAVAILABLE,
    504: DEADLINE_EXCEEDED,  # ours: we know that it was time; who has to guess takes UNAVAILABLE
}
"""grpc-status for an answer of the proxy's own (after grpc/doc/http-grpc-status-mapping.md); UNKNOWN for others."""

TO_HTTP: Final = {
    OK: 200,
    CANCELLED: 499,
    UNKNOWN: 500,
    INVALID_ARGUMENT: 400,
    DEADLINE_EXCEEDED: 504,
    NOT_FOUND: 404,
    ALREADY_EXISTS: 409,
    PERMISSION_DENIED: 403,
    RESOURCE_EXHAUSTED: 429,
    FAILED_PRECONDITION: 400,
    ABORTED: 409,
    OUT_OF_RANGE: 400,
    UNIMPLEMENTED: 501,
    INTERNAL: 500,
    UNAVAILABLE: 503,
    DATA_LOSS: 500,
    UNAUTHENTICATED: 401,
}
"""The other direction, for gateways (after google/rpc/code.proto)."""


def is_grpc(headers: Headers) -> bool:
    """Does the body carry gRPC messages? (gRPC-Web is something else.)"""
    kind = headers.get(b"content-type")
    return kind is not None and kind.startswith(b"application/grpc") and kind[16:17] in (b"", b"+", b";")


def timeout(headers: Headers) -> float | None:
    """Seconds that the call may take, None if it may take for ever. Malformed: up to eight digits and a unit."""
    value = headers.get(b"grpc-timeout")
    if value is None:
        return None
    found = TIMEOUT.fullmatch(value)
    if found is None:
        raise Malformed(f"grpc-timeout is {value!r}: one to eight digits and one of HMSmun")
    return int(found[1]) * UNITS[found[2]]


def trailers_only(status: int, words: str) -> Response:
    """An outcome without a message."""
    message = quote_from_bytes(words.encode(), safe=" !\"#$&'()*+,-./:;<=>?@[\\]^_`{|}~").encode()
    return Response(200, Headers([CONTENT_TYPE, (b"grpc-status", b"%d" % status), (b"grpc-message", message)]), b"")


def instead_of(answer: Response) -> Response:
    """The form in which a gRPC client understands an answer of the proxy's own."""
    words = (answer.body or b"").decode("utf-8", "replace").strip() or f"HTTP {answer.status}"
    made = trailers_only(OF_HTTP.get(answer.status, UNKNOWN), words[:200])
    made.headers += [line for line in answer.headers if not line[0].startswith(b"content-")]
    return made


def framed(message: bytes) -> bytes:
    """A message as it stands in a body: not compressed, its size, itself."""
    return b"\0" + len(message).to_bytes(4, "big") + message


def unframed(body: bytes) -> list[bytes]:
    """The messages of a whole body. Malformed: compressed, or cut off."""
    found, at = [], 0
    while at < len(body):
        end = at + 5 + int.from_bytes(body[at + 1 : at + 5], "big")
        if body[at] or len(body) < at + 5 or end > len(body):
            raise Malformed("a gRPC body that is compressed or cut off")
        found.append(body[at + 5 : end])
        at = end
    return found
