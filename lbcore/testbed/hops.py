"""HTTP proxies in a row, each with an address of its own, and a backend behind them that tells whom it has heard of.

Rule of this file: it forwards heads of requests and writes one field, X-Forwarded-For. Whom to believe is the reader's
affair.

Theory. A proxy may do three things with what is there already: append the peer's address to it, write the peer's
address in its place, or pass it on as it came. The first keeps the history and whatever a client made up; the second
forgets both; the third is what a proxy does that was never told.

Trap. These proxies speak what `smallest` speaks, HTTP/1.1 with one request at a time, and no more.
"""

from __future__ import annotations

from asyncio import StreamReader, StreamWriter
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager

from lbcore.testbed import callers, smallest
from lbcore.testbed.smallest import Address, Handler

FIELD = b"x-forwarded-for"
POLICIES: dict[str, Callable[[list[bytes], bytes], list[bytes]]] = {
    "append": lambda there, peer: [b", ".join([*there, peer])],
    "overwrite": lambda there, peer: [peer],
    "pass on": lambda there, peer: there,
}
"""The values that go on, of those that came and the peer's address."""


def proxy(onward: Address, host: str, policy: str = "append") -> Handler:
    """A proxy that calls `onward` from `host`."""

    async def handle(client: StreamReader, to_client: StreamWriter) -> None:
        peer = to_client.get_extra_info("peername")[0].encode()
        while head := await smallest.read_head(client):
            size = smallest.body_size(smallest.parse_request(head).headers)
            async with callers.calling(onward, host) as (server, to_server):
                to_server.write(rewritten(head, peer, policy))
                await smallest.pump(client, to_server, size)
                answer = await smallest.read_head(server)
                to_client.write(answer)
                await smallest.pump(server, to_client, smallest.answer_size(answer))

    return handle


def rewritten(head: bytes, peer: bytes, policy: str) -> bytes:
    """A request's head with the field as the policy wants it."""
    lines = head[:-4].split(b"\r\n")
    kept = [line for line in lines if line.partition(b":")[0].lower() != FIELD]
    there = [line.partition(b":")[2].strip() for line in lines if line not in kept]
    added = [b"X-Forwarded-For: " + value for value in POLICIES[policy](there, peer)]
    return b"\r\n".join([*kept, *added, b"", b""])


async def backend(reader: StreamReader, writer: StreamWriter) -> None:
    """Answers with what it has: the peer's address, and the field's lines."""
    while head := await smallest.read_head(reader):
        peer = writer.get_extra_info("peername")[0]
        said = [line for line in head.decode("latin-1").split("\r\n") if line.lower().startswith(FIELD.decode())]
        body = "\n".join([peer, *said]).encode()
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body) + body)


@asynccontextmanager
async def row(policies: Sequence[str]) -> AsyncIterator[list[Address]]:
    """Proxies 127.0.0.11, 127.0.0.12, ... with these policies, then the backend: where each of them listens."""
    async with AsyncExitStack() as stack:
        doors = [await stack.enter_async_context(smallest.listening(backend))]
        for number, policy in reversed(list(enumerate(policies, 11))):
            handler = proxy(doors[0], f"127.0.0.{number}", policy)
            doors.insert(0, await stack.enter_async_context(smallest.listening(handler)))
        yield doors


async def fetch(door: Address, *fields: str, source: str) -> tuple[str, list[str]]:
    """(peer, values of X-Forwarded-For) as the backend had them, for a request with these header lines."""
    lines = ["GET / HTTP/1.1", "Host: shop.example", *fields, "", ""]
    answer = await callers.ask(door, "\r\n".join(lines).encode("latin-1"), source=source)
    peer, *said = answer.partition("\r\n\r\n")[2].split("\n")
    return peer, [line.partition(":")[2].strip() for line in said]
