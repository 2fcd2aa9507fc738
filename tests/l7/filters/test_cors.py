"""Which origins may read: preflights, answers, caches between."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lbcore.l7.field import legal
from lbcore.l7.filters.cors import Cors, CorsOptions, add_vary
from lbcore.l7.message import Headers, Message, Response
from tests.l7.fakes import FakeExchange, request

APP = b"https://app.example.org"
OPTIONS = CorsOptions(
    origins=(APP.decode(), "https://*.example.net"),
    methods=("GET", "PUT"),
    headers=("X-Token",),
    expose=("X-Total",),
    credentials=True,
)
ANYBODY = CorsOptions(origins=("*",), headers=("*",))


def asked(options, origin, method=b"PUT", headers=b"x-token"):
    lines = [
        (b"origin", origin),
        (b"access-control-request-method", method),
        (b"access-control-request-headers", headers),
    ]
    exchange = FakeExchange(request(b"/", *lines, method=b"OPTIONS"))
    return exchange, exchange.passes(Cors(options))


def answered(options, *lines, headers=()):
    return FakeExchange(request(b"/", *lines)).passes(Cors(options), answer=Response(200, Headers(headers))).headers


def test_a_preflight_is_answered_here():
    exchange, answer = asked(OPTIONS, APP)
    assert (answer.status, answer.body, exchange.backend) == (204, b"", "")
    assert dict(answer.headers) == {
        b"access-control-allow-origin": APP,
        b"access-control-allow-credentials": b"true",
        b"access-control-allow-methods": b"GET, PUT",
        b"access-control-allow-headers": b"x-token",
        b"access-control-max-age": b"600",
        b"vary": b"origin, access-control-request-method, access-control-request-headers",
    }


@pytest.mark.parametrize(
    ("origin", "method", "headers"),
    [
        (b"https://evil.example", b"PUT", b""),
        (APP, b"DELETE", b""),
        (APP, b"put", b""),
        (APP, b"PUT", b"x-token, x-other"),
    ],
)
def test_a_preflight_that_asks_for_more_is_refused(origin, method, headers):
    _, answer = asked(OPTIONS, origin, method, headers)
    assert answer.status == 403
    assert answer.headers.get(b"access-control-allow-origin") is None


def test_a_star_stands_for_all_methods_as_it_does_for_all_fields():
    """Fetch, 4.8: `*` in Access-Control-Allow-Methods; with credentials it would be a method of that name."""
    _, answer = asked(CorsOptions(origins=("*",), methods=("*",), headers=("*",)), APP, b"DELETE", b"x-other")
    assert (answer.status, answer.headers.get(b"access-control-allow-methods")) == (204, b"*")


def test_options_without_the_question_goes_to_the_backend():
    exchange = FakeExchange(request(b"/", (b"origin", APP), method=b"OPTIONS"))
    exchange.passes(Cors(OPTIONS))
    assert exchange.backend


@pytest.mark.parametrize(
    ("origin", "allowed"),
    [
        (APP, True),
        (b"https://a.example.net", True),
        (b"https://a.b.example.net", True),
        (b"https://example.net", False),
        (b"https://.example.net", False),
        (b"https://evil.example/.example.net", False),
        (b"https://evil.example?.example.net", False),
        (b"https://user@a.example.net", False),
        (b"https://evilexample.net", False),
        (b"http://app.example.org", False),
        (b"https://app.example.org.evil.example", False),
        (b"null", False),
        (b"", False),
    ],
)
def test_origins(origin, allowed):
    headers = answered(OPTIONS, (b"origin", origin))
    assert headers.all(b"access-control-allow-origin") == ([origin] if allowed else [])
    assert headers.all(b"access-control-allow-credentials") == ([b"true"] if allowed else [])
    assert headers.tokens(b"vary") == [b"origin"]


def test_vary_is_said_without_origin_too_and_not_where_the_answer_is_the_same_for_all():
    assert answered(OPTIONS).tokens(b"vary") == [b"origin"]
    headers = answered(ANYBODY, (b"origin", b"https://evil.example"))
    assert headers == [(b"access-control-allow-origin", b"*")]


def test_the_backends_own_word_is_taken_out():
    theirs = [
        (b"access-control-allow-origin", b"*"),
        (b"access-control-allow-credentials", b"true"),
        (b"vary", b"Accept"),
    ]
    assert answered(OPTIONS, (b"origin", b"https://evil.example"), headers=theirs) == [(b"vary", b"Accept, origin")]
    assert answered(OPTIONS, (b"origin", APP), headers=theirs).all(b"access-control-allow-origin") == [APP]


@given(st.binary(max_size=40).filter(legal), st.sampled_from([OPTIONS, ANYBODY]))
def test_credentials_never_with_anybody_and_all_is_legal(origin, options):
    for headers in (asked(options, origin)[1].headers, answered(options, (b"origin", origin))):
        assert all(legal(value) for _, value in headers)
        if headers.get(b"access-control-allow-credentials"):
            assert headers.get(b"access-control-allow-origin") not in (None, b"*", b"null")


def test_vary_is_said_once():
    some = Message(b"vary: Accept\r\nvary: ORIGIN\r\n")
    add_vary(some, b"origin", b"cookie")
    assert some.headers == [(b"vary", b"Accept, ORIGIN, cookie")]
    everything = Message(b"vary: *\r\n")
    add_vary(everything, b"origin")
    assert everything.headers == [(b"vary", b"*")]
    nothing = Message(b"variety: a\r\n")
    add_vary(nothing, b"origin", b"cookie")
    assert nothing.headers == [(b"variety", b"a"), (b"vary", b"origin, cookie")]


@pytest.mark.parametrize(
    "wrong",
    [{"origins": ()}, {"origins": ("*",), "credentials": True}, {"origins": ("*", "https://a.example")},
     {"origins": ("null",)}, {"origins": ("https://a.example/",)}, {"origins": ("https://*",)}, {"origins": ("https://A.example",)},
     {"origins": ("https://a.example",), "headers": ("*",), "credentials": True},
     {"origins": ("https://a.example",), "methods": ("*",), "credentials": True},
     {"origins": ("https://a.example",), "max_age": -1}, {"origins": ("https://a.example",), "methods": ("a b",)},
     {"origins": ("https://a.example",), "expose": ("*",), "credentials": True}],
)  # fmt: skip
def test_options_that_cannot_be(wrong):
    with pytest.raises(ValueError, match="must"):
        CorsOptions(**wrong)
