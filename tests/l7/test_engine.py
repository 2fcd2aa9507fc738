"""The engine between a raw client and raw backends: what it passes on, what it refuses, what it survives."""

from __future__ import annotations

import asyncio
import contextlib
import os
import resource
import socket
import struct
import threading
from collections.abc import Awaitable
from dataclasses import replace

import pytest

from lbcore.l7.engine.proxy import TICK
from lbcore.l7.errors import Malformed
from lbcore.l7.filters.filter import Exchange, Filter
from lbcore.l7.limits import Limits
from lbcore.l7.message import Headers, Response, text
from lbcore.l7.pools.pool import Timeouts
from tests.l7.live import OK, Seen, Talk, answering, backend, get, proxying, read_request, say, together

QUICK = Limits(head_time=0.3, idle_time=0.4, linger=0.3)
HASTY = Timeouts(connect=0.3, head=0.4, idle=0.4)


def through(
    talk: Talk, *pieces: bytes, limits: Limits | None = None, timeouts: Timeouts | None = None, eof: bool = False,
    pause: float = 0.0, filters: tuple[Filter, ...] = (),
) -> bytes:  # fmt: skip
    """What a client gets that says this, through a proxy, to that backend."""

    async def test() -> bytes:
        async with (
            backend(talk) as port,
            proxying(port, limits=limits, timeouts=timeouts, filters=filters) as (_, front),
        ):
            return await say(front, *pieces, pause=pause, eof=eof)

    return together(test)


def scripted(*answers: bytes, close: bool = True) -> Talk:
    """To each request the next of these, then the end."""

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for answer in answers:
            await read_request(reader)
            writer.write(answer)
            await writer.drain()
        if not close:
            await asyncio.sleep(20)

    return talk


def status(answer: bytes) -> int:
    """Of the first response."""
    assert answer.startswith(b"HTTP/1.1 "), answer[:80]
    return int(answer[9:12])


# ---- what is passed on ----


def test_a_request_as_the_backend_gets_it() -> None:
    seen = Seen()
    answer = through(answering(OK, seen), get("/a?b=c", "X-One: 1", "Connection: x-gone", "X-Gone: 1", "TE: gzip"))
    assert answer == b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\nconnection: close\r\n\r\nok"
    assert seen.all == b"GET /a?b=c HTTP/1.1\r\nhost: example.org\r\nx-one: 1\r\nvia: 1.1 lbcore\r\n\r\n"


def test_bodies_keep_their_framing() -> None:
    seen = Seen()
    chunked = b"POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n5;x=y\r\nhello\r\n0\r\nx-sum: 1\r\n\r\n"
    counted = b"PUT / HTTP/1.1\r\nhost: a\r\ncontent-length: 5\r\nconnection: close\r\n\r\nhello"
    answer = through(answering(OK, seen), chunked + counted)
    assert answer.count(b"200 OK") == 2
    assert b"transfer-encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\nx-sum: 1\r\n\r\n" in seen.all
    assert b"content-length: 5\r\n\r\nhello" in seen.all


def test_a_backends_latency_is_told_by_the_head_not_by_the_body() -> None:
    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_request(reader)
        writer.write(OK[:-1])
        await asyncio.sleep(1.5)
        writer.write(OK[-1:])

    async def test() -> None:
        async with backend(talk) as port, proxying(port) as (proxy, front):
            (asked,) = proxy.router.routes[0].choose(None).backends  # type: ignore
            assert status(await say(front, get())) == 200
            assert 0 < asked.latency < 1.0

    together(test)


def test_trailers_and_early_hints_come_through() -> None:
    answer = through(
        scripted(
            b"HTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\n"
            b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n0\r\nx-sum: 7\r\n\r\n"
        ),
        get(),
    )
    assert answer.startswith(b"HTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\nHTTP/1.1 200 OK\r\n")
    assert answer.endswith(b"2\r\nok\r\n0\r\nx-sum: 7\r\n\r\n")


def test_head_has_a_length_and_no_body() -> None:
    answer = through(scripted(b"HTTP/1.1 200 OK\r\ncontent-length: 7\r\n\r\n"), get().replace(b"GET", b"HEAD"))
    assert answer.endswith(b"content-length: 7\r\nconnection: close\r\n\r\n")


