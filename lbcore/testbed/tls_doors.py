"""Doors for TLS clients: one that ends TLS and knows no HTTP, one that is far away; and a client that comes back.

Rule of this file: bytes go from here to there. Nobody reads what they mean.

Theory. TLS is a stream with a lock: to end it takes a key and a certificate, and no idea of what is inside. Distance is
made by handing on each piece of the stream a moment later, in both directions, in order.

Trap. A far door delays what is in the connection. The connection itself is the kernel's, made on loopback at once: the
round trip that TCP would spend has to be added by hand.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
import time
from asyncio import StreamReader, StreamWriter
from contextlib import suppress
from typing import Any, NamedTuple

from lbcore.testbed import smallest
from lbcore.testbed.smallest import Address, Handler, listening
from lbcore.testbed.tls_memory import NAME, Identity

SECONDS = 5.0


def passing(onward: Address, heard: bytearray, tls: ssl.SSLContext | None = None) -> Handler:
    """Hand on every byte, both ways; `heard` gets what the client said, as it goes by here.

    Behind a door with TLS this is a TLS terminator, without one a TCP proxy. tls: begin TLS anew towards `onward`.
    """

    async def handle(client: StreamReader, to_client: StreamWriter) -> None:
        server, to_server = await asyncio.open_connection(*onward, ssl=tls, server_hostname=NAME if tls else None)
        try:
            await asyncio.gather(carry(client, to_server, heard), carry(server, to_client, bytearray()))
        finally:
            await smallest.close(to_server)

    return handle


async def carry(source: StreamReader, sink: StreamWriter, heard: bytearray) -> None:
    """Copy until the end, and pass it on. (TLS has no half an end: there the connection is closed.)"""
    while data := await source.read(smallest.CHUNK):
        heard += data
        sink.write(data)
        await sink.drain()
    sink.write_eof() if sink.can_write_eof() else sink.close()


def far(onward: Address, delay: float) -> Handler:
    """The same, each byte `delay` seconds later."""

    async def late(reader: StreamReader, writer: StreamWriter) -> None:
        queue: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue()

        async def read() -> None:
            data = b"."
            while data:
                data = await reader.read(smallest.CHUNK)
                queue.put_nowait((time.monotonic() + delay, data))

        async def write() -> None:
            while True:
                due, data = await queue.get()
                await asyncio.sleep(due - time.monotonic())
                if not data:
                    writer.write_eof()
                    return
                writer.write(data)

        with suppress(OSError):
            await asyncio.gather(read(), write())

    async def handle(client: StreamReader, to_client: StreamWriter) -> None:
        async with smallest.connected(onward) as (server, to_server):
            await asyncio.gather(late(client, to_server), late(server, to_client))

    return handle


async def greet(reader: StreamReader, writer: StreamWriter) -> None:
    """A protocol that is not HTTP: for each line, the line in capitals."""
    while line := await reader.readline():
        writer.write(line.upper())


class Call(NamedTuple):
    """What a client saw. seconds: from the connection to the first byte of the answer. session: to come back with."""

    answer: bytes
    resumed: bool
    seconds: float
    session: Any


def call(door: Address, client_side: ssl.SSLContext | None, session: Any = None, line: bytes = b"hello\n") -> Call:
    """Connect, ask, read one answer, hang up. Blocks; OSError where it fails."""
    with socket.create_connection(door, SECONDS) as plain:
        plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        start = time.perf_counter()
        if client_side is None:
            plain.sendall(line)
            return Call(plain.recv(65536), False, time.perf_counter() - start, None)
        with client_side.wrap_socket(plain, server_hostname=NAME, session=session) as tls:
            tls.sendall(line)
            answer = tls.recv(65536)
            seconds = time.perf_counter() - start
            return Call(answer, bool(tls.session_reused), seconds, tls.session)


async def trips(site: Identity, version: str, delay: float) -> list[float]:
    """Round trips, by the clock, until the first byte: with a full handshake, and with a resumed one, at a distance of
    `delay` seconds one way. TCP's own is added. The best of three: what a busy machine adds is no distance."""
    theirs = site.client(version)
    async with listening(greet, site.server(version)) as near, listening(far(near, delay)) as door:
        session = (await asyncio.to_thread(call, door, theirs)).session
        best = []
        for ticket in (None, session):
            calls = [await asyncio.to_thread(call, door, theirs, ticket) for _ in range(3)]
            best.append(1 + min(one.seconds for one in calls) / (2 * delay))
        return best


async def come_back(door: Address, client_side: ssl.SSLContext, times: int) -> list[bool]:
    """Whether the first call, and each of `times` more, was resumed: each brings the session of the one before."""
    found, session = [], None
    for _ in range(times + 1):
        one = await asyncio.to_thread(call, door, client_side, session)
        found.append(one.resumed)
        session = one.session
    return found


LEGS = {
    "no TLS": (False, False),
    "terminate": (True, False),
    "re-encrypt": (True, True),
    "pass through": (False, True),
}
"""Whether the middle ends the client's TLS, and whether the backend has TLS."""


async def overhear(mode: str, secret: bytes) -> tuple[bytes, bool]:
    """A client says `secret` to a backend through a middle of this mode: (the answer, whether the middle read it)."""
    front, back = LEGS[mode]
    site, heard = Identity(), bytearray()
    async with listening(greet, site.server() if back else None) as backend:
        middle = passing(backend, heard, site.client() if front and back else None)
        async with listening(middle, site.server() if front else None) as door:
            client_side = site.client() if front or back else None
            answer = (await asyncio.to_thread(call, door, client_side, None, secret + b"\n")).answer.strip()
    return answer, secret in heard
