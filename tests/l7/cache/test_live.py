"""The cache in a proxy, between raw clients and raw backends."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import sqlite3
import struct
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from lbcore.l7.cache.options import CacheOptions
from lbcore.l7.filters.cache import Cache
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
            promised = self.say(request)
            said = promised if isinstance(promised, bytes) else await promised
            writer.write(said)
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


# ---- what must never be given, or to nobody else ----


def test_each_host_has_its_own_pages() -> None:
    """Pingora CVE-2026-2836: a default key without the host served one tenant's pages to another."""

    async def test() -> None:
        async with bench(lambda request: answer("cache-control: max-age=60", body=host(request))) as it:
            for _ in range(2):
                for name in ("one.example", "two.example"):
                    asked = get("/same").replace(b"example.org", name.encode())
                    assert body(await say(it.port, asked)) == name.encode()
            assert len(it.origin.seen) == 2

    together(test)


def host(request: bytes) -> str:
    return next(line[6:].decode() for line in request.split(b"\r\n") if line.startswith(b"host: "))


def test_a_get_with_a_body_is_neither_answered_nor_stored() -> None:
    async def test() -> None:
        async with bench(lambda request: answer("cache-control: max-age=60", body=f"{len(request)}")) as it:
            fat = get("/", "content-length: 3") + b"abc"
            poison = body(await say(it.port, fat))
            clean = body(await it.ask())
            assert poison != clean
            await say(it.port, fat)
            assert body(await it.ask()) == clean
            assert len(it.origin.seen) == 3

    together(test)


def test_the_answer_to_a_range_is_not_stored_for_the_whole() -> None:
    """416 has no body to speak of; stored, it would answer everybody (and 206 would be half a page)."""

    async def test() -> None:
        lines = ("cache-control: max-age=60", "content-range: bytes */5")
        for status_line in ("416 Range Not Satisfiable", "206 Partial Content"):
            async with bench(
                lambda request, line=status_line: (
                    answer(*lines, status=line, body="part")  # type: ignore[misc]
                    if b"range" in request
                    else answer("cache-control: max-age=60")
                )
            ) as it:
                assert body(await it.ask("range: bytes=99-")) == b"part"
                assert body(await it.ask()) == b"hello"
                assert body(await it.ask("range: bytes=1-2")) == b"el"
                assert len(it.origin.seen) == 2

    together(test)


def test_key_headers_keep_apart_what_vary_forgot() -> None:
    async def test() -> None:
        def said(request: bytes) -> bytes:
            return answer("cache-control: max-age=60", body="evil" if b"x-forwarded-host: evil" in request else "good")

        async with bench(said, key_headers=("X-Forwarded-Host",)) as it:
            assert body(await it.ask("x-forwarded-host: evil")) == b"evil"
            assert body(await it.ask()) == b"good"
            assert body(await it.ask("x-forwarded-host: evil")) == b"evil"
            assert len(it.origin.seen) == 2

    together(test)


def test_cookies_are_given_to_one_only() -> None:
    async def test() -> None:
        def said(_: bytes) -> bytes:
            return answer("cache-control: max-age=60", "set-cookie: session=secret")

        async with bench(said) as it:
            assert b"secret" in await it.ask()
            await it.ask()
            assert len(it.origin.seen) == 2
        async with bench(said, set_cookie="strip") as it:
            assert b"secret" in await it.ask()
            assert b"secret" not in await it.ask()
            assert len(it.origin.seen) == 1

    together(test)