def test_pipelined_requests_are_answered_in_their_order() -> None:
    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            path = (await read_request(reader)).split()[1]
            await asyncio.sleep(0.05 if path == b"/0" else 0)
            writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n%b" % (len(path), path))

    answer = through(talk, *(get(f"/{i}", close=i == 9) for i in range(10)))
    assert [part.partition(b"\r\n\r\n")[2] for part in answer.split(b"HTTP/1.1 ")[1:]] == [
        b"/%d" % i for i in range(10)
    ]


def test_a_client_of_http_1_0() -> None:
    chunks = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n"
    assert through(scripted(chunks), b"GET / HTTP/1.0\r\n\r\n") == (
        b"HTTP/1.1 200 OK\r\nconnection: close\r\n\r\nok"
    )  # no chunks for 1.0: the end of the connection is the end of the body
    answer = through(answering(OK), b"GET / HTTP/1.0\r\nconnection: keep-alive\r\n\r\n", get())
    assert answer.count(b"200 OK") == 2
    assert b"connection: keep-alive" in answer


def test_100_continue_is_said_by_the_proxy() -> None:
    async def test() -> None:
        seen = Seen()
        async with backend(answering(OK, seen)) as port, proxying(port) as (_, front):
            reader, writer = await asyncio.open_connection("127.0.0.1", front)
            writer.write(b"PUT / HTTP/1.1\r\nhost: a\r\nexpect: 100-continue\r\ncontent-length: 3\r\n\r\n")
            assert await reader.readuntil(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
            writer.write(b"abc")
            assert (await reader.readuntil(b"ok")).startswith(b"HTTP/1.1 200 OK")
            assert b"expect" not in seen.all
            writer.close()

    together(test)


def test_a_client_that_closes_its_half_gets_its_answer() -> None:
    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_request(reader)
        await asyncio.sleep(0.1)
        writer.write(OK)

    assert through(talk, get(close=False), eof=True).endswith(b"ok")


class Short(Filter):
    """Answers paths of even numbers by itself, at once."""

    def on_request(self, exchange: Exchange) -> Response | None:
        return text(200, exchange.request.path.decode()) if int(exchange.request.path[1:]) % 2 == 0 else None


@pytest.mark.parametrize("filters", [(), (Short(),)])
@pytest.mark.parametrize("rest", [b"", b"GET /9 HTT"])
@pytest.mark.parametrize("count", [1, 5])
def test_a_client_that_closes_its_half_gets_all_its_answers(count: int, rest: bytes, filters: tuple[Filter]) -> None:
    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            path = (await read_request(reader)).split()[1]
            await asyncio.sleep(0.02)
            writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n%b" % (len(path), path))

    ask = b"".join(get(f"/{number}", close=False) for number in range(1, 1 + count))
    answers = through(talk, ask + rest, eof=True, filters=filters).split(b"HTTP/1.1 ")[1:]
    assert [one.partition(b"\r\n\r\n")[2].strip() for one in answers] == [
        b"/%d" % number for number in range(1, 1 + count)
    ]
    assert rest or b"connection: close" in answers[-1]
    assert not any(b"connection: close" in one for one in answers[:-1])


def test_connections_are_used_again() -> None:
    seen = Seen()

    async def test() -> None:
        async with backend(answering(OK, seen)) as port, proxying(port) as (_, front):
            for _ in range(5):
                assert (await say(front, get(close=False), get())).count(b"200 OK") == 2

    together(test)
    assert len(seen.connections) == 1
    assert seen.all.count(b"GET") == 10


def test_upgrade_becomes_a_tunnel() -> None:
    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await read_request(reader)
        assert b"connection: upgrade\r\nupgrade: echo\r\n" in head
        writer.write(b"HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: echo\r\nx-a: 1\r\n\r\nhi ")
        while data := await reader.read(100):
            writer.write(data.upper())
        writer.write(b" bye")

    ask = get("/", "Connection: upgrade", "Upgrade: echo", close=False)
    answer = through(talk, ask, b"one ", b"two", pause=0.1, eof=True)
    head, _, rest = answer.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 101 ")
    assert b"x-a: 1" in head
    assert rest == b"hi ONE TWO bye"


def offering(ended: list[bool]) -> Talk:
    """Answers, offers another protocol with it as Apache does, and notes whether the other half was closed by then."""
    offer = OK.replace(b"OK\r\n", b"OK\r\nupgrade: h2,h2c\r\nconnection: upgrade, keep-alive\r\n")

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            await read_request(reader)
            await asyncio.sleep(0.1)
            ended.append(reader.at_eof())
            writer.write(offer)

    return talk


@pytest.mark.parametrize(
    "body", [b"content-length: 1\r\n\r\nx", b"transfer-encoding: chunked\r\n\r\n1\r\nx\r\n0\r\n\r\n"]
)
def test_a_request_with_a_body_may_ask_for_a_tunnel_too(body: bytes) -> None:
    """All of it gets to the backend, which offers a tunnel and does not grant it; then our half is still open."""
    ended: list[bool] = []
    ask = b"POST / HTTP/1.1\r\nhost: a\r\nconnection: upgrade, close\r\nupgrade: echo\r\n" + body
    assert through(offering(ended), get(close=False), ask, timeouts=Timeouts(head=2.0)).count(b"200 OK") == 2
    assert ended == [False] * 2


def test_silence_in_a_tunnel_is_no_failure_of_the_backend() -> None:
    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_request(reader)
        writer.write(b"HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: echo\r\n\r\n")
        await reader.read()

    async def test() -> None:
        async with backend(talk) as port, proxying(port, limits=QUICK) as (proxy, front):
            (asked,) = proxy.router.routes[0].choose(None).backends  # type: ignore
            assert status(await say(front, get("/", "connection: upgrade", "upgrade: echo", close=False))) == 101
            assert (asked.total, asked.errors) == (1, 0)

    together(test)


def test_a_backend_that_only_offers_an_upgrade_has_no_tunnel() -> None:
    """Apache says `Upgrade: h2,h2c` in its answers: the end of the next request's body is not the connection's."""
    ended: list[bool] = []
    post = b"POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 1\r\n\r\nx"
    assert through(offering(ended), get(close=False), post, get()).count(b"200 OK") == 3
    assert ended == [False] * 3


@pytest.mark.parametrize("size", [300_000_000])
def test_bodies_of_any_size_take_no_memory(size: int) -> None:
    """Both ways at once; what the process has at its most is hardly more than before."""
    piece = bytes(1 << 16)

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % size)
        left = size
        while left:
            left -= len(await reader.read(min(left, 1 << 18)))
        for _ in range(size // len(piece)):
            writer.write(piece)
            await writer.drain()
        writer.write(piece[: size % len(piece)])
        await writer.drain()
        await asyncio.sleep(1)

    async def test() -> None:
        async with backend(talk) as port, proxying(port) as (_, front):
            before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
            reader, writer = await asyncio.open_connection("127.0.0.1", front)
            writer.write(b"POST / HTTP/1.1\r\nhost: a\r\ncontent-length: %d\r\n\r\n" % size)
            for _ in range(size // len(piece)):
                writer.write(piece)
                await writer.drain()
            writer.write(piece[: size % len(piece)])
            await reader.readuntil(b"\r\n\r\n")
            left = size
            while left:
                left -= len(await reader.read(1 << 18))
            writer.close()
            assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 30_000  # KiB

    together(test)


def test_a_client_that_does_not_read_holds_the_backend_back() -> None:
    sent = 0

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal sent
        await read_request(reader)
        writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
        while True:
            writer.write(bytes(1 << 16))
            await writer.drain()
            sent += 1 << 16

    async def test() -> None:
        async with backend(talk) as port, proxying(port) as (_, front):
            _, writer = await asyncio.open_connection("127.0.0.1", front, limit=1000)
            writer.write(get())
            await asyncio.sleep(1)
            assert sent < 30_000_000  # what lies in the kernel's buffers
            writer.transport.abort()

    together(test)


def test_a_client_that_does_not_read_says_nothing_of_the_backend() -> None:
    answer = b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % 30_000_000 + bytes(30_000_000)

    async def test() -> None:
        async with backend(answering(answer)) as port, proxying(port, timeouts=HASTY) as (proxy, front):
            (asked,) = proxy.router.routes[0].choose(None).backends  # type: ignore
            _, writer = await asyncio.open_connection("127.0.0.1", front, limit=1000)
            writer.write(get())
            async with asyncio.timeout(10):
                while not asked.total:
                    await asyncio.sleep(0.05)
            assert asked.errors == 0
            writer.transport.abort()

    together(test)


@pytest.mark.parametrize("size", [3_000_000, 30_000_000])  # all of it in buffers; and so much that it is timed out
@pytest.mark.parametrize("close", [True, False])
def test_a_client_that_takes_nothing_is_let_go(close: bool, size: int) -> None:
    """Whatever the end of its connection: nothing that waits to be sent keeps it open for ever."""
    answer = b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % size + bytes(size)

    async def test() -> None:
        async with backend(answering(answer)) as port, proxying(port, limits=QUICK, timeouts=HASTY) as (proxy, front):
            with socket.socket() as client:
                client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
                client.connect(("127.0.0.1", front))
                client.send(get(close=close))
                await asyncio.sleep(0.2)
                assert proxy.clients
                async with asyncio.timeout(10):
                    while proxy.clients:
                        await asyncio.sleep(0.05)

    together(test)


def test_a_slow_client_gets_the_last_byte_of_an_answer_that_came_early() -> None:
    """The answer is over, the request is not, and what is left takes several times as long as a connection lingers."""
    size, got = 6_000_000, 0

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % size + bytes(size))
        await writer.drain()
        await reader.read()

    async def test() -> None:
        nonlocal got
        loop, limits = asyncio.get_running_loop(), replace(QUICK, linger=0.2, idle_time=5.0)
        async with backend(talk) as port, proxying(port, limits=limits) as (proxy, front):
            with socket.socket() as client:
                client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
                client.setblocking(False)
                await loop.sock_connect(client, ("127.0.0.1", front))
                await loop.sock_sendall(client, b"POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 9\r\n\r\n")
                async with asyncio.timeout(30):
                    while data := await loop.sock_recv(client, 1 << 16):
                        got += len(data)
                        if not proxy.exchanges and got < size:  # the backend is done with, we are not
                            await asyncio.sleep(0.01)

    together(test)
    assert got > size


# ---- what is refused ----


@pytest.mark.parametrize(
    ("request_bytes", "expected"),
    [
        (b"CONNECT a:443 HTTP/1.1\r\nhost: a:443\r\n\r\n", 405),
        (b"TRACE / HTTP/1.1\r\nhost: a\r\n\r\n", 405),
        (b"GET / HTTP/1.1\r\n\r\n", 400),
        (b"POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 3\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n", 400),
        (b"POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 2000\r\n\r\n", 413),
        (b"POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n7d0\r\n" + bytes(2000), 413),
        (b"POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n", 400),
        (b"GET /" + b"a" * 20000 + b" HTTP/1.1\r\nhost: a\r\n\r\n", 414),
        (b"GET / HTTP/1.1\r\nhost: a\r\nx: " + b"a" * 40000 + b"\r\n\r\n", 431),
        (b"GET / HTTP/2.0\r\nhost: a\r\n\r\n", 505),
    ],
)  # fmt: skip
def test_refused_once_and_for_all(request_bytes: bytes, expected: int) -> None:
    """Nothing that follows on the connection is read as a request."""
    seen = Seen()
    answer = through(answering(OK, seen), request_bytes + get("/smuggled") * 2, limits=replace(QUICK, body=1000))
    assert status(answer) == expected
    if expected == 405:
        return  # a request that is understood; the next one may follow
    assert answer.count(b"content-length: ") == 1
    assert b"smuggled" not in seen.all


def test_a_refused_upload_gets_to_see_why() -> None:
    """The client is still sending when it is answered: a reset would take the answer away from it."""
    answer = through(
        answering(OK), b"POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 5000000\r\n\r\n", *[bytes(100_000)] * 50,
        limits=replace(QUICK, body=1000, linger=5),
    )  # fmt: skip
    assert status(answer) == 413


@pytest.mark.parametrize(
    ("pieces", "expected"),
    [
        ([b"GET / HT"], b"HTTP/1.1 408"),
        ([b"GET / HTTP/1.1\r\n"] + [b"x: y\r\n"] * 9, b"HTTP/1.1 408"),
        ([], b""),
        ([b"POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 9\r\n\r\n", b"abc"], b"HTTP/1.1 408"),
    ],
)
def test_clients_that_dribble(pieces: list[bytes], expected: bytes) -> None:
    assert through(answering(OK), *pieces, limits=QUICK, timeouts=HASTY, pause=0.05)[:12] == expected


def test_a_body_that_never_ends_slowly() -> None:
    """A byte now and then keeps every idle timeout from passing; the rate does not."""
    ask = b"POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 100\r\n\r\n"
    limits = replace(QUICK, rate=1000.0, linger=3.0)
    answer = through(answering(OK), ask, *[b"x"] * 30, limits=limits, timeouts=HASTY, pause=0.03)
    assert status(answer) == 408
    assert b"bytes a second" in answer


def test_too_many_clients() -> None:
    async def test() -> None:
        async with (
            backend(answering(OK)) as port,
            proxying(port, limits=replace(QUICK, connections=3)) as (proxy, front),
        ):
            writers = [(await asyncio.open_connection("127.0.0.1", front))[1] for _ in range(3)]
            await asyncio.sleep(0.05)
            assert await say(front) == b""
            for writer in writers:
                writer.close()
            await asyncio.sleep(0.05)
            assert status(await say(front, get())) == 200
            assert len(proxy.clients) <= 3

    together(test)


# ---- what backends do ----


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (b"", 502),
        (b"HTTP/1.1 200 OK\r\ncontent-le", 502),
        (b"garbage\r\n\r\n", 502),
        (b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\ncontent-length: 3\r\n\r\nok", 502),
        (b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\ntransfer-encoding: chunked\r\n\r\nok", 502),
        (b"HTTP/1.1 200 OK\nx: y\n\n", 502),
        (b"HTTP/1.1 200 OK\r\nx: " + b"a" * 40_000 + b"\r\n\r\n", 502),
    ],
)
def test_a_backend_that_answers_garbage(answer: bytes, expected: int) -> None:
    assert status(through(scripted(answer), get())) == expected


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nhalf",
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n64\r\nhalf",
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n4\r\nhalf\r\nzz\r\n",
    ],
)
def test_half_a_response_never_looks_whole(answer: bytes) -> None:
    got = through(scripted(answer), get(close=False))
    assert b"half" in got
    assert not got.endswith(b"0\r\n\r\n")


