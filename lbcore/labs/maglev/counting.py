"""Lab 01, exercise 4: what a change of the pool moves, and what it moves without need."""

from __future__ import annotations

import itertools
import random
from collections.abc import Callable
from typing import Any

import numpy as np

from lbcore.balance.disruption import compare
from lbcore.labs.judge import Case, Exercise, Mistake, Property, Verdict, judge


class Fixed:
    """A table that is given, as a picker whose keys are slots."""

    def __init__(self, table: list[int], backends: list[str]) -> None:
        self.table, self.backends = np.array(table), tuple(backends)

    def pick(self, hash64: int) -> int:
        """The owner of a slot."""
        return int(self.table[hash64])

    def pick_many(self, hashes: Any) -> Any:
        """The owners of slots."""
        return self.table[hashes]


def right_disruption(before: list[int], old_pool: list[str], after: list[int], new_pool: list[str]) -> tuple[int, int]:
    """(moved, needless), counted in slots."""
    change = compare(Fixed(before, old_pool), Fixed(after, new_pool), np.arange(len(before)))  # type: ignore[arg-type]
    return int(change.moved.sum()), int(change.needless.sum())


def disruption_cases(seed: int) -> list[Case]:
    """All tables of two slots over small pools; then Maglev and random ones with backends gone, come and swapped."""
    rng = random.Random(seed)
    pairs = [(["a"], ["a"]), (["a", "b"], ["a", "b"]), (["a", "b"], ["b"]), (["a", "b"], ["b", "a"])]
    pairs += [(["a", "b"], ["a", "b", "c"]), (["a", "b"], ["b", "c"]), (["a", "b"], ["c", "d"])]
    small = [
        ([*old], olds, [*new], news)
        for olds, news in pairs
        for old in itertools.product(range(len(olds)), repeat=2)
        for new in itertools.product(range(len(news)), repeat=2)
    ]
    large = []
    for slots in (7, 31, 251):
        names = [f"10.0.0.{i}" for i in range(1, 7)]
        for olds, news in ((names, names[1:]), (names[1:], names), (names[:4], names[2:]), (names, names[::-1])):
            old, new = ([rng.randrange(len(pool)) for _ in range(slots)] for pool in (olds, news))
            large.append((old, olds, new, news))
    return [Case(one) for one in small + large]


def two_counts(answer: Any, before: list[int], *_: Any) -> str | None:
    """Two whole numbers, the second part of the first."""
    if not (isinstance(answer, list) and len(answer) == 2):
        return "Give back two numbers: moved, and needless."
    if not all(type(one) is int and 0 <= one <= len(before) for one in answer):
        return f"Give back whole numbers of slots, 0 to {len(before)}."
    if answer[1] > answer[0]:
        return f"{answer[1]} needless moves out of {answer[0]}: every needless move is a move."
    return None


def counting(needless: Callable[[str, str, list[str], list[str]], bool]) -> Callable[..., tuple[int, int]]:
    """A `disruption` that calls those moves needless for which `needless(owner, heir, old_pool, new_pool)` is true."""

    def count(before: list[int], old_pool: list[str], after: list[int], new_pool: list[str]) -> tuple[int, int]:
        names = [(old_pool[a], new_pool[b]) for a, b in zip(before, after, strict=True)]
        moves = [(owner, heir) for owner, heir in names if owner != heir]
        return len(moves), sum(needless(owner, heir, old_pool, new_pool) for owner, heir in moves)

    return count


def by_index(before: list[int], old_pool: list[str], after: list[int], new_pool: list[str]) -> tuple[int, int]:
    """Slots whose index changed, and of those the ones between names that stayed."""
    moves = [(old_pool[a], new_pool[b]) for a, b in zip(before, after, strict=True) if a != b]
    return len(moves), sum(owner in new_pool and heir in old_pool for owner, heir in moves)


INDICES = (
    "You compare indices. Take out the first backend and all the others move up by one: the same index is another "
    "machine. Compare names: old_pool[before[slot]] with new_pool[after[slot]]."
)
DISRUPTION = Exercise(
    names=("before", "old_pool", "after", "new_pool"),
    right=right_disruption,
    praise="Right in all {cases} cases, as counted by lbcore.balance.disruption.compare.",
    mistakes=(
        Mistake("indices", by_index, INDICES),
        Mistake(
            "indices",
            lambda before, old_pool, after, new_pool: [sum(a != b for a, b in zip(before, after, strict=True))] * 2,
            INDICES,
        ),
        Mistake(
            "all_needless",
            counting(lambda *_: True),
            "You call every move needless. A slot whose backend is gone has to move.",
        ),
        Mistake(
            "newcomers_needless",
            counting(lambda owner, heir, old, new: owner in new),
            "You call moves to a new backend needless. A new backend must get its slots from someone.",
        ),
        Mistake(
            "gone_needless",
            counting(lambda owner, heir, old, new: heir in old),
            "You call moves away from a backend that is gone needless. It cannot keep its slots.",
        ),
        Mistake(
            "needful",
            counting(lambda owner, heir, old, new: not (owner in new and heir in old)),
            "Your second number counts the moves that had to be. Needless are the others: from a backend that is still "
            "there, to one that was there before.",
        ),
        Mistake(
            "order", lambda *given: right_disruption(*given)[::-1], "Right numbers, wrong order: moved comes first."
        ),
        Mistake(
            "shares",
            lambda before, *rest: [one / len(before) for one in right_disruption(before, *rest)],
            "You give shares of the table; the specification wants numbers of slots.",
        ),
    ),
    properties=(Property("wrong_form", two_counts),),
)


def check_disruption(disruption: Any, seed: int = 1) -> Verdict:
    """Exercise 4: disruption(before, old_pool, after, new_pool) -> (moved, needless)."""
    return judge(DISRUPTION, disruption, disruption_cases(seed))
