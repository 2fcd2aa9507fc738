"""Maglev: the paper's promises, the ways of weighting, and everything that must be refused."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lbcore.balance import maglev
from lbcore.balance.maglev import RECIPES, Maglev, disruption, populate, populate_weighted
from lbcore.balance.modulo import Modulo

compiled_once = settings(deadline=None, max_examples=150)
PRIMES = [2, 3, 5, 7, 11, 13, 101, 251, 257, 1009]


def pool(count):
    return [f"10.0.{i // 256}.{i % 256}:80" for i in range(count)]


def by_the_book(offsets, skips, size, turns):
    """The paper's algorithm from its words: all permutations written out, `turns` says who takes a slot, in order."""
    preference = [
        iter([(offset + j * skip) % size for j in range(size)]) for offset, skip in zip(offsets, skips, strict=True)
    ]
    table = {}
    for backend in turns:
        slot = next(slot for slot in preference[backend] if slot not in table)
        table[slot] = backend
        if len(table) == size:
            return [table[slot] for slot in range(size)]
    raise AssertionError("the turns ended before the table was full")


@st.composite
def walks(draw):
    """(offsets, skips, size) for a prime size; the backends may outnumber the slots."""
    size = draw(st.sampled_from(PRIMES))
    count = draw(st.integers(1, 30))
    offsets = draw(st.lists(st.integers(0, size - 1), min_size=count, max_size=count))
    skips = draw(st.lists(st.integers(1, size - 1), min_size=count, max_size=count))
    return np.array(offsets), np.array(skips), size


def forever(backends):
    while True:
        yield from backends


# ---------------------------------------------------------------------------------------------------------- populate
@compiled_once
@given(walks())
def test_populate_is_the_papers_algorithm(case):
    offsets, skips, size = case
    table = populate(offsets, skips, size)
    assert table.dtype == np.int32
    assert table.tolist() == by_the_book(offsets.tolist(), skips.tolist(), size, forever(range(offsets.size)))


@compiled_once
@given(walks(), st.sampled_from([np.int64, np.int32, np.uint32, np.uint64]))
def test_populate_is_the_same_as_plain_python_and_for_every_integer_type(case, dtype):
    offsets, skips, size = case
    given = offsets.copy(), skips.copy()
    table = populate(offsets.astype(dtype), skips.astype(dtype), size)
    assert table.tolist() == populate.py_func(offsets, skips, size).tolist()
    assert np.array_equal(given, (offsets, skips))  # what was passed in is as it was


@compiled_once
@given(walks())
def test_shares_differ_by_one_slot_at_most(case):
    offsets, skips, size = case
    counts = np.bincount(populate(offsets, skips, size), minlength=offsets.size)
    assert counts.max() - counts.min() <= 1
    assert counts.sum() == size


def test_a_size_that_is_not_prime_will_do_when_every_skip_visits_all_of_it():
    assert populate(np.array([0, 3]), np.array([3, 7]), 10).tolist() == by_the_book([0, 3], [3, 7], 10, forever([0, 1]))


REFUSED = {
    "a skip that shares a factor with the size": ([0, 1], [5, 2], 6, r"skips\[1\]: 2 does not visit all 6 slots"),
    "a skip of nothing": ([0], [0], 7, r"skips\[0\]: 0 does not visit"),
    "a skip of once around": ([0], [7], 7, r"skips\[0\]: 7 does not visit"),
    "a skip backwards": ([0], [-1], 7, r"skips\[0\]: -1 does not visit"),
    "an offset past the end": (
        [3, 7],
        [1, 1],
        7,
        r"offsets\[1\]: 7 is outside the table; .* 0 to size - 1 = 6",
    ),
    "an offset before the start": ([-1], [1], 7, r"offsets\[0\]: -1 is outside"),
    "nobody": ([], [], 7, "0 and 0 given"),
    "a skip too few": ([0, 1], [1], 7, "2 and 1 given"),
    "no table": ([0], [1], 0, r"offsets\[0\]: 0 is outside"),
    "less than no table": ([0], [1], -7, r"offsets\[0\]: 0 is outside"),
}
FILLERS = {
    "populate": populate,
    "populate, plain Python": populate.py_func,
    "weighted": lambda offsets, skips, size: populate_weighted(offsets, skips, np.ones(offsets.size), size),
    "katran_v1": lambda offsets, skips, size: maglev.populate_katran_v1(offsets, skips, np.ones(offsets.size), size),
    "katran_v2": lambda offsets, skips, size: maglev.populate_katran_v2(offsets, skips, np.ones(offsets.size), size),
}


@pytest.mark.parametrize("filler", FILLERS)
@pytest.mark.parametrize("case", REFUSED)
def test_a_walk_that_would_never_end_is_refused(case, filler):
    offsets, skips, size, message = REFUSED[case]
    with pytest.raises(ValueError, match=message):
        FILLERS[filler](np.array(offsets, np.int64), np.array(skips, np.int64), size)


