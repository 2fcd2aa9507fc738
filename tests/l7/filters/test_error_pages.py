"""Pages for errors: whose, of which kind, with nothing in them that a client wrote as it is."""

from __future__ import annotations

import json
from html.parser import HTMLParser

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lbcore.l7 import notes
from lbcore.l7.field import legal
from lbcore.l7.filters.error_pages import KINDS, ErrorPages, ErrorPagesOptions, preferred
from lbcore.l7.message import Headers, Response
from tests.l7.fakes import FakeExchange, request


def shown(status=502, options=None, *lines, accept=b"", backend="", error="", answer=None, identity=None):
    exchange = FakeExchange(
        request(b"/", *lines, *([(b"accept", accept)] if accept else [])), backend=backend, error=error
    )
    if identity:
        exchange.notes[notes.REQUEST_ID] = identity
    response = answer or Response(status, Headers([(b"content-type", b"x/y"), (b"retry-after", b"3")]), b"old")
    ErrorPages(options or ErrorPagesOptions()).on_response(exchange, response)
    return response


@pytest.mark.parametrize(
    ("accept", "kind"),
    [
        (b"", KINDS[0]),
        (b"*/*", KINDS[0]),
        (b"application/json, text/plain, */*", KINDS[0]),
        (b"text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,*/*;q=0.8", KINDS[1]),
        (b"text/*", KINDS[1]),
        (b"text/html;q=0.5, text/plain;q=0.6", KINDS[2]),
        (b"text/html;q=0, text/*", KINDS[2]),
        (b"TEXT/HTML ; Q=0.9", KINDS[1]),
        (b"image/png", None),
        (b"*/*;q=0", None),
        (b"text/html;q=1.5, text/plain;q=0.1", KINDS[2]),
        (b"text/html;q=nan, text/plain;q=inf", None),
    ],
)
def test_accept(accept, kind):
    assert preferred(accept, KINDS) == kind


def test_the_status_and_what_belongs_to_it_stay_the_body_does_not():
    response = shown(503, accept=b"application/json", identity=b"abc")
    assert response.status == 503
    assert dict(response.headers) == {b"retry-after": b"3", b"content-type": b"application/json", b"vary": b"accept"}
    assert json.loads(response.body) == {
        "status": 503,
        "reason": "Service Unavailable",
        "message": "Nobody is there to answer now. Please try again.",
        "id": "abc",
    }


def test_whose_errors():
    everything = ErrorPagesOptions(backend=True)
    assert shown(backend="a:1").body == b"old"
    assert shown(backend="a:1", error="timeout").body != b"old"
    assert shown(options=everything, backend="a:1").body != b"old"
    assert shown(answer=Response(404, Headers([(b"age", b"1")]), b"old")).body == b"old"  # a cache's
    assert shown(399, everything).body == b"old"
    assert shown(500, everything, (b"content-type", b"application/grpc+proto")).body == b"old"


def test_own_pages_by_status_class_and_default():
    options = ErrorPagesOptions(
        pages={"404": "<p>$status $message $$", "5xx": "five $reason", "default": "any"},
        messages={"404": "<gone>", "5xx": "later"},
    )
    assert shown(404, options, accept=b"text/html").body == b"<p>404 &lt;gone&gt; $"
    assert shown(502, options, accept=b"text/html").body == b"five Bad Gateway"
    assert shown(502, options, accept=b"text/plain").body == b"502 Bad Gateway\nlater\n"
    assert shown(418, options, accept=b"text/html").body == b"any"
    assert shown(599, accept=b"text/plain").body == b"599 Error\nError\n"


@given(st.binary(min_size=1, max_size=30))
def test_nothing_put_in_is_markup(identity):
    class Tags(HTMLParser):
        found: tuple[str, ...] = ()

        def handle_starttag(self, tag, attributes):
            self.found += (tag,)

    tags = Tags()
    tags.feed(shown(accept=b"text/html", identity=identity).body.decode())
    assert tags.found == ("html", "meta", "title", "h1", "p", "p", "small")
    assert json.loads(shown(identity=identity).body)["id"] == identity.decode("ascii", "replace")


@given(st.binary(max_size=60).filter(legal), st.integers(400, 599))
def test_whatever_is_accepted_there_is_a_legal_answer(accept, status):
    response = shown(status, accept=accept)
    assert response.body != b"old"
    assert all(legal(value) for _, value in response.headers)


def test_what_listened_to_the_old_body_is_told_that_it_is_gone():
    class Listener:
        told = ""

        def abort(self):
            self.told = "gone"

    one = Listener()
    answer = Response(500, Headers([(b"content-encoding", b"gzip"), (b"etag", b'"1"')]), None, 99, transforms=[one])
    shown(options=ErrorPagesOptions(backend=True), backend="a:1", answer=answer)
    (instead,) = answer.transforms
    assert (one.told, answer.body) == ("gone", None)
    assert instead.feed(b"old") == b""
    assert len(instead.finish()) == answer.length
    assert [name for name, _ in answer.headers] == [b"content-type", b"vary"]


@pytest.mark.parametrize(
    "wrong",
    [
        {"pages": {"200": ""}},
        {"pages": {"6xx": ""}},
        {"pages": {"404": "$user"}},
        {"pages": {"404": "5 $"}},
        {"messages": {"": ""}},
    ],
)
def test_options_that_cannot_be(wrong):
    with pytest.raises(msgspec.ValidationError, match=r"must|none of"):
        msgspec.convert({"kind": "error_pages", **wrong}, ErrorPagesOptions)
