"""Lab 08, exercise 2: which handshakes can be resumed.

Rule of this file: specification, cases and hints. A client keeps one ticket, the last it got, as browsers mostly do.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

from lbcore.labs.judge import Case, Exercise, Mistake, Property, Verdict, judge

Visits = list[tuple[int, str]]  # second, backend
Keys = dict[str, str]  # the ticket key of each backend


def right_resumed(visits: Visits, keys: Keys, lifetime: int) -> list[bool]:
    """Whether each visit's handshake is resumed."""
    return walk(visits, keys, lambda age, mine, theirs: age <= lifetime and mine == theirs)


def walk(visits: Visits, keys: Keys, opens: Callable[[int, str, str], bool]) -> list[bool]:
    """Every visit leaves a fresh ticket, which is all that the next one has."""
    found, ticket = [], None
    for second, backend in visits:
        found.append(ticket is not None and opens(second - ticket[0], ticket[1], keys[backend]))
        ticket = (second, keys[backend])
    return found


def kept(visits: Visits, keys: Keys, lifetime: int, renew: Callable[[bool], bool]) -> list[bool]:
    """For whom a handshake leaves a fresh ticket only where `renew(resumed)` says so."""
    found: list[bool] = []
    ticket: tuple[int, str] | None = None
    for second, backend in visits:
        again = ticket is not None and second - ticket[0] <= lifetime and ticket[1] == keys[backend]
        found.append(again)
        if ticket is None or renew(again):
            ticket = (second, keys[backend])
    return found


def drawer(visits: Visits, keys: Keys, lifetime: int) -> list[bool]:
    """For whom a client keeps every ticket it ever got."""
    return [
        any(second - then <= lifetime and keys[there] == keys[backend] for then, there in visits[:number])
        for number, (second, backend) in enumerate(visits)
    ]


def ticket_cases(seed: int) -> list[Case]:
    """One visit; one backend, in time, just in time, too late; keys shared and not; then long histories."""
    rng = random.Random(seed)
    own, shared, mixed = {"a": "k1", "b": "k2", "c": "k3"}, dict.fromkeys("abc", "k"), {"a": "k1", "b": "k1", "c": "k2"}
    found: list[tuple[Any, ...]] = [([], own, 60), ([(0, "a")], own, 60), ([(0, "a"), (10, "a")], own, 60)]
    found += [([(0, "a"), (60, "a")], own, 60), ([(0, "a"), (61, "a")], own, 60), ([(0, "a"), (5, "b")], own, 60)]
    found += [([(0, "a"), (5, "b")], shared, 60), ([(0, "a"), (40, "a"), (80, "a"), (120, "a")], own, 60)]
    found += [([(0, "a"), (5, "b"), (10, "a")], own, 60), ([(n * 5, "abc"[n % 3]) for n in range(7)], own, 60)]
    found += [([(n * 5, "abc"[n % 3]) for n in range(7)], mixed, 60), ([(0, "a"), (70, "a"), (75, "a")], own, 60)]
    for table in (own, shared, mixed) * 3:
        times = sorted(rng.sample(range(600), 12))
        found.append(([(second, rng.choice("abc")) for second in times], table, rng.choice((30, 60, 100))))
    return [Case(one) for one in found]


def one_each(answer: Any, visits: Visits, *_: Any) -> str | None:
    """A list with a truth value for each visit."""
    if not isinstance(answer, list) or any(type(one) is not bool for one in answer):
        return "Give back a list of True and False."
    if len(answer) != len(visits):
        return f"There are {len(visits)} visits, and your list has {len(answer)} entries."
    return "The first visit has no ticket: it cannot be resumed." if answer and answer[0] else None


RESUMED = Exercise(
    names=("visits", "keys", "lifetime"),
    right=right_resumed,
    praise="Right in all {cases} cases: the last ticket, its key, its age.",
    mistakes=(
        Mistake(
            "any_key",
            lambda visits, keys, lifetime: walk(visits, keys, lambda age, mine, theirs: age <= lifetime),
            "You resume with a ticket that this backend cannot open. It was sealed with another backend's key.",
        ),
        Mistake(
            "for_ever",
            lambda visits, keys, lifetime: walk(visits, keys, lambda age, mine, theirs: mine == theirs),
            "Your tickets live for ever. Older than `lifetime` is too old.",
        ),
        Mistake(
            "same_backend",
            lambda visits, keys, lifetime: walk(
                visits, {name: name for name in keys}, lambda age, mine, theirs: age <= lifetime and mine == theirs
            ),
            "You want the same backend. The key must be the same: backends that share one open each other's tickets.",
        ),
        Mistake(
            "exactly_too_old",
            lambda visits, keys, lifetime: walk(
                visits, keys, lambda age, mine, theirs: age < lifetime and mine == theirs
            ),
            "A ticket whose age is just `lifetime` still opens.",
        ),
        Mistake(
            "not_renewed",
            lambda visits, keys, lifetime: kept(visits, keys, lifetime, lambda again: not again),
            "A resumed handshake leaves a fresh ticket, too, and its age begins anew.",
        ),
        Mistake(
            "first_ticket",
            lambda visits, keys, lifetime: kept(visits, keys, lifetime, lambda again: False),
            "You go on offering the first ticket. The last one that was got is offered.",
        ),
        Mistake(
            "every_ticket",
            drawer,
            "You let the client look for a ticket that fits. It has one: the last it got, wherever that was.",
        ),
    ),
    properties=(Property("not_one_each", one_each),),
    advice={"IndexError": ("no_visits", "there may be no visit at all: then the answer is []."),
            "TypeError": ("no_ticket", "at the first visit there is no ticket yet.")},
)  # fmt: skip


def check_resumed(resumed: Any, seed: int = 1) -> Verdict:
    """Exercise 2: resumed(visits, keys, lifetime) -> True or False for each visit."""
    return judge(RESUMED, resumed, ticket_cases(seed))
