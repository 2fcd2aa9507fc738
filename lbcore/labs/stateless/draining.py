"""Lab 09, exercise 3: who may still come to a server that drains.

Rule of this file: specification, cases and hints. A backend is [name, state, until, load]: state "active", "draining"
(for those that belong to it, as long as now < until) or "down"; load counts requests in flight.
"""

from __future__ import annotations

import random
from typing import Any

from lbcore.labs.judge import Case, Exercise, Mistake, Property, Verdict, judge

Backends = list[list[Any]]
SMALL: Backends = [["ant", "draining", 100, 0], ["bee", "active", 0, 5], ["cat", "active", 0, 3], ["dog", "down", 0, 0]]


def model(
    home: str | None,
    backends: Backends,
    now: int,
    *,
    own: bool = True,  # a draining home serves its own
    window: int = 0,  # added to the window; None-like large values: it never ends
    strangers: bool = False,  # draining backends take new clients
    any_home: bool = False,  # home is home, whatever its state
    best: Any = min,
) -> str | None:
    """The right answer with the defaults; each of the others is a mistake."""
    for name, state, until, _ in backends:
        in_window = state == "draining" and own and now < until + window
        if name == home and (any_home or state == "active" or in_window):
            return str(name)
    open_ = [each for each in backends if each[1] == "active" or (strangers and each[1] == "draining")]
    return best(open_, key=lambda each: each[3])[0] if open_ else None


def right_serve(home: str | None, backends: Backends, now: int) -> str | None:
    """Home while it may be asked, else the active backend with the least load, else None."""
    return model(home, backends, now)


def serve_cases(seed: int) -> list[Case]:
    """Every home at every moment around the window's end; tables drawn by chance; nobody left."""
    rng = random.Random(seed)
    homes = ["ant", "bee", "cat", "dog", "gone", None]
    found: list[tuple[Any, ...]] = [(home, SMALL, now) for home in homes for now in (0, 99, 100, 101)]
    for _ in range(20):
        names = rng.sample(["ant", "bee", "cat", "dog"], 4)
        loads = rng.sample(range(10), 4)
        states = [rng.choice(["active", "active", "draining", "down"]) for _ in names]
        table = [[n, s, rng.choice([50, 100]), load] for n, s, load in zip(names, states, loads, strict=True)]
        found.append((rng.choice(homes), table, rng.choice([49, 50, 99, 100])))
    nobody = [["ant", "draining", 100, 0], ["dog", "down", 0, 0]]
    found += [(home, nobody, now) for home in ("ant", "dog", None) for now in (99, 100)] + [(None, [], 0)]
    return [Case((home, [list(each) for each in table], now)) for home, table, now in found]


def a_name(answer: Any, home: Any, backends: Backends, now: int) -> str | None:
    """A name of the table, or None."""
    if answer is None or answer in [each[0] for each in backends]:
        return None
    return "Give back the name of a backend in the table, or None if nobody may be asked."


SERVE = Exercise(
    names=("home", "backends", "now"),
    right=right_serve,
    praise="Right in all {cases} cases: a drain that ends.",
    mistakes=(
        Mistake(
            "strangers_let_in",
            lambda *given: model(*given, strangers=True),
            "A draining backend took a client that does not belong to it. It will never be empty that way.",
        ),
        Mistake(
            "own_refused",
            lambda *given: model(*given, own=False),
            "You send those away who belong to a draining backend. That is what the window is for: until it ends they "
            "are served there.",
        ),
        Mistake(
            "never_ends",
            lambda *given: model(*given, window=10**6),
            "You let the window go on for ever. From `until` on, nobody comes any more.",
        ),
        Mistake(
            "one_too_long",
            lambda *given: model(*given, window=1),
            "At now == until the window is over: now < until.",
        ),
        Mistake(
            "dead_home",
            lambda *given: model(*given, any_home=True),
            "You send a client home whatever state it is in, also when it is down.",
        ),
        Mistake(
            "busiest",
            lambda *given: model(*given, best=max),
            "You take the backend with the most requests in flight. The least.",
        ),
        Mistake(
            "no_affinity",
            lambda home, backends, now: model(None, backends, now),
            "You forget where the client belongs. Home first, if it may be asked.",
        ),
    ),
    properties=(Property("not_a_name", a_name),),
    advice={
        "IndexError": ("nobody", "it may be that nobody may be asked: None."),
        "TypeError": ("nobody", "it may be that nobody may be asked: None."),
        "KeyError": ("nobody", "home may be gone from the table, or None."),
    },
)


def check_serve(serve: Any, seed: int = 1) -> Verdict:
    """Exercise 3: serve(home, backends, now) -> a name, or None."""
    return judge(SERVE, serve, serve_cases(seed))
