"""HTTP/2 outside, HTTP/1.1 inside: what becomes of a request whose fields were made to be misread.

Rule of this file: `careless` is a toy; `through` asks the real proxy, with a real backend.

Theory. In HTTP/2 frames say where a body ends and where a value ends. HTTP/1.1 says it with fields and line ends, which
are bytes like any others. Who turns one into the other must not let the client choose them (RFC 9113 section 10.3).
"""

from __future__ import annotations

import asyncio
from typing import NamedTuple

from lbcore.l7.http2.hpack import Line
from lbcore.measure.calls import Channel, Service, serving
from lbcore.measure.pinned import front
from lbcore.testbed import aside


def lines(*more: Line) -> list[Line]:
    """A POST with these fields as well."""
    pseudo = [(b":method", b"POST"), (b":scheme", b"http"), (b":path", b"/search"), (b":authority", b"shop.example")]
    return [*pseudo, *more]


def careless(head: list[Line], body: bytes) -> bytes:
    """The request in HTTP/1.1, fields copied as they are."""
    pseudo = dict(head)
    fields = b"".join(b"%b: %b\r\n" % line for line in head if not line[0].startswith(b":"))
    start = b"%b %b HTTP/1.1\r\nhost: %b\r\n" % (pseudo[b":method"], pseudo[b":path"], pseudo[b":authority"])
    return b"%b%b\r\n%b" % (start, fields, body)


class Through(NamedTuple):
    """words: what the caller heard. seen: requests that reached the backend."""

    words: str
    seen: int


def through(head: list[Line], body: bytes) -> Through:
    """The same request through the proxy, to a backend that is spoken to in HTTP/1.1."""

    async def scene() -> Through:
        service = Service("one")
        async with serving(service) as addresses, front("L7", addresses, "h1") as doors:
            transport, channel = await asyncio.get_running_loop().create_connection(Channel, *doors[0])
            try:
                answer = await channel.ask(head, body)
            finally:
                transport.abort()
        return Through(answer.words or f"answered by {answer.by}", service.done)

    return aside.run(scene())
