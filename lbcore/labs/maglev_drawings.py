"""Lab 01's drawings: what a student's functions did to a table and to flows.

Rule of this file: it draws what it was given, right or wrong; a slot without a valid owner is drawn white, with a
question mark. Where there is nothing to draw it gives back the reason in words.
"""

from __future__ import annotations

import functools
import random
from collections.abc import Sequence
from typing import Any

import numpy as np

from lbcore import show
from lbcore.balance.hashes.siphash import key_words, siphash24
from lbcore.balance.maglev import RECIPES, Maglev
from lbcore.balance.modulo import Modulo
from lbcore.labs.drawing import called, cell, nothing

POOL = [f"10.0.0.{i}:80" for i in range(1, 6)]
WALKERS = show.PALETTE[:5]
SIZE = 31
FLOWS = 2000


def numbers(value: Any, count: int | None = None) -> bool:
    """Whether `value` is a list of (`count`) whole numbers."""
    return isinstance(value, list) and all(type(one) is int for one in value) and len(value) == (count or len(value))


def walks(size: int = SIZE, pool: Sequence[str] = POOL) -> tuple[list[int], list[int]]:
    """(offsets, skips) of a pool, by lbcore."""
    pairs = [RECIPES["envoy"].walk(name, size) for name in pool]
    return [offset for offset, _ in pairs], [skip for _, skip in pairs]


@functools.cache
def flow_hashes() -> tuple[int, ...]:
    """SipHash of the addresses and ports of FLOWS clients."""
    rng = random.Random(1)
    clients = (f"192.0.2.{rng.randrange(256)}:{rng.randrange(1024, 65536)} > 198.51.100.1:80" for _ in range(FLOWS))
    return tuple(siphash24(client.encode(), *key_words(bytes(range(16)))) for client in clients)


def strip(axes: Any, row: float, table: Sequence[Any], owners: int) -> None:
    """A table as a row of coloured slots."""
    for slot, owner in enumerate(table):
        known = type(owner) is int and 0 <= owner < owners
        cell(axes, slot, row, WALKERS[owner] if known else "white", str(owner) if known else "?", edge="#999999")


def grid(axes: Any, columns: int, rows: Sequence[str], xlabel: str = "slot") -> None:
    """Axes for cells: a column for each slot, a named row each."""
    axes.set(xlim=(-0.6, columns - 0.4), ylim=(len(rows) - 0.4, -0.6), xlabel=xlabel)
    axes.set_yticks(range(len(rows)), rows)
    axes.set_xticks(range(0, columns, 1 if columns < 20 else 5))
    axes.grid(visible=False)
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)


def hashes(name: str) -> tuple[int, int]:
    """The two hashes of a backend's name, for offset and skip."""
    recipe = RECIPES["envoy"]
    first, second = (recipe.hash(name, seed) for seed in recipe.seeds)
    return first, second


def telling(size: int) -> list[str]:
    """Five backends; usual mistakes make the skip hashes of the last three a skip that stands still."""
    names = [f"10.0.0.{i}:80" for i in range(1, 255)]
    traps = ((size - 1, 0), (size, 0), (size, size - 1))
    return names[:2] + [next(name for name in names[2:] if hashes(name)[1] % m == rest) for m, rest in traps]


def show_walk(walk: Any, size: int = 13) -> Any:
    """Every backend's walk: in which of its steps it comes to which slot."""
    pool = telling(size)
    outcomes, reason = called(walk, *((*hashes(name), size) for name in pool))
    if reason:
        return reason
    if not all(numbers(one.value, 2) for one in outcomes):
        return nothing("walk", outcomes)
    fig, axes = show.figure(height=2.6)
    complete = 0
    for row, outcome in enumerate(outcomes):
        offset, skip = outcome.value
        seen: dict[int, int] = {}
        for step in range(size):
            seen.setdefault((offset + step * skip) % size, step + 1)
        complete += len(seen) == size
        for slot in range(size):
            cell(axes, slot, row, WALKERS[row] if slot in seen else "white", str(seen.get(slot, "?")), edge="#dddddd")
    grid(
        axes, size, [f"{name}  offset {o.value[0]}, skip {o.value[1]}" for name, o in zip(pool, outcomes, strict=True)]
    )
    axes.set_ylabel("backend")
    title = f"{complete} of {len(pool)} walks visit all {size} slots (numbers: which step)"
    alt = f"Grid of {len(pool)} backends by {size} slots; each cell holds the step at which the walk comes there. "
    return show.finish(fig, title=title, alt=f"{alt}{complete} rows are complete.")


def show_populate(populate: Any, size: int = SIZE) -> Any:
    """The table of five real backends, the slots each has, and where some thousand flows go."""
    outcomes, reason = called(populate, (*walks(size), size))
    if reason:
        return reason
    table = outcomes[0].value
    if not isinstance(table, list) or not 0 < len(table) <= 4 * size:
        return nothing("populate", outcomes)
    return shares(table, [1] * len(POOL), f"{len(table)} slots, weights equal")


