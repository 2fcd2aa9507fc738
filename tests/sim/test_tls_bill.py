"""The bill and the round trips: parts that add up, laws that hold, input that makes no sense."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lbcore.sim.round_trips import SETUPS, first_byte
from lbcore.sim.tls_bill import BYTES, FULL, REQUEST, RESUMED, Prices, bill

prices = st.builds(Prices, *[st.floats(0, 1e6)] * 4)
times = st.floats(0, 1e4)


@given(prices, st.integers(1, 1000), st.integers(0, 10**9), st.integers(0, 50), st.integers(0, 50))
def test_the_bill_is_that_of_connections_paid_one_by_one(price, requests, size, new, returning):
    if not new + returning:
        return
    each = new * [price.full] + returning * [price.resumed]
    wanted = sum(cost + requests * (price.request + size * price.byte) for cost in each) / (len(each) * requests)
    parts = bill(price, requests, size, returning / len(each))
    assert list(parts) == [FULL, RESUMED, BYTES, REQUEST]
    assert sum(parts.values()) == pytest.approx(wanted)


@pytest.mark.parametrize(("arguments", "field"), [((0.5, 0, 0), "requests"), ((1, -1, 0), "size"),
                                                  ((1, 0, 1.1), "resumed"), ((1, 0, -0.1), "resumed")])  # fmt: skip
def test_a_bill_that_cannot_be_is_refused(arguments, field):
    with pytest.raises(ValueError, match=f"{field} is"):
        bill(Prices(1, 1, 1), *arguments)


@given(st.sampled_from(list(SETUPS)), times, times)
def test_an_edge_is_never_slower_and_where_nothing_lies_beyond_it_changes_nothing(setup, near, far):
    ended = first_byte(setup, near, far, ends_at="edge")
    assert ended <= first_byte(setup, near, far)
    assert first_byte(setup, near, 0, ends_at="edge") == first_byte(setup, near, 0)
    assert ended <= first_byte(setup, near, far, ends_at="edge", warm=False)


@pytest.mark.parametrize(("arguments", "field"), [(("SSL", 1), "setup"), (("QUIC", -1), "round-trip times")])
def test_a_distance_that_cannot_be_is_refused(arguments, field):
    with pytest.raises(ValueError, match=field):
        first_byte(*arguments)
    with pytest.raises(ValueError, match="ends_at is 'cloud'"):
        first_byte("QUIC", 1, ends_at="cloud")
