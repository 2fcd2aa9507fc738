"""Erlang's formula against its textbook sum, and against a queue that is played through."""

from __future__ import annotations

import heapq
from math import factorial

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lbcore.sim.loss import served


@given(places=st.integers(1, 40), load=st.floats(0, 60))
def test_it_is_the_sum_in_textbooks(places, load):
    terms = [load**n / factorial(n) for n in range(places + 1)]
    assert served(places, load) == pytest.approx(1 - terms[-1] / sum(terms), abs=1e-9)


def test_a_backlog_played_through():
    """Twenty places, each held for exactly 63 seconds, one arrival every two seconds on average."""
    random = np.random.default_rng(1)
    held, found = [], 0
    for now in np.cumsum(random.exponential(2.0, 100_000)):
        while held and held[0] <= now:
            heapq.heappop(held)
        if len(held) < 20:
            heapq.heappush(held, now + 63)
            found += 1
    assert found / 100_000 == pytest.approx(served(20, 31.5), abs=0.01)


@pytest.mark.parametrize(("places", "load"), [(0, 1.0), (1, -1.0)])
def test_what_cannot_be(places, load):
    with pytest.raises(ValueError, match="at least one place"):
        served(places, load)
