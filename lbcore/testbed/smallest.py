"""The smallest layer 4 balancer and the smallest layer 7 balancer, to be read side by side.

Rule of this file: it moves bytes, and asks `decide` where to; who decides, and how, is the caller's business.

Theory. Both accept the client's connection, open one of their own to a backend, and copy with the same `pump`. They
differ in when they ask `decide`, and in what they can show it. `layer4` asks once, when the connection begins, and has
two addresses and two ports to show. `layer7` asks for every request, and shows method, path and headers; for that it
must know where a request ends and where its answer ends, and so it must speak the protocol. It speaks HTTP/1.1 with
Content-Length (RFC 9112 sections 2 to 6) and refuses everything else in words.

Traps. A balancer that finds a request's end elsewhere than its backend does lets a client smuggle a second request
inside the first, so a head is read strictly and what is doubtful is refused. This is a model, not a proxy to run:
no TLS, no chunked bodies, no retries, no pool of connections to backends, hop-by-hop headers passed on as they came.
"""

from __future__ import annotations

import asyncio
import re
from asyncio import StreamReader, StreamWriter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from math import inf
from ssl import SSLContext
from typing import NamedTuple

Address = tuple[str, int]
Handler = Callable[[StreamReader, StreamWriter], Awaitable[None]]

HEAD_LIMIT = 8192  # bytes of a request's or an answer's head
BODY_LIMIT = 1 << 24
CHUNK = 65536
CONNECTIONS = 256  # clients at one time
PATIENCE = 5.0  # seconds that a peer may keep us waiting


class Connection(NamedTuple):
    """All that layer 4 has to show when a TCP connection begins."""

    source: str
    source_port: int
    destination: str
    destination_port: int


class Request(NamedTuple):
    """What layer 7 has to show for each request. Header names are lower-cased."""

    method: str
    path: str
    headers: dict[str, str]


class Refused(Exception):
    """What a peer sent is not for us: the HTTP status (RFC 9110 section 15) and why."""

    def __init__(self, status: int, why: str) -> None:
        super().__init__(f"{status} {why}")
        self.status = status

    def answer(self) -> bytes:
        """What an HTTP client is told, before the connection is closed."""
        text = f"{self}\n".encode()
        fields = b"connection: close\r\ncontent-length: %d" % len(text)
        return b"HTTP/1.1 %d Refused\r\n%s\r\n\r\n%s" % (self.status, fields, text)


# ------------------------------------------------------------------------------------------------- the two balancers
def layer4(decide: Callable[[Connection], Address]) -> Handler:
    """Decides once for each connection, before its first byte of payload."""

    async def handle(client: StreamReader, to_client: StreamWriter) -> None:
        theirs, ours = map(to_client.get_extra_info, ("peername", "sockname"))
        async with connected(decide(Connection(*theirs, *ours))) as (server, to_server):
            await asyncio.gather(pump(client, to_server), pump(server, to_client))

    return handle


def layer7(decide: Callable[[Request], Address]) -> Handler:
    """Decides for each request: a connection is only where requests come from."""

    async def handle(client: StreamReader, to_client: StreamWriter) -> None:
        try:
            while head := await read_head(client):
                request = parse_request(head)
                body = body_size(request.headers)
                async with connected(decide(request)) as (server, to_server):
                    to_server.write(head)
                    await pump(client, to_server, body)
                    answer = await read_head(server)
                    size = answer_size(answer)
                    to_client.write(answer)
                    await pump(server, to_client, size)
        except Refused as refusal:
            to_client.write(refusal.answer())

    return handle


async def pump(source: StreamReader, sink: StreamWriter, size: float = inf) -> None:
    """Copy `size` bytes without looking at them; without a size, until the source ends, and pass the end on.

    Raises EOFError when the source ends before `size`, TimeoutError when a peer is too slow.
    """
    left = size
    while left > 0:
        async with asyncio.timeout(PATIENCE):
            chunk = await source.read(int(min(CHUNK, left)))
            if not chunk:
                break
            sink.write(chunk)
            await sink.drain()
        left -= len(chunk)
    if size == inf:
        sink.write_eof()
    elif left:
        raise EOFError(f"the peer ended with {left:.0f} of {size:.0f} bytes missing")


# --------------------------------------------------------------------------------------------------- heads of messages
TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")  # RFC 9110 section 5.6.2
VALUE = re.compile(r"[\t\x20-\x7e\x80-\xff]*")  # RFC 9110 section 5.5
TARGET = re.compile(r"/[\x21-\x7e]*")  # origin-form, RFC 9112 section 3.2.1
METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE")  # HEAD and CONNECT have framing rules of their own
ONCE = ("host", "content-length")


async def read_head(reader: StreamReader) -> bytes:
    """The bytes up to and including the empty line, or b"" where the peer ended in front of them."""
    try:
        async with asyncio.timeout(PATIENCE):
            return await reader.readuntil(b"\r\n\r\n")
    except asyncio.IncompleteReadError as end:
        if end.partial:
            raise Refused(400, "the head of a message ends before its empty line") from None
        return b""
    except asyncio.LimitOverrunError:
        raise Refused(431, f"the head of a message is longer than {HEAD_LIMIT} bytes") from None
    except TimeoutError:
        raise Refused(408, f"no whole head of a message within {PATIENCE:g} seconds") from None


