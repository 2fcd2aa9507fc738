"""Which flows break when a fleet loses a balancer, a backend, or both: a cell for each flow, in its balancer's row.

Rule of this file: `lbcore.sim.fleet` decides what becomes of a flow; here it is drawn.

Trap. Colour must not be the only difference: broken flows carry a cross, those kept by memory a dot.
"""

from __future__ import annotations

import numpy as np
from matplotlib.colors import ListedColormap
from matplotlib.legend_handler import HandlerTuple
from matplotlib.lines import Line2D

from lbcore.show.style import BLACK, SKY, VERMILION, Picture, figure, finish
from lbcore.sim.fleet import BROKEN, BY_MEMORY, FATES, LOST, Fleet, Numbers, random_flows

COLORS = ("#e4e4e4", SKY, "#9a9a9a", VERMILION)
MARKS = {BY_MEMORY: (".", BLACK), BROKEN: ("x", "white"), LOST: ("_", "white")}
LOSSES = ("a balancer", "a backend", "a balancer and a backend")
COLUMNS = 48
NOBODY = -1


def fleet(
    backends: int = 10,
    balancers: int = 4,
    lose: str = "a balancer and a backend",
    router: str = "resilient",
    picker: str = "Maglev",
    memory: bool = True,
    *,
    flows: int = 480,
) -> Picture:
    """The fates of `flows` flows when the second balancer dies, the third backend is drained, or both.

    lose: one of LOSSES. The others as for `lbcore.sim.fleet.Fleet`; ValueError likewise, and for another loss.
    """
    if lose not in LOSSES:
        raise ValueError(f"lose is {lose!r}, wanted one of: {', '.join(LOSSES)}")
    group = Fleet(backends, balancers, router=router, picker=picker, entries=4096 if memory else 0)
    keys = random_flows(flows, seed=2)
    before = group.send(keys)
    if "balancer" in lose:
        group.lose_balancer(1)
    if "backend" in lose:
        group.drain(2)
    after = group.send(keys)
    fates = group.fates(before, after)
    broken = int((fates == BROKEN).sum())
    title = f"{broken} of {flows} flows break" if broken else f"Of {flows} flows, none breaks"
    return draw(fates, before.balancers, "balancer" in lose, title=f"{title}: the fleet loses {lose}")


def draw(fates: Numbers, balancers: Numbers, second_lost: bool, *, title: str) -> Picture:
    """Flows in the rows of the balancers that had them at first, those of one fate together."""
    blocks: list[Numbers] = []
    for balancer in range(int(balancers.max()) + 1):
        cells = np.sort(fates[balancers == balancer])
        block = np.full(max(1, -(-cells.size // COLUMNS)) * COLUMNS, NOBODY)
        block[: cells.size] = cells
        blocks += [block.reshape(-1, COLUMNS), np.full((1, COLUMNS), NOBODY)]
    grid = np.vstack(blocks[:-1])
    fig, ax = figure(height=1.3 + 0.125 * len(grid))
    ax.pcolormesh(
        np.ma.masked_equal(grid, NOBODY), cmap=ListedColormap(COLORS), vmin=0, vmax=3, edgecolors="white", linewidth=0.8
    )
    for fate, (mark, color) in MARKS.items():
        y, x = np.nonzero(grid == fate)
        ax.scatter(x + 0.5, y + 0.5, s=12, marker=mark, color=color, linewidth=1)
    top = 0
    for number, block in enumerate(blocks[::2], 1):
        label = f"balancer {number}" + (", lost" if second_lost and number == 2 else "")
        ax.text(-0.8, top + len(block) / 2, label, ha="right", va="center", fontsize=9)
        top += len(block) + 1
    ax.set(aspect="equal", anchor="W")
    ax.invert_yaxis()
    ax.set_axis_off()
    seen = [fate for fate in range(len(FATES)) if (fates == fate).any()]
    handles = [_sample(fate) for fate in seen]
    names = [FATES[fate] for fate in seen]
    merged = {tuple: HandlerTuple(ndivide=1)}
    fig.legend(handles, names, loc="outside lower left", ncols=2, frameon=False, fontsize=9, handler_map=merged)
    counts = [f"{int((fates == fate).sum())}: {FATES[fate]}" for fate in seen]
    return finish(fig, title=title, alt=f"{title}. A grid of cells, one for each flow. {'. '.join(counts)}.")


def _sample(fate: int) -> tuple[Line2D, ...]:
    """What the legend shows for a fate: a cell, with its mark where it has one."""
    square = Line2D([], [], marker="s", markersize=10, color=COLORS[fate], linestyle="")
    mark, color = MARKS.get(fate, ("", BLACK))
    return (square, Line2D([], [], marker=mark, markersize=5, color=color, linestyle=""))