def test_a_backend_that_hangs() -> None:
    assert status(through(scripted(b"", close=False), get(), timeouts=HASTY)) == 504
    got = through(scripted(b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nhalf", close=False), get(), timeouts=HASTY)
    assert got.endswith(b"half")


def test_a_backend_that_resets_the_connection() -> None:
    """No FIN comes before it: the client, whose connection stays open, is told all the same, and at once."""

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_request(reader)
        linger = struct.pack("ii", 1, 0)
        writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)

    async def test() -> None:
        async with backend(talk) as port, proxying(port) as (_, front):
            reader, writer = await asyncio.open_connection("127.0.0.1", front)
            writer.write(b"POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 1\r\n\r\nx")
            assert status(await asyncio.wait_for(reader.readuntil(b"bad gateway\n"), 5)) == 502
            writer.close()

    together(test)


def test_a_backend_that_closes_as_soon_as_it_is_connected() -> None:
    """Its end may be seen before anything was sent: the client is told at once, not when an answer is overdue."""

    def close_all(listening: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while True:
                listening.accept()[0].close()

    async def test() -> None:
        with socket.create_server(("127.0.0.1", 0)) as listening:
            closing = threading.Thread(target=close_all, args=(listening,), daemon=True)
            closing.start()
            async with proxying(listening.getsockname()[1], timeouts=Timeouts(head=5.0)) as (_, front):
                assert [status(await say(front, get())) for _ in range(5)] == [502] * 5
            listening.shutdown(socket.SHUT_RDWR)
            closing.join()

    together(test)


def test_nobody_listens() -> None:
    async def test() -> bytes:
        async with backend(answering(OK)) as port:
            pass
        async with proxying(port) as (_, front):
            return await say(front, get())

    assert status(together(test)) == 502


def test_more_than_the_response_condemns_the_connection() -> None:
    """Bytes after a response would be taken for the answer to the next request, of somebody else."""
    seen = Seen()
    extra = OK + b"HTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\npoison"
    answer = through(answering(extra, seen), get(close=False), get(close=False), get())
    assert b"poison" not in answer
    assert answer.count(b"200 OK") == 3
    assert len(seen.connections) == 3


def test_an_idle_connection_that_the_backend_closed_is_nobodys_fault() -> None:
    """The race is repeated on a new connection, for a method that may be; a POST is not repeated."""

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_request(reader)
        writer.write(OK)
        await read_request(reader)  # and closes, without an answer

    assert through(talk, get(close=False), get()).count(b"200 OK") == 2
    post = b"POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 1\r\nconnection: close\r\n\r\nx"
    answer = through(talk, get(close=False), post)
    assert (answer.count(b"200 OK"), answer.count(b"502 Bad")) == (1, 1)


@pytest.mark.parametrize(("life", "connections"), [(3600.0, 1), (1e-6, 3)])
def test_no_connection_is_used_beyond_its_life(life, connections) -> None:
    """To the microsecond, not to the tick of the proxy's clock: a life of nearly nothing is one request."""
    seen = Seen()
    answer = through(answering(OK, seen), get(close=False), get(close=False), get(), timeouts=Timeouts(life=life))
    assert answer.count(b"200 OK") == 3
    assert len(seen.connections) == connections


def test_a_response_before_the_request_is_over() -> None:
    """The backend has seen enough; the client is told, and what it still sends is not taken for a request."""

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 403 Forbidden\r\ncontent-length: 0\r\n\r\n")
        await asyncio.sleep(1)

    ask = b"POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 100\r\n\r\n"
    answer = through(talk, ask, get("/smuggled"), limits=QUICK, pause=0.1)
    assert (status(answer), answer.count(b"HTTP/1.1")) == (403, 1)


def test_a_backend_that_answers_and_reads_no_more_holds_no_descriptor() -> None:
    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.transport.pause_reading()  # type: ignore[attr-defined]
        await asyncio.sleep(0.5)
        writer.write(b"HTTP/1.1 403 Forbidden\r\ncontent-length: 0\r\n\r\n")
        await asyncio.sleep(30)

    async def upload(writer: asyncio.StreamWriter) -> None:
        writer.write(b"POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 100000000\r\n\r\n")
        while True:
            writer.write(bytes(100_000))
            await writer.drain()

    async def test() -> None:
        async with backend(talk) as port, proxying(port, limits=replace(QUICK, idle_time=5.0)) as (_, front):
            before = len(os.listdir("/proc/self/fd"))
            reader, writer = await asyncio.open_connection("127.0.0.1", front)
            uploading = asyncio.create_task(upload(writer))
            assert status(await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 10)) == 403
            uploading.cancel()
            writer.transport.abort()
            async with asyncio.timeout(5):
                while len(os.listdir("/proc/self/fd")) > before + 1:  # the backend's own
                    await asyncio.sleep(0.05)

    together(test)


def test_the_client_goes_away() -> None:
    """The backend's connection goes with it."""
    gone = asyncio.Event()

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_request(reader)
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nhalf")
        try:
            await reader.read()
        finally:
            gone.set()

    async def test() -> None:
        async with backend(talk) as port, proxying(port) as (_, front):
            reader, writer = await asyncio.open_connection("127.0.0.1", front)
            writer.write(get())
            await reader.readuntil(b"half")
            linger = struct.pack("ii", 1, 0)  # a reset: an end alone could be half a close
            writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
            writer.close()
            await asyncio.wait_for(gone.wait(), 5)

    together(test)


def test_no_more_descriptors() -> None:
    """New connections fail with a clear status; when there are descriptors again, all goes on."""

    async def test() -> None:
        async with backend(answering(OK)) as port, proxying(port) as (proxy, front):
            reader, writer = await asyncio.open_connection("127.0.0.1", front)
            await asyncio.sleep(0.05)
            soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
            resource.setrlimit(resource.RLIMIT_NOFILE, (len(os.listdir("/proc/self/fd")) + 20, hard))
            taken = []
            try:
                with contextlib.suppress(OSError):
                    while True:
                        taken.append(os.dup(0))
                writer.write(get(close=False))
                answer = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 5)
                assert status(answer) == 502
                await reader.readuntil(b"\n")
            finally:
                for descriptor in taken:
                    os.close(descriptor)
                resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
            writer.write(get())
            assert status(await asyncio.wait_for(reader.read(), 5)) == 200
            assert not proxy.exchanges

    together(test)


