# ruff: noqa: E501  a table of cases reads best with one to a line
"""The reader against what it promises: the same for any cut of the bytes, and never more lenient than h11."""

from __future__ import annotations

import h11
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lbcore.l7.errors import Malformed
from lbcore.l7.http1.requests import RequestReader
from lbcore.l7.http1.responses import ResponseReader
from lbcore.l7.limits import Limits
from lbcore.l7.message import Headers, Peer, Request, Response
from lbcore.l7.target import STRICT, Rules, normal

LIMITS = Limits(target=200, head=1000, fields=20)


class Requests(RequestReader):
    """Gathers what is read."""

    def __init__(self) -> None:
        super().__init__(LIMITS, Peer("192.0.2.1", 1), b"http")
        self.got: list[tuple[Request, bytes, Headers]] = []
        self.body = b""

    def on_head(self, request: Request) -> None:
        self.request, self.body = request, b""

    def on_body(self, data: bytes) -> None:
        assert data
        self.body += data

    def on_end(self, trailers: Headers) -> None:
        self.got.append((self.request, self.body, trailers))


class Responses(ResponseReader):
    """Gathers what is read."""

    def __init__(self, method: bytes = b"GET") -> None:
        super().__init__(LIMITS)
        self.expect(method, None)
        self.response: Response | None = None
        self.body, self.ended, self.early = b"", False, []

    def on_informational(self, status: int, headers: Headers) -> None:
        self.early.append(status)

    def on_head(self, response: Response) -> None:
        self.response = response

    def on_body(self, data: bytes) -> None:
        self.body += data

    def on_end(self, trailers: Headers) -> None:
        self.ended = True


def read(*pieces: bytes) -> list[tuple[tuple[object, ...], bytes, list[tuple[bytes, bytes]]]]:
    """All requests in these pieces, as plain values. Malformed."""
    reader = Requests()
    for piece in pieces:
        reader.feed(piece)
        while reader.waiting:
            reader.next()
    return [
        ((r.method, r.target, r.authority, r.version, r.length, list(r.headers)), body, list(trailers))
        for r, body, trailers in reader.got
    ]


def one(*lines: bytes, body: bytes = b"") -> bytes:
    """A request of these lines."""
    return b"\r\n".join([*lines, b"", b""]) + body


