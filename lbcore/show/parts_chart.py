"""Bars made of parts: where the cost of each of a few designs goes.

Rule of this file: a panel for each condition, in each a bar for each design, in each bar its parts; the sum at its end.
"""

from __future__ import annotations

from collections.abc import Mapping

from lbcore.show.style import HATCHES, Picture, figure, finish

Panels = Mapping[str, Mapping[str, Mapping[str, float]]]


def parts(panels: Panels, *, x_label: str, y_label: str, title: str, alt: str) -> Picture:
    """A finished figure of `panels` (condition: {design: {part: value}}). Each panel has a scale of its own.

    ValueError when a label, the title or the alt text is missing, or the designs have not the same parts.
    """
    bars = [bar for panel in panels.values() for bar in panel.values()]
    names = list(bars[0])
    if odd := next((bar for bar in bars if list(bar) != names), None):
        raise ValueError(f"a bar has the parts {list(odd)}, another {names}; wanted the same in all")
    tallest = max(len(panel) for panel in panels.values())
    fig, axes = figure(1, len(panels), width=7.2, height=1.5 + 0.36 * tallest, sharey=True, squeeze=False)
    for column, (ax, (condition, panel)) in enumerate(zip(axes[0], panels.items(), strict=True)):
        sums = [0.0] * len(panel)
        for number, part in enumerate(names):
            values = [bar[part] for bar in panel.values()]
            drawn = ax.barh(list(panel), values, 0.7, left=sums, label=part, hatch=HATCHES[number % len(HATCHES)])
            sums = [below + value for below, value in zip(sums, values, strict=True)]
        ax.bar_label(
            drawn, [f"{value:,.0f}" if value >= 10 else f"{value:.2g}" for value in sums], fontsize=8, padding=2
        )
        ax.set(xlabel=x_label, ylabel="" if column else y_label)
        ax.set_title(condition, loc="left", size=10)
        ax.margins(x=0.22)
        ax.grid(False, axis="y")
        ax.locator_params(axis="x", nbins=3)
    axes[0][0].invert_yaxis()
    handles, labels = axes[0][0].get_legend_handles_labels()
    fig.legend(handles, labels, frameon=False, loc="outside lower center", ncols=len(names))
    return finish(fig, title=title, alt=alt)
