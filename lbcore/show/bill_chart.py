"""What one request costs, position by position.

Rule of this file: positions in microseconds, a bar for each, and what a core can do for that sum.
"""

from __future__ import annotations

from collections.abc import Mapping

from lbcore.show.style import HATCHES, PALETTE, Picture, figure, finish


def _short(price: float) -> str:
    return f"{price:,.0f}" if price >= 10 else f"{price:.1f}"


def bill(positions: Mapping[str, float]) -> Picture:
    """A finished figure of microseconds by name, the first on top. ValueError: there are none, or one is below 0."""
    if not positions or min(positions.values()) < 0:
        raise ValueError(f"positions is {dict(positions)!r}; must be {{name: microseconds}}, 0 or more each")
    total = sum(positions.values())
    fig, ax = figure(height=0.9 + 0.34 * len(positions))
    for row, price in enumerate(positions.values()):
        kind = row % len(PALETTE)
        drawn = ax.barh(row, price, 0.7, color=PALETTE[kind], hatch=HATCHES[kind], edgecolor="white")
        ax.bar_label(drawn, [_short(price)], padding=3, fontsize=9)
    ax.set_yticks(range(len(positions)), list(positions))
    ax.invert_yaxis()
    ax.margins(x=0.12)
    ax.grid(False, axis="y")
    ax.set(xlabel="CPU time (microseconds a request)", ylabel="position")
    per_core = 1e6 / total if total else float("inf")
    listed = ", ".join(f"{name} {_short(price)}" for name, price in positions.items())
    return finish(
        fig,
        title=f"{_short(total)} µs a request: {per_core:,.0f} a second on one core",
        alt=f"Bars of microseconds of CPU time a request: {listed}; together {_short(total)}.",
    )
