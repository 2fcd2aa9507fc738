"""Web sites that end TLS themselves, each with a certificate of its own, and a client that tells which one it reached.

Rule of this file: Python's own TLS on both sides. What stands between has no key and is somebody else's.

Theory. The certificate is the proof: only the site that holds its key completes a handshake with it, so a client that
was shown shop.example's certificate was led to shop.example, by whomever. The client runs its TLS in memory and sends
what it gets to send in pieces of a size one chooses: the network's right, taken on purpose.
"""

from __future__ import annotations

import asyncio
import ssl
from asyncio import StreamReader, StreamWriter
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

from lbcore.testbed import callers
from lbcore.testbed.smallest import Address, Handler, listening

if TYPE_CHECKING:
    import trustme

T = TypeVar("T")
PAUSE = 0.002  # seconds between two pieces: each is a segment of its own


class Visit(NamedTuple):
    """Where a client came out. certificate: the name in it. text: what the site said."""

    certificate: str
    alpn: str | None
    text: str


def first_flight(name: str | None, alpn: Sequence[str] = ("h2", "http/1.1")) -> bytes:
    """The first bytes that Python's own TLS client sends to whom it takes for `name`: a ClientHello in its records."""
    context, sent = ssl.create_default_context(), ssl.MemoryBIO()
    context.check_hostname = name is not None
    context.set_alpn_protocols(list(alpn))
    client = context.wrap_bio(ssl.MemoryBIO(), sent, server_hostname=name)
    with suppress(ssl.SSLWantReadError):  # it waits for an answer, and gets none
        client.do_handshake()
    return sent.read()


@asynccontextmanager
async def sites(
    names: Sequence[str], alpn: Sequence[str] = ("http/1.1",)
) -> AsyncIterator[tuple[dict[str, Address], trustme.CA]]:
    """A TLS server on 127.0.0.1 for each name, and the authority that they have their certificates from.

    Each says "NAME, called by ADDRESS" and ends.
    """
    import trustme

    authority = trustme.CA()
    async with AsyncExitStack() as stack:
        doors = {}
        for name in names:
            context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
            authority.issue_cert(name).configure_cert(context)
            context.set_alpn_protocols(list(alpn))
            doors[name] = await stack.enter_async_context(listening(_site(name), context))
        yield doors, authority


def _site(name: str) -> Handler:
    async def handle(reader: StreamReader, writer: StreamWriter) -> None:
        writer.write(f"{name}, called by {writer.get_extra_info('peername')[0]}".encode())

    return handle


async def visit(
    door: Address,
    name: str | None,
    authority: trustme.CA,
    *,
    source: str = "127.0.0.1",
    alpn: Sequence[str] = ("http/1.1",),
    piece: int = 0,
) -> Visit:
    """A real TLS client that asks for `name` (None: names nobody). piece: bytes a segment of what it sends; 0: all.

    Any certificate of the authority will do, so that the caller can see where a wrong turn led. ssl.SSLError or
    ConnectionError where there is no TLS to be had.
    """
    context = ssl.create_default_context()
    context.check_hostname = False
    authority.configure_trust(context)
    context.set_alpn_protocols(list(alpn))
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    tls = context.wrap_bio(incoming, outgoing, server_hostname=name)
    async with asyncio.timeout(callers.PATIENCE), callers.calling(door, source) as (reader, writer):

        async def done(work: Callable[[], T]) -> T:
            while True:
                try:
                    result = work()
                except ssl.SSLWantReadError:
                    await _send(writer, outgoing.read(), piece)
                    data = await reader.read(callers.CHUNK)
                    incoming.write(data) if data else incoming.write_eof()
                else:
                    await _send(writer, outgoing.read(), piece)
                    return result

        await done(tls.do_handshake)
        shown: dict[str, Any] = tls.getpeercert() or {}
        names = [name for _, name in shown["subjectAltName"]]
        return Visit(", ".join(names), tls.selected_alpn_protocol(), (await done(lambda: tls.read(1000))).decode())


async def _send(writer: StreamWriter, data: bytes, piece: int) -> None:
    for at in range(0, len(data), piece or len(data) or 1):
        writer.write(data[at : at + (piece or len(data))])
        await writer.drain()
        if piece:
            await asyncio.sleep(PAUSE)
