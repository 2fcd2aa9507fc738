"""Who waits for a lost packet: against theory, against a queue played through by hand, and in order."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lbcore.sim import head_of_line


@settings(max_examples=40)
@given(st.floats(0, 0.3), st.floats(1, 40), st.integers(1, 5), st.integers(0, 50))
def test_more_order_is_never_less_waiting(lost, in_flight, packets, seed):
    """The same losses each time: streams of QUIC, four connections, one."""
    ways = [
        head_of_line.lateness(lost, in_flight=in_flight, connections=n, packets=packets, calls=200, seed=seed)
        for n in (0, 4, 1)
    ]
    assert (ways[0] >= -1e-9).all()
    assert (ways[0] <= ways[1] + 1e-9).all()
    assert (ways[1] <= ways[2] + 1e-9).all()


@pytest.mark.parametrize("lost", [0.001, 0.01])
@pytest.mark.parametrize("in_flight", [10, 50])
def test_shares_are_those_of_theory(lost, in_flight):
    late = head_of_line.lateness(lost, in_flight=in_flight, calls=200_000) > 1e-6
    assert late.mean() == pytest.approx(head_of_line.late(lost, in_flight), rel=0.12)
    alone = head_of_line.lateness(lost, in_flight=in_flight, connections=0, calls=200_000) > 1e-6
    assert alone.mean() == pytest.approx(lost, rel=0.12)


def test_in_order_delivery_by_hand():
    """The same luck, and a receiver that hands over one packet after the other."""
    lost, in_flight, packets, calls = 0.1, 7.0, 3, 100
    luck = np.random.default_rng(5).geometric(1 - lost, calls * packets) - 1
    held, whole = 0.0, []
    for number, again in enumerate(luck):
        held = max(held, number / in_flight + again)
        if number % packets == packets - 1:
            whole.append(held - number / in_flight)
    seen = head_of_line.lateness(lost, in_flight=in_flight, packets=packets, calls=calls, seed=5)
    np.testing.assert_allclose(seen, whole, atol=1e-9)


def test_nothing_lost_nobody_waits():
    assert not head_of_line.lateness(0.0, in_flight=50).any()


@pytest.mark.parametrize("wrong", [{"lost": 1.0}, {"in_flight": 0}, {"connections": -1}, {"packets": 0}])
def test_what_cannot_be(wrong):
    with pytest.raises(ValueError, match="wanted a share below 1"):
        head_of_line.lateness(**{"lost": 0.1, "in_flight": 5.0, **wrong})
