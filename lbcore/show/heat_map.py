"""A table of numbers as a heat map: one quantity over two others.

Rule of this file: every cell also says its number, so that nobody has to judge a colour.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from lbcore.show.style import Picture, figure, finish


def heat(
    values: npt.ArrayLike,
    rows: Sequence[object],
    columns: Sequence[object],
    *,
    x_label: str,
    y_label: str,
    value_label: str,
    title: str,
    alt: str,
    low: float = 0.0,
    high: float = 1.0,
) -> Picture:
    """A finished figure of `values`, float[rows, columns]; colours go from `low` to `high`.

    ValueError when a label, the title or the alt text is missing, or the shape is another.
    """
    cells = np.asarray(values, np.float64)
    if cells.shape != (len(rows), len(columns)):
        raise ValueError(f"values has shape {cells.shape}, wanted {(len(rows), len(columns))}: rows and columns")
    fig, ax = figure(height=1.3 + 0.42 * len(rows))
    image = ax.imshow(cells, vmin=low, vmax=high, cmap="cividis", aspect="auto")
    for (row, column), value in np.ndenumerate(cells):
        dark = (value - low) / (high - low) < 0.6
        ax.text(column, row, f"{value:.2f}", ha="center", va="center", fontsize=9, color="white" if dark else "black")
    ax.set(xlabel=x_label, ylabel=y_label)
    ax.set_xticks(range(len(columns)), [str(one) for one in columns])
    ax.set_yticks(range(len(rows)), [str(one) for one in rows])
    ax.grid(False)
    fig.colorbar(image, ax=ax, label=value_label)
    return finish(fig, title=title, alt=alt)
