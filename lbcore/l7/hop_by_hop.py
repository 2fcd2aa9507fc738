"""What belongs to one connection and must not be passed on.

Rule of this file: it takes lines out, or says which; this is done once for each message, before any filter sees it.

Theory (RFC 9110, 7.6.1). Some fields speak of the connection that they came on: how long it lives, how its messages are
framed, what it could become. A proxy has two connections, so it takes them out of what came on one and writes its own
on the other. Connection names further ones. HTTP/2 has none of them, but for `te: trailers` (RFC 9113, 8.2.2), which
gRPC insists on.

Traps
- A client that writes `Connection: close, X-Forwarded-For` asks each proxy on the way to take out what the one before
  put in for others to rely on. Such names stay (`KEPT`); RFC 9110 forbids senders to name fields meant for all.
- Upgrade goes as well. If the engine wants the upgrade it reads it first, and writes its own on the other side.
- Trailer is not among them (it was in RFC 2616): it announces, and trailers are passed on.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from lbcore.l7.message import Headers

HOP_BY_HOP: Final[frozenset[bytes]] = frozenset(
    {
        b"connection", b"keep-alive", b"proxy-connection", b"te", b"transfer-encoding", b"upgrade", b"http2-settings",
        b"proxy-authenticate", b"proxy-authorization", b"proxy-authentication-info",
    }
)  # fmt: skip
LOOKALIKES: Final = frozenset({b"content_length", b"transfer_encoding"})
"""Where fields become variables (CGI, RFC 3875, 4.1.18) these are other spellings of what frames a message. Who takes
them for that finds another end of the body than we do, and nobody needs them: not passed on."""
KEPT: Final[frozenset[bytes]] = frozenset(
    {
        b"authorization", b"cache-control", b"content-encoding", b"content-length", b"content-range", b"content-type",
        b"cookie", b"date", b"expect", b"forwarded", b"host", b"origin", b"range", b"set-cookie", b"traceparent",
        b"tracestate", b"transfer-encoding", b"vary", b"via", b"x-forwarded-for", b"x-forwarded-host",
        b"x-forwarded-port", b"x-forwarded-proto", b"x-real-ip", b"x-request-id",
    }
)  # fmt: skip
"""Fields meant for everybody on the way: naming one of them in Connection does not take it out."""


def strip_request(headers: Headers) -> None:
    """Take out of a request, in place, what is its connection's; a TE that holds `trailers` becomes `te: trailers`."""
    kept = [line for line in headers if line[0] not in HOP_BY_HOP]
    if len(kept) != len(headers):
        trailers = b"trailers" in headers.tokens(b"te")
        headers[:] = _unnamed(headers, kept)
        if trailers:
            headers.append((b"te", b"trailers"))


def strip_response(headers: Headers) -> None:
    """Take out of a response, in place, what is its connection's."""
    kept = [line for line in headers if line[0] not in HOP_BY_HOP]
    if len(kept) != len(headers):
        headers[:] = _unnamed(headers, kept)


def _unnamed(headers: Headers, kept: list[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
    """`kept` without the fields that Connection names."""
    named = nominated(headers.tokens(b"connection"))
    return [line for line in kept if line[0] not in named] if named else kept


def nominated(options: Iterable[bytes]) -> set[bytes]:
    """The fields, beyond HOP_BY_HOP, that these options of Connection (in lower case) take out."""
    return set(options) - HOP_BY_HOP - KEPT - {b"close"}
