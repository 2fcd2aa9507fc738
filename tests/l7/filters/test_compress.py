"""What is compressed and what never, and that it comes out as it went in."""

from __future__ import annotations

import asyncio
import gzip
import zlib

import brotli
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lbcore.l7.filters.accept_encoding import choose, weights
from lbcore.l7.filters.compress import Compress, CompressOptions
from lbcore.l7.message import Headers, Response
from tests.l7.fakes import FakeExchange, request
from tests.l7.live import PATIENCE, answering, backend, get, proxying, say, together

TEXT = b"All work and no play makes Jack a dull boy.\n" * 200
OPENERS = {b"gzip": gzip.decompress, b"br": brotli.decompress, None: bytes}


def answer(*lines, body=TEXT, status=200, kind=b"text/html; charset=utf-8", **more):
    return Response(status, Headers([(b"content-type", kind), *lines]), body, **more)


def compressed(answer, accept=b"gzip", *lines, options=None, method=b"GET", **more):
    sent = [(b"accept-encoding", accept)] if accept is not None else []
    exchange = FakeExchange(request(b"/", *sent, *lines, method=method, **more))
    return exchange.passes(Compress(options or CompressOptions()), answer=answer)


def sent(response):
    """The body as the engine would send it."""
    pieces = [response.body or b""]
    for one in response.transforms or ():
        pieces = [*map(one.feed, pieces), one.finish()]
    return b"".join(pieces)


def coding(response):
    assert len(response.headers.all(b"content-encoding")) <= 1
    return response.headers.get(b"content-encoding")


@pytest.mark.parametrize("accept", [b"gzip", b"br", b"gzip, br", b"x-gzip", b"*", b"br;q=0.1, GZIP;q=0.2", None])
def test_what_comes_out_is_what_went_in(accept):
    response = compressed(answer(), accept)
    assert OPENERS[coding(response)](sent(response)) == TEXT
    assert response.headers.all(b"vary") == [b"accept-encoding"]
    if accept is not None:
        assert response.length is None
        assert len(sent(compressed(answer(), accept))) < len(TEXT) / 10


@given(st.lists(st.binary(max_size=3000), max_size=12), st.sampled_from([b"gzip", b"br"]), st.booleans())
def test_pieces_are_put_together_again(pieces, accept, events):
    kind = "text/event-stream" if events else "text/html"
    options = CompressOptions(types=(kind,))
    response = compressed(answer(body=None, kind=kind.encode(), length=None), accept, options=options)
    (one,) = response.transforms
    out, seen, read = b"", b"", zlib.decompressobj(31) if accept == b"gzip" else brotli.Decompressor()
    for piece in pieces:
        came = one.feed(piece)
        out += came
        if events:  # what was sent can be read at once
            seen += read.decompress(came) if accept == b"gzip" else read.process(came)
            assert seen == b"".join(pieces)[: len(seen)]
            assert len(seen) >= len(piece)
    out += one.finish()
    assert OPENERS[accept](out) == b"".join(pieces)
    if events:
        assert seen == b"".join(pieces)


@pytest.mark.parametrize("accept", [b"gzip", b"br"])
def test_an_event_is_not_kept_back(accept):
    options = CompressOptions(types=("text/event-stream",))
    (one,) = compressed(answer(body=None, kind=b"text/event-stream"), accept, options=options).transforms
    read = zlib.decompressobj(31).decompress if accept == b"gzip" else brotli.Decompressor().process
    for number in range(50):
        event = b"data: %d\n\n" % number
        assert read(one.feed(event)) == event


@pytest.mark.parametrize(
    "response",
    [
        answer((b"content-encoding", b"gzip")),
        answer((b"content-encoding", b"identity")),
        answer((b"cache-control", b"public, No-Transform")),
        answer(status=206),
        answer(status=204, body=b""),
        answer(status=304, body=b"", length=5000),
        answer(status=101, body=None),
        answer(body=b"short"),
        answer(body=None, length=100),
        answer(kind=b"image/png"),
        answer(kind=b"text/event-stream"),
        answer(kind=b"application/grpc"),
        answer(kind=b""),
        Response(200, Headers(), TEXT),
    ],
)
def test_what_is_left_as_it_is(response):
    before, body, length = response.headers.copy(), response.body, response.length
    after = compressed(response)
    assert (after.headers, after.body, after.length, after.transforms) == (before, body, length, None)


def test_the_client_may_forbid_it():
    response = compressed(answer(), b"gzip", (b"cache-control", b"no-transform"))
    assert (coding(response), response.headers.get(b"vary")) == (None, b"accept-encoding")