# ----------------------------------------------------------------------------------------------------------- weights
def envoys_turns(weights):
    due = [0.0] * len(weights)
    turn = 0
    while True:
        turn += 1
        for i, weight in enumerate(weights):
            if turn * weight >= due[i]:
                due[i] += max(weights)
                yield i


def katrans_turns_v1(weights):
    for i, weight in enumerate(weights):
        yield from [i] * weight
    yield from forever(range(len(weights)))


def katrans_turns_v2(weights):
    saved = [0] * len(weights)
    while True:
        for i, weight in enumerate(weights):
            saved[i] += weight
            if saved[i] >= max(weights):
                saved[i] -= max(weights)
                yield i


@pytest.mark.parametrize(
    ("filler", "turns"),
    [
        (populate_weighted, envoys_turns),
        (maglev.populate_katran_v1, katrans_turns_v1),
        (maglev.populate_katran_v2, katrans_turns_v2),
    ],
)
def test_each_way_of_weighting_takes_turns_as_described(filler, turns):
    @compiled_once
    @given(walks(), st.data())
    def agree(case, data):
        offsets, skips, size = case
        weights = data.draw(st.lists(st.integers(1, 9), min_size=offsets.size, max_size=offsets.size))
        table = filler(offsets, skips, np.array(weights, float), size)
        assert table.tolist() == by_the_book(offsets.tolist(), skips.tolist(), size, turns(weights))
        assert table.tolist() == filler.py_func(offsets, skips, np.array(weights, float), size).tolist()

    agree()


@compiled_once
@given(walks(), st.sampled_from([1.0, 1 / 3, 0.1, 7.0, 1e300, 5e-324]))
def test_equal_weights_are_no_weights(case, weight):
    offsets, skips, size = case
    weighted = populate_weighted(offsets, skips, np.full(offsets.size, weight), size)
    assert np.array_equal(weighted, populate(offsets, skips, size))


@compiled_once
@given(st.lists(st.floats(0.01, 100), min_size=1, max_size=40))
def test_slots_are_in_proportion_to_weights(weights):
    """Everyone takes a slot in the first round and then falls due at its own pace: never further off than a slot or
    two of its own, and its share of the others' first slots."""
    counts = np.bincount(Maglev(pool(len(weights)), size=4099, weights=weights).table, minlength=len(weights))
    share = np.array(weights) / sum(weights)
    assert (np.abs(counts - share * 4099) <= 2 + len(weights) * share).all()
    assert counts.min() >= 1


def test_katrans_32_bit_walk_wraps_in_large_tables_and_is_followed():
    """offset + turn * skip wraps at 2**32 before the remainder is taken: from about 65537 slots on it shows."""
    size, offsets, skips = 100003, [5, 77, 50000], [99990, 60000, 77777]
    at, table = [0, 0, 0], {}
    for backend in forever([0, 1, 2]):
        if len(table) == size:
            break
        while (slot := (offsets[backend] + at[backend] * skips[backend]) % 2**32 % size) in table:
            at[backend] += 1
            assert at[backend] < 100 * size
        table[slot] = backend
    expected = [table[slot] for slot in range(size)]
    arguments = np.array(offsets), np.array(skips), np.ones(3), size
    assert maglev.populate_katran_v1(*arguments).tolist() == expected
    assert maglev.populate_katran_v2(*arguments).tolist() == expected
    assert populate(np.array(offsets), np.array(skips), size).tolist() != expected


def test_a_katran_walk_that_wraps_into_a_circle_ends_in_words():
    """Skip 65536 in 65537 slots: 2**16 steps of 2**16 bring a 32-bit number back to its start, one slot unseen."""
    first_wants_the_unseen_slot = np.array([1, 1]), np.array([65536, 65536]), np.ones(2), 65537
    with pytest.raises(ValueError, match=r"skips\[\d\]: 65536 wraps around"):
        maglev.populate_katran_v2(*first_wants_the_unseen_slot)


# ------------------------------------------------------------------------------------------------------- the picker
names = st.lists(st.text(max_size=20), min_size=1, max_size=20, unique=True)


@compiled_once
@given(names, st.randoms(use_true_random=False))
def test_the_order_of_the_list_does_not_matter(backends, random):
    shuffled = random.sample(backends, len(backends))
    weights = {name: random.choice([0.5, 1, 2]) for name in backends}
    one, other = (Maglev(some, size=251, weights=[weights[name] for name in some]) for some in (backends, shuffled))
    assert [one.backends[i] for i in one.table] == [other.backends[i] for i in other.table]


@compiled_once
@given(names, st.lists(st.integers(0, 2**64 - 1)))
def test_pick_and_pick_many_look_up_the_slot_of_the_remainder(backends, hashes):
    picker = Maglev(backends, size=251)
    expected = [int(picker.table[each % 251]) for each in hashes]
    assert [picker.pick(each) for each in hashes] == expected
    picks = picker.pick_many(np.array(hashes, np.uint64))
    assert picks.dtype == np.int32
    assert picks.tolist() == expected


