"""Servers that can fall ill and leave, and clients that keep asking whatever happens.

Rule of this file: real sockets on 127.0.0.1; it says what clients saw, and knows no proxy.

Theory. A server has four conditions. "" works. "refuses": the process is gone and its port closed. "hangs": the port
takes connections and nobody answers. "answers 503": it lives and cannot do its work, but /health still says that all
is well, as it asks nothing but whether somebody is there. Leaving is not an illness: a server may announce it (/health
says 503, everything else works), listen no more, and give what it works on some seconds.

Clients are an open loop: they come when they come (Poisson), each on a connection of its own, as strangers do.
"""

from __future__ import annotations

import asyncio
from asyncio import StreamReader, StreamWriter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from random import Random
from typing import NamedTuple

from lbcore.l7.websocket import proof
from lbcore.measure.counted import talk
from lbcore.testbed import smallest
from lbcore.testbed.smallest import Address

PATIENCE = 10.0
BEAT = 0.02  # seconds between two events of a stream


class Mortal:
    """GET /0.25 is answered after a quarter of a second, /health at once, /events is a stream of events without end.

    With `Upgrade: websocket` it is a stream of lines, too. polite: on leaving, streams are ended with a last word.
    """

    def __init__(self, name: str, *, polite: bool = False) -> None:
        self.name, self.polite = name, polite
        self.address: Address = ("127.0.0.1", 0)
        """Once it listens; the same after each start."""
        self.condition = ""
        self.ready = True
        """What /health says."""
        self.at_work = 0
        """Requests that are not answered yet, streams included."""
        self._leaving = False
        self._connections: dict[asyncio.Task[None], StreamWriter] = {}
        self._server: asyncio.Server | None = None

    async def start(self) -> None:
        """Listen: a new process, in good health."""
        self._server = await asyncio.start_server(self._accept, *self.address)
        self.address = self._server.sockets[0].getsockname()
        self.condition, self.ready, self._leaving = "", True, False

    async def stop(self, grace: float = 0.0) -> None:
        """Listen no more, give what is at work so many seconds, then cut everything. As after SIGTERM."""
        if self._server is not None:
            self._server.close()
        self._leaving, until = True, asyncio.get_running_loop().time() + grace
        while self.at_work and asyncio.get_running_loop().time() < until:
            await asyncio.sleep(0.005)
        for task, writer in list(self._connections.items()):
            writer.transport.abort()
            task.cancel()
        await asyncio.gather(*self._connections, return_exceptions=True)

    async def fall_ill(self, condition: str) -> None:
        """From now on, until it is started anew."""
        self.condition = condition
        if condition == "refuses":
            await self.stop()

    def _accept(self, reader: StreamReader, writer: StreamWriter) -> None:
        task = asyncio.get_running_loop().create_task(self._serve(reader, writer))
        self._connections[task] = writer
        task.add_done_callback(self._connections.pop)

    async def _serve(self, reader: StreamReader, writer: StreamWriter) -> None:
        with suppress(OSError, EOFError, smallest.Refused):
            while head := await smallest.read_head(reader):
                self.at_work += 1
                try:
                    await self._answer(smallest.parse_request(head), writer)
                    await writer.drain()
                finally:
                    self.at_work -= 1
                if self._leaving:
                    break
        writer.close()

    async def _answer(self, request: smallest.Request, writer: StreamWriter) -> None:
        if self.condition == "hangs":
            await asyncio.Event().wait()
        if not self.ready if request.path == "/health" else self.condition == "answers 503":
            writer.write(self._head(b"503 Service Unavailable", b"content-length: 0"))
        elif key := request.headers.get("sec-websocket-key"):
            accept = b"sec-websocket-accept: " + proof(key.encode())
            writer.write(self._head(b"101 Switching Protocols", b"connection: upgrade", b"upgrade: websocket", accept))
            await self._stream(writer, b"tick\n", b"bye\n")
        elif request.path == "/events":
            writer.write(self._head(b"200 OK", b"content-type: text/event-stream", b"transfer-encoding: chunked"))
            await self._stream(writer, b"c\r\ndata: tick\n\n\r\n", b"b\r\ndata: bye\n\n\r\n0\r\n\r\n")
        else:
            with suppress(ValueError):
                await asyncio.sleep(float(request.path[1:]))
            writer.write(self._head(b"200 OK", b"content-length: 0", *[b"connection: close"] * self._leaving))

    async def _stream(self, writer: StreamWriter, beat: bytes, farewell: bytes) -> None:
        while not (self._leaving and self.polite):
            writer.write(beat)
            await writer.drain()
            await asyncio.sleep(BEAT)
        writer.write(farewell)

    def _head(self, status: bytes, *fields: bytes) -> bytes:
        return b"\r\n".join((b"HTTP/1.1 " + status, b"x-backend: " + self.name.encode(), *fields, b"", b""))


@asynccontextmanager
async def started(*servers: Mortal) -> AsyncIterator[None]:
    """All of them listen; all are gone at the end."""
    try:
        for one in servers:
            await one.start()
        yield
    finally:
        for one in servers:
            await one.stop()


class Sent(NamedTuple):
    """One request of a client. moment: seconds of the event loop's clock. status: 0 without answer."""

    moment: float
    status: int


@asynccontextmanager
async def asking(
    door: Address, rate: float, path: Callable[[], str] = lambda: "/", *, method: str = "GET", seed: int = 1
) -> AsyncIterator[list[Sent]]:
    """Clients at so many requests a second, in the background; the list has all that are over, and at the end all."""
    seen: list[Sent] = []
    clock, random = asyncio.get_running_loop().time, Random(seed)

    async def one() -> None:
        moment, status = clock(), 0
        with suppress(OSError, EOFError, TimeoutError, smallest.Refused):
            async with asyncio.timeout(PATIENCE):
                status = (await talk(door, f"{method} {path()}"))[0].status
        seen.append(Sent(moment, status))

    async def keep_asking() -> None:
        due = clock()
        while True:
            due += random.expovariate(rate)
            await asyncio.sleep(due - clock())
            tasks.add(task := asyncio.get_running_loop().create_task(one()))
            task.add_done_callback(tasks.discard)

    tasks: set[asyncio.Task[None]] = set()
    pace = asyncio.get_running_loop().create_task(keep_asking())
    try:
        yield seen
    finally:
        pace.cancel()
        await asyncio.gather(pace, *tasks, return_exceptions=True)
