"""Lab 01, exercise 3: weights, by Envoy's rule: one slot in a turn at most, when enough credit has gathered."""

from __future__ import annotations

import itertools
import random
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import numpy as np

from lbcore.balance import maglev
from lbcore.labs.judge import Case, Exercise, Mistake, Property, Verdict, judge
from lbcore.labs.maglev.filling import FREE, PAST_THE_END, full, pools, right_table


def right_weighted(offsets: list[int], skips: list[int], weights: list[int], size: int) -> Any:
    """Envoy's rule, in plain Python."""
    return maglev.populate_weighted.py_func(*map(np.array, (offsets, skips)), np.array(weights, float), size)


def weighted_cases(seed: int) -> list[Case]:
    """The pools of exercise 2 with weights 1 to 4, small tables first."""
    rng = random.Random(seed)
    return [Case((offsets, skips, [rng.randint(1, 4) for _ in offsets], size)) for offsets, skips, size in pools(seed)]


def deal(turns: Iterable[int], offsets: list[int], skips: list[int], size: int) -> list[int]:
    """The table when backends take their slots in the order of `turns`."""
    table, places = [FREE] * size, list(offsets)
    for backend in itertools.islice(turns, size):
        while table[places[backend]] != FREE:
            places[backend] = (places[backend] + skips[backend]) % size
        table[places[backend]] = backend
    return table


def late_turns(weights: list[int]) -> Iterator[int]:
    """The first slot is to be paid for too."""
    due = [max(weights)] * len(weights)
    for turn in itertools.count(1):
        for backend, weight in enumerate(weights):
            if turn * weight >= due[backend]:
                due[backend] += max(weights)
                yield backend


def strict_turns(weights: list[int]) -> Iterator[int]:
    """To reach what is due is not enough."""
    due = [0] * len(weights)
    for turn in itertools.count(1):
        for backend, weight in enumerate(weights):
            if turn * weight > due[backend]:
                due[backend] += max(weights)
                yield backend


def block_turns(weights: list[int]) -> list[int]:
    """One turn in which everyone takes `weight` slots."""
    return [backend for backend, weight in enumerate(weights) for _ in range(weight)]


def dealt(turns: Callable[[list[int]], Iterable[int]]) -> Callable[..., list[int]]:
    """A `populate_weighted` whose turns are these."""
    return lambda offsets, skips, weights, size: deal(turns(weights), offsets, skips, size)


WEIGHTED = Exercise(
    names=("offsets", "skips", "weights", "size"),
    right=right_weighted,
    praise="Right: {cases} weighted tables agree slot for slot with lbcore.balance.maglev.populate_weighted.",
    mistakes=(
        Mistake(
            "weights_ignored",
            lambda offsets, skips, weights, size: right_table(offsets, skips, size),
            "Your table is the one without weights: every backend takes a slot in every turn.",
        ),
        Mistake(
            "first_turn_only",
            dealt(lambda weights: itertools.chain(block_turns(weights), itertools.cycle(range(len(weights))))),
            "Weights count in your first turn alone, then everyone takes one slot a turn. A large table forgets them. "
            "(Katran's first version did this; its second does not.)",
        ),
        Mistake(
            "in_blocks",
            dealt(lambda weights: itertools.cycle(block_turns(weights))),
            "You hand out `weight` slots in one turn. Shares come out right, but the heavy take their slots before "
            "others get a choice. The specification spreads them: one slot a turn at most.",
        ),
        Mistake(
            "late_start",
            dealt(late_turns),
            "Your light backends wait for their first slot. `due` starts at 0, so everyone takes one in turn 1.",
        ),
        Mistake(
            "strictly_more",
            dealt(strict_turns),
            "A backend whose credit equals what is due waits a turn too long: reached means >=, not >.",
        ),
    ),
    properties=(Property("not_a_full_table", full),),
    advice=PAST_THE_END,
)


def check_weighted(populate_weighted: Any, seed: int = 1) -> Verdict:
    """Exercise 3: populate_weighted(offsets, skips, weights, size) -> owners of the slots."""
    return judge(WEIGHTED, populate_weighted, weighted_cases(seed))