# ---- filters ----


class Recorder(Filter):
    """Says what it saw, answers or fails when told to."""

    def __init__(self, name: str, log: list[str], *, answer: int = 0, wait: bool = False, fail: str = "") -> None:
        self.name, self.log, self.answer, self.wait, self.fail = name, log, answer, wait, fail

    def on_request(self, exchange: Exchange) -> Response | Awaitable[Response | None] | None:
        self.log.append(f"{self.name} in")
        if self.fail == "in":
            raise RuntimeError("on purpose")
        said = text(self.answer, self.name) if self.answer else None
        return self._later(said) if self.wait else said

    async def _later(self, said: Response | None) -> Response | None:
        await asyncio.sleep(0.02)
        return said

    def on_response(self, exchange: Exchange, response: Response) -> Awaitable[None] | None:
        self.log.append(f"{self.name} out {response.status}")
        if self.fail == "out":
            raise RuntimeError("on purpose")
        response.headers.add(b"x-passed", self.name.encode())
        return asyncio.sleep(0.02) if self.wait else None

    def on_end(self, exchange: Exchange) -> None:
        self.log.append(f"{self.name} end")


@pytest.mark.parametrize("wait", [False, True])
def test_filters_are_layers(wait: bool) -> None:
    log: list[str] = []
    filters = (Recorder("a", log), Recorder("b", log, wait=wait), Recorder("c", log))
    answer = through(answering(OK), get(), filters=filters)
    assert log == ["a in", "b in", "c in", "c out 200", "b out 200", "a out 200", "a end", "b end", "c end"]
    assert b"x-passed: c\r\nx-passed: b\r\nx-passed: a\r\n" in answer
    assert answer.endswith(b"\r\n\r\nok")