def test_an_upgrade_is_left_alone():
    assert coding(compressed(answer(body=None), protocol=b"websocket")) is None


def test_head_says_on_what_the_answer_depends_and_gets_nothing():
    response = compressed(answer(body=b"", length=None), method=b"HEAD")
    assert response.transforms is None
    response = compressed(answer(body=None, length=9000), method=b"HEAD")
    assert (coding(response), response.transforms, response.length) == (None, None, None)
    assert response.headers.get(b"vary") == b"accept-encoding"


def test_never_twice():
    exchange = FakeExchange(request(b"/", (b"accept-encoding", b"gzip, br")))
    response = exchange.passes(Compress(CompressOptions()), Compress(CompressOptions()), answer=answer())
    assert len(response.transforms) == 1


@pytest.mark.parametrize(("tag", "after"), [(b'"a"', b'W/"a"'), (b'W/"a"', b'W/"a"'), (b'""', b'W/""'), (b"a", b"W/a")])
def test_a_strong_tag_becomes_weak(tag, after):
    assert compressed(answer((b"etag", tag))).headers.all(b"etag") == [after]
    assert compressed(answer((b"etag", tag)), None).headers.all(b"etag") == [tag]


@pytest.mark.parametrize(
    ("has", "tag", "vary"),
    [
        (b'W/"a"', b'W/"a"', b"origin, accept-encoding"),
        (b'"x", W/"a"', b'W/"a"', b"origin, accept-encoding"),
        (b'"a"', b'"a"', b"origin"),
        (b'W/"ab"', b'"a"', b"origin"),
        (b"*", b'"a"', b"origin"),
    ],
)
def test_a_304_speaks_of_the_answer_that_the_client_has(has, tag, vary):
    """RFC 9110, 15.4.5: the fields of the 200 that is confirmed; a cache takes them into what it has stored."""
    confirmed = answer((b"etag", b'"a"'), (b"vary", b"origin"), status=304, body=b"")
    headers = compressed(confirmed, b"gzip", (b"if-none-match", has)).headers
    assert (headers.all(b"etag"), headers.all(b"vary")) == ([tag], [vary])


def test_what_is_true_of_the_bytes_no_more_goes():
    lines = [(b"accept-ranges", b"bytes"), (b"content-digest", b"sha-256=:x:"), (b"content-md5", b"x")]
    names = {name for name, _ in compressed(answer(*lines)).headers}
    assert names == {b"content-type", b"content-encoding", b"vary"}


def test_vary_is_said_once_and_to_those_who_get_it_plain_too():
    assert compressed(answer((b"vary", b"origin"))).headers.all(b"vary") == [b"origin, accept-encoding"]
    assert compressed(answer((b"vary", b"Accept-Encoding"))).headers.all(b"vary") == [b"Accept-Encoding"]
    assert compressed(answer((b"vary", b"*"))).headers.all(b"vary") == [b"*"]
    assert compressed(answer(), None).headers.all(b"vary") == [b"accept-encoding"]


BOTH = (b"br", b"gzip")


@pytest.mark.parametrize(
    ("value", "chosen"),
    [
        (b"gzip", b"gzip"),
        (b"gzip, br", b"br"),
        (b"br;q=0.9, gzip", b"gzip"),
        (b"gzip;q=0", None),
        (b"gzip;q=0.000", None),
        (b"gzip;q=0.001", b"gzip"),
        (b"*", b"br"),
        (b"*;q=0.5, br;q=0", b"gzip"),
        (b"*;q=0", None),
        (b"gzip, *;q=0", b"gzip"),
        (b"identity", None),
        (b"identity;q=1, gzip;q=0.5", None),
        (b"identity;q=0.5, gzip;q=0.5", b"gzip"),
        (b"identity;q=0, gzip", b"gzip"),
        (b"", None),
        (b",,,", None),
        (b"deflate, compress, zstd", None),
        (b"gzip;q=2", None),
        (b"gzip;q=-1", None),
        (b"gzip;q=1.5", None),
        (b"gzip;q=0.1234", None),
        (b"gzip;q=nan", None),
        (b"gzip;level=9", None),
        (b"gzip ; q=0.5", b"gzip"),
        (b"gzip;q=1, gzip;q=0", None),
        (b"x-gzip", b"gzip"),
        (b"gzip\t;\tQ=1.000", b"gzip"),
    ],
)
def test_the_choice(value, chosen):
    assert choose(value, BOTH) == chosen


