"""The walk and the table give the answer of a Python dict, on any rules and any packets."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lbcore.sim import rules

few = st.tuples(st.integers(0, 5), st.integers(0, 3))  # few values, so that packets hit, miss and share an address
many = st.tuples(st.integers(0, 2**32 - 1), st.integers(0, 65535))


def lines(pairs):
    made = np.zeros((len(pairs), rules.LINE), np.int64)
    made[:, :2] = pairs
    return made


@given(st.lists(st.one_of(few, many), min_size=1, max_size=60), st.lists(st.one_of(few, many), min_size=1, max_size=60))
def test_walk_and_table_agree_with_a_dict(listed, sent):
    first = {}
    for number, pair in enumerate(listed):
        first.setdefault(pair, number)
    packets = np.array(sent + listed, np.int64)
    expected = [first.get(pair, -1) for pair in sent + listed]
    made = lines(listed)
    assert rules.walk(made, packets).tolist() == expected
    assert rules.look_up(made, rules.build(made), packets).tolist() == expected


def test_table_is_at_most_half_full_and_short_to_search():
    made = rules.services(30_000, seed=1)
    table = rules.build(made)
    assert (table >= 0).sum() == 30_000 <= table.size / 2
    occupied = np.concatenate([table, table]) >= 0
    longest = np.diff(np.flatnonzero(~occupied)).max()
    assert longest < 100  # a hash that clusters makes runs of thousands


def test_services_are_distinct_and_packets_are_theirs():
    made = rules.services(5000, seed=2)
    assert len({(a, p) for a, p in made[:, :2].tolist()}) == 5000
    packets = rules.first_packets(made, 1000, seed=3)
    assert (rules.walk(made, packets) >= 0).all()


@pytest.mark.parametrize("count", [0, -1, 2**24 + 1])
def test_services_refuses_what_does_not_fit(count):
    with pytest.raises(ValueError, match="count is"):
        rules.services(count)
