"""Choosing one by one: whoever has no share is never chosen, and shares are what they say."""

from collections import Counter
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lbcore.balance.chooser import BY_KEY, CHOOSERS, NOBODY, WITHOUT_WEIGHTS, make
from lbcore.balance.jump import Jump
from lbcore.balance.least_connections import least_loaded
from lbcore.balance.maglev import Maglev
from lbcore.balance.rendezvous import Rendezvous
from lbcore.balance.ring import Ring
from lbcore.balance.round_robin import SmoothWeighted

NAMES = [f"10.0.0.{i}:80" for i in range(5)]
RANDOM = Random(1)
KEYS = [RANDOM.getrandbits(64) for _ in range(4000)]
choosers = pytest.mark.parametrize("picker", CHOOSERS)
quick = settings(deadline=None, max_examples=60)


def chooser(picker, weights=(1.0,) * 5, seed=1):
    return make(picker, NAMES[: len(weights)], weights, Random(seed))


@choosers
@quick
@given(st.data())
def test_who_has_no_share_is_never_chosen_and_somebody_always_is(picker, data):
    count = data.draw(st.integers(1, 5))
    one = chooser(picker, (1.0,) * count)
    for key in data.draw(st.lists(st.integers(0, 2**64 - 1), min_size=1, max_size=20)):
        shares = data.draw(st.lists(st.sampled_from([0.0, 0.05, 1.0, 3.0]), min_size=count, max_size=count))
        active = data.draw(st.lists(st.integers(0, 9), min_size=count, max_size=count))
        number = one.choose(key, shares, active)
        assert shares[number] > 0 if any(shares) else number == NOBODY


@pytest.mark.parametrize(
    ("picker", "twin"),
    [
        ("maglev", lambda: Maglev(NAMES, size=4099, weights=[1, 2, 3, 1, 1])),
        ("ring", lambda: Ring(NAMES, weights=[1, 2, 3, 1, 1])),
        ("rendezvous", lambda: Rendezvous(NAMES, weights=[1, 2, 3, 1, 1])),
        ("jump", lambda: Jump(NAMES)),
    ],
)
def test_with_all_there_it_is_the_picker_of_that_name(picker, twin):
    weights = [1.0, 2.0, 3.0, 1.0, 1.0] if picker != "jump" else [1.0] * 5
    one, twin = chooser(picker, weights), twin()
    for key in [*KEYS[:500], 0, 1, 2**32 - 1, 2**32, 2**64 - 1]:
        assert one.choose(key, weights, [0] * 5) == twin.pick(key)


@pytest.mark.parametrize("picker", BY_KEY)
def test_when_one_is_out_only_its_keys_move_and_everywhere_alike(picker):
    one, other = chooser(picker), chooser(picker)
    all_in, without = [1.0] * 5, [1.0, 1.0, 0.0, 1.0, 1.0]
    before = [one.choose(key, all_in, [0] * 5) for key in KEYS]
    after = [one.choose(key, without, [0] * 5) for key in KEYS]
    assert after == [other.choose(key, without, [9] * 5) for key in KEYS]
    assert all(a == b for a, b in zip(before, after, strict=True) if b != 2 and a != 2)
    heirs = Counter(a for a, b in zip(after, before, strict=True) if b == 2)
    assert set(heirs) == {0, 1, 3, 4}
    assert max(heirs.values()) < 2 * min(heirs.values())


@pytest.mark.parametrize("picker", BY_KEY)
def test_when_only_one_is_left_it_gets_every_key(picker):
    one = chooser(picker)
    assert {one.choose(key, [0, 0, 0, 0.01, 0], [0] * 5) for key in KEYS[:300]} == {3}


@pytest.mark.parametrize("picker", BY_KEY)
def test_a_part_of_the_weight_is_that_part_of_its_own_keys(picker):
    one = chooser(picker)
    full = [one.choose(key, [1.0] * 5, [0] * 5) for key in KEYS]
    part = [one.choose(key, [1.0, 1.0, 0.3, 1.0, 1.0], [0] * 5) for key in KEYS]
    own = [p == 2 for p, f in zip(part, full, strict=True) if f == 2]
    assert sum(own) / len(own) == pytest.approx(0.3, abs=0.06)
    assert all(p == f for p, f in zip(part, full, strict=True) if f != 2)


@pytest.mark.parametrize("picker", [p for p in CHOOSERS if p not in WITHOUT_WEIGHTS])
def test_shares_are_followed_under_load(picker):
    """Requests that stay: the busy are as busy as their shares are large (power of two: nearly)."""
    shares = [1.0, 2.0, 0.0, 4.0, 1.0]
    one, active = chooser(picker, shares), [0] * 5
    for key in KEYS:
        active[one.choose(key, shares, active)] += 1
    assert active[2] == 0
    within = 0.3 if picker == "ring" else 0.1
    for count, share in zip(active, shares, strict=True):
        assert count == pytest.approx(len(KEYS) * share / 8, rel=within)


@quick
@given(st.lists(st.sampled_from([0.0, 0.5, 1.0, 2.0]), min_size=1, max_size=6), st.data())
def test_least_active_is_least_loaded_even_by_its_short_cut(shares, data):
    one, start = CHOOSERS["least_connections"](NAMES, shares, Random()), 0
    for _ in range(20):
        active = data.draw(st.lists(st.integers(0, 2), min_size=len(shares), max_size=len(shares)))
        number = one.choose(0, shares, active)
        assert number == least_loaded(active, shares, start)
        start = (number + 1) % len(shares) if number >= 0 else start


def test_smooth_turns_are_smooth_weighted():
    one, twin = chooser("smooth_weighted", [5, 1, 1]), SmoothWeighted(NAMES[:3], weights=[5, 1, 1])
    assert [one.choose(0, [5, 1, 1], []) for _ in range(21)] == [twin.pick() for _ in range(21)]


def test_drawn_at_the_very_end_of_the_scale():
    class Highest(Random):
        def random(self):
            return 1 - 2**-53

    shares = [0.1, 0.2, 0.3, 0.0]
    assert CHOOSERS["random"](NAMES, shares, Highest()).choose(0, shares, []) == 2


def test_same_seed_same_choices():
    for picker in ("random", "power_of_two"):
        one, other = chooser(picker, seed=3), chooser(picker, seed=3)
        picks = [one.choose(0, [1.0] * 5, [0] * 5) for _ in range(50)]
        assert picks == [other.choose(0, [1.0] * 5, [0] * 5) for _ in range(50)]
        assert set(picks) == set(range(5))


def test_a_name_that_is_none_is_told():
    with pytest.raises(ValueError, match=r"picker: 'best' is none; take one of round_robin, .*jump"):
        make("best", NAMES, [1.0] * 5)


@choosers
def test_all_weights_nothing_is_nobody(picker):
    assert chooser(picker, [0.0] * 3).choose(1, [0.0] * 3, [0] * 3) == NOBODY
