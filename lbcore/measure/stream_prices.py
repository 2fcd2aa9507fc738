"""What the one in the middle pays for a call: relay or proxy, HTTP/2 or HTTP/1.1 on either side.

Rule of this file: relay and proxy have the event loop of one thread to themselves; service and callers have another's.
So the CPU time of the first is that of the middle.

Trap. HTTP/1.1 inside carries the message and not the outcome: the trailers are lost. For a price that does not matter,
for gRPC it does.

Theory. A relay pays each time it is woken, whatever the bytes mean; a proxy pays for each message. Calls that go side
by side on one connection arrive together, and share what a wake-up costs.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any, Final, Literal, NamedTuple

from lbcore.l7.rpc import grpc
from lbcore.measure.calls import PATH, Service, calling, serving
from lbcore.measure.clock import Comparison
from lbcore.measure.pinned import Mode, front
from lbcore.testbed import aside, callers, smallest
from lbcore.testbed.smallest import Address

EACH: Final = 192  # calls in a round
ANSWER: Final = b"xx"
BODY: Final = grpc.framed(b"")
CALL: Final = (
    b"POST %b HTTP/1.1\r\nhost: shop.example\r\ncontent-type: application/grpc\r\nuser-agent: grpc-book/1\r\n"
    b"content-length: %d\r\n\r\n%b" % (PATH.encode(), len(BODY), BODY)
)
"""The same call in HTTP/1.1: nobody makes such calls, and it is what a proxy writes to such a backend."""

Ask = Callable[[], Awaitable[None]]
Here = Callable[[Coroutine[Any, Any, Any]], Awaitable[Any]]


class Way(NamedTuple):
    """outside, inside: what callers, and what the service is spoken to in."""

    mode: Mode
    outside: Literal["h1", "h2c"]
    inside: Literal["h1", "h2c"]


WAYS: Final = {
    "relay": Way("L4", "h2c", "h2c"),
    "HTTP/1.1 to HTTP/1.1": Way("L7", "h1", "h1"),
    "HTTP/2 to HTTP/1.1": Way("L7", "h2c", "h1"),
    "HTTP/2 to HTTP/2": Way("L7", "h2c", "h2c"),
}


def costs(at_once: int, rounds: int = 5) -> Comparison:
    """CPU time of the middle for one call of WAYS, with so many calls under way; the relay is the baseline.

    Over HTTP/2 they share one connection, over HTTP/1.1 each has its own; all are kept.
    """
    return aside.run(_middle(at_once, rounds))


async def _middle(at_once: int, rounds: int) -> Comparison:
    loop = asyncio.get_running_loop()

    def here(coroutine: Coroutine[Any, Any, Any]) -> Awaitable[Any]:
        return asyncio.wrap_future(asyncio.run_coroutine_threadsafe(coroutine, loop))

    async with AsyncExitStack() as stack:

        async def opened(way: Way, addresses: Sequence[Address]) -> Address:
            doors = await stack.enter_async_context(front(way.mode, addresses, way.inside))
            return doors[0]

        return await asyncio.to_thread(asyncio.run, _others(here, opened, at_once, rounds))


async def _others(
    here: Here, opened: Callable[[Way, Sequence[Address]], Coroutine[Any, Any, Address]], at_once: int, rounds: int
) -> Comparison:
    async def clock() -> int:
        return time.thread_time_ns()

    samples: dict[str, list[float]] = {name: [] for name in WAYS}
    ask: dict[str, Ask] = {}
    async with serving(Service("one")) as addresses, AsyncExitStack() as stack:
        for name, way in WAYS.items():
            asking = over_http1 if way.outside == "h1" else over_http2
            ask[name] = await stack.enter_async_context(asking(await here(opened(way, addresses)), at_once))
            await ask[name]()  # compiles what compiles, fills what caches
        for number in range(rounds):
            for name in ask if number % 2 == 0 else reversed(ask):
                before = await here(clock())
                await ask[name]()
                samples[name].append((await here(clock()) - before) / EACH)
    return Comparison({name: tuple(taken) for name, taken in samples.items()}, "relay")


@asynccontextmanager
async def over_http2(door: Address, at_once: int) -> AsyncIterator[Ask]:
    """One connection, so many streams at a time."""
    async with calling([door]) as (caller,):

        async def one_by_one() -> None:
            for _ in range(EACH // at_once):
                answer = await caller.call()
                if answer.message != ANSWER:
                    raise ConnectionError(f"{answer}, wanted {ANSWER!r}")

        async def ask() -> None:
            await asyncio.gather(*(one_by_one() for _ in range(at_once)))

        yield ask


@asynccontextmanager
async def over_http1(door: Address, at_once: int) -> AsyncIterator[Ask]:
    """So many connections, a call at a time on each."""
    async with AsyncExitStack() as stack:
        pairs = [await stack.enter_async_context(callers.calling(door)) for _ in range(at_once)]

        async def one_by_one(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            for _ in range(EACH // at_once):
                writer.write(CALL)
                head = await reader.readuntil(b"\r\n\r\n")
                found = smallest.parse_fields(head[:-4].decode("latin-1").split("\r\n")[1:])
                body = await reader.readexactly(int(found["content-length"]))
                if body != grpc.framed(ANSWER):
                    raise ConnectionError(f"{body!r}, wanted {ANSWER!r} in its frame")

        async def ask() -> None:
            await asyncio.gather(*(one_by_one(*pair) for pair in pairs))

        yield ask
