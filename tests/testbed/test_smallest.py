"""The two balancers: what they ask, what they pass on, what they refuse, and that nothing of them stays behind."""

from __future__ import annotations

import asyncio
import gc
import os
import signal
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack

import httptools
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from lbcore.testbed import aside, keep_alive, smallest
from lbcore.testbed.smallest import Address, Handler, Refused
from tests import needs
from tests.holding import holding

GET = b"GET /api/1 HTTP/1.1\r\nhost: a\r\n\r\n"


async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await smallest.pump(reader, writer)


def named(name: bytes, seen: list[bytes] | None = None) -> Handler:
    """An HTTP backend whose answer's body is its name, `:`, and the request's body; `seen` collects heads."""

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while head := await smallest.read_head(reader):
            if seen is not None:
                seen.append(head)
            body = await reader.readexactly(smallest.body_size(smallest.parse_request(head).headers))
            body = name + b":" + body
            writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n%s" % (len(body), body))

    return handle


def talk(make: Callable[[Address], Handler], backend: Handler, *writes: bytes, eof: bool = True) -> bytes:
    """All that a client gets back that sends `writes` through a balancer (made for the backend's address)."""

    async def main() -> bytes:
        async with (
            smallest.listening(backend) as where,
            smallest.listening(make(where)) as balancer,
            smallest.connected(balancer) as (reader, writer),
        ):
            for data in writes:
                writer.write(data)
                await writer.drain()
            if eof:
                writer.write_eof()
            return await reader.read()

    return aside.run(main(), seconds=20)


def l4(where: Address) -> Handler:
    return smallest.layer4(lambda connection: where)


def l7(where: Address) -> Handler:
    return smallest.layer7(lambda request: where)


# ---------------------------------------------------------------------------------------------------- when it is asked
def test_layer4_is_asked_once_a_connection_and_layer7_once_a_request() -> None:
    asked: list[object] = []

    def noting(balancer: Callable[[Callable[[object], Address]], Handler]) -> Callable[[Address], Handler]:
        return lambda where: balancer(lambda seen: (asked.append(seen), where)[1])

    talk(noting(smallest.layer4), named(b"b"), GET, GET, GET)  # type: ignore[arg-type]
    (connection,) = asked
    assert isinstance(connection, smallest.Connection)
    assert (connection.source, connection.destination) == ("127.0.0.1", "127.0.0.1")
    asked.clear()
    talk(noting(smallest.layer7), named(b"b"), GET, GET.replace(b"/api/1", b"/video/2"), GET)  # type: ignore[arg-type]
    assert [request.path for request in asked] == ["/api/1", "/video/2", "/api/1"]  # type: ignore[attr-defined]


def test_pipelined_requests_are_told_apart_and_answered_in_order() -> None:
    """Five requests in one write, with bodies that look like requests."""
    inner = GET
    writes = [
        b"POST /%d HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n%s" % (i, len(inner), inner) for i in range(5)
    ]
    paths: list[str] = []

    def make(where: Address) -> Handler:
        return smallest.layer7(lambda request: (paths.append(request.path), where)[1])

    got = talk(make, named(b"b"), b"".join(writes))
    assert paths == ["/0", "/1", "/2", "/3", "/4"]
    assert got.count(b"b:" + inner) == 5


# ------------------------------------------------------------------------------------------------- what it passes on
@settings(max_examples=25, deadline=None)
@given(st.lists(st.binary(min_size=1, max_size=3000), max_size=8))
@example([b"\x00\xff" * smallest.CHUNK])
def test_layer4_passes_any_bytes_and_the_end(writes: list[bytes]) -> None:
    assert talk(l4, echo, *writes) == b"".join(writes)


@pytest.mark.parametrize("size", [0, 1, smallest.CHUNK - 1, smallest.CHUNK, smallest.CHUNK + 1, 300_000])
def test_layer7_passes_bodies_of_any_size(size: int) -> None:
    body = bytes(i * 7 % 256 for i in range(size))
    got = talk(l7, named(b"b"), b"PUT /x HTTP/1.1\r\nhost: a\r\ncontent-length: %d\r\n\r\n" % size, body)
    assert got.split(b"\r\n\r\n", 1)[1] == b"b:" + body


