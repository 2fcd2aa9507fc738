"""HTTP/2 through a running proxy: to HTTP/1.1 backends, from HTTP/1.1 clients, and from end to end."""

from __future__ import annotations

import asyncio
import shutil
import subprocess
import textwrap

import h2.events
import httpx
import pytest

from lbcore.l7.engine.proxy import TICK
from lbcore.l7.filters.filter import Filter
from lbcore.l7.http2 import frames
from lbcore.l7.limits import Limits
from lbcore.l7.pools.pool import Timeouts
from lbcore.testbed.ports import free_ports
from tests.l7.http2.live import PATIENCE, chain, client, head, program, proxying
from tests.l7.live import OK, Seen, answering, backend, read_request, together
from tests.l7.test_pools_in_force import until


class Errors(Filter):
    """What went wrong, to be said by a test that fails."""

    def __init__(self):
        self.all = []

    def on_end(self, exchange):
        if exchange.error:
            self.all.append((exchange.error, exchange.attempts))


async def echo(reader, writer):
    """Answers with what it got: the head as `x-head` lines in the body, then the body."""
    while True:
        request = await read_request(reader)
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n%b" % (len(request), request))
        await writer.drain()


def test_curl_in_all_combinations():
    async def scene():
        async with backend(echo) as there, chain(there) as (_, inner, port):
            inner_port = inner.doors[0].sockets[0].getsockname()[1]
            for to, version in (
                (port, "--http2-prior-knowledge"),
                (port, "--http1.1"),
                (inner_port, "--http2-prior-knowledge"),
            ):
                said = await program("curl", "-sS", version, "-d", "x=1", f"http://127.0.0.1:{to}/a?b=c")
                assert said.startswith("POST /a?b=c HTTP/1.1\r\nhost: 127.0.0.1")
                assert said.endswith("\r\n\r\nx=1")
                said = await program("curl", "-sSI", version, f"http://127.0.0.1:{to}/")
                assert " 200" in said.splitlines()[0]

    together(scene)


def test_h2load_many_streams_on_few_connections():
    async def scene():
        async with backend(answering(OK)) as there, chain(there) as (_, inner, port):
            said = await program("h2load", "-n1000", "-c3", "-m50", f"http://127.0.0.1:{port}/")
            assert "1000 succeeded, 0 failed, 0 errored" in said, said
            assert len(inner.clients) == 2  # 150 streams at once, 128 to a connection

    together(scene)


def test_each_stream_is_balanced_on_its_own():
    """One connection of a client, its requests at all backends in turn: what a balancer at L4 cannot do."""
    seen = [Seen() for _ in range(3)]

    async def scene():
        async with (
            backend(answering(OK, seen[0])) as a,
            backend(answering(OK, seen[1])) as b,
            backend(answering(OK, seen[2])) as c,
            proxying(a, b, c) as (_, port),
            client(port) as one,
        ):
            numbers = [one.request(head(b"/%d" % at)) for at in range(30)]
            for number in numbers:
                assert (await one.whole(number))[1] == b"ok"

    together(scene)
    assert [one.all.count(b"GET /") for one in seen] == [10, 10, 10]


def test_answers_come_as_they_are_ready_not_in_order():
    async def talk(reader, writer):
        while True:
            request = await read_request(reader)
            await asyncio.sleep(0.5 if b"/slow" in request else 0)
            writer.write(OK)

    async def scene():
        async with backend(talk) as there, proxying(there) as (_, port), client(port) as one:
            slow, fast = one.request(head(b"/slow")), one.request(head(b"/fast"))
            first = await one.until(h2.events.ResponseReceived)
            assert first.stream_id == fast
            assert (await one.whole(slow))[1] == b"ok"

    together(scene)


