"""A proxy between a raw client and a raw backend, all on one event loop: what is sent is what is written here."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

from lbcore.l7.engine.proxy import Proxy, run
from lbcore.l7.filters.filter import Filter
from lbcore.l7.front.door import listen
from lbcore.l7.limits import Limits
from lbcore.l7.pools.pool import Backend, Pool, Timeouts
from lbcore.l7.routing.router import Route, Router

Talk = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]
OK = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"
PATIENCE = 10.0


def together(test: Callable[[], Awaitable[Any]]) -> Any:
    """Run it on the proxy's own event loop."""
    return run(test())  # type: ignore[arg-type]


@dataclass
class Seen:
    """What backends got, one entry for each connection."""

    connections: list[bytearray] = field(default_factory=list)

    @property
    def all(self) -> bytes:
        """Everything, in order of the connections."""
        return b"".join(bytes(one) for one in self.connections)


@contextlib.asynccontextmanager
async def backend(talk: Talk) -> AsyncIterator[int]:
    """A server that talks to each connection as it is told; its port."""
    tasks: set[asyncio.Task[None]] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        tasks.add(task)
        try:
            with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
                await talk(reader, writer)
        finally:
            tasks.discard(task)
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0, limit=1 << 20)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        for task in list(tasks):
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def answering(answer: bytes, seen: Seen | None = None) -> Talk:
    """The same answer to every request: to every head, that is; bodies are read when they come with a length."""

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        got = bytearray()
        if seen is not None:
            seen.connections.append(got)
        while True:
            request = await read_request(reader)
            got += request
            writer.write(answer)
            await writer.drain()

    return talk


async def read_request(reader: asyncio.StreamReader) -> bytes:
    """One request as the proxy writes it."""
    head = await reader.readuntil(b"\r\n\r\n")
    fields = dict(line.split(b": ", 1) for line in head.split(b"\r\n")[1:-2])
    if b"content-length" in fields:
        return head + await reader.readexactly(int(fields[b"content-length"]))
    if b"transfer-encoding" in fields:
        body, line = b"", b"-"
        while line.strip():  # up to the empty line after the last chunk and its trailers
            line = await reader.readuntil(b"\r\n")
            body += line
            if b":" not in line and (size := int(line.strip() or b"0", 16)):
                body += await reader.readexactly(size + 2)
        return head + body
    return head


@contextlib.asynccontextmanager
async def proxying(
    *ports: int, limits: Limits | None = None, timeouts: Timeouts | None = None, filters: tuple[Filter, ...] = ()
) -> AsyncIterator[tuple[Proxy, int]]:
    """A proxy with one route to these backends, and its port. Nothing may be left of an exchange when it closes."""
    pool = Pool("pool", [Backend("127.0.0.1", port) for port in ports], timeouts)
    route = Route("all", lambda request: True, lambda request: pool, filters)
    async with Proxy(Router([route]), limits) as proxy:
        _, port = await listen(proxy, "127.0.0.1")
        yield proxy, port
        for _ in range(200):
            if not proxy.exchanges and not any(one.active for one in pool.backends):
                break
            await asyncio.sleep(0.01)
        assert not proxy.exchanges
        assert [one.active for one in pool.backends] == [0] * len(ports)


async def say(port: int, *pieces: bytes, pause: float = 0.0, eof: bool = False) -> bytes:
    """Send these and read until the proxy closes. TimeoutError: it does not."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        with contextlib.suppress(ConnectionError):  # it may have heard enough
            for piece in pieces:
                writer.write(piece)
                await writer.drain()
                if pause:
                    await asyncio.sleep(pause)
            if eof:
                writer.write_eof()
        return await asyncio.wait_for(reader.read(), PATIENCE)
    finally:
        writer.close()


def get(path: str = "/", *lines: str, close: bool = True) -> bytes:
    """A plain request."""
    all_lines = [f"GET {path} HTTP/1.1", "host: example.org", *lines, *(["connection: close"] if close else [])]
    return ("\r\n".join(all_lines) + "\r\n\r\n").encode("latin-1")
