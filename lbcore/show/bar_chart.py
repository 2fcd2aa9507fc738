"""Bars side by side: a few designs under a few conditions.

Rule of this file: groups along x; a bar for each series in each group, or one bar of all of them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from lbcore.show.style import HATCHES, Picture, figure, finish


def bars(
    groups: Sequence[str],
    series: Mapping[str, Sequence[float]],
    *,
    x_label: str,
    y_label: str,
    title: str,
    alt: str,
) -> Picture:
    """A finished figure: for each of `series` (name: a value for each group) a bar in each of `groups`.

    A lone series whose name is empty gets no legend: `y_label` says what it is.

    ValueError when a label, the title or the alt text is missing, or a series has not one value for each group.
    """
    fig, ax = figure()
    width = 0.8 / len(series)
    for i, (name, values) in enumerate(series.items()):
        places = np.arange(len(groups)) + width * (i - (len(series) - 1) / 2)
        drawn = ax.bar(places, values, 0.9 * width, label=name, hatch=HATCHES[i % len(HATCHES)])
        ax.bar_label(
            drawn, [f"{value:,.0f}" if value >= 10 else f"{value:.2g}" for value in values], fontsize=8, padding=1
        )
    ax.set(xlabel=x_label, ylabel=y_label)
    ax.set_xticks(range(len(groups)), groups)
    ax.margins(y=0.1)
    ax.grid(False, axis="x")
    if any(series):
        ax.legend(frameon=False, loc="best")
    return finish(fig, title=title, alt=alt)


def stacked(
    groups: Sequence[str],
    series: Mapping[str, Sequence[float]],
    *,
    x_label: str,
    y_label: str,
    title: str,
    alt: str,
) -> Picture:
    """A finished figure: one bar for each of `groups`, made of a part for each of `series`; the first is at the bottom.

    ValueError when a label, the title or the alt text is missing, or a series has not one value for each group.
    """
    fig, ax = figure()
    floor = np.zeros(len(groups))
    for i, (name, values) in enumerate(series.items()):
        ax.bar(range(len(groups)), values, 0.7, bottom=floor, label=name, hatch=HATCHES[i % len(HATCHES)])
        floor += values
    ax.set(xlabel=x_label, ylabel=y_label)
    ax.set_xticks(range(len(groups)), groups)
    ax.grid(False, axis="x")
    fig.legend(loc="outside upper right", ncols=len(series), frameon=False)
    return finish(fig, title=title, alt=alt)
