"""Heads of HTTP/2 that are requests, and those that only look like it."""

from __future__ import annotations

import h11
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lbcore.l7.errors import Malformed
from lbcore.l7.http1 import writer
from lbcore.l7.http2 import translate
from lbcore.l7.limits import Limits
from lbcore.l7.message import Headers, Peer, Request, Response
from lbcore.l7.rpc import grpc

GET = [(b":method", b"GET"), (b":scheme", b"https"), (b":authority", b"a.example"), (b":path", b"/x?y=1")]
POST = [(b":method", b"POST"), *GET[1:]]


def read(lines, ended=True) -> Request:
    return translate.request(lines, ended, Peer("192.0.2.1", 1), b"https", Limits())[0]


def without(name: bytes) -> list[tuple[bytes, bytes]]:
    return [line for line in GET if line[0] != name]


def test_a_request():
    made = read([*GET, (b"accept", b"*/*"), (b"cookie", b"a=1"), (b"te", b"trailers"), (b"cookie", b"b=2")])
    assert (made.method, made.target, made.authority, made.scheme) == (b"GET", b"/x?y=1", b"a.example", b"https")
    assert made.headers == [(b"accept", b"*/*"), (b"cookie", b"a=1; b=2")]
    assert (made.version, made.length, made.protocol) == ("2", 0, None)
    assert read(POST, ended=False).length is None
    assert read([*POST, (b"content-length", b"7")], ended=False).length == 7
    assert read([*without(b":authority"), (b"host", b"A.example:8443")]).authority == b"a.example:8443"
    assert read([(b":method", b"OPTIONS"), *GET[1:3], (b":path", b"*")]).target == b"*"


@pytest.mark.parametrize(
    "extra",
    [
        (b"x-a", b"1\r\nhost: evil"),
        (b"x-a", b"1\nx: y"),
        (b"x-a", b"1\rx: y"),
        (b"x-a", b"a\0b"),
        (b"x-a", b" 1"),
        (b"x-a", b"1\t"),
        (b"x-a", b"\x7f"),
        (b"x-a: 1\r\nx-b", b"2"),
        (b"x a", b"1"),
        (b"X-A", b"1"),
        (b"", b"1"),
        (b"x:a", b"1"),
        (b"x-\xe4", b"1"),
        (b"transfer-encoding", b"chunked"),
        (b"connection", b"close"),
        (b"keep-alive", b"1"),
        (b"proxy-connection", b"close"),
        (b"upgrade", b"websocket"),
        (b"te", b"gzip"),
        (b"host", b"b.example"),
        (b"content-length", b"5"),  # and no DATA
        (b"content-length", b"+0"),
        (b"content-length", b"0, 0"),
        (b"content-length", b"-1"),
        (b":method", b"GET"),
        (b":status", b"200"),
        (b":what", b"1"),
        (b":protocol", b"websocket"),
    ],
)
def test_mitmproxy_ghsa_847f_9342_265h(extra):
    """HTTP/2 lines that would be other lines, or another length, in HTTP/1.1: no request comes of them."""
    with pytest.raises(Malformed) as caught:
        read([*GET, extra])
    assert caught.value.status == 400


@pytest.mark.parametrize(
    "lines",
    [
        without(b":method"),
        without(b":scheme"),
        without(b":path"),
        without(b":authority"),
        [*without(b":path"), (b":path", b"")],
        [*without(b":path"), (b":path", b"x")],
        [*without(b":path"), (b":path", b"*")],
        [*without(b":path"), (b":path", b"/a b")],
        [*without(b":path"), (b":path", b"/a HTTP/1.1\r\nx: y")],
        [*without(b":path"), (b":path", b"/a#b")],
        [*without(b":path"), (b":path", b"/\xe4")],
        [*without(b":path"), (b":path", b"http://b.example/")],
        [*without(b":method"), (b":method", b"GET /")],
        [*without(b":method"), (b":method", b"")],
        [*without(b":scheme"), (b":scheme", b"ftp")],
        [*without(b":authority"), (b":authority", b"")],
        [*without(b":authority"), (b":authority", b"user@a.example")],
        [*without(b":authority"), (b":authority", b"a.example/x")],
        [*without(b":authority"), (b":authority", b"a.example:port")],
        [*without(b":authority"), (b"host", b"a.example"), (b"host", b"a.example")],
        [GET[0], (b"accept", b"*/*"), *GET[1:]],
        [GET[0], (b"content-length", b"0"), *GET[1:]],
        [*GET, (b"content-length", b"0"), (b"content-length", b"0")],
        [(b":method", b"CONNECT"), *GET[1:]],
        [(b":method", b"CONNECT")],
    ],
)
def test_heads_that_are_none(lines):
    """RFC 9113 sections 8.2, 8.3, 8.5."""
    with pytest.raises(Malformed):
        read(lines)


def test_too_much_has_a_status_of_its_own():
    for lines, status in (
        ([*without(b":path"), (b":path", b"/" + b"a" * 10_000)], 414),
        ([*GET, *[(b"x", b"1")] * 101], 431),
        ([*GET, (b"expect", b"200-maybe")], 417),
    ):
        with pytest.raises(Malformed) as caught:
            read(lines)
        assert caught.value.status == status