@pytest.mark.parametrize("recipe", RECIPES)
def test_weight_0_drains_and_counts_as_absent(recipe):
    backends = [7, 8, 9] if recipe.startswith("katran") else ["7", "8", "9"]
    drained = Maglev(backends, size=251, weights=[1, 0, 1], recipe=RECIPES[recipe])
    absent = Maglev([backends[0], backends[2]], size=251, recipe=RECIPES[recipe])
    assert np.array_equal(drained.table, np.array([0, 2])[absent.table])


@pytest.mark.parametrize("recipe", RECIPES)
def test_one_backend_has_every_slot(recipe):
    backend = 7 if recipe.startswith("katran") else "7"
    assert not Maglev([backend], recipe=RECIPES[recipe]).table.any()


def test_as_many_backends_as_slots_gives_each_one():
    assert sorted(Maglev(pool(251), size=251).table) == list(range(251))


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"backends": []}, ValueError, "backends: the pool is empty"),
        ({"backends": ["a", "b", "a"]}, ValueError, "backends: 'a' appears twice"),
        ({"backends": "10.0.0.1"}, TypeError, "backends: '10.0.0.1' is one name; give a list"),
        ({"backends": ["a", 7]}, TypeError, "backends: 7 is a int; names are str"),
        ({"backends": ["a"], "recipe": RECIPES["katran_v1"]}, TypeError, "backends: 'a' is no 64-bit number"),
        ({"backends": [2**64], "recipe": RECIPES["katran_v1"]}, TypeError, "is no 64-bit number"),
        ({"size": 65536}, ValueError, "size: 65536 is not a prime"),
        ({"size": 1}, ValueError, "size: 1 is not a prime"),
        ({"size": 0}, ValueError, "size: 0 is not a prime"),
        ({"size": -7}, ValueError, "size: -7 is not a prime"),
        ({"size": 251.0}, ValueError, r"size: 251\.0 is not a prime"),
        ({"size": 2**61 - 1}, ValueError, "not a prime below 2"),
        ({"size": 2}, ValueError, "size: 2 slots for 3 backends; take a prime over 3"),
        ({"weights": [1, 1]}, ValueError, "weights: 2 given for 3 backends"),
        ({"weights": [1, -1, 1]}, ValueError, r"weights\[1\]: -1 is not a weight"),
        ({"weights": [1, 1, float("nan")]}, ValueError, r"weights\[2\]: nan is not a weight"),
        ({"weights": [float("inf"), 1, 1]}, ValueError, r"weights\[0\]: inf is not a weight"),
        ({"weights": ["1", 1, 1]}, ValueError, r"weights\[0\]: '1' is not a weight"),
        ({"weights": [0, 0, 0]}, ValueError, "weights: all are 0"),
        ({"backends": [1], "weights": [0.5], "recipe": RECIPES["katran_v2"]}, ValueError, "0.5 is not a whole number"),
        ({"backends": [1], "weights": [2**32], "recipe": RECIPES["katran_v1"]}, ValueError, "not a whole number below"),
    ],
)
def test_what_is_refused(arguments, error, message):
    with pytest.raises(error, match=message):
        Maglev(**{"backends": ["a", "b", "c"], **arguments})


# ------------------------------------------------------------------------------------------------------- disruption
@pytest.mark.parametrize(("size", "most"), [(65537, 0.01), (655373, 0.01), (1009, 0.06)])
def test_one_backend_less_of_twenty_moves_few_slots_needlessly(size, most):
    before, backends = Maglev(pool(20), size=size), pool(20)
    for gone in (0, 7, 19):
        change = disruption(before, Maglev(backends[:gone] + backends[gone + 1 :], size=size))
        assert np.array_equal(change.moved & ~change.needless, before.table == gone)  # the dead one's slots: all moved
        assert 0 < change.needless_share < most


def test_modulo_is_far_worse():
    keys = np.arange(100_000, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15)
    moved = maglev.compare(Modulo(pool(20)), Modulo(pool(19)), keys)
    assert moved.moved_share == pytest.approx(19 / 20, abs=0.01)
    assert moved.needless_share > 0.85


def test_growing_back_undoes_it():
    full, less = Maglev(pool(20)), Maglev(pool(19))
    there, back = disruption(full, less), disruption(less, full)
    assert np.array_equal(there.moved, back.moved)
    assert np.array_equal(there.needless, back.needless)


def test_disruption_compares_names_and_not_indices():
    reordered = Maglev(list(reversed(pool(20))), size=251)
    assert not disruption(Maglev(pool(20), size=251), reordered).moved.any()


def test_disruption_refuses_tables_of_two_sizes():
    with pytest.raises(ValueError, match="size: 251 before, 257 after"):
        disruption(Maglev(pool(3), size=251), Maglev(pool(3), size=257))