# ------------------------------------------------------------------------------------------------------ what it refuses
REFUSED = {
    "another protocol": (b"*1\r\n$4\r\nPING\r\n\r\n", 400),
    "a TLS hello": (b"\x16\x03\x01\x00\x05hello\r\n\r\n", 400),
    "HTTP/1.0": (b"GET / HTTP/1.0\r\nhost: a\r\n\r\n", 505),
    "the HTTP/2 preface": (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 400),
    "a method with framing of its own": (b"HEAD / HTTP/1.1\r\nhost: a\r\n\r\n", 501),
    "no host": (b"GET / HTTP/1.1\r\n\r\n", 400),
    "two hosts": (b"GET / HTTP/1.1\r\nhost: a\r\nhost: b\r\n\r\n", 400),
    "two lengths": (b"POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\nxx", 400),
    "a list of lengths": (b"POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 1, 1\r\n\r\nx", 400),
    "a signed length": (b"POST / HTTP/1.1\r\nhost: a\r\ncontent-length: +1\r\n\r\nx", 400),
    "digits that are not ASCII": (b"POST / HTTP/1.1\r\nhost: a\r\ncontent-length: \xb2\r\n\r\nxx", 400),
    "a length beyond our limit": (b"POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 999999999\r\n\r\n", 400),
    "chunks": (b"POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n", 501),
    "an upgrade": (b"GET / HTTP/1.1\r\nhost: a\r\nupgrade: websocket\r\n\r\n", 501),
    "a space before the colon": (b"POST / HTTP/1.1\r\nhost: a\r\ncontent-length : 1\r\n\r\nx", 400),
    "a folded line": (b"GET / HTTP/1.1\r\nhost: a\r\nx: 1\r\n 2\r\n\r\n", 400),
    "a bare line feed": (b"GET / HTTP/1.1\r\nhost: a\nx: 1\r\n\r\n", 400),
    "a bare carriage return": (b"GET / HTTP/1.1\r\nhost: a\rx: 1\r\n\r\n", 400),
    "a zero byte": (b"GET / HTTP/1.1\r\nhost: a\x00\r\n\r\n", 400),
    "two spaces": (b"GET  / HTTP/1.1\r\nhost: a\r\n\r\n", 400),
    "an absolute target": (b"GET http://a/ HTTP/1.1\r\nhost: a\r\n\r\n", 400),
    "half a head": (b"GET / HTTP/1.1\r\nho", 400),
    "too long a head": (b"GET / HTTP/1.1\r\nhost: a\r\nx: " + b"y" * smallest.HEAD_LIMIT + b"\r\n\r\n", 431),
}


@pytest.mark.parametrize(("sent", "status"), REFUSED.values(), ids=REFUSED)
def test_layer7_refuses_in_words_and_the_backend_sees_nothing(sent: bytes, status: int) -> None:
    seen: list[bytes] = []
    got = talk(l7, named(b"b", seen), sent)
    assert got.startswith(b"HTTP/1.1 %d " % status), got
    assert got.endswith(b"\n")
    assert len(got.split(b"\r\n\r\n", 1)[1]) > 10, "a refusal says why"
    assert seen == []


@pytest.mark.parametrize("answer", [b"", b"SMTP ready\r\n\r\n", b"HTTP/1.1 200 OK\r\n\r\n", b"HTTP/1.1 100 Go\r\n\r\n"])
def test_a_backend_that_speaks_otherwise_is_a_502(answer: bytes) -> None:
    async def backend(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await smallest.read_head(reader)
        writer.write(answer)

    assert talk(l7, backend, GET).startswith(b"HTTP/1.1 502 ")


def test_no_backend_is_a_502_at_layer7_and_a_closed_connection_at_layer4() -> None:
    async def gone() -> Address:
        async with smallest.listening(echo) as where:
            return where

    nowhere = aside.run(gone())
    assert talk(lambda where: l7(nowhere), echo, GET).startswith(b"HTTP/1.1 502 ")
    assert talk(lambda where: l4(nowhere), echo, GET) == b""


def test_who_sends_no_head_in_time_is_told_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(smallest, "PATIENCE", 0.2)
    assert talk(l7, named(b"b"), b"GET / HT", eof=False).startswith(b"HTTP/1.1 408 ")


def test_one_connection_too_many_is_cut_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(smallest, "CONNECTIONS", 2)

    async def main() -> bytes:
        async with smallest.listening(echo) as where, AsyncExitStack() as stack:
            for _ in range(2):
                reader, writer = await stack.enter_async_context(smallest.connected(where))
                writer.write(b"x")
                assert await reader.read(1) == b"x"
            reader, _ = await stack.enter_async_context(smallest.connected(where))
            return await reader.read()

    assert aside.run(main()) == b""


# -------------------------------------------------------------------------------------- heads, against another parser
class Noted:
    """What httptools saw."""

    def __init__(self) -> None:
        self.path, self.headers, self.complete = b"", [], False  # type: ignore[var-annotated]

    def on_url(self, url: bytes) -> None:
        self.path += url

    def on_header(self, name: bytes, value: bytes) -> None:
        self.headers.append((name, value))

    def on_headers_complete(self) -> None:
        self.complete = True


TOKENS = st.text("ABCdef-_!1", min_size=1, max_size=12)
NAMES = st.sampled_from(["Host", "X-Canary", "Cookie", "Content-Length", "accept", "Range"]) | TOKENS
VALUES = st.text("abc ,;=\t:/\x80\xff1", max_size=20) | st.integers(0, 99).map(str)
HEADS = st.builds(
    lambda method, path, fields: (
        f"{method} /{path} HTTP/1.1\r\n" + "".join(f"{n}:{v}\r\n" for n, v in fields) + "\r\n"
    ).encode("latin-1"),
    st.sampled_from(["GET", "POST", "DELETE"]),
    st.text("abc/?=&%41.-~", max_size=20),
    st.lists(st.tuples(NAMES, VALUES), max_size=6).map(lambda fields: [("Host", "a"), *fields]),
)


@settings(max_examples=300, deadline=None)
@given(HEADS)
def test_a_head_that_is_accepted_means_the_same_to_httptools(head: bytes) -> None:
    try:
        request = smallest.parse_request(head)
        smallest.body_size(request.headers)
    except Refused:
        return
    noted = Noted()
    other = httptools.HttpRequestParser(noted)
    other.feed_data(head)
    assert noted.complete
    assert (request.method, request.path) == (other.get_method().decode(), noted.path.decode())
    joined: dict[str, str] = {}
    for raw_name, raw_value in noted.headers:
        name, value = raw_name.decode().lower(), raw_value.decode("latin-1").strip(" \t")
        joined[name] = f"{joined[name]}, {value}" if name in joined else value
    assert request.headers == joined


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=80) | HEADS.flatmap(lambda h: st.integers(0, len(h) - 1).map(lambda i: h[:i] + h[i + 1 :])))
def test_any_bytes_are_a_request_or_refused(data: bytes) -> None:
    try:
        size, status = smallest.body_size(smallest.parse_request(data).headers), 400
    except Refused as refusal:
        size, status = 0, refusal.status
    assert 0 <= size <= smallest.BODY_LIMIT
    assert 400 <= status <= 505


