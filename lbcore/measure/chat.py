"""A chat server whose sessions live in its memory, reached in two ways: by polling and by WebSocket.

Rule of this file: no frames of WebSocket; after the 101 it answers bytes with bytes, which is all that a proxy sees.

Theory. Polling takes a request for every look at the session, and each may reach another server: a server that does
not know the session answers 400, as Socket.IO does. A WebSocket is one connection, and the session is born on it, so
every byte of it arrives where the session is.
"""

from __future__ import annotations

import asyncio
from asyncio import StreamReader, StreamWriter

from lbcore.l7.websocket import new_key, proof
from lbcore.measure.counted import Reply, ask
from lbcore.testbed import callers, smallest
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


async def polling(door: Address, session: str, polls: int) -> list[int]:
    """Begin a session, then look at it so many times; the status of each look."""
    async with callers.calling(door) as (reader, writer):
        await ask(reader, writer, f"POST /open/{session}", ("content-length: 0",))
        return [(await ask(reader, writer, f"GET /poll/{session}")).status for _ in range(polls)]


async def websocket(door: Address, *lines: str) -> tuple[Reply, list[str]]:
    """Upgrade, then say these lines: the answer to the upgrade, and what was heard of each line."""
    async with callers.calling(door) as (reader, writer):
        reply = await ask(reader, writer, "GET /chat", (*UPGRADE, f"sec-websocket-key: {new_key().decode()}"))
        heard = []
        for line in lines if reply.status == 101 else ():
            writer.write(f"{line}\n".encode())
            heard.append((await reader.readline()).decode().strip())
        return reply, heard


async def quiet(door: Address, seconds: float) -> bool:
    """Upgrade and say nothing: is the connection still open after so long?"""
    async with callers.calling(door) as (reader, writer):
        await ask(reader, writer, "GET /chat", (*UPGRADE, f"sec-websocket-key: {new_key().decode()}"))
        try:
            async with asyncio.timeout(seconds):
                return bool(await reader.read(1))
        except TimeoutError:
            return True
