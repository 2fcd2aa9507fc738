"""What holds for every filter, and for all of them in a row."""

from __future__ import annotations

import jwt
import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lbcore.l7.entropy import Entropy
from lbcore.l7.field import FRAMING, TOKEN, legal
from lbcore.l7.filters.filter import Filter
from lbcore.l7.filters.kinds import FILTERS, KINDS, AnyOptions, make
from lbcore.l7.message import Headers, Message, Response, block_of
from lbcore.l7.target import BadTarget, normal
from tests.l7.fakes import FakeExchange, request

SAMPLE = [
    {"kind": "forwarded", "trusted": ["192.0.2.0/24"], "forwarded": True, "real_ip": True},
    {"kind": "request_id", "trusted": ["192.0.2.0/24"]},
    {"kind": "traceparent"},
    {"kind": "metrics"},
    {"kind": "error_pages", "backend": True},
    {"kind": "security_headers"},
    {"kind": "cors", "origins": ["https://*.example.org"], "credentials": True},
    {"kind": "redirect", "regex": "/old/(.*)", "path": "/new/\\1"},
    {"kind": "rewrite", "prefix": "/api", "to": "/"},
    {"kind": "headers", "response": {"set": {"server": "x"}}},
]
NAMES = [b"origin", b"x-forwarded-for", b"x-forwarded-host", b"x-request-id", b"traceparent", b"tracestate", b"accept",
         b"vary", b"access-control-request-method", b"content-type", b"x-real-ip", b"forwarded", b"te"]  # fmt: skip
lines = st.lists(st.tuples(st.sampled_from(NAMES), st.binary(max_size=40).filter(legal)), max_size=8)


def read(options):
    return make(msgspec.convert(options, AnyOptions))


SECRET = "a secret of at least thirty-two bytes"
KEY = {"algorithm": "HS256", "secret": SECRET}
BEARER = b"Bearer " + jwt.encode({"sub": "ann", "exp": 4102444800}, SECRET, "HS256").encode()
MORE = [
    {"kind": "rate_limit", "rate": 1, "burst": 2, "policy": "so%d"},
    {"kind": "headers", "request": {"remove": ["accept"], "set": {"te-x": "50%"}, "add": {"vary": "a"}}},
    {"kind": "security_headers", "override": False, "content_security_policy": "default-src 'self'"},
    {"kind": "rate_limit", "rate": 1, "burst": 1, "by": "header", "name": "Origin"},
    {"kind": "jwt", "keys": [KEY], "claims": {"sub": "x-real-ip"}},
    {"kind": "compress", "minimum": 1},
    {"kind": "waf"},
]
ASKED = st.sampled_from(
    [(b"authorization", BEARER), (b"accept-encoding", b"gzip"), (b"origin", b"https://a.example.org")]
)
SAID = [
    *NAMES,
    b"cache-control",
    b"etag",
    b"content-security-policy",
    b"strict-transport-security",
    b"x-xss-protection",
    b"referrer-policy",
]
answered_lines = st.lists(
    st.tuples(
        st.sampled_from(SAID), st.binary(max_size=40).filter(legal) | st.sampled_from([b"frame-ancestors 'self'", b""])
    ),
    max_size=8,
)
ADDRESSES = ["192.0.2.7", "198.51.100.1", "::ffff:192.0.2.1", "unix:"]


@given(
    st.lists(st.sampled_from([*SAMPLE, *MORE]), max_size=6),
    st.sampled_from(ADDRESSES),
    st.sampled_from([b"http", b"https"]),
    st.tuples(lines, st.lists(ASKED, max_size=3)).map(lambda both: [*both[0], *both[1]]),
    answered_lines | answered_lines.map(lambda lines: [*lines, (b"content-type", b"text/plain")]),
)
def test_fields_that_nobody_read_come_out_as_those_that_are_a_list(chosen, address, scheme, asked, answered):
    def passed(unread):
        exchange = FakeExchange(request(b"/x", *asked, address=address, scheme=scheme))
        answer = Response(200, Headers(answered), b"x")
        filters = [read(options) for options in chosen]
        for one in filters:
            if hasattr(one, "_entropy"):
                one._entropy = Entropy(lambda size: b"5a" * (size // 2))
        if unread:
            exchange.request = request(b"/x", address=address, scheme=scheme)
            Message.__init__(exchange.request, block_of(asked))
            answer = Response(200, block_of(answered), b"x")
        answer = exchange.passes(*filters, answer=answer)
        notes = [value for key, value in exchange.notes.items() if isinstance(key, str)]
        return exchange.request.headers, answer.status, answer.headers, answer.body, notes

    assert passed(unread=True) == passed(unread=False)


@given(
    st.binary(max_size=20).map(lambda tail: b"/" + tail)
    | st.sampled_from([b"/api/x", b"/old/%41", b"/old//evil.example"]),
    st.sampled_from([b"GET", b"OPTIONS", b"POST"]),
    lines,
    lines,
    st.sampled_from([200, 204, 304, 404, 500]),
)
def test_whatever_comes_in_what_goes_out_is_legal(target, method, asked, answered, status):
    try:
        target = normal(target)
    except BadTarget:
        return
    exchange = FakeExchange(request(target, *asked, method=method))
    answer = exchange.passes(*map(read, SAMPLE), answer=Response(status, Headers(answered), b"x"))
    for name, value in [*exchange.request.headers, *answer.headers]:
        assert TOKEN.fullmatch(name)
        assert name == name.lower()
        assert legal(value)
        assert name not in FRAMING - {b"te"}
    assert normal(exchange.request.target) == exchange.request.target


@pytest.mark.parametrize("kind", sorted(FILTERS))
def test_the_list_is_whole_and_options_are_strict(kind):
    options, made = FILTERS[kind]
    config = options.__struct_config__
    assert config.frozen
    assert config.forbid_unknown_fields
    assert issubclass(made, Filter)
    with pytest.raises(msgspec.ValidationError, match="unknown field"):
        msgspec.convert(
            {"kind": kind, "origins": ["*"], "to": "/", "prefix": "/", "path": "/", "nonsense": 1}, AnyOptions
        )


def test_kinds_are_told_apart_by_their_name():
    assert len(FILTERS) == len(KINDS)
    for options in SAMPLE:
        assert type(read(options)) is FILTERS[options["kind"]][1]
    with pytest.raises(msgspec.ValidationError, match="kind"):
        msgspec.convert({"kind": "crs"}, AnyOptions)


@pytest.mark.parametrize("options", SAMPLE, ids=lambda options: options["kind"])
def test_close_can_be_called_on_each(options):
    one = read(options)
    one.close()
    one.close()