def test_a_change_under_way_keeps_the_old_answer_out() -> None:
    """GET asks, PUT changes, and only then the GET's old answer comes: it must not be stored."""

    async def test() -> None:
        old = asyncio.Event()

        async def said(request: bytes) -> bytes:
            if request.startswith(b"PUT"):
                return answer()
            if len(it.origin.seen) == 1:
                await old.wait()
                return answer("cache-control: public, max-age=60", body="old")
            return answer("cache-control: public, max-age=60", body="new")

        async with bench(said) as it:
            for collapse_or_not in ("x-a: 1", "authorization: b"):
                it.cache.purge("*")
                it.origin.seen.clear()
                old.clear()
                early = asyncio.create_task(it.ask(collapse_or_not))
                await until(lambda: len(it.origin.seen) == 1)
                assert status(await it.ask(method="PUT")) == 200
                assert body(await it.ask()) == b"new"  # it does not wait for the early one either
                assert status(await it.ask(method="PUT")) == 200
                old.set()
                assert body(await early) == b"old"
                assert body(await it.ask()) == b"new"

    together(test)


def reset(writer: asyncio.StreamWriter) -> None:
    """Go without a word. Just closing would be heard as: no more requests, but go on with the answer."""
    sock = writer.get_extra_info("socket")
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.close()


async def until(holds: Callable[[], bool]) -> None:
    for _ in range(500):
        if holds():
            return
        await asyncio.sleep(0.01)
    raise TimeoutError


def test_changes_make_invalid() -> None:
    async def test() -> None:
        def said(request: bytes) -> bytes:
            if request.startswith(b"POST"):
                return answer("location: /other", "content-location: http://elsewhere.example/far")
            return answer("cache-control: max-age=60")

        async with bench(said) as it:
            for path in ("/", "/other", "/far"):
                await it.ask(path=path)
            await it.ask(method="POST")
            hits = [b"; hit" in await it.ask(path=path) for path in ("/", "/other", "/far")]
            assert hits == [False, False, True]

    together(test)


# ---- stale ----


def test_stale_while_revalidate_gives_the_old_one_and_fetches_once() -> None:
    async def test() -> None:
        gate = asyncio.Event()

        async def said(_: bytes) -> bytes:
            if it.origin.seen[1:]:
                await gate.wait()
            return answer("cache-control: max-age=10, stale-while-revalidate=30", body=f"{len(it.origin.seen)}")

        async with bench(said) as it:
            await it.ask()
            it.clock.now += 20
            assert [body(await it.ask()) for _ in range(5)] == [b"1"] * 5
            await until(lambda: len(it.origin.seen) == 2)
            gate.set()
            await until(lambda: len(it.cache.flights) == 0)
            assert body(await it.ask()) == b"2"
            assert len(it.origin.seen) == 2

    together(test)


@pytest.mark.parametrize("line", ["authorization: Basic YW5uOng=", "cache-control: no-store"])
def test_what_is_fetched_behind_for_one_alone_is_not_stored_for_all(line: str) -> None:
    """RFC 9111, 3.5 and 5.2.1.5 hold of that answer too: it is one to a request with this line."""

    def said(request: bytes) -> bytes:
        whose = "one" if line.encode() in request else "all"
        return answer("cache-control: max-age=10, stale-while-revalidate=60", body=whose)

    async def test() -> None:
        async with bench(said) as it:
            await it.ask()
            it.clock.now += 20
            assert body(await it.ask(line)) == b"all"
            await until(lambda: len(it.origin.seen) == 2 and len(it.cache.flights) == 0)
            assert line.encode() in it.origin.seen[1]
            assert body(await it.ask()) == b"all"

    together(test)


def test_stale_if_error_and_not_without_leave() -> None:
    async def test() -> None:
        for leave, wanted in (("stale-if-error=60", 200), ("must-revalidate, stale-if-error=60", 503), ("x", 503)):

            def said(_: bytes, leave: str = leave) -> bytes:
                if it.origin.seen[1:]:
                    return answer(status="503 Service Unavailable", body="broken")
                return answer(f"cache-control: max-age=10, {leave}")

            async with bench(said) as it:
                await it.ask()
                it.clock.now += 20
                assert [status(await it.ask()) for _ in range(3)] == [wanted] * 3
                if wanted == 200:
                    assert len(it.origin.seen) == 2  # for a second the backend is left in peace

    together(test)


