"""Other paths: by prefix, by expression, never one with two meanings."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lbcore.l7.filters.rewrite import Rewrite, RewriteOptions
from lbcore.l7.target import BadTarget, normal
from tests.l7.fakes import FakeExchange, request


def rewritten(target, **options):
    exchange = FakeExchange(request(target))
    answer = exchange.passes(Rewrite(RewriteOptions(**options)))
    return exchange.request.target if answer.status == 200 else answer.status


@pytest.mark.parametrize(
    ("prefix", "to", "target", "wanted"),
    [
        ("/api", "/v2", b"/api/x?q=/api", b"/v2/x?q=/api"),
        ("/api", "/v2", b"/api", b"/v2"),
        ("/api", "/v2", b"/apix", b"/apix"),
        ("/api/", "/v2/", b"/api/x", b"/v2/x"),
        ("/api", "/", b"/api/x", b"/x"),
        ("/api", "/", b"/api", b"/"),
        ("/api", "/", b"/api?a", b"/?a"),
        ("/", "/app", b"/x", b"/app/x"),
        ("/", "/app", b"/", b"/app/"),
        ("/a", "/b", b"*", b"*"),
    ],
)
def test_a_prefix_ends_where_a_segment_ends(prefix, to, target, wanted):
    assert rewritten(target, prefix=prefix, to=to) == wanted


def test_an_expression_fits_the_whole_path():
    options = {"regex": r"/users/(?P<who>\w+)/(.*)", "to": r"/u/\2/\g<who>"}
    assert rewritten(b"/users/ann/a/b?x", **options) == b"/u/a/b/ann?x"
    assert rewritten(b"/x/users/ann/a", **options) == b"/x/users/ann/a"
    assert rewritten(b"/users/ann//", **options) == b"/u/ann"  # brought to the one form again


def test_what_would_have_two_meanings_is_not_sent():
    assert rewritten(b"/x%2e", regex="/x(.*)", to=r"/a/\1\1/../../..") == 400
    assert rewritten(b"/xevil", regex="/x(.*)", to=r"\1") == 400


@given(
    st.binary(max_size=20),
    st.sampled_from([("/a", ""), ("", "/(.*)"), ("", "(.*)a(.*)")]),
    st.sampled_from(["/b", r"/\1", "/"]),
)
def test_what_goes_out_is_in_the_one_form(tail, fits, to):
    try:
        target = normal(b"/a" + tail)
        options = RewriteOptions(prefix=fits[0], regex=fits[1], to=to)
    except (BadTarget, ValueError):
        return
    exchange = FakeExchange(request(target))
    if exchange.passes(Rewrite(options)).status == 200:
        assert normal(exchange.request.target) == exchange.request.target


@pytest.mark.parametrize(
    "wrong",
    [{}, {"to": "/"}, {"prefix": "/a", "regex": "/b", "to": "/"}, {"prefix": "a", "to": "/"},
     {"prefix": "/a", "to": "b"}, {"prefix": "/a", "to": "/b?c"}, {"prefix": "/a", "to": ""}, {"regex": "(", "to": "/"},
     {"regex": "a{99999999999}", "to": "/"}, {"regex": "(" * 5000 + ")" * 5000, "to": "/"},
     {"regex": "/a", "to": r"/\1"}, {"regex": "/a", "to": r"/\g<x>"}, {"prefix": "/a", "to": "/b\r\nX: y"}],
)  # fmt: skip
def test_options_that_cannot_be(wrong):
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert({"kind": "rewrite", **wrong}, RewriteOptions)
