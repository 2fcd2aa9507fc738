"""A proxy with HTTP/2 on either side, clients of HTTP/2 that can do what libraries will not, and real programs."""

from __future__ import annotations

import asyncio
import contextlib
import subprocess

import h2.config
import h2.connection
import h2.events

from lbcore.l7.engine.proxy import Proxy
from lbcore.l7.front.door import listen
from lbcore.l7.limits import Limits
from lbcore.l7.pools.pool import Backend, Pool, Timeouts
from lbcore.l7.routing.router import Route, Router

PATIENCE = 30.0


@contextlib.asynccontextmanager
async def proxying(
    *ports: int, protocol="h1", limits: Limits | None = None, timeouts: Timeouts | None = None, filters=()
):
    """A proxy in front of these, on a port in the clear. Nothing may be left of an exchange when it closes."""
    pool = Pool("pool", [Backend("127.0.0.1", port) for port in ports], timeouts, protocol)
    route = Route("all", lambda request: True, lambda request: pool, filters)
    async with Proxy(Router([route]), limits) as proxy:
        _, port = await listen(proxy, "127.0.0.1")
        yield proxy, port
        for _ in range(300):
            if not proxy.exchanges and not any(one.active for one in pool.backends):
                break
            await asyncio.sleep(0.01)
        assert not proxy.exchanges
        assert [one.active for one in pool.backends] == [0] * len(ports)


@contextlib.asynccontextmanager
async def chain(*ports: int):
    """Two proxies, with HTTP/2 between them; the inner one speaks HTTP/1.1 to the ports. (outer, inner, port)"""
    async with proxying(*ports) as (inner, middle), proxying(middle, protocol="h2c") as (outer, port):
        yield outer, inner, port


async def program(*command: str) -> str:
    """What a program says."""
    process = await asyncio.create_subprocess_exec(*command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    return (await asyncio.wait_for(process.communicate(), PATIENCE * 2))[0].decode("utf-8", "replace")


class Client:
    """A connection of the `h2` package, event by event."""

    def __init__(self, reader, writer) -> None:
        self.reader, self.writer = reader, writer
        config = h2.config.H2Configuration(client_side=True, header_encoding=None, validate_outbound_headers=False)
        self.h2 = h2.connection.H2Connection(config)
        self.h2.initiate_connection()
        self.events: list[h2.events.Event] = []
        self.acknowledge = True

    def send(self) -> None:
        """Write what h2 has."""
        self.writer.write(self.h2.data_to_send())

    def request(self, lines, body: bytes | None = b"", ended=True) -> int:
        """Open a stream; its number."""
        number = self.h2.get_next_available_stream_id()
        self.h2.send_headers(number, lines, end_stream=ended and not body)
        if body:
            self.h2.send_data(number, body, end_stream=ended)
        self.send()
        return number

    async def until(self, kind, number: int | None = None):
        """The next event of this kind (and stream)."""
        async with asyncio.timeout(PATIENCE):
            while True:
                for at, event in enumerate(self.events):
                    if isinstance(event, kind) and number in (None, getattr(event, "stream_id", None)):
                        return self.events.pop(at)
                await self._more()

    async def _more(self) -> None:
        data = await self.reader.read(65_536)
        if not data:
            raise ConnectionResetError("the proxy closed")
        for event in self.h2.receive_data(data):
            if isinstance(event, h2.events.DataReceived) and self.acknowledge and event.flow_controlled_length:
                self.h2.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
            self.events.append(event)
        self.send()

    async def whole(self, number: int) -> tuple[dict, bytes, dict]:
        """A whole response: fields, body, trailers."""
        head = dict((await self.until(h2.events.ResponseReceived, number)).headers)
        body, trailers = b"", {}
        while True:
            event = await self.until(
                (h2.events.DataReceived, h2.events.TrailersReceived, h2.events.StreamEnded), number
            )
            if isinstance(event, h2.events.DataReceived):
                body += event.data
            elif isinstance(event, h2.events.TrailersReceived):
                trailers = dict(event.headers)
            else:
                return head, body, trailers


@contextlib.asynccontextmanager
async def client(port: int):
    """Connected, greetings on their way."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    made = Client(reader, writer)
    made.send()
    try:
        yield made
    finally:
        writer.close()


def head(path: bytes = b"/", method: bytes = b"GET", *more: tuple[bytes, bytes]) -> list[tuple[bytes, bytes]]:
    """A request's lines."""
    return [(b":method", method), (b":scheme", b"http"), (b":authority", b"a.example"), (b":path", path), *more]
