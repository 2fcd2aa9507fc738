"""The drawings of chapter 14: they come out whole, and their words agree with the formulas."""

from __future__ import annotations

import re

import numpy as np
import pytest

from lbcore import show
from lbcore.show.windows import WINDOWS
from lbcore.sim import draining


def test_leaks_are_drawn_for_any_number_of_live_runs():
    for runs in (1, 3):
        picture = show.leaks([0.1, 0.2], 2, 25, [3.7, 7.4], [[4] * runs, [8] * runs])
        assert "straight line of theory" in repr(picture)
        assert picture.png.startswith(b"\x89PNG")


def test_leaks_of_unequal_length_are_refused():
    with pytest.raises(ValueError, match="zip"):
        show.leaks([0.1, 0.2], 2, 25, [3.7, 7.4], [[4, 5], [8]])


def test_drains_are_drawn():
    moments = np.array([0, 0.1, 0.2])
    assert "dots of a live run" in repr(show.drains(0.1, 1.2, moments, draining.at_work(moments, 0.1, 1.2)))


@pytest.mark.parametrize(("median", "spread", "rate"), [(0.03, 0.3, 5), (0.1, 1.2, 50), (10.0, 2.0, 500)])
def test_the_window_that_is_named_is_the_first_that_is_enough(median, spread, rate):
    named = re.search(r"is (none of these|([0-9.]+) s)\.$", repr(show.drain_windows(median, spread, rate)))
    assert named is not None
    killed = draining.killed(WINDOWS, median, spread, rate)
    if named[2] is None:
        assert (killed >= 1).all()
    else:
        at = WINDOWS.index(float(named[2]))
        assert killed[at] < 1 <= min(killed[:at], default=1)