@pytest.mark.parametrize("wait", [False, True])
def test_a_filter_answers(wait: bool) -> None:
    log: list[str] = []
    filters = (Recorder("a", log), Recorder("b", log, answer=401, wait=wait), Recorder("c", log))
    assert status(through(answering(OK), get(), filters=filters)) == 401
    assert log == ["a in", "b in", "b out 401", "a out 401", "a end", "b end"]


@pytest.mark.parametrize("where", ["in", "out"])
def test_a_filter_that_fails_fails_closed(where: str) -> None:
    log: list[str] = []
    answer = through(answering(OK), get(), filters=(Recorder("a", log), Recorder("b", log, fail=where)))
    assert status(answer) == 500
    assert log[-2:] == ["a end", "b end"]


class Reader(Filter):
    """Wants the whole body."""

    body_limit = 10

    def on_request(self, exchange: Exchange) -> Response | None:
        return text(200, repr(exchange.request.body)) if exchange.request.body != b"pass" else None


@pytest.mark.parametrize(
    ("body", "expected"), [(b"hello", b"b'hello'"), (b"0123456789+", b"413"), (b"pass", b"\r\n\r\nok")]
)
@pytest.mark.parametrize("chunked", [False, True])
def test_a_filter_that_reads_the_body(body: bytes, expected: bytes, chunked: bool) -> None:
    head = b"POST / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n"
    ask = (
        head + b"transfer-encoding: chunked\r\n\r\n%x\r\n%b\r\n0\r\n\r\n" % (len(body), body)
        if chunked
        else head + b"content-length: %d\r\n\r\n%b" % (len(body), body)
    )
    for pieces in ([ask], [ask[:-3], ask[-3:]]):
        assert expected in through(answering(OK), *pieces, filters=(Reader(),), pause=0.02, limits=QUICK)


