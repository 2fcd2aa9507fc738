"""Lines over one quantity: the figure that a sweep of an experiment ends in.

Rule of this file: it draws named series over common x values; whatever needs more is drawn with `figure` by hand.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from numpy.typing import ArrayLike

from lbcore.show.style import Picture, figure, finish

MOST_TICKS = 10  # more x values than this, and labelling each would be a crowd


def lines(
    x: Sequence[float],
    series: Mapping[str, ArrayLike],
    *,
    x_label: str,
    y_label: str,
    title: str,
    alt: str,
    x_log: bool = False,
    y_log: bool = False,
) -> Picture:
    """A finished figure with one line for each of `series` (name: a value for each of `x`).

    A linear y axis starts at zero; few x values on a logarithmic axis are labelled themselves, not by powers of ten.
    ValueError when a label, the title or the alt text is missing, or a series has not one value for each x.
    """
    fig, ax = figure()
    for name, values in series.items():
        ax.plot(x, values, label=name)
    ax.set(xlabel=x_label, ylabel=y_label, xscale="log" if x_log else "linear", yscale="log" if y_log else "linear")
    if x_log and len(x) <= MOST_TICKS:
        ax.set_xticks(x, [f"{value:,}" for value in x])
        ax.set_xticks([], minor=True)
    if not y_log:
        ax.set_ylim(bottom=0)
    ax.legend(frameon=False)
    return finish(fig, title=title, alt=alt)
