"""Lab 06, exercises 4 and 5: the backend for a name, and the backend for a stream.

Rule of this file: specifications, cases and hints. What comes before a choice is in `reading` and `naming`.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

from lbcore.labs.judge import Case, Exercise, Mistake, Property, Verdict, judge
from lbcore.labs.sni.naming import capital, right_name
from lbcore.labs.sni.reading import ALERT, EARLY, HEADER, HTTP, LIMIT, no_hello, number, right_message
from lbcore.wire.tls_compose import client_hello, handshake, records

Routes = dict[str, str]


# -------------------------------------------------------------------------------------------------- 4: whose is it?
ROUTES: Routes = {
    "*.example": "catch",
    "shop.example": "shop",
    "*.shop.example": "shops",
    "*.eu.shop.example": "europe",
    "pay.shop.example": "pay",
    "public.example": "edge",
}


def right_choice(name: str | None, ech: bool, routes: Routes, default: str) -> str:
    """The backend of the most specific pattern; ech makes no difference."""
    if name is None:
        return default
    tails = [name[at + 1 :] for at, char in enumerate(name) if char == "."]
    return next((routes[key] for key in (name, *(f"*.{tail}" for tail in tails)) if key in routes), default)


def choice_cases(seed: int) -> list[Case]:
    """Exact names, wildcards of several depths, near misses, nobody; with and without ECH; tables in another order."""
    rng = random.Random(seed)
    names = ["shop.example", "pay.shop.example", "a.shop.example", "a.b.shop.example", "a.eu.shop.example"]
    names += ["eu.shop.example", "public.example", "other.example", "evilshop.example", "example", "shop.example.org"]
    found: list[tuple[Any, ...]] = [(name, False, dict(ROUTES), "default") for name in [*names, None]]
    few = {key: value for key, value in ROUTES.items() if key != "*.example"}
    found += [(name, False, few, "default") for name in [*names, None]]
    found += [(name, True, few, "default") for name in [*names, None]]
    for name in names:
        turned = list(few.items())
        rng.shuffle(turned)
        found.append((name, rng.random() < 0.5, dict(turned), "nobody"))
    return [Case(one) for one in found]


def fitting(name: str | None, routes: Routes, fits: Callable[[str, str], bool]) -> list[str]:
    """The patterns of a table that fit a name, in its order."""
    return [key for key in routes if name is not None and fits(name, key)]


def under(name: str, pattern: str) -> bool:
    """Whether a pattern fits."""
    return name == pattern or (pattern.startswith("*.") and name.endswith(pattern[1:]))


def longest(name: str | None, routes: Routes, default: str, fits: Callable[[str, str], bool]) -> str:
    """The backend of the exact name, or of the longest pattern that fits by another idea of fitting."""
    found = fitting(name, routes, fits)
    exact = [key for key in found if key == name]
    return routes[(exact or sorted(found, key=len))[-1]] if found else default


def backend(answer: Any, name: Any, ech: Any, routes: Routes, default: str) -> str | None:
    """One of the table's backends, or the default."""
    if answer in (*routes.values(), default):
        return None
    return "Give back a backend of the table, or the default: never nobody."


CHOOSE = Exercise(
    names=("name", "ech", "routes", "default"),
    right=right_choice,
    praise="Right in all {cases} cases: most specific first, and ECH makes no difference.",
    mistakes=(
        Mistake(
            "ech_apart",
            lambda name, ech, routes, default: default if ech else right_choice(name, ech, routes, default),
            "You treat a hello with ECH differently. Many are GREASE: random bytes, and the name is the true one. "
            "Nobody on the way can tell, so go by the name that is there.",
        ),
        Mistake(
            "bare_name",
            lambda name, ech, routes, default: longest(
                name, routes, default, lambda n, p: under(n, p) or (p[:2] == "*." and n == p[2:])
            ),
            "*.shop.example stands for what is below shop.example, not for shop.example itself.",
        ),
        Mistake(
            "no_dot",
            lambda name, ech, routes, default: longest(
                name, routes, default, lambda n, p: n == p or (p[:2] == "*." and n.endswith(p[2:]) and n != p[2:])
            ),
            "evilshop.example ends in shop.example, and is somebody else. The dot belongs to the comparison.",
        ),
        Mistake(
            "one_label",
            lambda name, ech, routes, default: longest(
                name, routes, default, lambda n, p: n == p or (p[:2] == "*." and n.partition(".")[2] == p[2:])
            ),
            "You let * stand for one label, as in a certificate. Here it stands for any number of them.",
        ),
        Mistake(
            "first_that_fits",
            lambda name, ech, routes, default: next((routes[key] for key in fitting(name, routes, under)), default),
            "You take the first pattern in the table that fits. The most specific one wins, wherever it stands.",
        ),
        Mistake(
            "exact_only",
            lambda name, ech, routes, default: routes.get(name, default),
            "You look up the name itself only. Then *. and its tail, the longest tail first.",
        ),
        Mistake(
            "wildcard_first",
            lambda name, ech, routes, default: longest(
                name, {k: v for k, v in routes.items() if k[:2] == "*."}, routes.get(name or "", default), under
            ),
            "A wildcard has won over the name itself. The exact name comes first.",
        ),
    ),
    properties=(Property("nobody", backend),),
    advice={
        "AttributeError": ("no_name", "a hello without a name comes as None. It goes to the default."),
        "TypeError": ("no_name", "a hello without a name comes as None. It goes to the default."),
        "KeyError": ("unknown", "what is not in the table goes to the default."),
    },
)