@given(st.dictionaries(st.sampled_from([b"gzip", b"br", b"identity", b"*", b"zstd"]), st.integers(0, 1000)))
def test_nothing_that_was_forbidden_nor_liked_less(wishes):
    value = b", ".join(b"%b;q=%b" % (name, b"%.3f" % (weight / 1000)) for name, weight in wishes.items())
    chosen = choose(value, BOTH)
    liked = {coding: wishes.get(coding, wishes.get(b"*", 0)) for coding in BOTH}
    if chosen is None:
        assert max(liked.values()) == 0 or max(liked.values()) < wishes.get(b"identity", 0)
    else:
        assert liked[chosen] == max(liked.values()) > 0
    assert all(0 <= weight <= 1 for weight in weights(value).values())


@given(st.binary(max_size=60))
def test_any_value_has_an_answer(value):
    assert choose(value, BOTH) in (None, *BOTH)


@pytest.mark.parametrize(
    "options",
    [{"codings": ()}, {"codings": ("br", "br")}, {"types": ("text/*",)}, {"types": ("Text/html",)}, {"gzip_level": 0},
     {"brotli_quality": 12}, {"minimum": -1}],
)  # fmt: skip
def test_options_are_checked(options):
    with pytest.raises(ValueError, match="must"):
        CompressOptions(**options)


def head_of(raw):
    head, _, body = raw.partition(b"\r\n\r\n")
    return head.lower(), body


def unchunked(rest):
    whole = b""
    while size := int(rest.partition(b"\r\n")[0], 16):
        rest = rest.partition(b"\r\n")[2]
        whole, rest = whole + rest[:size], rest[size + 2 :]
    return whole


def test_events_arrive_one_by_one_in_the_engine():
    async def main():
        seen = asyncio.Event()

        async def talk(reader, writer):
            await reader.readuntil(b"\r\n\r\n")
            writer.write(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\n")
            writer.write(b"data: 1\n\n")
            await asyncio.wait_for(seen.wait(), PATIENCE)  # the second comes when the first was read, compressed
            writer.write(b"data: 2\n\n")
            writer.close()

        filters = (Compress(CompressOptions(types=("text/event-stream",))),)
        async with backend(talk) as behind, proxying(behind, filters=filters) as (_, port):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(get("/", "accept-encoding: gzip"))
            assert b"content-encoding: gzip" in await reader.readuntil(b"\r\n\r\n")
            read, got = zlib.decompressobj(31), b""
            while size := int(await asyncio.wait_for(reader.readline(), PATIENCE), 16):
                got += read.decompress((await reader.readexactly(size + 2))[:-2])
                if got == b"data: 1\n\n":
                    seen.set()
            writer.close()
        return got

    assert together(main) == b"data: 1\n\ndata: 2\n\n"


def test_in_the_engine():
    """Whole, in chunks, to HEAD, and broken off: a client never takes half an answer for a whole one."""
    plain = b'HTTP/1.1 200 OK\r\ncontent-type: text/html\r\netag: "x"\r\n'
    whole = plain + b"content-length: %d\r\n\r\n" % len(TEXT) + TEXT
    broken = plain + b"content-length: %d\r\n\r\n" % (len(TEXT) + 1) + TEXT
    accept = "accept-encoding: gzip"

    async def cut(reader, writer):
        await reader.readuntil(b"\r\n\r\n")
        writer.write(broken)
        await writer.drain()
        writer.close()

    async def main():
        one = (Compress(CompressOptions()),)
        async with backend(answering(whole)) as behind, proxying(behind, filters=one) as (_, port):
            full = await say(port, get("/", accept))
            old = await say(port, get("/", accept).replace(b"HTTP/1.1", b"HTTP/1.0"))
        head_only = plain + b"content-length: %d\r\n\r\n" % len(TEXT)
        async with backend(answering(head_only)) as behind, proxying(behind, filters=one) as (_, port):
            head = await say(port, get("/", accept).replace(b"GET", b"HEAD"))
        async with backend(cut) as behind, proxying(behind, filters=one) as (_, port):
            half = await say(port, get("/", accept))
        return full, old, head, half

    full, old, head, half = together(main)
    lines, body = head_of(full)
    assert b"content-encoding: gzip" in lines
    assert b'etag: w/"x"' in lines
    assert b"content-length: %d\r\n" % len(body) in lines  # it came in one piece, and leaves in one
    assert gzip.decompress(body) == TEXT
    assert gzip.decompress(head_of(old)[1]) == TEXT
    lines, body = head_of(head)
    assert body == b""
    assert b"vary: accept-encoding" in lines
    assert b"content-length" not in lines
    assert not half.endswith(b"0\r\n\r\n")
