"""Users behind shared addresses and what is left of sessions: sums, bounds, and the formulas of the text-books."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lbcore.sim import sessions


@given(st.integers(1, 5000), st.integers(1, 500), st.floats(0, 2), st.integers(1, 40), st.sampled_from(sessions.KEYS))
def test_nobody_is_lost_and_the_largest_key_is_a_bound(users, addresses, tail, backends, key):
    crowd = sessions.crowds(users, addresses, tail)
    load = sessions.loads(crowd, key, backends)
    assert crowd.sum() == load.sum() == sessions.blocks(crowd).sum() == users
    assert load.size == backends
    largest = {"cookie": 1, "address": crowd.max(), "/24": sessions.blocks(crowd).max()}[key]
    assert load.max() >= max(largest, users / backends)
    assert sessions.max_over_mean(load) >= 1


def test_a_key_goes_to_one_backend_as_a_whole():
    crowd = np.zeros(64, np.int64)
    crowd[16:32] = 5
    assert sorted(sessions.loads(crowd, "/24", 8).tolist()) == [0] * 7 + [80]
    assert sessions.loads(crowd, "address", 8).max() < 80
    assert sessions.loads(crowd, "cookie", 8).tolist() == [10] * 8


def test_coarser_keys_are_less_even():
    crowd = sessions.crowds()
    cookie, address, block = (sessions.unevenness(crowd, key, 16, draws=5) for key in sessions.KEYS)
    assert 1 <= cookie < 1.01 < address < block


@pytest.mark.parametrize("spread", [0.0, 0.5, 1.0])
def test_what_is_left_has_the_mean_of_renewal_theory(spread):
    lengths = sessions.lengths(2_000_000, 600.0, spread)
    left = sessions.remaining(lengths)
    expected = np.mean(lengths**2) / (2 * np.mean(lengths))
    assert left.mean() == pytest.approx(expected, rel=0.1)
    assert (np.diff(left) >= 0).all()
    assert left[0] > 0 and left[-1] <= lengths.max()  # noqa: PT018


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: sessions.crowds(users=0), "users is 0"),
        (lambda: sessions.crowds(addresses=0), "addresses is 0"),
        (lambda: sessions.crowds(tail=-1), "tail is -1"),
        (lambda: sessions.loads(sessions.crowds(), "name", 2), "key is 'name'"),
        (lambda: sessions.loads(sessions.crowds(), "cookie", 0), "backends is 0"),
    ],
)
def test_what_cannot_be_is_said_with_its_value(call, words):
    with pytest.raises(ValueError, match=words):
        call()
