"""Lab 08, exercise 4: pass through, terminate or re-encrypt.

Rule of this file: specification, cases and hints. A mode is what it cannot do; the first that can do all is taken.
"""

from __future__ import annotations

from itertools import combinations
from typing import Any

from lbcore.labs.judge import Case, Exercise, Mistake, Property, Verdict, judge

PASS, TERMINATE, REENCRYPT = "pass through", "terminate", "re-encrypt"
NAME, PATH, CACHE = "route by server name", "route by path", "cache answers"
INSIDE, SECRET, BARE = "encrypted on the inside", "unreadable in the middle", "backends without certificates"
CLIENT, OTHER = "backend verifies the client's certificate itself", "a protocol that is not HTTP"
NEEDS = (NAME, PATH, CACHE, INSIDE, SECRET, BARE, CLIENT, OTHER)
CANNOT: dict[str, frozenset[str]] = {
    PASS: frozenset({PATH, CACHE, BARE}),
    TERMINATE: frozenset({INSIDE, SECRET, CLIENT}),
    REENCRYPT: frozenset({SECRET, CLIENT, BARE}),
}
"""By mode, in order of the work that the middle has."""


def right_place(needs: list[str]) -> str:
    """The first mode that can do all; ValueError where none can."""
    return taken(needs, CANNOT)


def taken(needs: list[str], cannot: dict[str, frozenset[str]]) -> str:
    """The first mode of a table that can do all. ValueError: none."""
    for mode, lacking in cannot.items():
        if not lacking & set(needs):
            return mode
    raise ValueError(f"no mode can do all of {needs}")


def otherwise(needs: list[str], **cannot: frozenset[str]) -> str | None:
    """For who believes something else of a mode."""
    names = {"passed": PASS, "ended": TERMINATE}
    try:
        return taken(needs, CANNOT | {names[name]: lacking for name, lacking in cannot.items()})
    except ValueError:
        return None


def place_cases(seed: int) -> list[Case]:
    """Every set of up to three needs that makes sense (paths and caches are HTTP's), in an order by `seed`."""
    every = [list(some) for count in range(4) for some in combinations(NEEDS, count)]
    found = [some for some in every if OTHER not in some or not {PATH, CACHE} & set(some)]
    if seed % 2 == 0:
        found = [some[::-1] for some in found]
    return [Case((one,)) for one in found]


def a_mode(answer: Any, *_: Any) -> str | None:
    """One of three words."""
    return None if answer in CANNOT else f"Give back one of: {', '.join(CANNOT)}."


def none_can(needs: list[str]) -> str:
    """Why there is no mode."""
    given = set(needs)
    if SECRET in given and given & {PATH, CACHE}:
        return (
            "Who routes by path or caches must read, and here nobody in the middle may. Re-encryption is hop by hop: "
            "in the middle all is readable. Raise ValueError."
        )
    if CLIENT in given and given & {PATH, CACHE}:
        return (
            "A client proves that it has its key to whom it does the handshake with. Who reads paths ends TLS, and can "
            "only tell the backend about the client: raise ValueError."
        )
    return "Backends without certificates cannot end TLS, and here they would have to: raise ValueError."


PLACE = Exercise(
    names=("needs",),
    right=right_place,
    praise="Right in all {cases} cases.",
    mistakes=(
        Mistake(
            "plain_inside",
            lambda needs: otherwise(needs, ended=CANNOT[TERMINATE] - {INSIDE}),
            "To terminate leaves the inside in the clear.",
        ),
        Mistake(
            "sees_through",
            lambda needs: otherwise(needs, passed=frozenset({BARE})),
            "Passed through, nobody in the middle reads a path or an answer. It cannot route by it, nor cache it.",
        ),
        Mistake(
            "backends_need_none",
            lambda needs: otherwise(needs, passed=CANNOT[PASS] - {BARE}),
            "Passed through, it is the backend that ends TLS. It needs the certificate.",
        ),
        Mistake(
            "reencrypt_for_sure",
            lambda needs: REENCRYPT if (mode := otherwise(needs)) == TERMINATE and BARE not in needs else mode,
            "You re-encrypt where nobody asked for it. Of the modes that can do all, take the one with the least work.",
        ),
        Mistake(
            "http_only",
            lambda needs: PASS if OTHER in needs else otherwise(needs),
            "To end TLS one needs a key, and no HTTP: a TCP proxy can do it for any protocol.",
        ),
        Mistake(
            "name_inside",
            lambda needs: otherwise(needs, passed=CANNOT[PASS] | {NAME}),
            "The server name is in the ClientHello, in the clear. Pass-through can route by it.",
        ),
    ),
    properties=(Property("not_a_mode", a_mode),),
    accepted=none_can,
)  # fmt: skip


def check_place(place: Any, seed: int = 1) -> Verdict:
    """Exercise 4: place(needs) -> one of three modes, or ValueError."""
    return judge(PLACE, place, place_cases(seed))