GOOD = [
    one(b"GET / HTTP/1.1", b"Host: a"),
    one(b"GET /x?y=%20z HTTP/1.1", b"HOST: a.example:8080", b"X-Empty:", b"X-Blank: \t a b \t "),
    one(b"POST / HTTP/1.1", b"Host: a", b"Content-Length: 5", body=b"hello"),
    one(b"POST / HTTP/1.1", b"Host: a", b"Transfer-Encoding: chunked", body=b"5\r\nhello\r\n0\r\n\r\n"),
    one(b"POST / HTTP/1.1", b"Host: a", b"transfer-encoding: Chunked", body=b"5;a=b\r\nhello\r\nA\r\n0123456789\r\n0\r\nx-sum: 1\r\n\r\n"),
    one(b"GET / HTTP/1.0", b"Connection: keep-alive"),
    one(b"OPTIONS * HTTP/1.1", b"Host: a"),
    one(b"GET http://a/b HTTP/1.1", b"Host: a"),
    one(b"GET / HTTP/1.1", b"Host: [2001:db8::1]:80", b"Connection: close, x-private", b"X-Private: 1", b"X-Public: 2"),
    b"\r\n" + one(b"GET / HTTP/1.1", b"Host: a"),
]  # fmt: skip
BAD = {
    "no host": (one(b"GET / HTTP/1.1"), 400),
    "two hosts": (one(b"GET / HTTP/1.1", b"Host: a", b"Host: a"), 400),
    "a host with a slash": (one(b"GET / HTTP/1.1", b"Host: a/b"), 400),
    "an empty host": (one(b"GET / HTTP/1.1", b"Host:"), 400),
    "a host with a user": (one(b"GET / HTTP/1.1", b"Host: a@b"), 400),
    "two hosts in one": (one(b"GET / HTTP/1.1", b"Host: a, b"), 400),
    "length and chunks": (one(b"POST / HTTP/1.1", b"Host: a", b"Content-Length: 5", b"Transfer-Encoding: chunked"), 400),
    "chunks and length": (one(b"POST / HTTP/1.1", b"Host: a", b"Transfer-Encoding: chunked", b"Content-Length: 5"), 400),
    "two lengths": (one(b"POST / HTTP/1.1", b"Host: a", b"Content-Length: 5", b"Content-Length: 6"), 400),
    "the same length twice": (one(b"POST / HTTP/1.1", b"Host: a", b"Content-Length: 5", b"Content-Length: 5"), 400),
    "a list of lengths": (one(b"POST / HTTP/1.1", b"Host: a", b"Content-Length: 5, 5"), 400),
    "a signed length": (one(b"POST / HTTP/1.1", b"Host: a", b"Content-Length: +5"), 400),
    "a negative length": (one(b"POST / HTTP/1.1", b"Host: a", b"Content-Length: -1"), 400),
    "a hexadecimal length": (one(b"POST / HTTP/1.1", b"Host: a", b"Content-Length: 0x5"), 400),
    "no length in Content-Length": (one(b"POST / HTTP/1.1", b"Host: a", b"Content-Length:"), 400),
    "a huge length": (one(b"POST / HTTP/1.1", b"Host: a", b"Content-Length: 99999999999999999999"), 400),
    "a length with an underscore": (one(b"POST / HTTP/1.1", b"Host: a", b"Content-Length: 1_0"), 400),
    "another coding": (one(b"POST / HTTP/1.1", b"Host: a", b"Transfer-Encoding: gzip, chunked"), 501),
    "identity": (one(b"POST / HTTP/1.1", b"Host: a", b"Transfer-Encoding: identity"), 501),
    "chunked twice": (one(b"POST / HTTP/1.1", b"Host: a", b"Transfer-Encoding: chunked", b"Transfer-Encoding: chunked"), 501),
    "chunked with a tail": (one(b"POST / HTTP/1.1", b"Host: a", b"Transfer-Encoding: chunked;q=1"), 501),
    "chunked with a vertical tab": (one(b"POST / HTTP/1.1", b"Host: a", b"Transfer-Encoding: \x0bchunked"), 400),
    "chunks in 1.0": (one(b"POST / HTTP/1.0", b"Host: a", b"Transfer-Encoding: chunked"), 400),
    "a folded line": (one(b"GET / HTTP/1.1", b"Host: a", b"X: 1", b" 2"), 400),
    "a folded first line": (one(b"GET / HTTP/1.1", b" Host: a"), 400),
    "a blank before the colon": (one(b"GET / HTTP/1.1", b"Host : a"), 400),
    "no colon": (one(b"GET / HTTP/1.1", b"Host: a", b"nothing"), 400),
    "an empty name": (one(b"GET / HTTP/1.1", b"Host: a", b": x"), 400),
    "a name with a bracket": (one(b"GET / HTTP/1.1", b"Host: a", b"X(): x"), 400),
    "a name beyond ASCII": (one(b"GET / HTTP/1.1", b"Host: a", b"Transfer-Encod\xefng: x"), 400),
    "NUL in a value": (one(b"GET / HTTP/1.1", b"Host: a", b"X: a\0b"), 400),
    "CR in a value": (one(b"GET / HTTP/1.1", b"Host: a", b"X: a\rb: c"), 400),
    "LF in a value": (one(b"GET / HTTP/1.1", b"Host: a", b"X: a\nY: b"), 400),
    "DEL in a value": (one(b"GET / HTTP/1.1", b"Host: a", b"X: a\x7fb"), 400),
    "LF line ends": (b"GET / HTTP/1.1\nHost: a\n\n", 400),
    "LF line ends, incomplete": (b"GET / HTTP/1.1\nHost: a\n", 400),
    "CR line ends": (b"GET / HTTP/1.1\rHost: a\r\r", 400),
    "two blanks": (one(b"GET  / HTTP/1.1", b"Host: a"), 400),
    "a blank in the target": (one(b"GET /a b HTTP/1.1", b"Host: a"), 400),
    "a tab in the request line": (one(b"GET\t/ HTTP/1.1", b"Host: a"), 400),
    "a fragment": (one(b"GET /#a HTTP/1.1", b"Host: a"), 400),
    "no version": (one(b"GET /", b"Host: a"), 400),
    "HTTP/0.9": (b"GET /\r\n\r\n", 400),
    "HTTP/1.2": (one(b"GET / HTTP/1.2", b"Host: a"), 505),
    "HTTP/2.0": (one(b"GET / HTTP/2.0", b"Host: a"), 505),
    "http in lower case": (one(b"GET / http/1.1", b"Host: a"), 400),
    "a relative target": (one(b"GET a HTTP/1.1", b"Host: a"), 400),
    "another host in the target": (one(b"GET http://a/ HTTP/1.1", b"Host: b"), 400),
    "a star that is no OPTIONS": (one(b"GET * HTTP/1.1", b"Host: a"), 400),
    "TLS": (b"\x16\x03\x01\x02\0\x01\0\x01\xfc\x03\x03" + bytes(300), 400),
    "another expectation": (one(b"POST / HTTP/1.1", b"Host: a", b"Expect: 200-ok", b"Content-Length: 1"), 417),
    "a long target": (one(b"GET /" + b"a" * 300 + b" HTTP/1.1", b"Host: a"), 414),
    "a long target without an end": (b"GET /" + b"a" * 300, 414),
    "a long head": (one(b"GET / HTTP/1.1", b"Host: a", b"X: " + b"a" * 1000), 431),
    "a long head without an end": (b"GET / HTTP/1.1\r\nHost: a\r\nX: " + b"a" * 1000, 431),
    "many fields": (one(b"GET / HTTP/1.1", b"Host: a", *[b"X: 1"] * 30), 431),
}  # fmt: skip
CHUNKED = one(b"POST / HTTP/1.1", b"Host: a", b"Transfer-Encoding: chunked")
BAD_CHUNKS = {
    "a sign": b"+5\r\nhello\r\n0\r\n\r\n",
    "a prefix": b"0x5\r\nhello\r\n0\r\n\r\n",
    "a blank before": b" 5\r\nhello\r\n0\r\n\r\n",
    "a blank after": b"5 \r\nhello\r\n0\r\n\r\n",
    "no digits": b"\r\nhello\r\n0\r\n\r\n",
    "not hexadecimal": b"5g\r\nhello\r\n0\r\n\r\n",
    "an underscore": b"1_0\r\nhello\r\n0\r\n\r\n",
    "too many digits": b"0000000000000005\r\nhello\r\n0\r\n\r\n",
    "overflow": b"ffffffffffffffffff\r\nhello\r\n0\r\n\r\n",
    "LF after the size": b"5\nhello\r\n0\r\n\r\n",
    "CR in an extension": b"5;a\rb\r\nhello\r\n0\r\n\r\n",
    "LF in an extension": b"5;a\nhello\r\n0\r\n\r\n",
    "an endless extension": b"5;" + b"a" * 400,
    "NUL in an extension": b"5;a\0\r\nhello\r\n0\r\n\r\n",
    "an extension without a name": b"5;\r\nhello\r\n0\r\n\r\n",
    "an extension without its value": b"5;a=\r\nhello\r\n0\r\n\r\n",
    "an extension whose quotes stay open": b'5;a="b; c\r\nhello\r\n0\r\n\r\n',
    "an extension with a blank in it": b"5;a b\r\nhello\r\n0\r\n\r\n",
    "data longer than said": b"5\r\nhelloo\r\n0\r\n\r\n",
    "LF after the data": b"5\r\nhello\n0\r\n\r\n",
    "CR without LF after the data": b"5\r\nhello\rX0\r\n\r\n",
    "a negative size": b"-1\r\n\r\n",
    "a folded trailer": b"0\r\nx: 1\r\n y\r\n\r\n",
    "LF in the trailers": b"0\r\nx: 1\n\r\n",
    "a length in the trailers is dropped, a bad line is not": b"0\r\nx 1\r\n\r\n",
}


