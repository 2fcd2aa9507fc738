"""Hit ratios against an LRU written another way, and against what must hold of any."""

from __future__ import annotations

from collections import OrderedDict

import numpy as np
import pytest

from lbcore.sim.popularity import hits, wanted


def plain_lru(asked, room):
    table, found = OrderedDict(), 0
    for thing in asked.tolist():
        found += thing in table
        table[thing] = None
        table.move_to_end(thing)
        if len(table) > room:
            table.popitem(last=False)
    return found / len(asked)


@pytest.mark.parametrize("room", [1, 7, 50, 300])
def test_the_store_is_an_lru(room):
    asked = wanted(300, 0.9, 5000, np.random.default_rng(room))
    assert hits(asked, room) == plain_lru(asked, room)


def test_with_room_for_all_only_first_requests_miss():
    asked = wanted(200, 0.8, 3000, np.random.default_rng(1))
    assert hits(asked, 200) == pytest.approx(1 - len(set(asked.tolist())) / 3000)


def test_popularity_is_zipfs():
    counts = np.bincount(wanted(100, 1.0, 200_000, np.random.default_rng(2)), minlength=100)
    assert counts[0] / counts[9] == pytest.approx(10, rel=0.15)
