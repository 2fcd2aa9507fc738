"""What one connection says is not said on the next."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lbcore.l7.hop_by_hop import HOP_BY_HOP, KEPT, strip_request, strip_response
from lbcore.l7.message import Headers

NAMES = sorted(HOP_BY_HOP | {b"x-a", b"x-b", b"cookie", b"content-type"})
lines = st.lists(
    st.tuples(
        st.sampled_from(NAMES), st.sampled_from([b"close", b"X-A, x-b", b"cookie", b"trailers;q=1", b"te, Trailers"])
    )
)


@given(lines)
def test_nothing_of_the_connection_is_left_and_all_else_stays_in_order(given_lines):
    named = {
        token for name, value in given_lines if name == b"connection" for token in value.lower().split(b", ")
    } - KEPT
    wanted = [line for line in given_lines if line[0] not in HOP_BY_HOP | named]
    headers = Headers(given_lines)
    strip_response(headers)
    assert headers == wanted
    headers = Headers(given_lines)
    strip_request(headers)
    asked = any(
        name == b"te" and b"trailers" in [t.strip() for t in value.lower().split(b",")] for name, value in given_lines
    )
    assert headers == wanted + [(b"te", b"trailers")] * asked


@pytest.mark.parametrize("name", [b"x-forwarded-for", b"authorization", b"cookie", b"host", b"content-length"])
def test_a_client_cannot_take_out_what_others_rely_on(name):
    headers = Headers([(b"connection", b"close, " + name), (name, b"1")])
    strip_request(headers)
    assert headers == [(name, b"1")]


def test_te_is_no_field_of_responses():
    headers = Headers([(b"te", b"trailers"), (b"trailer", b"grpc-status")])
    strip_response(headers)
    assert headers == [(b"trailer", b"grpc-status")]