def parse_request(head: bytes) -> Request:
    """The request that a head (with its empty line) makes. Refused when it is not HTTP/1.1 in origin-form."""
    line, *lines = head[:-4].decode("latin-1").split("\r\n")
    parts = line.split(" ")
    if len(parts) != 3 or not TOKEN.fullmatch(parts[0]) or not TARGET.fullmatch(parts[1]):
        raise Refused(400, f"the request line is {line[:60]!r}, wanted: METHOD /path HTTP/1.1")
    method, path, version = parts
    if version != "HTTP/1.1":
        raise Refused(505, f"the version is {version[:20]!r}, wanted HTTP/1.1")
    if method not in METHODS:
        raise Refused(501, f"the method is {method[:20]!r}, wanted one of {', '.join(METHODS)}")
    headers = parse_fields(lines)
    if "host" not in headers:
        raise Refused(400, "there is no Host field, wanted exactly one")
    return Request(method, path, headers)


def parse_fields(lines: list[str]) -> dict[str, str]:
    """Header fields by lower-cased name; values of a repeated field are joined by commas (RFC 9110 section 5.3)."""
    headers: dict[str, str] = {}
    for line in lines:
        name, colon, value = line.partition(":")
        if not colon or not TOKEN.fullmatch(name) or not VALUE.fullmatch(value):
            raise Refused(400, f"the header line is {line[:60]!r}, wanted name: value")
        name, value = name.lower(), value.strip(" \t")
        if name in headers and name in ONCE:
            raise Refused(400, f"{name} appears twice, wanted once")
        headers[name] = f"{headers[name]}, {value}" if name in headers else value
    return headers


def body_size(headers: dict[str, str], missing: str = "0") -> int:
    """Bytes of body that follow a head, by Content-Length alone (RFC 9112 section 6.3)."""
    for name in ("transfer-encoding", "upgrade", "expect"):
        if name in headers:
            raise Refused(501, f"{name} is {headers[name][:20]!r}; this balancer does not speak it")
    digits = headers.get("content-length", missing)
    if not re.fullmatch("[0-9]{1,9}", digits) or int(digits) > BODY_LIMIT:
        raise Refused(400, f"content-length is {digits[:20]!r}, wanted 0 to {BODY_LIMIT}")
    return int(digits)


def answer_size(head: bytes) -> int:
    """Bytes of body behind the head of a backend's answer. Refused (502) where that is not to be known for sure."""
    line, *lines = head[:-4].decode("latin-1").split("\r\n")
    status = re.fullmatch(r"HTTP/1\.1 ([2-5][0-9][0-9])(?: .*)?", line)
    if not status:
        raise Refused(502, f"the backend's answer begins {line[:60]!r}, wanted: HTTP/1.1 200 reason")
    try:
        return body_size(parse_fields(lines), missing="0" if status[1] in ("204", "304") else "none")
    except Refused as refusal:
        raise Refused(502, f"in the backend's answer: {refusal}") from None


# ------------------------------------------------------------------------------------------------------------- sockets
@asynccontextmanager
async def connected(address: Address) -> AsyncIterator[tuple[StreamReader, StreamWriter]]:
    """A connection to `address`, closed at the end. Refused (502) where there is none to be had."""
    try:
        async with asyncio.timeout(PATIENCE):
            reader, writer = await asyncio.open_connection(*address, limit=HEAD_LIMIT)
    except (OSError, TimeoutError) as error:
        raise Refused(502, f"no connection to the backend: {type(error).__name__}") from None
    try:
        yield reader, writer
    finally:
        await close(writer)


async def close(writer: StreamWriter) -> None:
    """Send what is left to send, then close; a peer that does not take it in time is cut off."""
    writer.close()
    try:
        with suppress(OSError):
            async with asyncio.timeout(PATIENCE):
                await writer.wait_closed()
    finally:
        writer.transport.abort()


@asynccontextmanager
async def listening(handle: Handler, tls: SSLContext | None = None) -> AsyncIterator[Address]:
    """Serve connections on a free port of 127.0.0.1 with `handle`; at the end everything is closed and awaited.

    A connection that a peer breaks off, starves or overfills ends alone; any other error of `handle` is raised here.
    """
    tasks: set[asyncio.Task[None]] = set()
    faults: list[BaseException] = []

    async def one(reader: StreamReader, writer: StreamWriter) -> None:
        try:
            with suppress(OSError, EOFError, TimeoutError, Refused):
                await handle(reader, writer)
        except Exception as fault:
            faults.append(fault)
        finally:
            await close(writer)

    def accept(reader: StreamReader, writer: StreamWriter) -> None:
        if len(tasks) >= CONNECTIONS:
            writer.transport.abort()
            return
        task = asyncio.get_running_loop().create_task(one(reader, writer))
        tasks.add(task)
        task.add_done_callback(tasks.discard)

    server = await asyncio.start_server(accept, "127.0.0.1", 0, limit=HEAD_LIMIT, ssl=tls)
    try:
        yield server.sockets[0].getsockname()
    finally:
        server.close()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await server.wait_closed()
    if faults:
        raise faults[0]
