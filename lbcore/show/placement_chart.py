"""Loads of backends, made of the clients that bring them: is it many small lumps, or a few large ones?

Rule of this file: it draws a matrix of shares (`lbcore.sim.pinning.shares`); it places nobody.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from lbcore.show.style import BLACK, PALETTE, SKY, Picture, figure, finish
from lbcore.sim.pinning import busiest, jain


def placement(shares: npt.NDArray[np.float64]) -> Picture:
    """shares: float64[clients, backends], of all calls. A bar for each backend, the busiest first."""
    clients, backends = shares.shape
    order = np.argsort(-shares.sum(axis=0), kind="stable")
    percent = 100 * shares[:, order]
    fig, ax = figure(height=3.2)
    floor = np.zeros(backends)
    lumps = np.cumsum(percent > 0, axis=0)  # neighbours in a bar differ in colour
    for row, number in zip(percent, lumps, strict=True):
        colours = [PALETTE[0] if one % 2 else SKY for one in number]
        ax.bar(range(backends), row, 0.8, bottom=floor, color=colours)
        floor += row
    ax.axhline(100 / backends, color=BLACK, linestyle="--", marker="", label="an equal share")
    ax.set(xlabel="backend, the busiest first", ylabel="share of the calls (%)")
    ax.set_xticks(range(backends), [str(number + 1) for number in range(backends)])
    ax.set_ylim(0, 1.15 * max(floor.max(), 100 / backends))
    ax.grid(False, axis="x")
    ax.legend(frameon=False)
    index, most = jain(floor), busiest(floor)
    idle = int((floor == 0).sum())
    rest = f", {idle} without any" if idle else ""
    return finish(
        fig,
        title=f"Jain's index {index:.2f}: the busiest has {most:.1f} times the mean{rest}",
        alt=f"Bars of {backends} backends, each made of the parts that {clients} clients bring. The largest has "
        f"{floor.max():.0f} % of the calls, the smallest {floor.min():.0f} %.",
    )
