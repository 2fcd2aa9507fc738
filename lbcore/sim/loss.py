"""Erlang's loss formula: who comes while every place is taken goes away.

Rule of this file: arithmetic. Arrivals are independent of each other (Poisson); how long a place is held may follow any
distribution, only its mean counts (A. K. Erlang, 1917).
"""

from __future__ import annotations


def served(places: int, load: float) -> float:
    """The share that finds a place. load: arrivals a second times seconds that a place is held, on average.

    ValueError unless there is a place and the load is not negative.
    """
    if places < 1 or load < 0:
        raise ValueError(f"places {places}, load {load}: wanted at least one place and a load that is not negative")
    blocked = 1.0
    for n in range(1, places + 1):  # one place more, from n - 1 to n
        blocked = load * blocked / (n + load * blocked)
    return 1 - blocked
