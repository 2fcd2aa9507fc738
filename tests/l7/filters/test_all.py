"""What holds for every filter, and for all of them in a row."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lbcore.l7.field import FRAMING, TOKEN, legal
from lbcore.l7.filters.filter import Filter
from lbcore.l7.filters.kinds import FILTERS, KINDS, AnyOptions, make
from lbcore.l7.message import Headers, Response
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
