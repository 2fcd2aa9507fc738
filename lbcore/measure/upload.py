"""An upload in pieces: how much of it is sent before the backend hears any.

Rule of this file: real sockets on 127.0.0.1; the client sends a piece, waits whether anything arrives, sends the next.

Theory. A proxy that passes a body on as it comes is one piece behind. One that has to read it first has to hold it, all
of it, before the backend is asked; so memory is the size of bodies times their number, and a limit is needed.
"""

from __future__ import annotations

import asyncio
from asyncio import StreamReader, StreamWriter
from contextlib import suppress
from typing import NamedTuple

from lbcore.l7.filters.filter import Filter
from lbcore.measure.counted import front, pool, route, serving
from lbcore.testbed import aside, callers, smallest
from lbcore.testbed.smallest import Address

WAIT = 0.1  # seconds for a piece to arrive, if it is not held back


class Upload(NamedTuple):
    """sent: pieces that the client had sent when the backend heard the first byte; None if it never did."""

    sent: int | None
    status: int


class _Hearing:
    """A backend that notes when the first byte of a body comes."""

    def __init__(self) -> None:
        self.address: Address = ("127.0.0.1", 0)
        self.heard = asyncio.Event()

    async def serve(self, reader: StreamReader, writer: StreamWriter) -> None:
        while head := await smallest.read_head(reader):
            left = smallest.body_size(smallest.parse_request(head).headers)
            while left and (data := await reader.read(left)):
                self.heard.set()
                left -= len(data)
            writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n")


def trial(*filters: Filter, pieces: int = 5, size: int = 10_000) -> Upload:
    """POST so many pieces of `size` bytes through a proxy with these filters."""

    async def sending() -> Upload:
        backend, sent = _Hearing(), None
        async with (
            serving(backend),
            front(route("all", pool("all", [backend.address]), *filters)) as door,
            callers.calling(door) as (reader, writer),
        ):
            head = f"POST / HTTP/1.1\r\nhost: shop.example\r\ncontent-length: {pieces * size}\r\n\r\n"
            writer.write(head.encode())
            for number in range(1, pieces + 1):
                with suppress(ConnectionError):  # it may have heard enough
                    writer.write(bytes(size))
                    await writer.drain()
                if sent is None:
                    with suppress(TimeoutError):
                        await asyncio.wait_for(backend.heard.wait(), WAIT)
                        sent = number
            answer = await smallest.read_head(reader)
        return Upload(sent, int(answer.split(b" ")[1]))

    return aside.run(sending())