def test_a_backend_that_is_gone_is_stood_in_for() -> None:
    async def test() -> None:
        async with bench(lambda _: answer("cache-control: max-age=10"), stale_if_error=60) as it:
            await it.ask()
            it.clock.now += 20
            it.origin.say = lambda _: Cut(b"")
            response = await it.ask()
            assert status(response) == 200
            assert body(response) == b"hello"
            assert fields(response)[b"age"] == b"20"
            it.clock.now += 60
            assert status(await it.ask()) == 502

    together(test)


# ---- validation ----


def test_the_clients_own_conditions_are_answered_from_what_comes() -> None:
    async def test() -> None:
        async with bench(lambda _: answer("cache-control: max-age=10", 'etag: "a"')) as it:
            first = await it.ask('if-none-match: "a"')
            assert b"if-none-match" not in it.origin.seen[0]  # or nothing could be stored
            assert status(first) == 304
            assert body(first) == b""
            assert body(await it.ask()) == b"hello"
            assert status(await it.ask('if-none-match: "a"')) == 304
            assert len(it.origin.seen) == 1

    together(test)


def test_a_304_for_something_else_is_not_believed() -> None:
    def said(request: bytes) -> bytes:
        if b"if-none-match" in request:
            return b'HTTP/1.1 304 Not Modified\r\netag: "other"\r\n\r\n'
        return answer("cache-control: max-age=10", 'etag: "a"', body=f"{len(it_.seen)}")

    it_ = Origin(said)

    async def test() -> None:
        async with bench(said) as it:
            it_.seen = it.origin.seen
            assert body(await it.ask()) == b"1"
            it.clock.now += 20
            response = await it.ask()
            assert status(response) == 200
            assert body(response) == b"3"

    together(test)


@pytest.mark.parametrize(
    ("lines", "asked", "gone"),
    [
        (["cache-control: no-store, max-age=60"], [], True),
        (["cache-control: private, max-age=60"], [], True),
        (["cache-control: max-age=60", "vary: cookie"], [], True),
        (["cache-control: max-age=60", "x-user: ann"], ["authorization: Basic YW5uOng="], False),
        (["cache-control: max-age=60"], ["cache-control: no-store"], False),
        (["cache-control: max-age=60, public"], ["authorization: Basic YW5uOng="], None),
        (["cache-control: max-age=60", "vary: x-a"], [], None),
    ],
)
def test_a_304_can_take_back_the_leave_to_store(lines: list[str], asked: list[str], gone: bool | None) -> None:
    """RFC 9111, 3 and 4.1 hold of what a 304 makes of the stored response, and of the request that it answers."""

    async def test() -> None:
        def said(request: bytes) -> bytes:
            if b"if-none-match" in request:
                more = lines if len(it.origin.seen) == 2 else []
                return "\r\n".join(["HTTP/1.1 304 Not Modified", 'etag: "a"', *more, "", ""]).encode()
            return answer("cache-control: max-age=10", 'etag: "a"', "vary: x-a, x-b")

        async with bench(said) as it:
            await it.ask()
            it.clock.now += 20
            assert body(await it.ask(*asked)) == b"hello"
            assert it.cache.state()["entries"] == (0 if gone else 1)
            assert b"x-user" not in await it.ask()
            assert len(it.origin.seen) == (2 if gone is None else 3)

    together(test)


def test_head_is_answered_from_get() -> None:
    async def test() -> None:
        async with bench(lambda _: answer("cache-control: max-age=10", 'etag: "a"')) as it:
            await it.ask()
            response = await it.ask(method="HEAD")
            assert fields(response)[b"content-length"] == b"5"
            assert body(response) == b""
            assert len(it.origin.seen) == 1

    together(test)


def test_only_if_cached() -> None:
    async def test() -> None:
        async with bench(lambda _: answer("cache-control: max-age=10")) as it:
            assert status(await it.ask("cache-control: only-if-cached")) == 504
            await it.ask()
            assert status(await it.ask("cache-control: only-if-cached")) == 200
            assert len(it.origin.seen) == 1

    together(test)


