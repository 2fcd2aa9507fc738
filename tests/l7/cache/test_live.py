"""The cache in a proxy, between raw clients and raw backends."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lbcore.l7.filters.cache import Cache, CacheOptions
from lbcore.l7.limits import Limits
from tests.l7.live import backend, get, proxying, read_request, say, together


class Clock:
    """Of the wall, and it moves when it is told to."""

    def __init__(self) -> None:
        self.now = 1_800_000_000.0

    def __call__(self) -> float:
        return self.now


def answer(*lines: str, body: str = "hello", status: str = "200 OK") -> bytes:
    """A response of the backend."""
    fields = "".join(f"{line}\r\n" for line in lines)
    return f"HTTP/1.1 {status}\r\n{fields}content-length: {len(body)}\r\n\r\n{body}".encode()


class Cut(bytes):
    """Said, and then the end."""


@dataclass
class Origin:
    """A backend that answers as its `say` says: a request to bytes, or to an awaitable of them."""

    say: Callable[[bytes], bytes | Awaitable[bytes]]
    seen: list[bytes] = field(default_factory=list)
    connections: int = 0

    async def talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        while True:
            request = await read_request(reader)
            self.seen.append(request)
            said = self.say(request)
            writer.write(said if isinstance(said, bytes) else await said)
            await writer.drain()
            if isinstance(said, Cut):
                return


@dataclass
class Bench:
    """A proxy with a cache, in front of an origin."""

    port: int
    cache: Cache
    origin: Origin
    clock: Clock

    async def ask(self, *lines: str, path: str = "/", method: str = "GET") -> bytes:
        """One request on a connection of its own."""
        return await say(self.port, get(path, *lines).replace(b"GET", method.encode(), 1))


@contextlib.asynccontextmanager
async def bench(
    said: Callable[[bytes], bytes | Awaitable[bytes]], limits: Limits | None = None, **options: Any
) -> AsyncIterator[Bench]:
    clock = Clock()
    cache, origin = Cache(CacheOptions(**options), now=clock), Origin(said)
    try:
        async with backend(origin.talk) as port, proxying(port, filters=(cache,), limits=limits) as (_, front):
            yield Bench(front, cache, origin, clock)
        state = cache.state()
        assert state["flights"] == 0
        assert state["filling"] == 0
    finally:
        cache.close()


def status(response: bytes) -> int:
    assert response.startswith(b"HTTP/1.1 "), response[:80]
    return int(response[9:12])


def body(response: bytes) -> bytes:
    return response.partition(b"\r\n\r\n")[2]


def fields(response: bytes) -> dict[bytes, bytes]:
    return dict(line.split(b": ", 1) for line in response.partition(b"\r\n\r\n")[0].split(b"\r\n")[1:])  # type: ignore[misc]


def test_the_second_one_is_a_hit() -> None:
    async def test() -> None:
        async with bench(lambda _: answer("cache-control: max-age=60")) as it:
            first = await it.ask()
            it.clock.now += 7
            second = await it.ask()
            assert len(it.origin.seen) == 1
            assert body(first) == body(second) == b"hello"
            assert b"age" not in fields(first)
            assert fields(first)[b"cache-status"] == b"lbcore; fwd=uri-miss"
            assert fields(second)[b"age"] == b"7"
            assert fields(second)[b"cache-status"] == b"lbcore; hit; ttl=53"
            assert b"date" in fields(second)
            it.clock.now += 60
            await it.ask()
            assert len(it.origin.seen) == 2

    together(test)


def test_a_304_makes_it_fresh_again_and_keeps_the_connection() -> None:
    def said(request: bytes) -> bytes:
        if b'if-none-match: "one"' in request:
            return b'HTTP/1.1 304 Not Modified\r\netag: "one"\r\ncache-control: max-age=60\r\nx-new: 1\r\n\r\n'
        return answer("cache-control: max-age=10", 'etag: "one"')

    async def test() -> None:
        async with bench(said) as it:
            await it.ask()
            it.clock.now += 11
            second = await it.ask()
            third = await it.ask()
            assert len(it.origin.seen) == 2
            assert it.origin.connections == 1
            assert status(second) == 200
            assert body(second) == body(third) == b"hello"
            assert fields(third)[b"x-new"] == b"1"
            assert fields(third)[b"cache-status"] == b"lbcore; hit; ttl=60"

    together(test)


def test_many_ask_one_goes() -> None:
    async def test() -> None:
        async def said(_: bytes) -> bytes:
            await asyncio.sleep(0.2)
            return answer("cache-control: max-age=60")

        async with bench(said) as it:
            answers = await asyncio.gather(*(it.ask() for _ in range(40)))
            assert {body(one) for one in answers} == {b"hello"}
            assert len(it.origin.seen) == 1
            assert it.cache.state()["followed"] == 39

    together(test)


def test_a_body_that_breaks_off_is_not_stored() -> None:
    async def test() -> None:
        broken = Cut(b"HTTP/1.1 200 OK\r\ncache-control: max-age=60\r\ncontent-length: 10\r\n\r\nhell")
        async with bench(lambda _: answer("cache-control: max-age=60") if it.origin.seen[1:] else broken) as it:
            assert body(await it.ask()) == b"hell"
            assert body(await it.ask()) == b"hello"
            assert it.cache.state()["broken"] == 1
            assert len(it.origin.seen) == 2

    together(test)


def test_sqlite_outlives_its_proxy(tmp_path: Path) -> None:
    path = str(tmp_path / "cache.db")

    async def test() -> None:
        for _ in range(2):
            async with bench(lambda _: answer("cache-control: max-age=60"), path=path) as it:
                assert body(await it.ask()) == b"hello"
                seen.extend(it.origin.seen)

    seen: list[bytes] = []
    together(test)
    assert len(seen) == 1
