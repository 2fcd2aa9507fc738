"""The other pickers and the schedulers: what each of them promises."""

import math
from collections import Counter
from hashlib import md5
from random import Random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lbcore.balance.disruption import compare
from lbcore.balance.jump import Jump, jump, jump_many
from lbcore.balance.least_connections import LeastConnections
from lbcore.balance.maglev import Maglev
from lbcore.balance.modulo import Modulo
from lbcore.balance.power_of_two import PowerOfTwo
from lbcore.balance.rendezvous import Rendezvous, highest, highest_weighted
from lbcore.balance.ring import Ring, next_point, points_of
from lbcore.balance.round_robin import RoundRobin, SmoothWeighted

compiled_once = settings(deadline=None, max_examples=100)
KEYS = np.random.default_rng(1).integers(0, 2**64, 20_000, dtype=np.uint64)
PICKERS = [Maglev, Ring, Rendezvous, Jump, Modulo]
WEIGHTED = [Maglev, Ring, Rendezvous]
SCHEDULERS = {
    "RoundRobin": RoundRobin,
    "SmoothWeighted": SmoothWeighted,
    "LeastConnections": LeastConnections,
    "PowerOfTwo": lambda backends: PowerOfTwo(backends, random=Random(1)),
}


def pool(count):
    return [f"backend-{i}" for i in range(count)]


def names_picked(picker, keys=KEYS):
    return [picker.backends[i] for i in picker.pick_many(keys)]


# ------------------------------------------------------------------------------------------------ all stateless pickers
@pytest.mark.parametrize("kind", PICKERS)
@compiled_once
@given(st.integers(1, 30), st.lists(st.integers(0, 2**64 - 1), max_size=50))
def test_pick_and_pick_many_agree(kind, count, hashes):
    picker = kind(pool(count))
    picks = picker.pick_many(np.array(hashes, np.uint64))
    assert picks.dtype == np.int32
    assert picks.tolist() == [picker.pick(each) for each in hashes]
    assert all(0 <= pick < count for pick in picks)


@pytest.mark.parametrize("kind", PICKERS)
def test_shares_are_even(kind):
    counts = np.bincount(kind(pool(8)).pick_many(KEYS), minlength=8)
    within = 0.25 if kind is Ring else 0.08  # the ring's arcs are random: off by 8 % (1 / sqrt(160)) and more
    assert counts == pytest.approx(len(KEYS) / 8, rel=within)


@pytest.mark.parametrize("kind", WEIGHTED)
def test_shares_follow_weights(kind):
    weights = [1, 2, 0, 5]
    counts = np.bincount(kind(pool(4), weights=weights).pick_many(KEYS), minlength=4)
    within = 0.25 if kind is Ring else 0.08
    assert counts == pytest.approx(np.array(weights) / 8 * len(KEYS), rel=within)
    assert counts[2] == 0


@pytest.mark.parametrize("kind", WEIGHTED)
def test_the_order_of_the_list_does_not_matter(kind):
    backends, weights = pool(9), [1, 1, 2, 3, 1, 1, 4, 1, 1]
    turned = [*range(4, 9), *range(4)]
    one = kind(backends, weights=weights)
    other = kind([backends[i] for i in turned], weights=[weights[i] for i in turned])
    assert names_picked(one) == names_picked(other)


@pytest.mark.parametrize("kind", [*PICKERS, *SCHEDULERS.values()])
@pytest.mark.parametrize("backends", [[], ["a", "a"], "a"])
def test_a_pool_that_is_none_is_refused(kind, backends):
    with pytest.raises((ValueError, TypeError), match="backends: "):
        kind(backends)


@pytest.mark.parametrize("kind", [*WEIGHTED, SmoothWeighted, LeastConnections])
@pytest.mark.parametrize("weights", [[1], [1, -1], [1, math.nan], [0, 0], [1, math.inf]])
def test_weights_that_are_none_are_refused(kind, weights):
    with pytest.raises(ValueError, match="weights"):
        kind(["a", "b"], weights=weights)


# ---------------------------------------------------------------------------------------------------- who moves
@pytest.mark.parametrize("kind", [Ring, Rendezvous])
@given(st.integers(0, 9), st.booleans())
@compiled_once
def test_ring_and_rendezvous_move_nothing_needlessly(kind, index, weighted):
    weights = [3, 1, 2, 1, 1, 5, 1, 1, 1, 2] if weighted else [1] * 10
    rest = [i for i in range(10) if i != index]
    before = kind(pool(10), weights=weights)
    after = kind([pool(10)[i] for i in rest], weights=[weights[i] for i in rest])
    lost = compare(before, after, KEYS)
    assert np.array_equal(lost.moved, before.pick_many(KEYS) == index)
    assert not lost.needless.any()
    assert not compare(after, before, KEYS).needless.any()


@given(st.floats(0.1, 10), st.floats(0.1, 10))
@compiled_once
def test_rendezvous_moves_keys_only_to_or_from_the_backend_whose_weight_changed(old, new):
    before, after = (Rendezvous(pool(5), weights=[1, 1, weight, 1, 2]).pick_many(KEYS) for weight in (old, new))
    moved = before != after
    assert ((after if new > old else before)[moved] == 2).all()


