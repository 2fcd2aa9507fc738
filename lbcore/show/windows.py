"""Two windows, drawn: how long a broken server is asked, and how long a server that leaves is given.

Rule of this file: it draws; the formulas are those of `lbcore.sim.outage` and `lbcore.sim.draining`.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike

from lbcore.show.style import Picture, figure, finish
from lbcore.sim import draining
from lbcore.sim.outage import expected_window, longest_window

WINDOWS = (0.0, 0.3, 1.0, 3.0, 10.0, 30.0, 100.0, 300.0)


def leaks(
    intervals: Sequence[float], fall: int, rate: float, model: Sequence[float], live: Sequence[Sequence[int]]
) -> Picture:
    """Failed requests against the interval of checks, for a port that is closed.

    rate: requests a second for the broken server. model: a mean for each interval. live: single runs for each.
    """
    at, mean, most = np.array([0, *intervals]), expected_window(1, fall) * rate, longest_window(1, fall) * rate
    fig, ax = figure()
    ax.plot(at, at * mean, marker="", label="theory: rate × share × window")
    ax.fill_between(at, at * (2 * mean - most), at * most, alpha=0.15, label="its bounds")
    ax.plot(intervals, model, linestyle="", label="model, mean of many")
    for number, runs in enumerate(zip(*live, strict=True)):
        ax.plot(intervals, runs, "k.", label="_" * number + "live, single runs")
    ax.set(xlabel="interval between checks (s)", ylabel="requests that clients saw fail")
    ax.set(xlim=(0, None), ylim=(0, None))
    ax.legend(frameon=False)
    return finish(
        fig,
        title="What leaks is proportional to the interval",
        alt="Failed requests against the interval: a straight line of theory with a band around it. The model's marks "
        "lie on the line, dots of live runs scatter over the band.",
    )


def drains(median: float, spread: float, moments: Sequence[float], live: ArrayLike) -> Picture:
    """What is still at work against the window, and what one might think. live: shares at these moments."""
    fine = np.linspace(0, max(moments), 161)
    fig, ax = figure()
    ax.plot(fine, 100 * draining.at_work(fine, median, spread), marker="", label="of those that run: theory")
    ax.plot(fine, 100 * draining.begun(fine, median, spread), marker="", label="of those that begin: 1 − F")
    ax.plot(moments, 100 * np.asarray(live), "ko", label="of those that run: live")
    ax.set(xlabel="drain window (s)", ylabel="killed at its end (%)", xlim=(-0.01 * fine[-1], None), ylim=(0, 103))
    ax.legend(frameon=False)
    return finish(
        fig,
        title="The window has to outlast those that run, and these are the long ones",
        alt="Share of requests still there against the window. The dashed curve of those that begin falls faster than "
        "that of those that run; dots of a live run lie near the latter.",
    )


def drain_windows(median: float = 0.1, spread: float = 1.2, rate: float = 50) -> Picture:
    """Requests that windows from none to AWS's default kill. median: seconds. rate: a second, for one server."""
    killed = draining.killed(WINDOWS, median, spread, rate)
    enough = next((f"{window:g} s" for window, each in zip(WINDOWS, killed, strict=True) if each < 1), "none of these")
    fig, ax = figure(height=3)
    ax.bar(range(len(WINDOWS)), killed)
    ax.axhline(1, color="black", linestyle="--", label="one request")
    ax.set(yscale="log", ylim=(1e-2, 1e4), xlabel="drain window (s)", ylabel="killed at each server")
    ax.set_xticks(range(len(WINDOWS)), [f"{window:g}" for window in WINDOWS])
    ax.legend(frameon=False)
    alt = f"Requests killed against the window, logarithmic: the first that kills less than one is {enough}."
    return finish(fig, title=f"First window that kills less than one request: {enough}", alt=alt)