# ----------------------------------------------------------------------------------------------------- the experiment
def test_layer4_is_right_by_chance_and_layer7_always() -> None:
    l4_answers = keep_alive.trial("L4", connections=60, requests=10)
    l7_answers = keep_alive.trial("L7", connections=60, requests=10)
    assert [a.wanted for a in l4_answers] == [a.wanted for a in l7_answers]
    assert all(a.right for a in l7_answers)
    assert 0.35 < sum(a.right for a in l4_answers) / len(l4_answers) < 0.65  # 0.5, seven standard errors
    by_connection = {number: {a.backend for a in l4_answers if a.connection == number} for number in range(60)}
    assert all(len(backends) == 1 for backends in by_connection.values())
    assert set.union(*by_connection.values()) == set(keep_alive.BACKENDS)


def test_too_large_a_trial_is_refused() -> None:
    with pytest.raises(ValueError, match="at most 20000"):
        keep_alive.trial("L4", connections=10_000, requests=50)


# ----------------------------------------------------------------------------------------------- nothing stays behind
async def broken(serving: Callable[[], Awaitable[None]]) -> None:
    async with smallest.listening(echo) as where, smallest.connected(where), smallest.connected(where):
        await serving()


@needs.linux()
@pytest.mark.parametrize("how", ["error", "time", "interrupt"])
def test_all_is_closed_on_error_on_time_out_and_on_ctrl_c(how: str) -> None:
    before = holding()

    async def fail() -> None:
        raise ZeroDivisionError

    async def wait() -> None:
        if how == "interrupt":
            asyncio.get_running_loop().call_later(0.1, os.kill, os.getpid(), signal.SIGINT)
        await asyncio.sleep(30)

    expected = {"error": ZeroDivisionError, "time": TimeoutError, "interrupt": KeyboardInterrupt}[how]
    with pytest.raises(expected):
        aside.run(broken(fail if how == "error" else wait), seconds=1 if how == "time" else 20)
    assert holding() <= before


@needs.linux()
def test_a_trial_leaves_nothing_open() -> None:
    before = holding()
    keep_alive.trial("L7", connections=4, requests=3)
    assert holding() <= before


def test_a_fault_in_decide_is_not_swallowed() -> None:
    def make(where: Address) -> Handler:
        return smallest.layer7(lambda request: {}[request.path])  # type: ignore[misc]

    with pytest.raises(KeyError, match="/api/1"):
        talk(make, echo, GET)


@pytest.mark.filterwarnings("ignore:coroutine .* was never awaited")
def test_a_loop_that_cannot_begin_is_an_error_and_no_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    def full() -> asyncio.AbstractEventLoop:
        raise OSError("too many open files")

    monkeypatch.setattr(asyncio.events, "new_event_loop", full)
    with pytest.raises(OSError, match="too many open files"):
        aside.run(asyncio.sleep(0))
    gc.collect()  # what was never awaited says so here, not in a later test
