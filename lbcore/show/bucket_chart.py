"""A token bucket over time: how full it is, who passes, who is refused.

Rule of this file: the bucket is the proxy's own (`lbcore.l7.filters.rate_store`), on a clock that the drawing turns.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from lbcore.l7.filters.rate_store import Memory, left
from lbcore.show.style import BLUE, GREEN, VERMILION, Picture, figure, finish


class Taken(NamedTuple):
    """A request: its second, the tokens before and after it, and whether it passed."""

    at: float
    before: float
    after: float
    passed: bool


def play(arrivals: Sequence[float], rate: float, burst: int) -> list[Taken]:
    """What happens to requests at these seconds, in order of time; the bucket begins full."""
    now, story = 0.0, []
    full_tokens, then = float(burst), 0.0
    store = Memory(rate, burst, 1, lambda: now)
    for now in sorted(arrivals):  # the store's clock reads it
        before = min(burst, full_tokens + (now - then) * rate)
        debt = store.take(b"")
        after = left(debt, rate)
        story.append(Taken(now, before, after, debt <= 0))
        full_tokens, then = after, now
    return story


def bucket(arrivals: Sequence[float], rate: float, burst: int, title: str = "") -> Picture:
    """A finished figure of the bucket's level and the fate of each request. ValueError: there are no arrivals."""
    if not len(arrivals):
        raise ValueError("arrivals is empty; must be seconds of requests, one or more")
    story = play(arrivals, rate, burst)
    times, levels = [0.0], [float(burst)]
    for at, before, after, _ in story:
        full_at = times[-1] + (burst - levels[-1]) / rate
        if full_at < at:
            times.append(full_at)
            levels.append(float(burst))
        times += [at, at]
        levels += [before, after]
    fig, ax = figure()
    ax.plot(times, levels, color=BLUE, linestyle="-", marker="", label="tokens in the bucket")
    for name, fate, colour, marker, y in (
        ("passed", True, GREEN, "o", -0.05), ("refused", False, VERMILION, "X", -0.11),
    ):  # fmt: skip
        when = [one.at for one in story if one.passed is fate]
        ax.plot(when, [y * burst] * len(when), color=colour, linestyle="", marker=marker, label=f"{name} ({len(when)})")
    ax.set(xlabel="time (s)", ylabel="tokens")
    ax.legend(frameon=False, loc="upper center", bbox_to_anchor=(0.5, -0.16), ncols=3)
    passed = sum(one.passed for one in story)
    return finish(
        fig,
        title=title or f"{rate:g} a second, {burst} at once: {passed} of {len(story)} pass",
        alt=f"Level of a bucket of {burst} tokens filled at {rate:g} a second, over {story[-1].at:.1f} seconds: each "
        f"passed request takes one, {passed} of {len(story)} pass, the others find less than one token.",
    )