@given(
    st.lists(
        st.tuples(
            st.binary(max_size=12) | st.sampled_from([b"host", b"content-length", b"x-a", b":path", b"cookie"]),
            st.binary(max_size=20) | st.sampled_from([b"0", b"1", b"a.example", b"/"]),
        ),
        max_size=6,
    ),
    st.lists(st.integers(0, 9), max_size=10),
)
def test_whatever_is_let_in_is_one_request_to_a_reader_of_http1(extra, order):
    """Written as HTTP/1.1 and read by h11, it is the same request, and nothing is left behind it."""
    lines = [*GET, *extra]
    for at in order:
        lines.append(lines.pop(at % len(lines)))
    try:
        made = read(lines)
    except Malformed:
        return
    reader = h11.Connection(h11.SERVER)
    reader.receive_data(writer.request_head(made))
    found = reader.next_event()
    assert isinstance(found, h11.Request)
    assert (found.method, found.target) == (made.method, made.target)
    expected = [(b"host", made.authority), *made.headers, (b"via", b"2 lbcore")]
    assert [(name.lower(), value) for name, value in found.headers] == expected
    assert isinstance(reader.next_event(), h11.EndOfMessage)
    assert reader.trailing_data[0] == b""


def test_extended_connect_becomes_a_request_for_an_upgrade():
    """RFC 8441 section 4."""
    lines = [(b":method", b"CONNECT"), (b":protocol", b"websocket"), *GET[1:]]
    made = read(lines, ended=False)
    assert (made.method, made.target, made.protocol) == (b"GET", b"/x?y=1", b"websocket")
    back = dict(translate.request_lines(made)[:5])
    assert back[b":method"] == b"CONNECT"
    assert back[b":protocol"] == b"websocket"


@pytest.mark.parametrize(
    "lines",
    [
        [],
        [(b":status", b"2000")],
        [(b":status", b"99")],
        [(b":status", b"101")],
        [(b":status", b"200"), (b":status", b"200")],
        [(b":status", b"200"), (b":path", b"/")],
        [(b":status", b"200"), (b"Server", b"x")],
        [(b":status", b"200"), (b"connection", b"close")],
        [(b":status", b"200"), (b"x", b"a\nb")],
        [(b":status", b"200"), (b"content-length", b"3")],
        [(b":status", b"103")],
    ],
)
def test_responses_that_are_none(lines):
    with pytest.raises(Malformed):
        translate.response(lines, True, b"GET")


def test_lengths_of_responses():
    for method, status, ended, written, length in (
        (b"GET", b"200", True, None, 0),
        (b"GET", b"200", False, None, None),
        (b"GET", b"200", False, b"5", 5),
        (b"HEAD", b"200", True, b"5", 5),
        (b"HEAD", b"200", True, None, None),
        (b"GET", b"304", True, b"5", 5),
    ):
        lines = [(b":status", status), *([(b"content-length", written)] if written else [])]
        assert translate.response(lines, ended, method).length == length


def test_other_spellings_of_framing_are_not_passed_on():
    """In CGI and WSGI they become the same variables."""
    made = read([*GET, (b"content_length", b"5"), (b"transfer_encoding", b"chunked"), (b"x_y", b"1")])
    assert list(made.headers) == [(b"x_y", b"1")]


def test_trailers_cannot_change_what_came_before():
    found = translate.trailers([(b"grpc-status", b"0"), (b"content-length", b"5"), (b"authorization", b"x")])
    assert found == [(b"grpc-status", b"0")]
    for bad in ((b":status", b"200"), (b"X", b"1"), (b"transfer-encoding", b"chunked")):
        with pytest.raises(Malformed):
            translate.trailers([bad])


def test_a_filter_cannot_smuggle_either():
    bad = Headers([(b"x", b"1\r\ny: 2")])
    with pytest.raises(ValueError, match="inside a field"):
        translate.response_lines(Response(200, bad), None)
    with pytest.raises(ValueError, match="inside a field"):
        translate.request_lines(Request(b"GET", b"/", b"a", b"http", bad, Peer("", 0)))


def test_a_request_without_host_has_no_authority():
    """RFC 9113 section 8.3.1: from HTTP/1.0, which may leave it out; an empty one is refused by whoever gets it."""
    lines = translate.request_lines(Request(b"GET", b"/", b"", b"http", Headers(), Peer("", 0), "1.0"))
    assert [name for name, _ in lines] == [b":method", b":scheme", b":path", b"via"]


@pytest.mark.parametrize("version", ["1.0", "1.1", "2"])
@pytest.mark.parametrize("lines", [Headers([(b"accept", b"*/*")]), b"accept: */*\r\n"])
def test_via_names_the_version_that_a_request_came_in(version, lines):
    """RFC 9110, 7.6.3: received-protocol, whatever it goes on in."""
    made = Request(b"GET", b"/", b"a", b"http", lines, Peer("", 0), version)
    assert b"via: %b lbcore\r\n" % version.encode() in writer.request_head(made)
    assert (b"via", b"%b lbcore" % version.encode()) in translate.request_lines(made)


def test_grpc_is_told_that_trailers_are_welcome():
    kind = Headers([(b"content-type", b"application/grpc+proto")])
    made = Request(b"POST", b"/", b"a", b"http", kind, Peer("", 0), length=None)
    assert (b"te", b"trailers") in translate.request_lines(made)
    assert not grpc.is_grpc(Headers([(b"content-type", b"application/grpc-web")]))
