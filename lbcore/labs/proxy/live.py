"""A student's functions as a proxy on 127.0.0.1, between raw clients and backends that fail as they are told.

Rule of this file: it moves bytes and keeps the books; every decision is the student's. It is run in a process of its
own (`sandbox.run`), so that whatever breaks or hangs in here ends with that process, sockets and all.

Trap. `Backend.unread` counts what has been taken from the socket; bytes that are still on their way are nobody's yet. A
proxy for real use looks again when it takes a connection out of its pool.
"""

from __future__ import annotations

import asyncio
from asyncio import StreamReader, StreamWriter
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import Any

from lbcore.l7.target import normal
from lbcore.labs.proxy.world import BODY, SURPLUS, Answer, Exchange
from lbcore.testbed import smallest
from lbcore.testbed.smallest import Address

PATIENCE = 3.0  # seconds that a client waits
REFUSAL = b"HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"
HANGS = "waits for ever"
NOT_FOUND = b"HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n"


# --------------------------------------------------------------------------------------- what the student's code meets
class Client:
    """The client's connection."""

    def __init__(self, writer: StreamWriter) -> None:
        self.writer = writer

    async def send(self, data: bytes) -> None:
        """Send it. ConnectionError: the client has left."""
        self.writer.write(data)
        await self.writer.drain()

    def abort(self) -> None:
        """Cut it."""
        self.writer.transport.abort()


class Backend:
    """A connection to a backend."""

    def __init__(self, reader: StreamReader, writer: StreamWriter) -> None:
        self.reader, self.writer, self.rest = reader, writer, b""

    async def send(self, request: bytes) -> None:
        """Send the request."""
        self.writer.write(request)
        await self.writer.drain()

    async def head(self) -> Answer:
        """The head of the answer. ConnectionError: none came."""
        while b"\r\n\r\n" not in self.rest:
            if not (more := await self.reader.read(smallest.CHUNK)):
                raise ConnectionResetError("the connection ended before an answer")
            self.rest += more
        head, _, self.rest = self.rest.partition(b"\r\n\r\n")
        fields = smallest.parse_fields(head.decode("latin-1").split("\r\n")[1:])
        return Answer(head + b"\r\n\r\n", smallest.body_size(fields), fields.get("connection") == "close")

    async def read(self, most: int) -> bytes:
        """The next piece."""
        try:
            piece = self.rest[:most] or await self.reader.read(most)
        except ConnectionError:
            return b""
        self.rest = self.rest[most:]
        return piece

    @property
    def unread(self) -> int:
        """Bytes that have come and that nobody has read."""
        return len(self.rest)

    def close(self) -> None:
        """Close it."""
        self.writer.close()


class Pool:
    """Connections to one backend."""

    def __init__(self, address: Address) -> None:
        self.address = address
        self.idle: list[Backend] = []
        self.made: list[Backend] = []

    async def take(self) -> Backend:
        """A kept connection, or a new one."""
        if self.idle:
            return self.idle.pop()
        self.made.append(Backend(*await asyncio.open_connection(*self.address)))
        return self.made[-1]

    def keep(self, backend: Backend) -> None:
        """Keep it."""
        self.idle.append(backend)


# ------------------------------------------------------------------------------------------------- what stands around
class Shop:
    """A backend that keeps a book. Each request meets the next of `fates`; without any it works."""

    def __init__(self, name: str, log: list[tuple[str, str]]) -> None:
        self.name, self.log = name, log
        """Of all shops: who got which head."""
        self.fates: list[str] = []
        self.done: list[str] = []
        """Bodies of the requests that were carried out."""
        self.connections = 0

    async def serve(self, reader: StreamReader, writer: StreamWriter) -> None:
        """One connection."""
        self.connections += 1
        while head := await smallest.read_head(reader):
            fate, text = self.fates.pop(0) if self.fates else "works", head.decode("latin-1")
            self.log.append((self.name, text))
            body = await body_of(reader, "transfer-encoding: chunked" in text, length_of(text))
            if fate == "lost":
                return writer.transport.abort()
            self.done.append(body.decode("latin-1"))
            if fate == "dies":
                return writer.transport.abort()
            answer = self.name.encode() if fate != "breaks" else BODY
            lines = b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n" % len(answer)
            lines += b"connection: close\r\n\r\n" if fate == "closes" else b"\r\n"
            writer.write(lines + {"breaks": answer[:3], "chatters": answer + SURPLUS}.get(fate, answer))
            await writer.drain()
            if fate in ("closes", "breaks"):
                return None
        return None


