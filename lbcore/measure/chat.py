"""A chat server whose sessions live in its memory, reached in two ways: by polling and by WebSocket.

Rule of this file: no frames of WebSocket; after the 101 it answers bytes with bytes, which is all that a proxy sees.

Theory. Polling takes a request for every look at the session, and each may reach another server: a server that does
not know the session answers 400, as Socket.IO does. A WebSocket is one connection, and the session is born on it, so
every byte of it arrives where the session is.
"""

from __future__ import annotations

import asyncio
from asyncio import StreamReader, StreamWriter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from lbcore.l7.limits import Limits
from lbcore.l7.websocket import new_key, proof
from lbcore.measure.counted import Reply, ask, front, pool, route, serving
from lbcore.testbed import aside, callers, smallest
from lbcore.testbed.smallest import Address

UPGRADE = ("connection: upgrade", "upgrade: websocket", "sec-websocket-version: 13")


class Chat:
    """One server. `POST /open/<name>` begins a session, `GET /poll/<name>` looks at it, a WebSocket needs neither."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.address: Address = ("127.0.0.1", 0)
        """Once it listens."""
        self.sessions: set[str] = set()

    async def serve(self, reader: StreamReader, writer: StreamWriter) -> None:
        """One connection."""
        while head := await smallest.read_head(reader):
            request = smallest.parse_request(head)
            if request.headers.get("upgrade") == "websocket":
                await self._websocket(request.headers["sec-websocket-key"], reader, writer)
                return
            _, what, session = request.path.split("/")
            if what == "open":
                self.sessions.add(session)
            known = session in self.sessions
            status = b"200 OK" if known else b"400 Bad Request"
            body = f"{self.name} has {'' if known else 'no '}{session}".encode()
            writer.write(b"HTTP/1.1 %b\r\ncontent-length: %d\r\n\r\n%b" % (status, len(body), body))

    async def _websocket(self, key: str, reader: StreamReader, writer: StreamWriter) -> None:
        lines = (
            "HTTP/1.1 101 Switching Protocols",
            *UPGRADE[:2],
            f"sec-websocket-accept: {proof(key.encode()).decode()}",
        )
        writer.write("\r\n".join((*lines, "", "")).encode())
        while line := await reader.readline():
            writer.write(self.name.encode() + b" heard " + line)
            await writer.drain()


@asynccontextmanager
async def servers(count: int = 4, limits: Limits | None = None, **options: Any) -> AsyncIterator[Address]:
    """So many of them behind a proxy; its address. options: those of `PoolOptions`."""
    rooms = [Chat(f"chat-{i}") for i in range(count)]
    async with serving(*rooms):
        behind = pool("chat", [room.address for room in rooms], **options)
        async with front(route("chat", behind), limits=limits) as door:
            yield door


def polling(polls: int, **options: Any) -> list[int]:
    """Begin a session, then look at it so many times; the status of each look. options: of the pool."""

    async def client() -> list[int]:
        async with servers(**options) as door, callers.calling(door) as (reader, writer):
            await ask(reader, writer, "POST /open/alice")
            return [(await ask(reader, writer, "GET /poll/alice")).status for _ in range(polls)]

    return aside.run(client())


def websocket(*lines: str, **options: Any) -> tuple[Reply, list[str]]:
    """Upgrade, then say these lines: the answer to the upgrade, and what was heard of each line."""

    async def client() -> tuple[Reply, list[str]]:
        async with servers(**options) as door, callers.calling(door) as (reader, writer):
            reply = await ask(reader, writer, "GET /chat", upgrade())
            heard = []
            for line in lines:
                writer.write(f"{line}\n".encode())
                heard.append((await reader.readline()).decode().strip())
            return reply, heard

    return aside.run(client())


def outlives(silence: float, *, idle: float) -> bool:
    """Is a WebSocket on which nothing is said still open after so many seconds? idle: the proxy's idle timeout."""

    async def client() -> bool:
        async with servers(1, Limits(idle_time=idle)) as door, callers.calling(door) as (reader, writer):
            await ask(reader, writer, "GET /chat", upgrade())
            try:
                async with asyncio.timeout(silence):
                    return bool(await reader.read(1))
            except TimeoutError:
                return True

    return aside.run(client())


def upgrade() -> tuple[str, ...]:
    """The fields of a request for a WebSocket."""
    return (*UPGRADE, f"sec-websocket-key: {new_key().decode()}")
