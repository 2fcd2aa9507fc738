"""Lab 09, exercise 4: a store with expiry that two servers share.

Rule of this file: specification, cases and hints. A case is a script: what the servers ask of one store, one after the
other. An answer is what the store gave back, request by request; for those that give nothing back, None.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from functools import wraps
from typing import Any

from lbcore.labs.judge import Case, Exercise, Mistake, Property, Verdict, judge

Script = list[list[Any]]  # [server, method, arguments...]
IDLE = 10


class Model:
    """The store that is asked for; each of the keywords is a mistake."""

    def __init__(
        self,
        idle: int,
        *,
        expires: bool = True,
        renews: bool = True,
        late: int = 0,
        carries: bool = False,
        sweeps: bool = True,
    ) -> None:
        self.idle, self.expires, self.renews, self.late = idle, expires, renews, late
        self.carries, self.sweeps = carries, sweeps
        self.kept: dict[str, list[int]] = {}  # items, last used

    def over(self, session: str, now: int) -> bool:
        """Is it over?"""
        return self.expires and now - self.kept[session][1] >= self.idle + self.late

    def get(self, session: str, now: int) -> int | None:
        """Items, or None."""
        if session not in self.kept or self.over(session, now):
            return None
        if self.renews:
            self.kept[session][1] = now
        return self.kept[session][0]

    def add(self, session: str, now: int) -> int:
        """One more."""
        known = session in self.kept and (self.carries or not self.over(session, now))
        items = self.kept[session][0] + 1 if known else 1
        self.kept[session] = [items, now]
        return items

    def forget(self, session: str) -> None:
        """End it."""
        self.kept.pop(session, None)

    def sweep(self, now: int) -> int:
        """How many were thrown out."""
        gone = [session for session in self.kept if self.over(session, now)]
        for session in gone if self.sweeps else []:
            del self.kept[session]
        return len(gone)


def played(store: Callable[[int], Any]) -> Callable[[Script], list[Any]]:
    """A function that plays a script to a new store."""

    @wraps(store, updated=())
    def play(script: Script) -> list[Any]:
        one = store(IDLE)
        return [getattr(one, method)(*given) for _, method, *given in script]

    return play


def right_store(script: Script) -> list[Any]:
    """What the store gives back."""
    return played(Model)(script)


def wrong(**mistake: Any) -> Callable[[Script], list[Any]]:
    """What it would give back with this mistake."""
    return played(lambda idle: Model(idle, **mistake))


SMALL: Script = [
    ["ant", "get", "x", 0], ["ant", "add", "x", 1], ["bee", "add", "x", 2], ["bee", "get", "x", 11],
    ["ant", "get", "x", 20], ["ant", "get", "x", 30], ["bee", "add", "x", 31], ["ant", "sweep", 40],
    ["ant", "sweep", 41], ["ant", "sweep", 42], ["bee", "forget", "x"],
]  # fmt: skip


def store_cases(seed: int) -> list[Case]:
    """Short scripts, one idea each; then long ones by chance."""
    rng = random.Random(seed)
    found: list[Script] = [SMALL[:3], SMALL[:5], SMALL[:6], SMALL[:7], SMALL, [["ant", "forget", "x"]]]
    for _ in range(12):
        now, script = 0, []
        for _ in range(30):
            now += rng.choice([0, 1, 1, 3, 9, 10])
            method = rng.choice(["get", "get", "add", "add", "add", "forget", "sweep"])
            given = {"sweep": [now]}.get(method, [rng.choice("xyz"), now][: 1 if method == "forget" else 2])
            script.append([rng.choice(["ant", "bee"]), method, *given])
        found.append(script)
    return [Case((script,)) for script in found]


def a_list(answer: Any, script: Script) -> str | None:
    """Numbers where numbers are due."""
    for value, (_, method, *_) in zip(answer, script, strict=True):
        if method in ("add", "sweep") and type(value) is not int:
            return f"{method} gives back a number."
        if method == "forget" and value is not None:
            return "forget gives nothing back."
    return None


STORE = Exercise(
    names=("script",),
    right=right_store,
    praise="Right in all {cases} scripts. Which server asks makes no difference any more.",
    mistakes=(
        Mistake("never_over", wrong(expires=False), "Your sessions never end. A store that only grows fills up."),
        Mistake(
            "not_renewed",
            wrong(renews=False),
            "get does not renew. A customer who looks around without buying is thrown out in the middle.",
        ),
        Mistake("one_too_long", wrong(late=1), "After idle seconds without use it is over: now - last >= idle."),
        Mistake(
            "old_cart",
            wrong(carries=True),
            "add went on with a session that was over. It is a new one then: the answer is 1.",
        ),
        Mistake(
            "swept_nothing",
            wrong(sweeps=False),
            "sweep counts what is over, and leaves it there: the next sweep finds the same again.",
        ),
    ),
    properties=(Property("not_a_number", a_list),),
    advice={"KeyError": ("unknown", "a session may be unknown, or forgotten already.")},
)


def check_store(store: Any, seed: int = 1) -> Verdict:
    """Exercise 4: Store(idle) with get, add, forget and sweep."""
    return judge(STORE, played(store) if callable(store) else store, store_cases(seed))
