"""Lab 01: build Maglev's table, weigh it, and measure what a change costs.

Rule of this file: specifications, cases and hints of the lab's exercises. The right answers are lbcore.balance's; the
drawings are in `maglev_drawings`.

Theory. Each known mistake is the specification with one thing wrong, as a function, so that `judge` can recognise it
by its answers. The small cases are complete: every pair of walks in a table of 3 slots.
"""

from __future__ import annotations

import itertools
import random
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import numpy as np

from lbcore.balance import maglev
from lbcore.balance.disruption import compare
from lbcore.labs.judge import Case, Exercise, Mistake, Property, Verdict, judge
from lbcore.labs.maglev_drawings import show_disruption, show_populate, show_walk, show_weighted
from lbcore.labs.sandbox import run

__all__ = [
    "check_disruption", "check_populate", "check_walk", "check_weighted", "check_whole", "show_disruption",
    "show_populate", "show_walk", "show_weighted",
]  # fmt: skip

PAPER = ([3, 0, 3], [4, 2, 1], 7)  # offsets, skips, size of the paper's worked example (table 1)
FREE = -1


# -------------------------------------------------------------------------------------------- 1: a walk from a name
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


# ---------------------------------------------------------------------------------------------- 2: filling the table
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


# --------------------------------------------------------------------------------------------------- 3: weights
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


# ------------------------------------------------------------------------------------------------ 4: disruption
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


# ------------------------------------------------------------------------------------------------- all of it together
def check_whole(walk: Any, populate_weighted: Any, size: int = 251) -> Verdict:
    """Whether the student's parts, put together over names, give the table of lbcore.balance.maglev.Maglev."""
    pool = sorted(f"10.0.0.{i}:80" for i in range(1, 11))
    weights = [1.0 + i % 3 for i in range(len(pool))]
    recipe = maglev.RECIPES["envoy"]
    walks = run(walk, [(*(recipe.hash(name, seed) for seed in recipe.seeds), size) for name in pool])
    if len(walks) < len(pool) or not all(
        one.kind == "answer" and walk_form(one.value, 0, 0, 0) is None for one in walks
    ):
        return Verdict("walk_first", "`walk` does not give an offset and a skip yet; see its checker.")
    offsets, skips = ([one.value[part] for one in walks] for part in (0, 1))
    table = run(populate_weighted, [(offsets, skips, weights, size)])[0]
    if table.kind != "answer":
        return Verdict("weighted_first", "`populate_weighted` gives no table yet; see its checker.")
    theirs = maglev.Maglev(pool, size=size, weights=weights).table.tolist()
    if table.value != theirs:
        return Verdict(
            "another_table", "Your table is not the library's yet; the checkers above say which part differs."
        )
    return Verdict("right", f"Your {size} slots are those of lbcore's Maglev for the same ten names, every one.")
