"""Faults that other proxies had, each as a test of its name. What each was is told in the public report it names."""

from __future__ import annotations

import asyncio

from lbcore.l7.filters.filter import Exchange, Filter
from lbcore.l7.message import Response, text
from tests.l7.live import OK, Seen, answering, get, read_request
from tests.l7.test_engine import QUICK, scripted, status, through

SMUGGLED = get("/smuggled")


class Hit(Filter):
    """Answers from memory, as a cache does, and leaves the request's body where it is."""

    def on_request(self, exchange: Exchange) -> Response:
        return text(200, "from memory")


def test_pingora_cve_2025_4366_a_hit_leaves_no_body_behind() -> None:
    """A request answered without its body being read: the body was read as the next request."""
    ask = b"GET / HTTP/1.1\r\nhost: a\r\ncontent-length: %d\r\n\r\n" % len(SMUGGLED)
    for pieces in ([ask + SMUGGLED], [ask, SMUGGLED]):
        answer = through(answering(OK), *pieces, filters=(Hit(),), limits=QUICK, pause=0.05)
        assert answer.count(b"from memory") == 1


def test_pingora_cve_2026_2833_nothing_passes_before_the_upgrade_is_granted() -> None:
    """Bytes behind an upgrade request went to the backend at once, which read them as a request past all checks."""
    seen = Seen()
    ask = get("/", "connection: upgrade", "upgrade: echo", close=False)
    forbidden = b"GET /\x00 HTTP/1.1\r\nhost: a\r\n\r\n"
    answer = through(answering(OK, seen), ask + forbidden, limits=QUICK)
    assert status(answer) == 200
    assert b"400 Bad Request" in answer  # no upgrade was granted, so it was read as what it is
    assert seen.all.count(b"GET") == 1


def test_pingora_cve_2026_2835_chunks_are_not_for_http_1_0() -> None:
    """HTTP/1.0 with chunks, and codings nobody knows, were given bodies that ended elsewhere for the backend."""
    for version, coding in ((b"1.0", b"chunked"), (b"1.1", b"chunked, identity"), (b"1.1", b"xchunked")):
        seen = Seen()
        ask = b"POST / HTTP/%b\r\nhost: a\r\ntransfer-encoding: %b\r\n\r\n0\r\n\r\n" % (version, coding)
        assert status(through(answering(OK, seen), ask + SMUGGLED, limits=QUICK)) in (400, 501)
        assert seen.all == b""


def test_an_answer_nobody_asked_for_is_given_to_nobody() -> None:
    """A backend that sends two answers would have the second taken for that of the next client."""

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_request(reader)
        writer.write(OK)
        await asyncio.sleep(0.05)
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\npoison")
        await asyncio.sleep(1)

    answer = through(talk, get(close=False), get(), pause=0.2)
    assert answer.count(b"200 OK") == 2
    assert b"poison" not in answer


def test_an_early_answer_to_an_upload_does_not_move_the_frame() -> None:
    """The backend answers before it has read the body; the rest of the body is not its next request."""
    seen = Seen()

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        got = bytearray()
        seen.connections.append(got)
        while True:
            got += await reader.readuntil(b"\r\n\r\n")
            writer.write(OK)

    ask = b"POST / HTTP/1.1\r\nhost: a\r\ncontent-length: %d\r\n\r\n" % len(SMUGGLED)
    through(talk, ask, SMUGGLED, limits=QUICK, pause=0.1)
    assert all(bytes(one).startswith(b"POST") for one in seen.connections)
    assert len(seen.connections) == 1


def test_a_head_request_that_is_answered_with_a_body() -> None:
    """A backend that sends a body to HEAD: the body would be read as the next response."""
    ask = get(close=False).replace(b"GET", b"HEAD") + get()
    answer = through(scripted(OK), ask)
    assert status(answer) == 200
    assert answer.count(b"\r\n\r\nok") <= 1
