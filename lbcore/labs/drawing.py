"""What the drawings of all labs have in common: cells, and words where there is nothing to draw.

Rule of this file: it knows outcomes and axes, no subject.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from matplotlib.patches import Rectangle

from lbcore.labs.judge import Verdict
from lbcore.labs.sandbox import SECONDS, Outcome, run
from lbcore.show.style import BLACK, BLUE, GREEN, VERMILION

DARK = (BLUE, VERMILION, GREEN, BLACK)
"""Colours to write on in white."""


def called(
    function: Any, *calls: tuple[Any, ...], refusals: bool = False, seconds: float = SECONDS
) -> tuple[list[Outcome], Verdict | None]:
    """(outcomes, the reason why there is nothing to draw or None). With `refusals` a ValueError can be drawn."""
    if not callable(function):
        return [], Verdict("not_a_function", f"Nothing to draw: give the function itself, not {str(function)[:40]}.")
    outcomes = run(function, calls, seconds=seconds)
    bad = [one for one in outcomes if one.kind != "answer" and not (refusals and refused(one))]
    return outcomes, nothing(getattr(function, "__name__", "it"), bad) if bad else None


def refused(outcome: Outcome) -> bool:
    """Whether it is a ValueError."""
    return outcome.kind == "raised" and outcome.value == "ValueError"


def nothing(name: str, outcomes: Sequence[Outcome]) -> Verdict:
    """Why there is no drawing."""
    bad = next((one for one in outcomes if one.kind != "answer"), outcomes[-1])
    if bad.kind == "stub":
        return Verdict("stub", f"Nothing to draw: {name} is not written yet ({bad.note}).")
    if bad.kind == "raised":
        return Verdict("raised", f"Nothing to draw: {name} stopped with {bad.value}: {bad.note}. {bad.line}".rstrip())
    if bad.kind == "answer":
        return Verdict("wrong_form", f"Nothing to draw: {name} gave back {str(bad.value)[:100]}; see its checker.")
    return Verdict(bad.kind, f"Nothing to draw: {name} {bad.note}. {bad.line}".rstrip())


def cell(axes: Any, column: float, row: float, color: str, text: str, *, edge: str = "white") -> None:
    """One slot: a coloured square with a few letters."""
    axes.add_patch(Rectangle((column - 0.5, row - 0.5), 1, 1, facecolor=color, edgecolor=edge, linewidth=1))
    light = color not in DARK
    axes.text(
        column, row, text, ha="center", va="center", fontsize=7, color="black" if light else "white", weight="bold"
    )
