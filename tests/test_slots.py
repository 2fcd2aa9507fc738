"""The grid of slots: what it counts, what it refuses, and that the README's picture is the one that it draws now."""

from __future__ import annotations

import re
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lbcore.balance.disruption import Disruption
from lbcore.balance.maglev import Maglev, is_prime
from lbcore.show import cover, slots
from lbcore.show.style import Picture

ROOT = Path(__file__).resolve().parents[1]
PRIMES = [n for n in range(23, 120) if is_prime(n)]
COUNTS = re.compile(r"(\w+): (\d+) stayed, (\d+) had to move, (\d+) moved needlessly\.")


def counts(picture: Picture) -> dict[str, tuple[int, ...]]:
    """What the alt text says of each grid: (stayed, had to, needlessly)."""
    return {name: tuple(map(int, numbers)) for name, *numbers in COUNTS.findall(picture.alt)}


@given(st.sampled_from(PRIMES), st.integers(0, 2**32))
def test_each_key_falls_into_its_slot(size: int, seed: int) -> None:
    keys = slots.one_key_a_slot(size, seed)
    table = Maglev(["a", "b", "c"], size=size)
    assert (table.pick_many(keys) == table.table).all()


def test_keys_spread_over_all_64_bits() -> None:
    keys = slots.one_key_a_slot(65537)
    for shift in (0, 32, 61):  # the modulo, the ring and the top must all see random bits
        share = np.bincount((keys >> np.uint64(shift)) & np.uint64(7), minlength=8) / keys.size
        assert abs(share - 1 / 8).max() < 0.01


@settings(deadline=None, max_examples=8)
@given(st.integers(2, 20), st.sampled_from(PRIMES), st.integers(1, 25))
def test_the_words_agree_with_names_compared_one_by_one(backends: int, size: int, remove: int) -> None:
    pool = [f"10.0.0.{i}:80" for i in range(1, backends + 1)]
    gone = pool[min(remove, backends) - 1]
    rest = [name for name in pool if name != gone]
    before, after = (Maglev(names, size=size) for names in (pool, rest))
    stayed = had_to = needless = 0
    for slot in range(size):
        owner, heir = pool[before.table[slot]], rest[after.table[slot]]
        stayed += owner == heir
        had_to += owner == gone
        needless += owner not in (gone, heir)
    said = counts(slots.removal(backends, size, remove))
    assert said["Maglev"] == (stayed, had_to, needless)
    assert said["ring"][2] == 0
    assert sum(said["modulo"]) == size


def test_fates_can_be_told_apart_without_colour() -> None:
    """Relative luminance of the three fills, pairwise well apart (WCAG's ratio for large graphics is 3 at most)."""
    luminance = []
    for color in slots.COLORS:
        channels = np.array([int(color[i : i + 2], 16) / 255 for i in (1, 3, 5)])
        linear = np.where(channels <= 0.04045, channels / 12.92, ((channels + 0.055) / 1.055) ** 2.4)
        luminance.append(float(linear @ [0.2126, 0.7152, 0.0722]))
    assert sorted(luminance, reverse=True) == luminance
    assert all((a + 0.05) / (b + 0.05) > 1.5 for a, b in pairwise(luminance))


def masks(size: int) -> Disruption:
    return Disruption(np.zeros(size, bool), np.zeros(size, bool))


@pytest.mark.parametrize(
    "changes", [{}, {"none": masks(0)}, {"one": masks(7), "other": masks(11)}], ids=["no grid", "no keys", "two sizes"]
)
def test_grids_of_nothing_or_of_different_keys_are_refused(changes: dict[str, Disruption]) -> None:
    with pytest.raises(ValueError, match=r"changes: \[.*\] keys in the grids; give"):
        slots.slots_moved(changes, title="a finding")


def test_removal_names_what_is_wrong() -> None:
    with pytest.raises(ValueError, match="backends: 1 is too few"):
        slots.removal(1)
    with pytest.raises(ValueError, match="pickers: 'roulette' is none of modulo, ring, Maglev"):
        slots.removal(pickers=["roulette"])
    with pytest.raises(ValueError, match="size: 250 is not a prime"):
        slots.removal(size=250)


@pytest.mark.parametrize("size", [2, 3, 29, 8191])
def test_grids_of_all_sizes_are_drawn(size: int) -> None:
    everything = Disruption(np.ones(size, bool), np.ones(size, bool))
    picture = slots.slots_moved({"all": everything}, title="All of them moved")
    assert counts(picture) == {"all": (0, 0, size)}


def test_the_readme_picture_is_current() -> None:
    """If not: python -m lbcore.show.cover"""
    stored, drawn = (ROOT / cover.PATH).read_bytes(), cover.cover()
    assert stored == drawn.png
    stayed, _, needless = counts(drawn)["Maglev"]
    assert 45 < (stayed + needless) / needless < 55, "README.md says about one in fifty"
    stayed, _, needless = counts(drawn)["modulo"]
    assert 0.87 < needless / (stayed + needless) < 0.91, "README.md says nearly nine in ten"