# ---- many at once ----


def test_a_leader_that_fails_does_not_fail_the_others() -> None:
    async def test() -> None:
        async def said(_: bytes) -> bytes:
            count = len(it.origin.seen)
            await asyncio.sleep(0.1)
            return Cut(b"") if count == 1 else answer("cache-control: max-age=60")

        async with bench(said) as it:
            first = asyncio.create_task(it.ask())
            await until(lambda: len(it.origin.seen) == 1)
            others = await asyncio.gather(*(it.ask() for _ in range(20)))
            assert status(await first) == 502
            assert {status(one) for one in others} == {200}
            assert len(it.origin.seen) == 2

    together(test)


def test_a_leader_whose_client_goes_does_not_stop_the_others() -> None:
    async def test() -> None:
        async def said(_: bytes) -> bytes:
            await asyncio.sleep(0.3)
            return answer("cache-control: max-age=60")

        async with bench(said) as it:
            _, writer = await asyncio.open_connection("127.0.0.1", it.port)
            writer.write(get())
            await until(lambda: len(it.origin.seen) == 1)
            others = asyncio.gather(*(it.ask() for _ in range(5)))
            await asyncio.sleep(0.05)
            reset(writer)
            assert {body(one) for one in await others} == {b"hello"}
            assert len(it.origin.seen) == 2

    together(test)


def test_what_cannot_be_stored_is_not_asked_for_one_by_one() -> None:
    async def test() -> None:
        gate = asyncio.Event()

        async def said(_: bytes) -> bytes:
            if len(it.origin.seen) > 1:
                await asyncio.wait_for(gate.wait(), 5)  # all of them are here at once, or this never opens
            return answer("cache-control: no-store")

        async with bench(said) as it:
            asked = [asyncio.create_task(it.ask()) for _ in range(10)]
            await until(lambda: len(it.origin.seen) == 10)
            gate.set()
            assert {status(one) for one in await asyncio.gather(*asked)} == {200}

    together(test)


def test_a_leader_that_takes_too_long_is_not_waited_for() -> None:
    async def test() -> None:
        gate = asyncio.Event()

        async def said(_: bytes) -> bytes:
            if len(it.origin.seen) == 1:
                await gate.wait()
            return answer("cache-control: max-age=60")

        async with bench(said, collapse=0.2) as it:
            first = asyncio.create_task(it.ask())
            await until(lambda: len(it.origin.seen) == 1)
            assert body(await it.ask()) == b"hello"
            gate.set()
            assert body(await first) == b"hello"

    together(test)


def test_a_follower_that_goes_leads_nobody() -> None:
    async def test() -> None:
        async def said(_: bytes) -> bytes:
            await asyncio.sleep(0.3)
            return Cut(b"")

        async with bench(said) as it:
            first = asyncio.create_task(it.ask())
            await until(lambda: len(it.origin.seen) == 1)
            _, writer = await asyncio.open_connection("127.0.0.1", it.port)
            writer.write(get())
            await asyncio.sleep(0.1)
            reset(writer)
            assert status(await first) == 502
            await asyncio.sleep(0.05)
            assert len(it.origin.seen) == 1

    together(test)


# ---- bounds ----


def test_bodies_pass_while_they_are_listened_to_and_large_ones_are_left() -> None:
    async def test() -> None:
        async def said(request: bytes) -> bytes:
            return answer("cache-control: max-age=60", body="x" * int(request.split()[1][1:]))

        async with bench(said, largest=1000, size=5000, filling=1500) as it:
            for size, hit in ((1000, True), (1001, False)):
                await it.ask(path=f"/{size}")
                response = await it.ask(path=f"/{size}")
                assert len(body(response)) == size
                assert (b"; hit" in response) is hit

        async with bench(chunked, largest=1000) as it:  # its length is known when it is over
            for _ in range(2):
                assert (await it.ask()).count(b"x" * 500) == 6
            assert it.cache.state()["too_large"] == 2

    together(test)


