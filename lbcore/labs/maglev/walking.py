"""Lab 01, exercise 1: a walk through the table from the two hashes of a name."""

from __future__ import annotations

import random
from typing import Any

from lbcore.balance import maglev
from lbcore.labs.judge import Case, Exercise, Mistake, Property, Verdict, judge


def right_walk(offset_hash: int, skip_hash: int, size: int) -> tuple[int, int]:
    """(offset, skip); ValueError unless `size` is a prime."""
    if not maglev.is_prime(size):
        raise ValueError(f"size: {size} is not a prime")
    return offset_hash % size, skip_hash % max(size - 1, 1) + 1


def walk_cases(seed: int) -> list[Case]:
    """Small hashes in small tables, all of them; then 64-bit hashes in usual ones; then sizes that are no primes."""
    rng = random.Random(seed)
    small = [(a, b, size) for size in (3, 5) for a in range(size + 1) for b in range(size + 1)]
    large = [(rng.getrandbits(64), rng.getrandbits(64), size) for size in (7, 13, 251, 65537) for _ in range(5)]
    composite = [(3, 2, size) for size in (4, 6, 8, 9, 15, 25, 49, 91, 256, 341, 561, 4096, 63001)]
    return [Case((3, 2, 2))] + [Case(one) for one in small + large] + [Case(one, "composite") for one in composite]


def walk_form(answer: Any, offset_hash: int, skip_hash: int, size: int) -> str | None:
    """An offset and a skip, whole numbers."""
    if not (isinstance(answer, list) and len(answer) == 2 and all(type(one) is int for one in answer)):
        return "Give back two whole numbers, offset and skip (// and % keep whole numbers whole, / does not)."
    return None


def walk_skip(answer: Any, offset_hash: int, skip_hash: int, size: int) -> str | None:
    """A skip that moves, by less than a turn."""
    if not 1 <= answer[1] <= size - 1:
        return f"The skip is {answer[1]}; with {size} slots it must be 1 to {size - 1}. Skip 0 never leaves its slot."
    return None


def walk_offset(answer: Any, offset_hash: int, skip_hash: int, size: int) -> str | None:
    """An offset inside the table."""
    if not 0 <= answer[0] < size:
        return f"The offset is {answer[0]}; the slots of this table are 0 to {size - 1}."
    return None


def not_prime(offset_hash: int, skip_hash: int, size: int) -> str:
    """What goes wrong in a table of a size that is no prime."""
    divisor = next((d for d in range(2, size) if size % d == 0), 1)
    return (
        f"{size} is {divisor} × {size // divisor}, not a prime, and your function takes it. "
        f"A walk with skip {divisor} visits {size // divisor} slots, and for the others never comes. Raise ValueError."
    )


WALK = Exercise(
    names=("offset_hash", "skip_hash", "size"),
    right=right_walk,
    praise="Right in all {cases} cases: every skip moves, every walk visits the whole table, other sizes are refused.",
    mistakes=(
        Mistake(
            "skip_zero",
            lambda a, b, size: (a % size, b % (size - 1) if size > 2 else 0),
            "Your skip can be 0, and then the walk never leaves its first slot. b % m is 0 to m - 1; you want 1 to m.",
        ),
        Mistake(
            "skip_mod_size",
            lambda a, b, size: (a % size, b % size),
            "Your skip can be 0: a remainder by size is 0 to size - 1. You want 1 to size - 1: count those.",
        ),
        Mistake(
            "skip_whole_turn",
            lambda a, b, size: (a % size, b % size + 1),
            "Your skip can be `size`: one step goes once around and lands where it began. One value too many.",
        ),
        Mistake(
            "offset_short",
            lambda a, b, size: (a % max(size - 1, 1), b % max(size - 1, 1) + 1),
            "No walk of yours starts at the last slot. The offset may be any slot: `size` values, one more than skips.",
        ),
        Mistake(
            "hashes_swapped",
            lambda a, b, size: (b % size, a % max(size - 1, 1) + 1),
            "Offset and skip have taken each other's hash.",
        ),
    ),
    properties=(
        Property("wrong_form", walk_form),
        Property("skip_out_of_range", walk_skip),
        Property("offset_out_of_range", walk_offset),
    ),
    accepted=not_prime,
)


def check_walk(walk: Any, seed: int = 1) -> Verdict:
    """Exercise 1: walk(offset_hash, skip_hash, size) -> (offset, skip)."""
    return judge(WALK, walk, walk_cases(seed))
