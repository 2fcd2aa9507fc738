"""The gateway on loopback: one origin behind it, clients that ask, and what the proxy's thread pays.

Rule of this file: the proxy is the real one, alone on its event loop; origin and clients have threads of their own, so
that the loop's CPU time is the proxy's. Everything is closed at the end.
"""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from http.client import HTTPConnection
from socketserver import StreamRequestHandler, ThreadingTCPServer
from threading import Thread
from typing import Final, NamedTuple

from lbcore.l7.engine.proxy import Proxy
from lbcore.l7.filters.filter import Filter
from lbcore.l7.front.door import listen
from lbcore.l7.limits import Limits
from lbcore.l7.pools.pool import Backend, Pool
from lbcore.l7.routing.router import Route, Router
from lbcore.measure.clock import Comparison
from lbcore.testbed import aside, callers

Answer = Callable[[bytes], bytes]
"""The head of a request in, the whole answer out."""
LENGTH: Final = re.compile(rb"\ncontent-length: *([0-9]+)\r", re.IGNORECASE)
EACH: Final = 150  # requests in a round


def ok(body: bytes, *fields: bytes) -> bytes:
    """A 200 in bytes."""
    lines = b"".join(field + b"\r\n" for field in fields)
    return b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n%b\r\n%b" % (len(body), lines, body)


class Origin(NamedTuple):
    """Where it listens, and the head of each request it saw."""

    port: int
    seen: list[bytes]


@contextmanager
def origin(answer: Answer) -> Iterator[Origin]:
    """A backend that answers heads; a body with a length is read and forgotten."""
    seen: list[bytes] = []

    class Talk(StreamRequestHandler):
        def handle(self) -> None:
            head = b""
            while line := self.rfile.readline(65536):
                head += line
                if line == b"\r\n":
                    seen.append(head)
                    if length := LENGTH.search(head):
                        self.rfile.read(int(length[1]))
                    self.wfile.write(answer(head))
                    head = b""

    class Server(ThreadingTCPServer):
        daemon_threads = True
        request_queue_size = 64

    with Server(("127.0.0.1", 0), Talk) as server:
        thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        thread.start()
        try:
            yield Origin(server.server_address[1], seen)
        finally:
            server.shutdown()
            thread.join()


@asynccontextmanager
async def gateway(port: int, *filters: Filter) -> AsyncIterator[tuple[str, int]]:
    """A proxy with these filters in front of the origin; where it listens."""
    pool = Pool("origin", [Backend("127.0.0.1", port)])
    route = Route("all", lambda request: True, lambda request: pool, filters)
    async with Proxy(Router([route]), Limits(linger=0.1)) as proxy:  # our clients read to the end and do not close
        yield await listen(proxy, "127.0.0.1")


class Talked(NamedTuple):
    """What came back for each piece of bytes sent, and what the origin saw."""

    answers: list[str]
    seen: list[bytes]


def talk(
    *sent: bytes,
    filters: Sequence[Filter] = (),
    answer: Answer = lambda head: ok(b"well\n"),
    pause: float = 0.0,
) -> Talked:
    """Each on a connection of its own, one after the other. pause: seconds before each but the first."""

    async def visits(door: tuple[str, int]) -> AsyncIterator[str]:
        for number, one in enumerate(sent):
            await asyncio.sleep(pause if number else 0.0)
            yield await callers.ask(door, one, end=False)

    async def scene() -> Talked:
        with origin(answer) as behind:
            async with gateway(behind.port, *filters) as door:
                answers = [one async for one in visits(door)]
            return Talked(answers, behind.seen)

    return aside.run(scene())


def crowd(many: int, one: bytes, *filters: Filter, answer: Answer) -> Talked:
    """So many who send the same at once, each on a connection of its own."""

    async def scene() -> Talked:
        with origin(answer) as behind:
            async with gateway(behind.port, *filters) as door:
                answers = await asyncio.gather(*(callers.ask(door, one, end=False) for _ in range(many)))
            return Talked(answers, behind.seen)

    return aside.run(scene())


def get(target: str, *fields: str, host: str = "shop.example") -> bytes:
    """A request in bytes, the last on its connection."""
    return "\r\n".join((f"GET {target} HTTP/1.1", f"Host: {host}", *fields, "Connection: close", "", "")).encode()


def exchange_costs(
    cases: Mapping[str, Sequence[Filter]], answer: Answer, targets: Sequence[str], rounds: int = 5
) -> Comparison:
    """CPU time of the proxy's thread for one request, by name of a row of filters; the first is the baseline."""

    def ask(door: tuple[str, int]) -> None:
        client = HTTPConnection(*door, timeout=30)
        try:
            for number in range(EACH):
                client.request("GET", targets[number % len(targets)], headers={"Accept-Encoding": "gzip"})
                client.getresponse().read()
        finally:
            client.close()

    async def scene() -> Comparison:
        samples: dict[str, list[float]] = {name: [] for name in cases}
        async with AsyncExitStack() as stack:
            behind = stack.enter_context(origin(answer))
            doors = {}
            for name, filters in cases.items():
                doors[name] = await stack.enter_async_context(gateway(behind.port, *filters))
                await asyncio.to_thread(ask, doors[name])  # compiles what compiles, fills what caches
            for number in range(rounds):
                for name in doors if number % 2 == 0 else reversed(doors):
                    before = time.thread_time_ns()
                    await asyncio.to_thread(ask, doors[name])
                    samples[name].append((time.thread_time_ns() - before) / EACH)
        return Comparison({name: tuple(taken) for name, taken in samples.items()}, next(iter(cases)))

    return aside.run(scene())