@given(st.integers(0, 2**64 - 1), st.integers(1, 2000))
def test_jump_moves_a_key_only_to_the_bucket_that_is_new(key, buckets):
    assert jump(key, buckets + 1) in (jump(key, buckets), buckets)


def test_jump_moves_no_more_than_it_must():
    grown = compare(Jump(pool(10)), Jump(pool(11)), KEYS)
    assert grown.moved_share == pytest.approx(1 / 11, rel=0.1)
    assert not grown.needless.any()


def test_modulo_moves_nearly_everything():
    assert compare(Modulo(pool(10)), Modulo(pool(9)), KEYS).needless_share == pytest.approx(9 / 10 * 9 / 10, abs=0.02)


# --------------------------------------------------------------------------------------------------------- jump
def published_jump(key, buckets):
    """The quotient in double precision, as in the paper."""
    bucket, drawn = -1, 0
    while drawn < buckets:
        bucket = drawn
        key = (key * 2862933555777941757 + 1) % 2**64
        drawn = int((bucket + 1) * (float(1 << 31) / float((key >> 33) + 1)))
    return bucket


@given(st.integers(0, 2**64 - 1), st.integers(1, 2**31 - 1))
def test_jump_is_the_published_algorithm(key, buckets):
    assert jump(key, buckets) == published_jump(key, buckets)


def test_the_one_key_in_four_billion_where_double_precision_falls_short():
    """49 * 2**31 / 1644167168 is 64 exactly; in doubles it comes out just below."""
    key = 14503109163909267782
    assert (jump(key, 65), published_jump(key, 65)) == (64, 63)


def test_jump_compiled_is_jump():
    for buckets in (1, 2, 7, 1000, 2**31 - 1):
        assert jump_many(KEYS[:500], buckets).tolist() == [jump(int(key), buckets) for key in KEYS[:500]]


# --------------------------------------------------------------------------------------------------------- ring
def test_points_are_ketamas():
    """libketama: digests of "name-0", "name-1", ..., four points from each, low byte first."""
    expected = []
    for i in range(40):
        digest = md5(f"10.0.1.1:11211-{i}".encode()).digest()
        for h in range(4):
            expected.append(digest[3 + 4 * h] << 24 | digest[2 + 4 * h] << 16 | digest[1 + 4 * h] << 8 | digest[4 * h])
    assert points_of("10.0.1.1:11211", 160).tolist() == expected
    assert sorted(expected) == Ring(["10.0.1.1:11211"]).points.tolist()


@compiled_once
@given(st.lists(st.integers(0, 2**32 - 1), min_size=1, max_size=70), st.integers(0, 2**32 - 1))
def test_next_point_is_the_first_at_or_after_a_place(points, place):
    points.sort()
    expected = min((i for i, point in enumerate(points) if point >= place), default=0)
    assert next_point(points, place) == next_point(np.array(points, np.uint32), place) == expected


def test_weight_is_a_number_of_points_and_nobody_elses_business():
    one, other = Ring(["a", "b"], weights=[1, 2]), Ring(["a", "c"], weights=[1, 100])
    assert np.bincount(one.owners).tolist() == [160, 320]
    assert one.points[one.owners == 0].tolist() == other.points[other.owners == 0].tolist()


def test_the_top_of_the_ring_goes_on_at_the_bottom():
    ring = Ring(pool(3))
    assert ring.pick(2**32 - 1) == ring.pick(0) == ring.owners[0]
    assert ring.pick(int(ring.points[5])) == ring.owners[5]


def test_a_weight_too_small_for_a_point_is_refused():
    with pytest.raises(ValueError, match=r"points_per_weight: 160 at weight 0\.01 makes no point"):
        Ring(["a", "b"], weights=[1, 0.01])


# --------------------------------------------------------------------------------------------------- rendezvous
def test_rendezvous_compiled_is_rendezvous():
    even, uneven = Rendezvous(pool(7)), Rendezvous(pool(7), weights=[1, 2, 3, 0.5, 0, 1, 1])
    seeds = even.seeds.tolist()
    for key in KEYS[:500].tolist():
        assert even.pick(key) == highest(key, seeds)
        assert uneven.pick(key) == highest_weighted(key, seeds, uneven.weights.tolist())


def test_equal_weights_are_no_weights_in_rendezvous():
    seeds = Rendezvous(pool(7)).seeds.tolist()
    for key in KEYS[:2000].tolist():
        assert highest(key, seeds) == highest_weighted(key, seeds, [1.0] * 7)


def test_rendezvous_takes_the_smallest_weight_there_is():
    assert Rendezvous(["a", "b"], weights=[0, 5e-324]).pick_many(KEYS).min() == 1


# --------------------------------------------------------------------------------------------------- round robin
def test_round_robin_takes_turns():
    scheduler = RoundRobin("abc"[i] for i in range(3))
    assert [scheduler.pick() for _ in range(7)] == [0, 1, 2, 0, 1, 2, 0]