def check_choose(choose: Any, seed: int = 1) -> Verdict:
    """Exercise 4: choose(name, ech, routes, default) -> a backend."""
    return judge(CHOOSE, choose, choice_cases(seed))


# ---------------------------------------------------------------------------------------------------- 5: all of it
def right_route(data: bytes, routes: Routes, default: str) -> str | None:
    """The backend; None: more bytes are needed. ValueError for what is no hello, or not whole after LIMIT bytes."""
    hello = right_message(data)
    if hello is None:
        if len(data) > LIMIT:
            raise ValueError("too long")
        return None
    return right_choice(right_name(hello), False, routes, default)


def route_cases(seed: int) -> list[Case]:
    """Streams of hellos as they grow; then what is none, and one that never ends."""
    rng = random.Random(seed)
    streams = [
        records(client_hello("shop.example", seed=seed)),
        records(client_hello("PAY.shop.example", post_quantum=True, shuffled=True, ech=True, seed=seed)),
        records(client_hello(None, seed=seed)),
        records(client_hello("x.eu.shop.example", post_quantum=True, seed=seed), 300),
        records(client_hello("public.example", ech=True, seed=seed), 64),
        records(client_hello("nobody.test", session_id=False, seed=seed)),
    ]
    found: list[bytes] = []
    for one in streams:
        found += [one, one[:-1], one + EARLY, one[:3], one[: rng.randrange(5, len(one))], one[: len(one) // 2]]
    endless = records(handshake(bytes(LIMIT * 2)), 4000)
    found += [b"", endless[:9000], HTTP, ALERT, records(handshake(bytes(70), 2)), endless[: LIMIT + 200]]
    return [Case((one, dict(ROUTES), "default")) for one in found]


def refuse(data: bytes, routes: Routes, default: str) -> str:
    """Why a stream is refused."""
    if len(data) > LIMIT:
        return "More than 16384 bytes, and the hello is still not whole. Who waits for ever is filled up: ValueError."
    return no_hello(data)


def some_backend(answer: Any, data: bytes, routes: Routes, default: str) -> str | None:
    """A backend, or None."""
    if answer is None or answer in (*routes.values(), default):
        return None
    return "Give back a backend's name from the table, the default, or None for: more bytes."


def hasty(data: bytes, routes: Routes, default: str) -> str:
    """The router of 9:10: what is not whole has no name."""
    return right_route(data, routes, default) or default


ROUTE = Exercise(
    names=("data", "routes", "default"),
    right=right_route,
    praise="Right in all {cases} cases. This is an SNI router.",
    mistakes=(
        Mistake(
            "reads_once",
            hasty,
            "You send it to the default before the hello is whole. Its name may be in the next segment: None.",
        ),
        Mistake(
            "name_with_capitals",
            lambda data, routes, default: (
                None
                if (hello := right_message(data)) is None
                else right_choice(capital(hello), False, routes, default)
            ),
            "The name has capitals, and your table has none. Does your server_name give it in lower case?",
        ),
        Mistake(
            "first_record_only",
            lambda data, routes, default: (
                None
                if (hello := right_message(data)) is None
                else right_route(data, routes, default)
                if len(hello) + HEADER <= len(data) and number(data, 3, 2) == len(hello)
                else default
            ),
            "Where the hello lies in several records you find no name. Reassemble first: message(data).",
        ),
        Mistake(
            "nameless_waits",
            lambda data, routes, default: (
                None if (hello := right_message(data)) is None or right_name(hello) is None
                else right_route(data, routes, default)
            ),
            "The hello is whole and has no name. None of your bytes will come any more: the default.",
        ),
    ),
    properties=(Property("not_a_backend", some_backend),),
    accepted=refuse,
)  # fmt: skip


def check_route(route: Any, seed: int = 1) -> Verdict:
    """Exercise 5: route(data, routes, default) -> a backend, None for more bytes, or ValueError."""
    return judge(ROUTE, route, route_cases(seed))
