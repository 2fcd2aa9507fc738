"""A grid of table slots that shows what became of each when the pool changed.

Rule of this file: it is told which slots moved, and draws. `removal` asks the pickers first, for the one change that
everybody meets: a backend that goes.

Theory. Pickers without a table have no slots. So each cell of a grid is a key, one for every slot of the Maglev table
(`one_key_a_slot`), and all pickers are asked about the same keys: cell i stands for the same key in each grid.

Trap. Colour must not be the only difference. The three fates differ in lightness as well, and a key that was moved
needlessly carries a cross, as long as cells are large enough for one.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from matplotlib.colors import ListedColormap
from matplotlib.legend_handler import HandlerTuple
from matplotlib.lines import Line2D

from lbcore.balance.disruption import Disruption, compare
from lbcore.balance.maglev import Maglev
from lbcore.balance.modulo import Modulo
from lbcore.balance.pool import Picker, as_hashes
from lbcore.balance.ring import Ring
from lbcore.show.style import SKY, VERMILION, Picture, figure, finish

STAYED, HAD_TO, NEEDLESS = range(3)
FATES = ("stayed", "had to move: its backend left", "moved needlessly: its backend is still there")
COLORS = ("#e4e4e4", SKY, VERMILION)
WIDTH = 7.5  # inches: what a page holds
SMALLEST_CROSS = 3.0  # points: in smaller cells a cross is a blur


def fates(change: Disruption) -> npt.NDArray[np.int64]:
    """STAYED, HAD_TO or NEEDLESS for each key: int64[n]."""
    return np.where(change.needless, NEEDLESS, np.where(change.moved, HAD_TO, STAYED))


def one_key_a_slot(size: int, seed: int = 1) -> npt.NDArray[np.uint64]:
    """Random keys, the i-th of which falls into slot i of a table of `size` slots: uint64[size]."""
    rounds = np.random.default_rng(seed).integers(0, 2**64 // size, size, dtype=np.uint64)
    return as_hashes(rounds * np.uint64(size) + np.arange(size, dtype=np.uint64))


def _words(name: str, change: Disruption) -> str:
    """The counts of one grid as a sentence, for alt text."""
    stayed, had_to, needless = np.bincount(fates(change), minlength=3)
    return f"{name}: {stayed} stayed, {had_to} had to move, {needless} moved needlessly."


def slots_moved(changes: Mapping[str, Disruption], *, title: str, height: float = 3.4) -> Picture:
    """One grid for each of `changes` (a picker's name, and what the change did to the same n keys), side by side.

    `title` states the finding; it and the counts below the grids are in the alt text, too. `height` in inches.
    ValueError when there is nothing to draw, or the grids do not have the same number of keys.
    """
    counts = {change.moved.size for change in changes.values()}
    if len(counts) != 1 or 0 in counts:
        raise ValueError(f"changes: {sorted(counts)} keys in the grids; give one grid or more, all of the same keys")
    size = counts.pop()
    panel = WIDTH / len(changes) - 0.15
    columns = min(size, math.ceil(math.sqrt(size * panel / max(height - 1.2, 0.5))))
    cell = 72 * panel / columns  # points
    fig, grids = figure(1, len(changes), width=WIDTH, height=height, squeeze=False)
    for axes, (name, change) in zip(grids[0], changes.items(), strict=True):
        _grid(axes, fates(change), columns, cell)
        axes.set_title(name, loc="left", fontsize=10, fontweight="bold")
        _, had_to, needless = np.bincount(fates(change), minlength=3)
        below = f"{had_to} had to move, {needless} needlessly"
        axes.text(0, -0.02, below, transform=axes.transAxes, va="top", fontsize=9)
    keys = [_sample(fate) for fate in range(3)]
    fig.legend(
        keys, FATES, loc="outside lower left", ncols=3, frameon=False, fontsize=8, columnspacing=1, handletextpad=0.3,
        handler_map={tuple: HandlerTuple(ndivide=1)},
    )  # fmt: skip
    alt = f"{title}. {len(changes)} grids of {size} cells, a key each. " + " ".join(
        _words(*one) for one in changes.items()
    )
    return finish(fig, title=title, alt=alt)


def _grid(axes: Any, cells: npt.NDArray[np.int64], columns: int, cell: float) -> None:
    """Cells in reading order, row by row from the top."""
    rows = -(-cells.size // columns)
    square = np.full(rows * columns, np.nan)  # drawn as nothing
    square[: cells.size] = cells
    edge = {"edgecolors": "white", "linewidth": cell / 12}
    axes.pcolormesh(square.reshape(rows, columns), cmap=ListedColormap(COLORS), vmin=STAYED, vmax=NEEDLESS, **edge)
    if cell >= SMALLEST_CROSS:
        y, x = np.divmod(np.flatnonzero(cells == NEEDLESS), columns)
        axes.scatter(x + 0.5, y + 0.5, s=(cell / 2.2) ** 2, marker="x", color="white", linewidth=cell / 9)
    axes.set(aspect="equal", anchor="NW")
    axes.invert_yaxis()
    axes.set_axis_off()


def _sample(fate: int) -> tuple[Line2D, ...]:
    """What the legend shows for a fate: a cell, with its cross where it has one."""
    square = Line2D([], [], marker="s", markersize=10, color=COLORS[fate], linestyle="")
    cross = Line2D([], [], marker="x", markersize=5, color="white", markeredgewidth=1.2, linestyle="")
    return (square, cross) if fate == NEEDLESS else (square,)


def removal(
    backends: int = 10,
    size: int = 251,
    remove: int = 4,
    *,
    pickers: Sequence[str] = ("modulo", "ring", "Maglev"),
    height: float = 3.4,
) -> Picture:
    """What happens to one key for every slot of a Maglev table when one of `backends` leaves.

    `remove`: the place of the one that leaves, from 1 (more than there are: the last). ValueError for a size that
    Maglev refuses, fewer than two backends, or a picker that is not modulo, ring or Maglev.
    """
    if backends < 2:
        raise ValueError(f"backends: {backends} is too few to remove one; give 2 or more")
    make: dict[str, Callable[[list[str]], Picker]] = {
        "modulo": Modulo, "ring": Ring, "Maglev": lambda names: Maglev(names, size=size),
    }  # fmt: skip
    if unknown := set(pickers) - make.keys():
        raise ValueError(f"pickers: {min(unknown)!r} is none of {', '.join(make)}")
    pool = [f"10.0.0.{i}:80" for i in range(1, backends + 1)]
    gone = pool[min(max(remove, 1), backends) - 1]
    left = [name for name in pool if name != gone]
    keys = one_key_a_slot(size)
    changes = {name: compare(make[name](pool), make[name](left), keys) for name in pickers}
    moved = ", ".join(f"{name} {100 * _needless(change):.2g} %" for name, change in changes.items())
    title = f"{backends} backends, one gone. Healthy keys moved: {moved}"
    return slots_moved(changes, title=title, height=height)


def _needless(change: Disruption) -> float:
    """Needlessly moved keys as a share of the healthy ones, those that could have stayed."""
    return float(change.needless.sum() / max(np.count_nonzero(fates(change) != HAD_TO), 1))
