"""What is left of requests at work: the formulas against numerical integration and against requests played through."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lbcore.sim import draining, sessions

medians, spreads = st.floats(0.01, 10), st.floats(0.1, 1.5)


@given(medians, spreads, st.floats(0, 5))
def test_overtime_is_the_integral_of_the_tail(median, spread, window):
    window *= median
    logs = np.linspace(np.log(median) - 9 * spread, np.log(median) + 9 * spread, 40_000)
    density = np.exp(-(((logs - np.log(median)) / spread) ** 2) / 2) / (spread * np.sqrt(2 * np.pi))
    over = np.trapezoid(np.maximum(0, np.exp(logs) - window) * density, logs)
    assert draining.overtime(window, median, spread) == pytest.approx(over, rel=1e-3, abs=1e-6 * median)


@given(medians, spreads)
def test_all_are_there_at_first_and_fewer_ever_after(median, spread):
    windows = median * np.array([0, 0.1, 1, 10, 1000])
    for share in (draining.begun(windows, median, spread), draining.at_work(windows, median, spread)):
        assert share[0] == 1
        assert (np.diff(share) <= 0).all()
        assert 0 <= share[-1] < 0.01


def test_from_the_median_on_those_at_work_outlast_those_that_begin():
    windows = np.array([1, 2, 5, 20])
    assert (draining.at_work(windows, 1, 1.0) > draining.begun(windows, 1, 1.0)).all()


@pytest.mark.parametrize("spread", [0.3, 1.0])
def test_it_is_what_requests_played_through_do(spread):
    windows = np.array([0, 0.3, 1, 2, 4])
    lengths = sessions.lengths(500_000, 1.0, spread)
    left = sessions.remaining(lengths)
    assert draining.begun(windows, 1.0, spread) == pytest.approx([np.mean(lengths > w) for w in windows], abs=0.01)
    assert draining.at_work(windows, 1.0, spread) == pytest.approx([np.mean(left > w) for w in windows], abs=0.02)


def test_a_window_of_nothing_kills_all_that_is_at_work():
    assert draining.killed(0, 2.0, 1.0, rate=10) == pytest.approx(10 * 2 * np.exp(0.5))


@pytest.mark.parametrize(("window", "median", "spread"), [(-1, 1, 1), (1, 0, 1), (1, 1, 0)])
def test_what_cannot_be_is_named(window, median, spread):
    with pytest.raises(ValueError, match="wanted 0 or more"):
        draining.begun(window, median, spread)