class Thinker(Filter):
    """Reads the whole body, and takes its time over it."""

    body_limit = 10

    def on_request(self, exchange: Exchange) -> Awaitable[None]:
        return asyncio.sleep(QUICK.idle_time + 3 * TICK)


def test_what_comes_after_the_body_is_not_late() -> None:
    """The body's deadline ends with the body; and the proxy's clock goes on: who is late afterwards is told so."""
    ask = b"POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 1\r\n\r\nx"
    answer = through(scripted(OK, b"", close=False), ask, ask, filters=(Thinker(),), limits=QUICK, timeouts=HASTY)
    assert (answer.count(b"200 OK"), answer.count(b"504 ")) == (1, 1)


def test_a_fault_does_not_stop_the_clock() -> None:
    class Broken:
        deadline = 1.0

        def expired(self) -> None:
            raise RuntimeError("on purpose")

    async def test() -> None:
        async with proxying(1) as (proxy, _):
            broken = Broken()
            proxy.clients.add(broken)  # type: ignore[arg-type]
            async with asyncio.timeout(5):
                while broken.deadline:
                    await asyncio.sleep(TICK)
                seen = proxy.now
                while proxy.now == seen:
                    await asyncio.sleep(TICK)
            proxy.clients.discard(broken)  # type: ignore[arg-type]

    together(test)