async def chunked(_: bytes) -> bytes:
    return (
        b"HTTP/1.1 200 OK\r\ncache-control: max-age=60\r\ntransfer-encoding: chunked\r\n\r\n"
        + (b"1f4\r\n" + b"x" * 500 + b"\r\n") * 6
        + b"0\r\n\r\n"
    )


def test_the_first_byte_is_not_kept_back() -> None:
    async def test() -> None:
        gate = asyncio.Event()

        async def dribble(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await read_request(reader)
            writer.write(b"HTTP/1.1 200 OK\r\ncache-control: max-age=60\r\ncontent-length: 2\r\n\r\na")
            await gate.wait()
            writer.write(b"b")
            await writer.drain()
            await asyncio.sleep(0.1)

        cache = Cache(CacheOptions())
        async with backend(dribble) as port, proxying(port, filters=(cache,)) as (_, front):
            reader, writer = await asyncio.open_connection("127.0.0.1", front)
            writer.write(get())
            assert (await asyncio.wait_for(reader.readuntil(b"\r\n\r\na"), 5)).endswith(b"a")
            gate.set()
            assert await reader.readexactly(1) == b"b"
            writer.close()

    together(test)


def test_purge() -> None:
    async def test() -> None:
        async with bench(lambda _: answer("cache-control: max-age=60")) as it:
            for path in ("/a/1", "/a/2", "/b"):
                await it.ask(path=path)
            assert it.cache.purge("http://example.org/a/*") == 2
            assert it.cache.purge("http://example.org/b?") == 0
            assert it.cache.purge("http://example.org/b") == 1
            assert it.cache.state()["entries"] == 0

    together(test)


def test_a_store_that_fails_holds_up_nobody(tmp_path: Path) -> None:
    """Somebody else holds the file, or the disk is full: requests go on, uncached, and it is counted."""

    async def test() -> None:
        path = tmp_path / "cache.db"
        async with bench(lambda _: answer("cache-control: max-age=60"), path=str(path)) as it:
            holder = sqlite3.connect(path, isolation_level=None)
            holder.execute("begin exclusive")
            answers = await asyncio.gather(*(it.ask() for _ in range(20)))
            assert {body(one) for one in answers} == {b"hello"}
            assert it.cache.state()["store_failed"] > 0
            assert it.cache.state()["failed"] > 0
            holder.execute("rollback")
            holder.close()
            await it.ask()
            assert b"; hit" in await it.ask()

    together(test)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"size": 0}, "size is 0"),
        ({"largest": 2, "size": 1}, "largest is 2"),
        ({"collapse": -1.0}, "collapse is -1"),
        ({"heuristic_limit": float("nan")}, "heuristic_limit is nan"),
        ({"name": "a b"}, "name is 'a b'"),
        ({"key_headers": ("a b",)}, "key_headers is 'a b'"),
    ],
)
def test_options_that_make_no_sense(options: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        CacheOptions(**options)


def test_a_new_configuration_goes_on_with_what_is_stored() -> None:
    async def test() -> None:
        async with bench(lambda _: answer("cache-control: max-age=60")) as it:
            await it.ask()
            successor = Cache(CacheOptions(), now=it.clock)
            assert successor.share(it.cache)
            it.cache.close()
            async with proxying(1, filters=(successor,)) as (_, front):
                assert body(await say(front, get())) == b"hello"  # nobody is behind this one
            assert not Cache(CacheOptions(size=1 << 30)).share(it.cache)
            successor.close()

    together(test)


def test_twice_in_one_row_is_once() -> None:
    async def test() -> None:
        origin = Origin(lambda _: answer("cache-control: max-age=60"))
        cache = Cache(CacheOptions())
        async with backend(origin.talk) as port, proxying(port, filters=(cache, cache)) as (_, front):
            assert body(await say(front, get())) == b"hello"
            assert b"; hit" in await say(front, get())
            assert len(cache.flights) == 0
        cache.close()

    together(test)