def length_of(head: str) -> int:
    """The Content-Length of a head that this proxy wrote."""
    return smallest.body_size({k: v for k, v in fields_of(head) if k == "content-length"})


def fields_of(head: str) -> list[tuple[str, str]]:
    """Name, in lower case, and value of each field."""
    lines = [line.partition(":") for line in head.split("\r\n")[1:-2]]
    return [(name.lower(), value.strip(" \t")) for name, _, value in lines]


async def body_of(reader: StreamReader, chunked: bool, size: int) -> bytes:
    """A body as it stands on the wire; one in chunks up to its last, without trailers."""
    if not chunked:
        return await reader.readexactly(size)
    body = b""
    while not body.endswith(b"0\r\n\r\n"):
        line = await reader.readuntil(b"\r\n")
        body += line + await reader.readexactly(int(line, 16) + 2)
    return body


@dataclass
class Parts:
    """The student's functions."""

    route: Callable[..., str | None]
    forwarded: Callable[..., Any]
    framing: Callable[[str], int | None]
    exchange: Exchange
    trusted: tuple[str, ...] = ()
    """Addresses of our own proxies in front of this one."""


def proxy(parts: Parts, pools: dict[str, Pool], routes: list[list[str]]) -> smallest.Handler:
    """The proxy: it reads heads and asks the parts what they mean."""

    async def handle(reader: StreamReader, writer: StreamWriter) -> None:
        client, peer = Client(writer), writer.get_extra_info("peername")[0]
        while not writer.is_closing() and (head := (await smallest.read_head(reader)).decode("latin-1")):
            try:
                size = parts.framing(head)
                method, path, _ = head.partition("\r\n")[0].split(" ")
                host = dict(fields_of(head))["host"]
                backend = parts.route(method, host, path, [list(one) for one in routes])
                path = normal(path.encode()).decode()  # what was decided by is what goes on
            except (ValueError, KeyError):
                return await client.send(REFUSAL)
            body = await body_of(reader, size is None, size or 0)
            if backend not in pools:
                await client.send(NOT_FOUND)
                continue
            fields = parts.forwarded([list(one) for one in fields_of(head)], peer, list(parts.trusted))
            lines = [f"{method} {path} HTTP/1.1", *(f"{name}: {value}" for name, value in fields)]
            lines += ["transfer-encoding: chunked"] * (size is None)
            request = "".join(f"{line}\r\n" for line in [*lines, ""]).encode("latin-1") + body
            await parts.exchange(method, request, pools[backend], client)
        return None

    return handle


@asynccontextmanager
async def standing(
    parts: Parts, shops: list[Shop], routes: list[list[str]]
) -> AsyncIterator[tuple[Address, dict[str, Pool]]]:
    """The proxy's address, while it stands in front of these shops; at the end all is closed."""
    async with AsyncExitStack() as stack:
        pools = {shop.name: Pool(await stack.enter_async_context(smallest.listening(shop.serve))) for shop in shops}
        try:
            yield await stack.enter_async_context(smallest.listening(proxy(parts, pools, routes))), pools
        finally:
            for backend in [one for pool in pools.values() for one in pool.made]:
                backend.close()


async def say(door: Address, request: bytes) -> str:
    """What a client gets that sends this and then nothing more, in short."""
    reader, writer = await asyncio.open_connection(*door)
    end, got = "", b""
    try:
        writer.write(request)
        writer.write_eof()
        async with asyncio.timeout(PATIENCE):
            while piece := await reader.read(smallest.CHUNK):
                got += piece
    except TimeoutError:
        end = f", {HANGS}"
    except ConnectionError:
        end = ", reset"
    finally:
        writer.close()
    return told(got.decode("latin-1")) + end


def told(text: str) -> str:
    """Answers in short: status in brackets, and the body."""
    shown = []
    while text.startswith("HTTP/1.1 "):
        head, _, text = text.partition("\r\n\r\n")
        size = length_of(head + "\r\n\r\n")
        shown.append(f"[{head[9:12]}] {text[:size]}".rstrip() + ", cut off" * (len(text) < size))
        text = text[size:]
    return " ".join([*shown, *([text] if text else [])]) or "nothing"