class Injector(Filter):
    """Puts a line break where none may be."""

    def on_response(self, exchange: Exchange, response: Response) -> None:
        response.headers.add(b"x-evil", b"a\r\nset-cookie: b")


class Replacer(Filter):
    """Puts a body of its own in the place of the backend's, at once or after a while."""

    def __init__(self, wait: bool) -> None:
        self.wait = wait

    def on_response(self, exchange: Exchange, response: Response) -> Awaitable[None] | None:
        if self.wait:
            return self._later(response)
        response.body = b"mine"
        return None

    async def _later(self, response: Response) -> None:
        await asyncio.sleep(0.05)
        response.body = b"mine"


@pytest.mark.parametrize("wait", [False, True])
@pytest.mark.parametrize(
    "body", [b"content-length: 6\r\n\r\ntheirs", b"transfer-encoding: chunked\r\n\r\n6\r\ntheirs\r\n"]
)
def test_a_replaced_body_is_the_only_one(wait: bool, body: bytes) -> None:
    talk = scripted(b"HTTP/1.1 200 OK\r\n" + body, OK, close=False)
    answer = through(talk, get(close=False), get(), filters=(Replacer(wait),), timeouts=HASTY)
    assert answer.count(b"mine") == 2
    assert b"theirs" not in answer
    assert b"ok" not in answer