def test_trailers_pass_both_ways_through_three_versions():
    """HTTP/1.1 backend, two proxies with HTTP/2 between them, HTTP/2 client."""

    async def talk(reader, writer):
        got = await read_request(reader)
        assert got.endswith(b"0\r\nx-up: 1\r\n\r\n"), got
        writer.write(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\nx-down: 2\r\n\r\n")
        await writer.drain()
        await reader.read()

    async def scene():
        async with backend(talk) as there, chain(there) as (_, _, port), client(port) as one:
            number = one.request(head(b"/", b"POST"), b"body", ended=False)
            one.h2.send_headers(number, [(b"x-up", b"1")], end_stream=True)
            one.send()
            fields, body, trailers = await one.whole(number)
            assert fields[b":status"] == b"200"
            assert (body, trailers) == (b"abc", {b"x-down": b"2"})

    together(scene)


@pytest.mark.parametrize(
    ("answer", "method", "status", "body"),
    [
        (b"HTTP/1.1 204 No Content\r\n\r\n", b"GET", b"204", b""),
        (b"HTTP/1.1 304 Not Modified\r\ncontent-length: 5\r\netag: x\r\n\r\n", b"GET", b"304", b""),
        (b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\n", b"HEAD", b"200", b""),
        (
            b"HTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 1\r\n\r\nx",
            b"GET",
            b"200",
            b"x",
        ),
        (b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n", b"GET", b"200", b""),
    ],
)
def test_answers_without_a_body_and_before_one(answer, method, status, body):
    async def scene():
        async with backend(answering(answer)) as there, chain(there) as (_, _, port), client(port) as one:
            for _ in range(2):
                number = one.request(head(b"/", method))
                fields, found, _ = await one.whole(number)
                assert (fields[b":status"], found) == (status, body)
                if b"103" in answer:
                    early = await one.until(h2.events.InformationalResponseReceived, number)
                    assert (b"link", b"</a>") in [tuple(line) for line in early.headers]
                if method == b"HEAD":
                    assert fields[b"content-length"] == b"5"

    together(scene)


@pytest.mark.parametrize("size", [70_000, 5_000_000])
def test_bodies_of_any_size_both_ways(size):
    body = bytes(range(256)) * (size // 256)

    async def scene():
        async with backend(echo) as there, chain(there) as (_, _, port):
            async with httpx.AsyncClient(http1=False, http2=True, timeout=60) as http:
                answer = await http.post(f"http://127.0.0.1:{port}/", content=body)
                assert answer.content.endswith(b"\r\n\r\n" + body)
            async with httpx.AsyncClient(timeout=60) as http:
                answer = await http.post(f"http://127.0.0.1:{port}/", content=body)
                assert answer.content.endswith(b"\r\n\r\n" + body)

    together(scene)


def test_a_client_that_does_not_read_holds_the_backend_back():
    """Backpressure through the proxy: what it keeps is bounded, whatever the backend would send; another stream of the
    same client is served meanwhile."""
    sent = 0

    async def talk(reader, writer):
        nonlocal sent
        request = await read_request(reader)
        if b"/small" in request:
            writer.write(OK)
            return
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 100000000\r\n\r\n")
        while True:
            writer.write(b"x" * 65_536)
            await writer.drain()
            sent += 65_536

    async def scene():
        async with backend(talk) as there, proxying(there) as (proxy, port), client(port) as one:
            one.h2.increment_flow_control_window(10_000_000)
            one.acknowledge = False
            big = one.request(head(b"/big"))
            await one.until(h2.events.ResponseReceived, big)
            before = -1
            while sent != before:
                before = sent
                await asyncio.sleep(0.4)
            assert sent < 16_000_000  # two sockets' buffers, the window, the stream's buffer
            [exchange] = proxy.exchanges
            assert exchange.client.unsent < 400_000
            small = one.request(head(b"/small"))
            assert (await one.whole(small))[1] == b"ok"
            one.h2.reset_stream(big)
            one.send()

    together(scene)


def test_a_backend_that_does_not_read_holds_the_client_back():
    async def talk(reader, writer):
        await reader.readuntil(b"\r\n\r\n")
        await asyncio.sleep(1.5)
        writer.write(OK)
        await writer.drain()
        await asyncio.sleep(1)

    async def scene():
        async with backend(talk) as there, proxying(there) as (_, port), client(port) as one:
            number = one.request(head(b"/", b"POST"), b"x", ended=False)
            sent = 0
            try:
                async with asyncio.timeout(1):
                    while True:
                        while (size := min(one.h2.local_flow_control_window(number), 16_384)) > 0:
                            one.h2.send_data(number, b"x" * size)
                            sent += size
                        one.send()
                        await one._more()
            except TimeoutError:
                pass
            assert 65_535 <= sent < 16_000_000
            assert (await one.until(h2.events.ResponseReceived, number)).headers[0][1] == b"200"

    together(scene)


def test_a_client_that_takes_nothing_is_not_waited_for_for_ever():
    """A window of zero, and a small answer that waits for it (CVE-2016-8740 and kin: zero-window stalls)."""

    async def scene():
        limits = Limits(idle_time=0.5)
        async with (
            backend(answering(OK)) as there,
            proxying(there, limits=limits) as (proxy, port),
            client(port) as one,
        ):
            one.h2.update_settings({4: 0})
            one.send()
            number = one.request(head())
            reset = await one.until(h2.events.StreamReset, number)
            assert reset.error_code == frames.Code.CANCEL
            assert not proxy.exchanges

    together(scene)


def test_an_idle_connection_and_half_a_head_are_ended():
    async def scene():
        async with proxying(1, limits=Limits(idle_time=0.4, head_time=0.4)) as (proxy, port):
            for more in (b"", frames.frame(frames.HEADERS, 0, 1, b"\x82"), frames.PREFACE[:10]):
                reader, writer = await asyncio.open_connection("127.0.0.1", port)
                writer.write((b"" if more.startswith(b"PRI") else frames.PREFACE + frames.settings({})) + more)
                data = await asyncio.wait_for(reader.read(), 10)
                assert frames.goaway(0, 0)[3:5] in data  # type and flags of GOAWAY
                writer.close()
            async with asyncio.timeout(PATIENCE):
                while proxy.clients:
                    await asyncio.sleep(0.01)

    together(scene)


def test_a_request_that_is_malformed_ends_its_stream_and_no_other():
    async def scene():
        async with backend(answering(OK)) as there, proxying(there) as (_, port), client(port) as one:
            good = one.request(head())
            bad = one.request(head(b"/", b"GET", (b"x", b"1\r\nhost: b")))
            long = one.request(head(b"/" + b"a" * 9000))
            assert (await one.until(h2.events.StreamReset, bad)).error_code == frames.Code.PROTOCOL_ERROR
            assert (await one.whole(good))[1] == b"ok"
            assert (await one.whole(long))[0][b":status"] == b"414"

    together(scene)


def test_a_client_that_is_wrong_gets_to_see_why():
    """It goes on sending when it is sent away: a reset would take the GOAWAY away from it."""

    async def scene():
        async with proxying(1, limits=Limits(linger=1.0)) as (proxy, port):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(frames.PREFACE + frames.settings({}) + frames.window_update(0, 0))
            for _ in range(100):
                writer.write(frames.frame(frames.PING, 0, 0, b"12345678") * 1000)
                await writer.drain()
                await asyncio.sleep(0.001)
            said = await asyncio.wait_for(reader.read(), 10)
            assert frames.goaway(0, frames.Code.PROTOCOL_ERROR)[9:] in said
            while proxy.clients:  # a client that says nothing is let go, too
                await asyncio.sleep(0.05)
            writer.close()

    together(scene)


def test_backends_that_answer_garbage_or_nothing():
    """The status is 502, the connection of the client goes on."""
    talks = {
        b"closes": b"",
        b"garbage": b"HTTP/2 OK\r\n\r\n",
        b"two lengths": b"HTTP/1.1 200 OK\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\nx",
    }

    async def scene():
        for answer in talks.values():

            async def talk(reader, writer, answer=answer):
                await read_request(reader)
                writer.write(answer)

            async with backend(talk) as there, chain(there) as (_, _, port), client(port) as one:
                for _ in range(2):
                    assert (await one.whole(one.request(head())))[0][b":status"] == b"502"

    together(scene)


def test_an_answer_that_breaks_off_does_not_look_whole():
    async def talk(reader, writer):
        await read_request(reader)
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nonly this")

    async def scene():
        async with backend(talk) as there, chain(there) as (_, _, port), client(port) as one:
            number = one.request(head())
            assert (await one.until(h2.events.StreamReset, number)).error_code == frames.Code.INTERNAL_ERROR

    together(scene)


def test_a_client_that_cancels_frees_the_backend():
    gone = asyncio.Event()

    async def talk(reader, writer):
        await read_request(reader)
        assert await reader.read() == b""
        gone.set()

    async def scene():
        async with backend(talk) as there, chain(there) as (_, _, port), client(port) as one:
            number = one.request(head())
            await asyncio.sleep(0.2)
            one.h2.reset_stream(number, 8)
            one.send()
            await asyncio.wait_for(gone.wait(), 10)

    together(scene)


def test_a_client_that_cancels_says_nothing_of_the_backend():
    async def talk(reader, writer):
        await read_request(reader)
        await reader.read()

    async def scene():
        async with backend(talk) as there, proxying(there) as (proxy, port), client(port) as one:
            (asked,) = proxy.router.routes[0].choose(None).backends
            for cancel in (
                lambda number: one.h2.reset_stream(number, 8),
                lambda _: one.writer.write(frames.reset(99, 8)),
            ):
                number = one.request(head())
                await until(lambda: asked.active)
                cancel(number)
                one.send()
                await until(lambda: not asked.active)
            assert (asked.total, asked.errors) == (2, 0)

    together(scene)


def test_draining_lets_streams_end_and_closes():
    async def talk(reader, writer):
        await read_request(reader)
        await asyncio.sleep(0.5)
        writer.write(OK)

    async def scene():
        async with backend(talk) as there, proxying(there) as (proxy, port), client(port) as one:
            number = one.request(head())
            await asyncio.sleep(0.1)
            drained = asyncio.create_task(proxy.drain(10))
            with pytest.raises(ConnectionResetError, match="closed"):
                await _until_closed(one, number)
            assert await drained

    together(scene)


async def _until_closed(one, number):
    """h2 takes a GOAWAY for the end of everything, so bytes are looked at: the answer is among them."""
    data = b""
    while more := await asyncio.wait_for(one.reader.read(65_536), 10):
        data += more
        at = more.find(b"goodbye!")
        if at >= 0:
            one.writer.write(frames.frame(frames.PING, frames.ACK, 0, b"goodbye!"))
    assert b"ok" in data
    raise ConnectionResetError("the proxy closed")


def test_a_backend_that_says_goodbye_is_left_without_a_failure():
    """The inner proxy ends each connection after five requests; no request fails (RFC 9113 section 6.8)."""

    async def scene():
        async with (
            backend(answering(OK)) as there,
            proxying(there, limits=Limits(requests=5)) as (_, middle),
            proxying(middle, protocol="h2c") as (_, port),
            httpx.AsyncClient(http1=False, http2=True) as http,
        ):
            for _ in range(8):
                answers = await asyncio.gather(*(http.get(f"http://127.0.0.1:{port}/") for _ in range(4)))
                assert {answer.status_code for answer in answers} == {200}

    together(scene)


def test_a_backend_without_http2_or_without_anybody():
    async def http1(reader, writer):
        await reader.read(10)
        writer.write(b"HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\n")

    async def silent(reader, writer):
        await reader.read()

    async def scene():
        timeouts = Timeouts(connect=0.5)
        async with backend(http1) as a, backend(silent) as b:
            for there in (a, b, 1):
                async with proxying(there, protocol="h2c", timeouts=timeouts) as (_, port), httpx.AsyncClient() as http:
                    answers = await asyncio.gather(*(http.get(f"http://127.0.0.1:{port}/") for _ in range(3)))
                    assert {answer.status_code for answer in answers} <= {502, 504}

    together(scene)


def test_a_new_connection_outlives_the_one_it_replaces():
    """The old one says goodbye while it still works, and ends before the new one stands: that one is kept, idle."""
    first_asked, second_came, first_left, opened = asyncio.Event(), asyncio.Event(), asyncio.Event(), 0

    async def talk(reader, writer):
        nonlocal opened
        opened += 1
        await reader.readexactly(len(frames.PREFACE))
        if opened == 2:
            second_came.set()
            await first_left.wait()
        writer.write(frames.settings({}))
        while True:
            high, low, kind, _, stream = frames.HEADER.unpack(await reader.readexactly(9))
            await reader.readexactly(high << 16 | low)
            if kind == frames.HEADERS:
                if opened == 1:
                    writer.write(frames.goaway(stream, frames.Code.NO_ERROR))
                    first_asked.set()
                    await second_came.wait()
                writer.write(frames.head(stream, b"\x88", True, 100))

    async def scene():
        async with (
            backend(talk) as there,
            proxying(there, protocol="h2c") as (_, port),
            httpx.AsyncClient() as http,
        ):
            first = asyncio.create_task(http.get(f"http://127.0.0.1:{port}/"))
            await first_asked.wait()
            await asyncio.sleep(0.05)  # the goodbye came
            second = asyncio.create_task(http.get(f"http://127.0.0.1:{port}/"))
            assert (await first).status_code == 200
            await asyncio.sleep(0.05)  # the first connection has gone
            first_left.set()
            assert (await second).status_code == 200
            await asyncio.sleep(3 * TICK)
            assert (await http.get(f"http://127.0.0.1:{port}/")).status_code == 200

    together(scene)
    assert opened == 2


def test_a_backend_that_vanished_is_not_asked_again_on_the_same_connection():
    """No FIN, no RST, no answer: the first request times out, the second gets a new connection."""
    opened = 0

    async def talk(reader, writer):
        nonlocal opened
        opened += 1
        writer.write(frames.settings({}))
        if opened == 1:
            await reader.read()
            return
        await reader.readexactly(len(frames.PREFACE))
        while True:
            high, low, kind, _, stream = frames.HEADER.unpack(await reader.readexactly(9))
            await reader.readexactly(high << 16 | low)
            if kind == frames.HEADERS:
                writer.write(frames.head(stream, b"\x88", True, 100))

    async def scene():
        async with (
            backend(talk) as there,
            proxying(there, protocol="h2c", timeouts=Timeouts(head=1.2)) as (_, port),
            httpx.AsyncClient() as http,
        ):
            statuses = [(await http.get(f"http://127.0.0.1:{port}/")).status_code for _ in range(3)]
            assert statuses == [504, 200, 200]

    together(scene)
    assert opened == 2


@pytest.mark.skipif(shutil.which("nginx") is None, reason="nginx is not installed")
def test_nginx_as_a_backend_over_http2(tmp_path):
    """Also across its limit of requests for a connection, which it ends with GOAWAY in the middle of the traffic."""
    (tmp_path / "page").write_text("x" * 100_000)
    config = tmp_path / "nginx.conf"

    async def scene():
        (there,) = free_ports(1)
        config.write_text(
            textwrap.dedent(f"""
            daemon off; master_process off; pid {tmp_path}/pid; error_log {tmp_path}/error;
            events {{}}
            http {{ access_log off; client_body_temp_path {tmp_path}/a; proxy_temp_path {tmp_path}/b;
              fastcgi_temp_path {tmp_path}/c; uwsgi_temp_path {tmp_path}/d; scgi_temp_path {tmp_path}/e;
              keepalive_requests 20;
              server {{ listen 127.0.0.1:{there} http2; root {tmp_path}; }} }}
            """)
        )
        nginx = subprocess.Popen(["nginx", "-c", str(config), "-e", str(tmp_path / "error")])
        try:
            errors = Errors()
            async with (
                proxying(there, protocol="h2c", filters=(errors,)) as (_, port),
                httpx.AsyncClient(http1=False, http2=True, timeout=30) as http,
            ):
                for _ in range(100):
                    if (await http.get(f"http://127.0.0.1:{port}/page")).status_code == 200:
                        break
                    await asyncio.sleep(0.05)
                errors.all.clear()
                for _ in range(10):
                    answers = await asyncio.gather(*(http.get(f"http://127.0.0.1:{port}/page") for _ in range(10)))
                    assert [len(answer.content) for answer in answers] == [100_000] * 10, errors.all
                assert (await http.get(f"http://127.0.0.1:{port}/none")).status_code == 404
        finally:
            nginx.terminate()
            nginx.wait(10)

    together(scene)
