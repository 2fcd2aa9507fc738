"""A server stops taking requests: how much of what it works on is still there some seconds later?

Rule of this file: arithmetic on log-normal durations, given by their median and the spread of their logarithm.

Theory. Of requests that *begin*, the share 1 - F(w) lasts longer than w. A drain does not meet those. It comes at some
moment, and finds each request with a chance that grows with its length (the inspection paradox); what is left of those
that it finds lasts longer than w for the share E[(L - w)+] / E[L] (renewal theory: Cox, 1962). At a rate r a server has
r E[L] requests at work, so a window w kills r E[(L - w)+] of them at each deploy.
"""

from __future__ import annotations

from math import erfc, sqrt

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]


def _above(z: Floats) -> Floats:
    """The share of a standard normal above z."""
    return np.array([0.5 * erfc(each / sqrt(2)) for each in z.ravel()]).reshape(z.shape)


def _depth(window: npt.ArrayLike, median: float, spread: float) -> tuple[Floats, Floats]:
    """(window, how many spreads of the logarithm it lies above the median)."""
    seconds = np.asarray(window, np.float64)
    if (seconds < 0).any() or not (median > 0 and spread > 0):
        raise ValueError(f"window {seconds}, median {median}, spread {spread}: wanted 0 or more, and over 0 twice")
    with np.errstate(divide="ignore"):
        return seconds, (np.log(seconds) - np.log(median)) / spread


def begun(window: npt.ArrayLike, median: float, spread: float) -> Floats:
    """1 - F: the share of requests that last longer than `window`."""
    return _above(_depth(window, median, spread)[1])


def overtime(window: npt.ArrayLike, median: float, spread: float) -> Floats:
    """E[(L - w)+]: seconds by which a request goes past the window, on average. For a window of 0 that is E[L]."""
    seconds, depth = _depth(window, median, spread)
    return median * float(np.exp(spread**2 / 2)) * _above(depth - spread) - seconds * _above(depth)


def at_work(window: npt.ArrayLike, median: float, spread: float) -> Floats:
    """The share of what is at work when a drain begins that is there at its end."""
    return np.asarray(overtime(window, median, spread) / overtime(0.0, median, spread))


def killed(window: npt.ArrayLike, median: float, spread: float, rate: float) -> Floats:
    """Requests that one deploy of a server kills, on average. rate: requests a second for that server."""
    return np.asarray(rate * overtime(window, median, spread))
