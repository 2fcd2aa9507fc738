"""Said once, on the right scheme."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lbcore.l7.field import legal
from lbcore.l7.filters.security_headers import SecurityHeaders, SecurityHeadersOptions
from lbcore.l7.message import Headers, Response
from tests.l7.fakes import FakeExchange, request

HSTS, CSP = b"strict-transport-security", b"content-security-policy"
NAMES = [HSTS, CSP, b"x-frame-options", b"x-content-type-options", b"referrer-policy", b"x-xss-protection", b"x-other"]


def said(options=None, *lines, scheme=b"https", times=1):
    filters = [SecurityHeaders(options or SecurityHeadersOptions())] * times
    return FakeExchange(request(scheme=scheme)).passes(*filters, answer=Response(200, Headers(lines))).headers


def test_what_is_said_by_default():
    assert dict(said()) == {
        b"x-content-type-options": b"nosniff",
        b"x-frame-options": b"SAMEORIGIN",
        CSP: b"frame-ancestors 'self'",
        b"referrer-policy": b"strict-origin-when-cross-origin",
        HSTS: b"max-age=31536000",
    }


def test_hsts_is_never_said_in_the_clear_not_even_by_a_backend():
    assert said(None, (HSTS, b"max-age=1"), scheme=b"http").get(HSTS) is None
    assert said(SecurityHeadersOptions(override=False), (HSTS, b"max-age=1"), scheme=b"http").get(HSTS) is None
    assert said(SecurityHeadersOptions(hsts=None)).get(HSTS) is None
    long = SecurityHeadersOptions(hsts_subdomains=True, hsts_preload=True)
    assert said(long).get(HSTS) == b"max-age=31536000; includeSubDomains; preload"


@given(
    st.lists(st.tuples(st.sampled_from(NAMES), st.sampled_from([b"a", b"b"]))),
    st.booleans(),
    st.integers(1, 3),
    st.sampled_from([b"http", b"https"]),
)
def test_each_thing_once_however_often_it_passes(lines, override, times, scheme):
    options = SecurityHeadersOptions(override=override)
    once, more = (said(options, *lines, scheme=scheme, times=n) for n in (1, times))
    assert sorted(once) == sorted(more)
    assert all(legal(value) for _, value in once)
    for name in (HSTS, b"x-frame-options", b"x-content-type-options", b"referrer-policy"):
        theirs = [value for key, value in lines if key == name]
        if name == HSTS and scheme == b"http":
            assert once.all(name) == []
        elif theirs and not override:
            assert once.all(name) == theirs
        else:
            assert len(once.all(name)) == 1


def test_a_backends_policy_holds_beside_frame_ancestors_and_yields_to_a_whole_one():
    theirs = (CSP, b"default-src 'self'")
    assert said(None, theirs).all(CSP) == [theirs[1], b"frame-ancestors 'self'"]
    whole = SecurityHeadersOptions(content_security_policy="default-src 'none';", frame_ancestors="'none'")
    assert said(whole, theirs).all(CSP) == [b"default-src 'none'; frame-ancestors 'none'"]
    assert said(whole).get(b"x-frame-options") == b"DENY"
    kept = SecurityHeadersOptions(content_security_policy="default-src 'none'", override=False)
    assert said(kept, theirs).all(CSP) == [theirs[1]]


def test_what_is_left_out_is_left_alone():
    nothing = SecurityHeadersOptions(hsts=None, nosniff=False, frame_ancestors="", referrer_policy="")
    assert said(nothing, (CSP, b"x"), (b"x-frame-options", b"DENY")) == [(CSP, b"x"), (b"x-frame-options", b"DENY")]


@pytest.mark.parametrize(
    "wrong",
    [{"hsts": -1}, {"hsts_preload": True}, {"frame_ancestors": "a; script-src *"}, {"frame_ancestors": "a, b"},
     {"content_security_policy": "frame-ancestors *"}, {"referrer_policy": "a\r\nb"}, {"permissions_policy": "a\0"}],
)  # fmt: skip
def test_options_that_cannot_be(wrong):
    with pytest.raises(ValueError, match="must"):
        SecurityHeadersOptions(**wrong)