@pytest.mark.parametrize("data", GOOD)
def test_any_cut_reads_the_same(data: bytes) -> None:
    whole = read(data)
    assert len(whole) == 1
    assert read(*(data[i : i + 1] for i in range(len(data)))) == whole
    for cut in range(len(data)):
        assert read(data[:cut], data[cut:]) == whole


@given(st.lists(st.sampled_from(GOOD), min_size=1, max_size=5), st.data())
def test_pipelined_requests_come_in_order(requests: list[bytes], data: st.DataObject) -> None:
    stream = b"".join(requests)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=6)))
    pieces = [stream[a:b] for a, b in zip([0, *cuts], [*cuts, len(stream)], strict=True)]
    assert read(*pieces) == [read(request)[0] for request in requests]


def test_what_is_passed_on() -> None:
    [(head, body, trailers)] = read(GOOD[4])
    assert head == (b"POST", b"/", b"a", "1.1", None, [])
    assert (body, trailers) == (b"hello0123456789", [(b"x-sum", b"1")])
    assert read(GOOD[1])[0][0][5] == [(b"x-empty", b""), (b"x-blank", b"a b")]
    assert read(GOOD[8])[0][0][5] == [(b"x-public", b"2")]
    assert read(GOOD[7])[0][0][:3] == (b"GET", b"/b", b"a")


