"""Lab 01, exercise 2: backends take the slots of the table in turns (the paper's pseudocode 1)."""

from __future__ import annotations

import itertools
import random
from collections import Counter
from typing import Any

import numpy as np

from lbcore.balance import maglev
from lbcore.labs.judge import Case, Exercise, Mistake, Property, Verdict, judge

PAPER = ([3, 0, 3], [4, 2, 1], 7)  # offsets, skips, size of the paper's worked example (table 1)
FREE = -1


def right_table(offsets: list[int], skips: list[int], size: int) -> Any:
    """The paper's pseudocode 1, in plain Python."""
    return maglev.populate.py_func(np.array(offsets), np.array(skips), size)


def pools(seed: int) -> list[tuple[list[int], list[int], int]]:
    """(offsets, skips, size), small ones first: all walks of one and two backends in 3 slots, the paper's, random."""
    rng = random.Random(seed)
    walks = list(itertools.product(range(3), (1, 2)))
    small = [
        ([o for o, _ in some], [s for _, s in some], 3) for n in (1, 2) for some in itertools.product(walks, repeat=n)
    ]
    shapes = [(5, 3)] * 8 + [(7, 4)] * 8 + [(13, 5)] * 6 + [(31, 6)] * 4 + [(101, 10)] * 2
    return [*small, PAPER] + [
        ([rng.randrange(size) for _ in range(n)], [rng.randrange(1, size) for _ in range(n)], size)
        for size, n in shapes
    ]


def flawed(
    offsets: list[int], skips: list[int], size: int, *, ahead: int = 0, more: int = 0, order: int = 1, taken: str = "on"
) -> list[int] | None:
    """`populate` with a mistake: starts `ahead` steps late, steps `more` too far, or does the wrong thing when `taken`.

    taken: "on" to the next slot of the walk (right), "neighbour" (slot + 1), "wait" for the next turn, "overwrite"
    until every slot was written, "overwrite_count" times `size`. None when the table never fills.
    """
    n = len(offsets)
    at = [(offset + ahead * skip) % size for offset, skip in zip(offsets, skips, strict=True)]
    table = [FREE] * size
    for turn in range(20 * size * n):
        backend = range(n)[::order][turn % n]
        step = skips[backend] + more
        for _ in range(size):
            if table[at[backend]] == FREE or taken not in ("on", "neighbour"):
                break
            at[backend] = (at[backend] + (1 if taken == "neighbour" else step)) % size
        if table[at[backend]] == FREE or taken.startswith("overwrite"):
            table[at[backend]] = backend
        at[backend] = (at[backend] + step) % size
        if turn + 1 == size if taken == "overwrite_count" else FREE not in table:
            return table
    return None


def full(answer: Any, offsets: list[int], skips: list[int], *weights_and_size: Any) -> str | None:
    """One owner for each slot, an index of a backend."""
    size = weights_and_size[-1]
    if answer is None:
        return "Your function gives back None: is there a `return table` at its end?"
    if not isinstance(answer, list):
        return f"Give back a list of {size} owners, not {getattr(answer, 'type', type(answer).__name__)}."
    if len(answer) != size:
        return f"Your table has {len(answer)} slots, the size asked for is {size}."
    free = [slot for slot, owner in enumerate(answer) if owner is None or owner == FREE]
    if free:
        return f"Slot {free[0]} has no owner: go on until every slot is taken ({len(free)} of {size} are free)."
    if any(type(owner) is float for owner in answer):
        return "Your slots hold floats; an owner is an index. numpy makes floats unless told: np.full(size, -1)."
    strange = next((owner for owner in answer if type(owner) is not int or not 0 <= owner < len(offsets)), None)
    if strange is not None:
        return f"{strange!r} is no backend: the owners of this table are 0 to {len(offsets) - 1}."
    return None


def even(answer: list[int], offsets: list[int], skips: list[int], size: int) -> str | None:
    """Turns make shares differ by one slot at most."""
    counts = Counter(dict.fromkeys(range(len(offsets)), 0))
    counts.update(answer)
    (most, high), (least, low) = counts.most_common()[0], counts.most_common()[-1]
    if high - low > 1:
        return f"Backend {most} has {high} slots and backend {least} has {low}. A slot a turn: at most 1 apart."
    return None


def first_choice(answer: list[int], offsets: list[int], skips: list[int], *_: Any) -> str | None:
    """Backend 0 has the first turn, so it has the slot it asked for."""
    if answer[offsets[0]] != 0:
        return (
            f"Backend 0 has the first turn and its walk starts at slot {offsets[0]}, yet {answer[offsets[0]]} owns it."
        )
    return None


PAST_THE_END = {
    "IndexError": ("past_the_end", "a walk that passes the last slot goes on from the start: take places modulo size.")
}
TAKEN = (
    "Your backends take slots that are taken: a later one drives out an earlier one. A backend whose slot has an owner "
    "goes on along its own walk to the first free one."
)
POPULATE = Exercise(
    names=("offsets", "skips", "size"),
    right=right_table,
    praise="Right: {cases} tables, the paper's among them, agree slot for slot with lbcore.balance.maglev.populate.",
    mistakes=(
        Mistake(
            "modulo",
            lambda offsets, skips, size: [slot % len(offsets) for slot in range(size)],
            "You dealt the slots out like cards, i % n. That is modulo: when n changes, so does nearly every slot. "
            "Offsets and skips have to decide.",
        ),
        Mistake("taken", lambda *given: flawed(*given, taken="overwrite"), TAKEN),
        Mistake("taken", lambda *given: flawed(*given, taken="overwrite_count"), TAKEN),
        Mistake(
            "skip_off_by_one",
            lambda *given: flawed(*given, more=1),
            "You step one slot too far: skips are 1 or more already, add them as they are.",
        ),
        Mistake(
            "skip_off_by_one",
            lambda *given: flawed(*given, more=-1),
            "You step one slot too short: skips are to be added as they are.",
        ),
        Mistake(
            "starts_late",
            lambda *given: flawed(*given, ahead=1),
            "Your walks start at offset + skip. The first slot of a walk is its offset: ask, then step.",
        ),
        Mistake(
            "neighbour",
            lambda *given: flawed(*given, taken="neighbour"),
            "When a slot is taken you try the one beside it. Go on by the backend's own skip: different walks are what "
            "keeps two backends from fighting over the same run of slots.",
        ),
        Mistake(
            "loses_turn",
            lambda *given: flawed(*given, taken="wait"),
            "A backend that meets a taken slot loses its turn. It must go on within the turn until it has a slot, or "
            "shares will not be even.",
        ),
        Mistake(
            "no_turns",
            lambda offsets, skips, size: [0] * size,
            "Backend 0 takes the whole table. One slot, then it is the next one's turn.",
        ),
        Mistake(
            "order_reversed", lambda *given: flawed(*given, order=-1), "Your last backend goes first. Backend 0 begins."
        ),
    ),
    properties=(
        Property("not_a_full_table", full),
        Property("uneven", even),
        Property("first_choice", first_choice),
    ),
    advice=PAST_THE_END,
)


def check_populate(populate: Any, seed: int = 1) -> Verdict:
    """Exercise 2: populate(offsets, skips, size) -> owners of the slots."""
    return judge(POPULATE, populate, [Case(one) for one in pools(seed)])