def show_weighted(populate_weighted: Any, size: int = 101) -> Any:
    """The weighted table of five backends, and how near flows come to the weights."""
    weights = [1, 1, 2, 2, 4]
    offsets, skips = walks(size)
    outcomes, reason = called(populate_weighted, (offsets, skips, weights, size))
    if reason:
        return reason
    table = outcomes[0].value
    if not isinstance(table, list) or not 0 < len(table) <= 4 * size:
        return nothing("populate_weighted", outcomes)
    return shares(table, weights, f"{len(table)} slots, weights {', '.join(map(str, weights))}")


def shares(table: Sequence[Any], weights: Sequence[int], what: str) -> Any:
    """The table in rows of 31 slots above the shares of slots and of flows."""
    rows = [table[start : start + SIZE] for start in range(0, len(table), SIZE)]
    fig, (above, below) = show.figure(2, 1, height=2.9 + 0.22 * len(rows), height_ratios=[0.5 + 0.35 * len(rows), 2.4])
    for row, part in enumerate(rows):
        strip(above, row, part, len(POOL))
    grid(
        above,
        min(SIZE, len(table)),
        [f"from {row * SIZE}" for row in range(len(rows))],
        "slot" if len(rows) == 1 else "slot, counted within the row",
    )
    above.set_ylabel("slots")
    owned = np.array([sum(type(owner) is int and owner == i for owner in table) for i in range(len(POOL))])
    met = [table[hash64 % len(table)] for hash64 in flow_hashes()]
    flows = np.array([sum(type(owner) is int and owner == i for owner in met) for i in range(len(POOL))])
    place = np.arange(len(POOL))
    below.bar(place - 0.2, owned / len(table) * 100, 0.38, color=WALKERS, label="slots")
    below.bar(place + 0.2, flows / FLOWS * 100, 0.38, color=WALKERS, alpha=0.55, hatch="//", label="flows")
    for i, weight in enumerate(weights):
        fair = weight / sum(weights) * 100
        below.plot([i - 0.45, i + 0.45], [fair, fair], color="black", linestyle="-", marker="")
    below.set_xticks(place, [f"{i}: {name}" for i, name in enumerate(POOL)])
    below.set(ylabel="share (%)", xlabel="backend (plain: slots; hatched: flows; line: fair share)")
    lost = len(table) - int(owned.sum())
    title = f"{what}: backends own {', '.join(map(str, owned))}" + (f"; {lost} slots have no owner" if lost else "")
    alt = (
        f"A table of {len(table)} slots coloured by owner, and bars of each backend's share. Slots owned by backends "
        f"0 to 4: {', '.join(map(str, owned))}. Flows: {', '.join(map(str, flows))}."
    )
    return show.finish(fig, title=title, alt=alt)


def show_disruption(disruption: Any) -> Any:
    """The student's count of needless moves when one of ten backends goes: modulo and Maglev, many sizes."""
    sizes = [11, 31, 101, 251, 1009, 4093, 16381]
    pool = [f"10.0.0.{i}" for i in range(1, 11)]
    calls = []
    for kind in (modulo_table, maglev_table):
        calls += [(kind(pool, size), pool, kind(pool[1:], size), pool[1:]) for size in sizes]
    outcomes, reason = called(disruption, *calls)
    if reason:
        return reason
    if not all(numbers(one.value, 2) for one in outcomes):
        return nothing("disruption", outcomes)
    needless = np.array([one.value[1] for one in outcomes]).reshape(2, -1) / sizes * 100
    fig, axes = show.figure(height=3.2)
    for name, line in zip(("modulo", "Maglev"), needless, strict=True):
        axes.plot(sizes, line, label=name)
    axes.set(xscale="log", xlabel="table size (slots)", ylabel="needless moves (% of slots)")
    axes.set_ylim(bottom=min(0.0, needless.min()))
    axes.legend(loc="center right")
    last = f"modulo {needless[0, -1]:.1f} %, Maglev {needless[1, -1]:.1f} %"
    alt = f"Two lines: needless moves over table size when one of ten backends goes. In the largest table: {last}."
    return show.finish(fig, title=f"One of ten backends goes. Moved needlessly: {last}", alt=alt)


def modulo_table(pool: list[str], size: int) -> list[int]:
    """Slot i to backend i mod n."""
    return [int(owner) for owner in Modulo(pool).pick_many(np.arange(size, dtype=np.uint64))]


def maglev_table(pool: list[str], size: int) -> list[int]:
    """lbcore's Maglev table."""
    return [int(owner) for owner in Maglev(pool, size=size).table]