@pytest.mark.parametrize(
    "offer", [b"h2c", b"H2C", b"websocket, h2c", b"h2c,websocket", b"HTTP/2.0", b"TLS/1.3", b"h2c/1"]
)
def test_no_other_http_is_tunnelled_not_even_as_one_of_several(offer: bytes) -> None:
    reader = Requests()
    reader.feed(one(b"GET / HTTP/1.1", b"Host: a", b"Connection: upgrade, http2-settings", b"Upgrade: " + offer))
    assert reader.got[0][0].protocol is None


@pytest.mark.parametrize("name", [b"Content_Length", b"transfer_encoding", b"TRANSFER_ENCODING"])
def test_other_spellings_of_framing_are_not_passed_on(name: bytes) -> None:
    """In CGI and WSGI they become the same variables: CONTENT_LENGTH is whose?"""
    head = one(b"POST / HTTP/1.1", b"Host: a", b"Content-Length: 2", b"%b: chunked" % name, b"x_y: 1", body=b"ab")
    assert read(head) == [((b"POST", b"/", b"a", "1.1", 2, [(b"x_y", b"1")]), b"ab", [])]


def test_options_of_a_host_is_options_of_all_it_has() -> None:
    """RFC 9112, 3.2.4: who passes it on as a path asks about one page instead."""
    for target, passed_on in ((b"http://a", b"*"), (b"http://a/", b"/"), (b"http://a?b", b"/?b")):
        [(head, _, _)] = read(one(b"OPTIONS %b HTTP/1.1" % target, b"Host: a"))
        assert head[:2] == (b"OPTIONS", passed_on)
    assert read(one(b"GET http://a HTTP/1.1", b"Host: a"))[0][0][1] == b"/"


@pytest.mark.parametrize("name", BAD)
def test_what_is_refused(name: str) -> None:
    data, status = BAD[name]
    for pieces in ([data], [data[i : i + 1] for i in range(len(data))], [data[:20], data[20:]]):
        with pytest.raises(Malformed) as wrong:
            read(*pieces)
        assert (name, wrong.value.status) == (name, status)
        assert len(wrong.value.why) < 150


@pytest.mark.parametrize("name", BAD_CHUNKS)
def test_chunks_that_are_refused(name: str) -> None:
    data = CHUNKED + BAD_CHUNKS[name]
    for pieces in ([data], [data[i : i + 1] for i in range(len(data))]):
        with pytest.raises(Malformed):
            read(*pieces)


def test_trailers_that_belong_to_the_head_are_dropped() -> None:
    body = b"0\r\nx-a: 1\r\ncontent-type: evil\r\nx-b: 2\r\n\r\n"
    assert read(CHUNKED + body)[0][2] == [(b"x-a", b"1"), (b"x-b", b"2")]


# ---- never more lenient than an independent reader ----

