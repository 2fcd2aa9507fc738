"""Backends that say who they are and count what reached them, and clients that ask through whatever stands in front.

Rule of this file: real sockets on 127.0.0.1. What counts as done is what a backend did, not what a proxy believes.

Theory. Whether a retry doubles an order is not to be seen at the proxy, and not at the client: both see one answer. So
the backend keeps the book. Its faults lie on either side of the work: "busy" refuses before it (503), "dies" does it
and cuts the connection before the answer. From outside, the second looks like a request that was lost.
"""

from __future__ import annotations

from asyncio import StreamReader, StreamWriter
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any, Literal, NamedTuple, Protocol

from lbcore.l7.engine.proxy import Proxy
from lbcore.l7.filters.filter import Filter
from lbcore.l7.front.door import listen
from lbcore.l7.limits import Limits
from lbcore.l7.message import Headers, Peer, Request
from lbcore.l7.pools.options import BackendOptions, PoolOptions
from lbcore.l7.pools.pool import Pool
from lbcore.l7.routing.match import MatchOptions, match
from lbcore.l7.routing.router import Route, Router
from lbcore.testbed import aside, callers, smallest
from lbcore.testbed.smallest import Address

Fault = Literal["", "busy", "dies"]


class Reply(NamedTuple):
    """What a client got. `by`: the backend that says it answered; empty if the proxy did."""

    status: int
    by: str
    fields: dict[str, str]
    """Names in lower case."""
    body: bytes


class Counting:
    """One backend: each request with its path is done at once and answered in a few bytes.

    fault: see the head of the file. keys: a memory that backends share; a request whose `idempotency-key` is in it was
    done, and is answered without being done again.
    """

    def __init__(self, name: str, fault: Fault = "", keys: set[str] | None = None) -> None:
        self.name, self.fault, self.keys = name, fault, keys
        self.address: Address = ("127.0.0.1", 0)
        """Once it listens."""
        self.heads: list[bytes] = []
        """Of all requests, as they came."""
        self.done: list[str] = []
        """`METHOD /path` of what was carried out."""
        self.connections = 0

    async def serve(self, reader: StreamReader, writer: StreamWriter) -> None:
        """One connection, request by request."""
        self.connections += 1
        while head := await smallest.read_head(reader):
            self.heads.append(head)
            request = smallest.parse_request(head)
            await reader.readexactly(smallest.body_size(request.headers))
            if self.fault == "busy":
                writer.write(self._answer(b"503 Service Unavailable"))
                continue
            key = request.headers.get("idempotency-key")
            if self.keys is None or key not in self.keys:
                self.done.append(f"{request.method} {request.path}")
            if self.keys is not None and key:
                self.keys.add(key)
            if self.fault == "dies":
                writer.transport.abort()
                return
            writer.write(self._answer(b"200 OK"))
            await writer.drain()

    def _answer(self, status: bytes) -> bytes:
        return b"HTTP/1.1 %b\r\nx-backend: %b\r\ncontent-length: 0\r\n\r\n" % (status, self.name.encode())


class Server(Protocol):
    """What can be let listen."""

    address: Address

    async def serve(self, reader: StreamReader, writer: StreamWriter) -> None:
        """One connection."""


@asynccontextmanager
async def serving(*backends: Server) -> AsyncIterator[None]:
    """All of them listen, each at its `address`."""
    async with AsyncExitStack() as stack:
        for one in backends:
            one.address = await stack.enter_async_context(smallest.listening(one.serve))
        yield


def pool(name: str, addresses: Sequence[Address], kind: type[Pool] = Pool, **options: Any) -> Pool:
    """A pool of backends at these addresses. options: those of `PoolOptions`."""
    backends = tuple(BackendOptions(address=f"{host}:{port}") for host, port in addresses)
    return kind.build(PoolOptions(name=name, backends=backends, **options))


async def talk(door: Address, *asked: str, fields: Sequence[str] = (), source: str = "127.0.0.1") -> list[Reply]:
    """Ask one after the other on one connection: `GET /api`. EOFError or OSError if it ends in between."""
    async with callers.calling(door, source) as (reader, writer):
        return [await ask(reader, writer, one, fields) for one in asked]


async def ask(reader: StreamReader, writer: StreamWriter, asked: str, fields: Sequence[str] = ()) -> Reply:
    """One request and its answer."""
    writer.write("\r\n".join((f"{asked} HTTP/1.1", "host: shop.example", *fields, "", "")).encode("latin-1"))
    head = await smallest.read_head(reader)
    if not head:
        raise EOFError(f"{asked}: the connection ended before an answer came")
    line, *lines = head[:-4].decode("latin-1").split("\r\n")
    found = smallest.parse_fields(lines)
    status = int(line.split(" ")[1])
    body = b"" if status == 101 else await reader.readexactly(int(found["content-length"]))
    return Reply(status, found.get("x-backend", ""), found, body)


def route(name: str, to: Pool, *filters: Filter, **conditions: Any) -> Route:
    """A route to one pool. conditions: those of `MatchOptions`."""
    return Route(name, match(MatchOptions(**conditions)), lambda request: to, filters)


@asynccontextmanager
async def front(*routes: Route, limits: Limits | None = None) -> AsyncIterator[Address]:
    """A proxy with these routes; its address."""
    async with Proxy(Router(routes), limits) as proxy:
        yield await listen(proxy, "127.0.0.1")


def once(*filters: Filter, asked: str = "GET /", fields: Sequence[str] = ()) -> tuple[Reply, Counting]:
    """One request through a proxy with these filters: the answer, and the backend that gave it."""

    async def through() -> tuple[Reply, Counting]:
        backend = Counting("one")
        async with serving(backend), front(route("all", pool("all", [backend.address]), *filters)) as door:
            (reply,) = await talk(door, asked, fields=fields)
        return reply, backend

    return aside.run(through())


def get(path: str, host: str = "shop.example", **fields: str) -> Request:
    """A request as a router sees it, without any socket."""
    headers = Headers((name.encode(), value.encode()) for name, value in fields.items())
    return Request(b"GET", path.encode(), host.encode(), b"http", headers, Peer("192.0.2.1", 1024))