def test_smooth_weighted_gives_nginxs_sequence():
    """The example in nginx's own change log: weights 5, 1, 1."""
    scheduler = SmoothWeighted(["a", "b", "c"], weights=[5, 1, 1])
    assert "".join(scheduler.backends[scheduler.pick()] for _ in range(14)) == "aabacaa" * 2


@given(st.lists(st.integers(0, 20), min_size=1, max_size=12).filter(any))
def test_smooth_weighted_is_exact_over_a_period_and_never_bursts(weights):
    scheduler = SmoothWeighted(pool(len(weights)), weights=weights)
    total = sum(weights)
    picks = []
    for n in range(1, 2 * total + 1):
        picks.append(scheduler.pick())
        assert scheduler.credit.sum() == 0
        heaviest = int(np.argmax(weights))
        assert abs(picks.count(heaviest) - n * weights[heaviest] / total) <= 1  # it is never far from its due
    assert Counter(picks) == {i: 2 * weight for i, weight in enumerate(weights) if weight}
    assert picks[:total] == picks[total:]


# ------------------------------------------------------------------------------------------------ least connections
def test_ties_take_turns():
    scheduler = LeastConnections(pool(3))
    first = [scheduler.pick() for _ in range(3)]
    for index in first:
        scheduler.done(index)
    assert first == [0, 1, 2]
    assert [scheduler.pick() for _ in range(2)] == [0, 1]  # all idle again: the next in turn
    scheduler.done(0)
    assert scheduler.pick() == 2  # backends 0 and 2 are idle, and 2 comes after the last pick
    assert scheduler.pick() == 0


@given(st.lists(st.integers(1, 9), min_size=1, max_size=8), st.randoms(use_true_random=False))
def test_the_pick_is_never_worse_than_any_other(weights, random):
    scheduler = LeastConnections(pool(len(weights)), weights=weights)
    open_connections = []
    for _ in range(60):
        if open_connections and random.random() < 0.4:
            scheduler.done(open_connections.pop(random.randrange(len(open_connections))))
        load = [int(active) / weight for active, weight in zip(scheduler.active, weights, strict=True)]
        index = scheduler.pick()
        assert load[index] == min(load)
        open_connections.append(index)
        assert scheduler.active.tolist() == [open_connections.count(i) for i in range(len(weights))]


def test_connections_settle_in_proportion_to_weights():
    scheduler = LeastConnections(pool(3), weights=[1, 2, 5])
    for _ in range(80):
        scheduler.pick()
    assert scheduler.active.tolist() == [10, 20, 50]


def test_a_drained_backend_gets_nothing_however_idle():
    scheduler = LeastConnections(pool(3), weights=[0, 1, 1])
    assert {scheduler.pick() for _ in range(20)} == {1, 2}


@pytest.mark.parametrize("kind", [LeastConnections, SCHEDULERS["PowerOfTwo"]])
def test_done_without_pick_is_refused(kind):
    scheduler = kind(pool(2))
    with pytest.raises(ValueError, match="backend 1 has no open connection"):
        scheduler.done(1)
    with pytest.raises(IndexError, match="index: 2 is no backend; it must be 0 to 1"):
        scheduler.done(2)
    with pytest.raises(IndexError, match="index: -1 is no backend"):
        scheduler.done(-1)


# ------------------------------------------------------------------------------------------------- power of two
@given(st.integers(1, 20), st.integers(1, 25), st.integers())
def test_candidates_differ_and_the_pick_is_the_least_loaded_of_them(count, choices, seed):
    scheduler = PowerOfTwo(pool(count), random=Random(seed), choices=choices)
    for _ in range(30):
        state = scheduler.random.getstate()
        candidates = scheduler.draw()
        assert len(set(candidates)) == len(candidates) == min(choices, count)
        scheduler.random.setstate(state)  # so that pick draws the same
        load = scheduler.active.copy()
        assert load[scheduler.pick()] == load[candidates].min()


def test_two_choices_fill_far_more_evenly_than_one():
    def fullest(choices):
        scheduler = PowerOfTwo(pool(1000), random=Random(1), choices=choices)
        for _ in range(1000):
            scheduler.pick()
        return scheduler.active.max()

    assert fullest(1) > fullest(2) >= fullest(1000) == 1
    assert fullest(2) <= 4  # ln ln 1000 / ln 2 is 2.8


def test_two_schedulers_share_nothing():
    alone = PowerOfTwo(pool(5), random=Random(7))
    expected = [alone.pick() for _ in range(20)]
    one, other = PowerOfTwo(pool(5), random=Random(7)), PowerOfTwo(pool(5), random=Random(8))
    assert [(one.pick(), other.pick())[0] for _ in range(20)] == expected


def test_no_choice_is_refused():
    with pytest.raises(ValueError, match="choices: 0 draws decide nothing"):
        PowerOfTwo(pool(2), random=Random(1), choices=0)


@pytest.mark.parametrize("name", SCHEDULERS)
def test_schedulers_give_an_index_and_take_it_back(name):
    scheduler = SCHEDULERS[name](pool(3))
    for _ in range(10):
        index = scheduler.pick()
        assert 0 <= index < 3
        scheduler.done(index)