TOKENS = st.sampled_from(
    [b"Host", b"content-length", b"Transfer-Encoding", b"Connection", b"X", b"Cookie", b"expect", b"te", b"UPGRADE"]
)
VALUES = st.one_of(
    st.sampled_from([b"a", b"5", b"chunked", b"close", b"keep-alive", b"Upgrade", b"100-continue", b"", b" 5", b"0"]),
    st.binary(max_size=6),
)
SEPARATORS = st.sampled_from([b": ", b":", b" :", b":\t", b"\0:", b""])
ENDS = st.sampled_from([b"\r\n"] * 12 + [b"\n", b"\r", b"\r\n ", b"\r\r\n"])
LINES = st.tuples(TOKENS, SEPARATORS, VALUES, ENDS).map(b"".join)
FIRST = st.sampled_from(
    [b"GET / HTTP/1.1\r\n", b"POST /a HTTP/1.1\r\n", b"GET / HTTP/1.0\r\n", b"GET /\x80 HTTP/1.1\r\n", b"GET /\r\n"]
)
BODIES = st.sampled_from([b"", b"hello", b"5\r\nhello\r\n0\r\n\r\n", b"5\nhello\n0\n\n", b"GET / HTTP/1.1\r\n\r\n"])


@settings(max_examples=400)
@given(FIRST, st.lists(LINES, max_size=5), BODIES)
def test_whatever_is_accepted_h11_reads_likewise(first: bytes, lines: list[bytes], body: bytes) -> None:
    data = first + b"Host: a\r\n" + b"".join(lines) + b"\r\n" + body
    try:
        ours = read(data)
    except Malformed:
        return
    theirs = h11.Connection(h11.SERVER)
    theirs.receive_data(data)
    for head, content, _ in ours:
        request = theirs.next_event()
        assert isinstance(request, h11.Request)
        assert (request.method, request.http_version.decode()) == (head[0], head[3])
        got = b""
        while isinstance(event := theirs.next_event(), h11.Data):
            got += event.data
        assert isinstance(event, h11.EndOfMessage)
        assert got == content
        if theirs.their_state is h11.MUST_CLOSE:
            return
        theirs.send(h11.Response(status_code=200, headers=[("content-length", "0")]))
        theirs.send(h11.EndOfMessage())
        if theirs.their_state is not h11.DONE or theirs.our_state is not h11.DONE:
            return
        theirs.start_next_cycle()


# ---- the short cut ----


class Slow(Requests):
    """Without the compiled short cut."""

    def _head(self, data: bytes) -> bytes:
        return super(RequestReader, self)._head(data)


@settings(max_examples=600)
@given(FIRST, st.lists(LINES, max_size=5), BODIES)
def test_the_short_cut_leads_to_the_same_place(first: bytes, lines: list[bytes], body: bytes) -> None:
    data = first + b"Host: a\r\n" + b"".join(lines) + b"\r\n" + body
    results: list[object] = []
    for kind in (Requests, Slow):
        reader = kind()
        try:
            reader.feed(data)
            results.append([
                (r.method, r.target, r.authority, r.version, r.length, list(r.headers), r.protocol, content,
                 reader.framing.keep_alive, reader.framing.expects)
                for r, content, _ in reader.got
            ] + [reader.pending])  # fmt: skip
        except Malformed as wrong:
            results.append((wrong.why, wrong.status))
    assert results[0] == results[1]


PARTS = st.sampled_from([b"/", b".", b"..", b"a", b"%61", b"%", b"\\", b"?", b";", b"#", b"\x7f", b"\xe4"])
TARGETS = st.lists(PARTS | st.binary(max_size=2), max_size=8).map(lambda parts: b"/" + b"".join(parts))
LAX = Rules(slashes="keep", encoded_slash="keep", backslash="keep", control="keep")


@settings(max_examples=600)
@given(TARGETS)
def test_a_target_seen_to_be_normal_is_normal(target: bytes) -> None:
    """And nearly all that are, are seen to be: all without `//`, `/.`, `\\` and `%` in the path."""
    reader = Requests()
    try:
        reader.feed(b"GET %b HTTP/1.1\r\nHost: a\r\n\r\n" % target)
    except Malformed:
        return
    assert reader.framing.normal is not any(odd in target.partition(b"?")[0] for odd in (b"//", b"/.", b"\\", b"%"))
    for rules in (STRICT, LAX, Rules(slashes="refuse")) if reader.framing.normal else ():
        assert normal(target, rules) == target


