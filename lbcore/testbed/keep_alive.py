"""Which backend answers, when a balancer decides once for each connection and when it decides for each request.

Rule of this file: real HTTP servers, real clients and a balancer of `smallest` between them, all on 127.0.0.1; who
answered is what the answers say, not what the balancer believes.

Theory. Two pools: one for paths under /api, one for paths under /video. A backend answers every request that reaches
it and names itself and its pool, so a request in the wrong pool is seen, as a 404 would be in production. Each client
connection (HTTP/1.1 keep-alive, RFC 9112 section 9.3) asks for a random mix of both, one request after the other.
"""

from __future__ import annotations

import asyncio
from asyncio import StreamReader, StreamWriter
from collections.abc import Sequence
from contextlib import AsyncExitStack
from itertools import cycle
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from lbcore.balance.hashes.xxhash64 import xxhash64
from lbcore.balance.maglev import Maglev
from lbcore.testbed import aside, smallest
from lbcore.testbed.smallest import Address, Connection, Handler, Request

POOLS = {"api": ("api-1", "api-2"), "video": ("video-1", "video-2")}
BACKENDS = tuple(name for names in POOLS.values() for name in names)
AT_ONCE = 16  # client connections open at one time
TABLE = 251  # slots of the layer 4 look-up table
Layer = Literal["L4", "L7"]


class Answer(NamedTuple):
    """Who answered one request."""

    connection: int
    wanted: str  # the pool that the path belongs to
    pool: str  # the pool that answered
    backend: str

    @property
    def right(self) -> bool:
        """Did the request reach a backend that can serve it?"""
        return self.pool == self.wanted


def trial(layer: Layer, *, connections: int, requests: int, video: float = 0.5, seed: int = 1) -> list[Answer]:
    """The answers to `connections` client connections with `requests` each, of which a share `video` asks for /video.

    `seed` settles what is asked for. With L4 the kernel's choice of client ports settles who answers.
    """
    if connections * requests > 20_000:
        raise ValueError(f"{connections} connections of {requests} requests; wanted at most 20000 requests in all")
    wanted = np.where(np.random.default_rng(seed).random((connections, requests)) < video, "video", "api")
    return aside.run(_trial(layer, wanted.tolist()))


def tally(answers: Sequence[Answer]) -> NDArray[np.int64]:
    """Answers counted: int64[connections, backends], backends in the order of `BACKENDS`."""
    counts = np.zeros((1 + max(answer.connection for answer in answers), len(BACKENDS)), np.int64)
    for answer in answers:
        counts[answer.connection, BACKENDS.index(answer.backend)] += 1
    return counts


async def _trial(layer: Layer, wanted: list[list[str]]) -> list[Answer]:
    async with AsyncExitStack() as stack:
        where = {
            name: await stack.enter_async_context(smallest.listening(backend(name, pool)))
            for pool, names in POOLS.items()
            for name in names
        }
        balancer = await stack.enter_async_context(smallest.listening(BALANCERS[layer](where)))
        gate = asyncio.Semaphore(AT_ONCE)
        answers = await asyncio.gather(*(client(i, balancer, pools, gate) for i, pools in enumerate(wanted)))
    return [answer for each in answers for answer in each]


def by_connection(where: dict[str, Address]) -> Handler:
    """Layer 4: addresses and ports, hashed into a table of all backends. There is nothing else to go by."""
    table = Maglev(BACKENDS, size=TABLE)

    def decide(connection: Connection) -> Address:
        return where[BACKENDS[table.pick(xxhash64(repr(connection).encode(), 0))]]

    return smallest.layer4(decide)


def by_request(where: dict[str, Address]) -> Handler:
    """Layer 7: the path names the pool, and within the pool it goes round."""
    turns = {pool: cycle(names) for pool, names in POOLS.items()}

    def decide(request: Request) -> Address:
        pool = request.path.split("/")[1]
        if pool not in POOLS:
            raise smallest.Refused(404, f"no route for {request.path[:40]!r}; there are /{', /'.join(POOLS)}")
        return where[next(turns[pool])]

    return smallest.layer7(decide)


BALANCERS = {"L4": by_connection, "L7": by_request}


def backend(name: str, pool: str) -> Handler:
    """An HTTP/1.1 server that answers every request with its own name and pool."""
    answer = f"HTTP/1.1 200 OK\r\nx-backend: {name}\r\nx-pool: {pool}\r\ncontent-length: 0\r\n\r\n".encode()

    async def handle(reader: StreamReader, writer: StreamWriter) -> None:
        while head := await smallest.read_head(reader):
            smallest.parse_request(head)
            writer.write(answer)
            await writer.drain()

    return handle


async def client(number: int, balancer: Address, wanted: Sequence[str], gate: asyncio.Semaphore) -> list[Answer]:
    """Ask for one path of each pool in `wanted`, one after the other, over one connection."""
    answers = []
    async with gate, smallest.connected(balancer) as (reader, writer):
        for i, pool in enumerate(wanted):
            writer.write(f"GET /{pool}/{i} HTTP/1.1\r\nhost: shop.example\r\n\r\n".encode())
            status, *lines = (await smallest.read_head(reader))[:-4].decode("latin-1").split("\r\n")
            if status != "HTTP/1.1 200 OK":
                raise RuntimeError(f"connection {number}, request {i}: the answer begins {status!r}, wanted 200 OK")
            fields = smallest.parse_fields(lines)
            answers.append(Answer(number, pool, fields["x-pool"], fields["x-backend"]))
    return answers
