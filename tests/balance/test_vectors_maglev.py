"""Maglev tables against those of Katran and Envoy: every case of the outside test material."""

import numpy as np
import pytest

from lbcore.balance.maglev import RECIPES, Maglev, retry
from tests import vectors

ENVOY = vectors.load("maglev_envoy.json")
KATRAN = {golden["case"]: golden for golden in vectors.load("maglev_katran.json")["goldens"]}
DELETE = "100 reals num=i weight=10 hash=i; delete num 0; number of ring slots that change"
RESCALE = "same 100 reals, all weights 10 -> 13"
DOUBLE = "then real 0 weight 13 -> 26"
ADD = "one real (0,w1,h0), add (1,w1,h1): changed slots; delete it again: changed slots"
EVEN = "400 reals weight 1 hash i: max-min slots"
UNEVEN = "3 reals hash i weights 2,1,1: max-min slots"
TINY = "M=7, (0,w2,h1000),(1,w1,h2000): slots"
GREEDY = "400 reals, weight=(65537*2)//400=327, V1: first 200 get exactly 327 slots, 201st gets >0, rest 0"
FITTING = "400 reals, weight=65537//400-1=162, V1: max-min=1, min>0"

v1_and_v2 = pytest.mark.parametrize("version", ["v1", "v2"])


@pytest.mark.parametrize("golden", ENVOY["goldens"], ids=lambda golden: golden["test"])
def test_envoy_tables(golden):
    hosts = sorted(golden["hosts"], key=lambda host: host["index"])
    table = Maglev(
        [host["key"] for host in hosts],
        size=golden["table_size"],
        weights=[host["normalized_weight"] for host in hosts],
    ).table
    assert table.tolist() == golden["expected"]


def test_envoy_retries():
    table = Maglev([f"127.0.0.1:{port}" for port in range(90, 96)], size=7)
    assert ENVOY["retry"]["note"].endswith("on table Basic: hash=10 attempt0->1; attempt1->0; attempt2->5")
    assert [table.pick(retry(10, attempt)) for attempt in range(3)] == [1, 0, 5]


def reals(version, weights, *, size=65537):
    """The table of Katran's test: backends by number, each its own hash; weights as {number: weight}."""
    numbers = list(weights)
    picker = Maglev(numbers, size=size, weights=list(weights.values()), recipe=RECIPES[f"katran_{version}"])
    return np.array(numbers)[picker.table]


def slots(table, count):
    return np.bincount(table, minlength=count)


@v1_and_v2
def test_katran_changes_of_a_hundred_reals(version):
    tens = dict.fromkeys(range(100), 10)
    thirteens = dict.fromkeys(range(100), 13)
    without_0 = dict.fromkeys(range(1, 100), 10)
    steps = {
        DELETE: (tens, without_0),
        RESCALE: (tens, thirteens),
        DOUBLE: (thirteens, {**thirteens, 0: 26}),
    }
    for case, (before, after) in steps.items():
        changed = (reals(version, before) != reals(version, after)).sum()
        assert changed == KATRAN[case][version], case


def test_katran_one_real_and_two():
    one, two = reals("v1", {0: 1}), reals("v1", {0: 1, 1: 1})
    changed = KATRAN[ADD]["v1"]
    assert [(one != two).sum(), (two != one).sum()] == changed


@v1_and_v2
def test_katran_spread(version):
    even = slots(reals(version, dict.fromkeys(range(400), 1)), 400)
    assert np.ptp(even) == KATRAN[EVEN][version]
    uneven = slots(reals(version, {0: 2, 1: 1, 2: 1}), 3)
    assert np.ptp(uneven) == KATRAN[UNEVEN][version]


@v1_and_v2
def test_katran_tiny_table(version):
    expected = KATRAN[TINY][version]
    table = reals(version, {1000: 2, 2000: 1}, size=7)
    assert [(table == 1000).sum(), (table == 2000).sum()] == expected


def test_katran_v1_lets_the_first_take_all():
    assert GREEDY in KATRAN
    counts = slots(reals("v1", dict.fromkeys(range(400), 327)), 400)
    assert (counts[:200] == 327).all()
    assert counts[200] > 0
    assert (counts[201:] == 0).all()


def test_katran_v1_with_weights_that_just_fit():
    assert FITTING in KATRAN
    counts = slots(reals("v1", dict.fromkeys(range(400), 162)), 400)
    assert np.ptp(counts) == 1
    assert counts.min() > 0


def test_no_katran_case_was_left_out():
    assert set(KATRAN) == {DELETE, RESCALE, DOUBLE, ADD, EVEN, UNEVEN, TINY, GREEDY, FITTING}
    assert len(ENVOY["goldens"]) == 5