def test_what_was_seen_of_one_target_says_nothing_of_the_next() -> None:
    reader = Requests()
    for target, seen in ((b"/a", True), (b"/a/../b", False), (b"/a?/../b", True), (b"http://a/../b", False)):
        reader.feed(b"GET %b HTTP/1.1\r\nHost: a\r\n\r\n" % target)
        assert (target, reader.framing.normal) == (target, seen)
        reader.next()


# ---- responses ----


def answer(data: bytes, method: bytes = b"GET", eof: bool = True) -> Responses:
    reader = Responses(method)
    reader.feed(data)
    if eof:
        reader.eof()
    return reader


@pytest.mark.parametrize(
    ("data", "method", "length", "body", "keep"),
    [
        (b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", b"GET", 2, b"ok", True),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n", b"HEAD", 2, b"", True),
        (b"HTTP/1.1 304 Not Modified\r\nContent-Length: 2\r\n\r\n", b"GET", 2, b"", True),
        (b"HTTP/1.1 204 No Content\r\n\r\n", b"GET", None, b"", True),
        (b"HTTP/1.1 200\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n", b"GET", None, b"ok", True),
        (b"HTTP/1.1 200 OK\r\n\r\nuntil the end", b"GET", None, b"until the end", False),
        (b"HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok", b"GET", 2, b"ok", False),
        (b"HTTP/1.1 103 Hints\r\nlink: a\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", b"GET", 0, b"", True),
    ],
)
def test_responses(data: bytes, method: bytes, length: int | None, body: bytes, keep: bool) -> None:
    got = answer(data, method)
    assert got.response is not None
    assert (got.response.length, got.body, got.ended, got.framing.keep_alive) == (length, body, True, keep)


class SlowResponses(Responses):
    """Without the compiled short cut."""

    def _head(self, data: bytes) -> bytes:
        return super(ResponseReader, self)._head(data)


STATUS_LINES = st.sampled_from(
    [b"HTTP/1.1 200 OK", b"HTTP/1.1 204 ", b"HTTP/1.1 304 a\tb", b"HTTP/1.0 200 OK", b"HTTP/1.1 600 ?", b"HTTP/1.1 200"]
)


@settings(max_examples=600)
@given(STATUS_LINES, st.lists(LINES, max_size=5), BODIES, st.sampled_from([b"GET", b"HEAD"]))
def test_the_short_cut_of_responses_leads_to_the_same_place(
    first: bytes, lines: list[bytes], body: bytes, method: bytes
) -> None:
    data = first + b"\r\n" + b"".join(lines) + b"\r\n" + body
    results: list[object] = []
    for kind in (Responses, SlowResponses):
        reader = kind(method)
        try:
            reader.feed(data)
        except Malformed as wrong:
            results.append((wrong.why, wrong.status))
            continue
        r, framing = reader.response, reader.framing
        head = (r.status, r.reason, r.length, list(r.headers)) if r is not None else None
        results.append((head, reader.body, reader.ended, reader.pending, framing.keep_alive, framing.upgrade))
    assert results[0] == results[1]


@pytest.mark.parametrize(
    "data",
    [
        b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nok",
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 2\r\n\r\nok",
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\nok",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\nok",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n",
        b"HTTP/1.1 200 OK\r\nX: a\r\n b\r\nContent-Length: 2\r\n\r\nok",
        b"HTTP/1.1 200 OK\nContent-Length: 2\n\nok",
        b"HTTP/1.1 20 OK\r\n\r\n",
        b"HTTP/1.1 999 OK\r\n\r\n",
        b"HTTP/2 200 OK\r\n\r\n",
        b"HTTP/1.1 101 Switching\r\nUpgrade: websocket\r\nConnection: upgrade\r\n\r\n",
        b"HTTP/1.1 100 Continue\r\nContent-Length: 2\r\n\r\nok",
        b"SSH-2.0-OpenSSH\r\n\r\n",
        b"",
        b"HTTP/1.1 200 OK\r\n",
    ],
)
def test_responses_that_are_none(data: bytes) -> None:
    reader = Responses()
    reader.started = True

    def read_on() -> None:
        reader.feed(data)
        reader.eof()

    with pytest.raises(Malformed):
        read_on()