def test_no_filter_can_split_a_response() -> None:
    answer = through(answering(OK), get(), filters=(Injector(),))
    assert status(answer) == 500
    assert b"set-cookie" not in answer


def test_malformed_is_a_value_error() -> None:
    assert isinstance(Malformed("x"), ValueError)
    assert Headers([(b"a", b"1"), (b"b", b"2"), (b"a", b"3")]).joined(b"a") == b"1, 3"


# ---- the end ----


def test_a_drain_loses_nobody() -> None:
    """Under load: every request that was accepted is answered, and nothing is left."""

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            await read_request(reader)
            await asyncio.sleep(0.01)
            writer.write(OK)

    async def client(front: int, results: list[object]) -> None:
        while True:
            try:
                reader, writer = await asyncio.open_connection("127.0.0.1", front)
            except ConnectionRefusedError:
                return
            try:
                while True:
                    writer.write(get(close=False))
                    head = await reader.readuntil(b"\r\n\r\n")
                    results.append(head[:15] + await reader.readexactly(2))
                    if b"connection: close" in head:
                        break
            except asyncio.IncompleteReadError as error:
                if error.partial:
                    results.append(error.partial)
                return  # closed between two requests, as HTTP allows
            except ConnectionResetError:
                return
            finally:
                writer.close()

    async def test() -> None:
        results: list[object] = []
        async with backend(talk) as port, proxying(port) as (proxy, front):
            clients = [asyncio.create_task(client(front, results)) for _ in range(30)]
            await asyncio.sleep(0.3)
            assert await proxy.drain(5)
            await asyncio.gather(*clients)
            assert len(results) > 100
            assert set(results) == {b"HTTP/1.1 200 OKok"}

    together(test)
