"""Lab 07, exercise 1: whose request is it?

Rule of this file: specification, cases and hints. A route is [host, prefix, method, backend]; "*" stands for any host
and for any method.

Theory. A path is decided by and served by two programs. Only if it has one form do they mean the same (RFC 3986,
6.2.2). The lab's form is a list of segments, so that `/api` and `/apiary` cannot be mixed up by their letters.
"""

from __future__ import annotations

import random
import re
import string
from collections.abc import Callable
from typing import Any

from lbcore.labs.judge import Case, Exercise, Mistake, Property, Verdict, judge

Routes = list[list[str]]
UNRESERVED = frozenset(string.ascii_letters + string.digits + "-._~")  # RFC 3986, 2.3
ESCAPE = re.compile("%([0-9A-Fa-f]{2})")

ROUTES: Routes = [
    ["*", "/", "*", "site"],
    ["*", "/api", "*", "api"],
    ["*", "/api/v2", "*", "api v2"],
    ["*", "/api/v2", "POST", "orders"],
    ["*", "/admin", "*", "admin"],
    ["*", "/public", "*", "files"],
    ["*", "/public", "*", "never"],
    ["*.shop.example", "/", "*", "shops"],
    ["*.eu.shop.example", "/", "*", "europe"],
    ["pay.shop.example", "/", "*", "pay"],
    ["pay.shop.example", "/api", "GET", "pay api"],
]


# ------------------------------------------------------------------------------------------------- the specification
def decoded(path: str) -> str:
    """Without the escapes of characters that need none; done once."""
    return ESCAPE.sub(lambda found: chr(int(found[1], 16)) if chr(int(found[1], 16)) in UNRESERVED else found[0], path)


def parts(path: str) -> list[str]:
    """The segments as they stand."""
    return [part for part in path.split("/") if part]


def walked(segments: list[str]) -> list[str]:
    """Without dot segments; those that lead above the root end there."""
    done: list[str] = []
    for part in segments:
        if part == "..":
            del done[-1:]
        elif part != ".":
            done.append(part)
    return done


def right_segments(path: str) -> list[str]:
    """The segments of a path in its one form; ValueError if it has none."""
    if "\\" in path or re.search("%2f|%5c|%(?![0-9a-f]{2})", path, re.IGNORECASE):
        raise ValueError(f"{path!r} has an escape or a letter that some take for a slash, or half an escape")
    segments = parts(decoded(path))
    depth = 0
    for part in segments:
        depth += {"..": -1, ".": 0}.get(part, 1)
        if depth < 0:
            raise ValueError(f"{path!r} leads above the root")
    return walked(segments)


def below(path: list[str], prefix: str) -> bool:
    """Does the path begin with the prefix's segments?"""
    return path[: len(parts(prefix))] == parts(prefix)


def below_as_text(path: list[str], prefix: str) -> bool:
    """The same by letters: a mistake."""
    return f"/{'/'.join(path)}".startswith(prefix)


def covers(pattern: str, host: str) -> bool:
    """Does the pattern speak of this host?"""
    return pattern in ("*", host) or (pattern.startswith("*.") and host.endswith(pattern[1:]))


def breadth(pattern: str) -> tuple[int, int]:
    """Of a host's pattern; less is more specific."""
    return (2, 0) if pattern == "*" else (1, -len(pattern)) if pattern[0] == "*" else (0, 0)


def host_then_path(route: list[str]) -> tuple[Any, ...]:
    """What a route is ordered by: less is taken first."""
    host, prefix, method, _ = route
    return breadth(host), -len(parts(prefix)), method == "*"


def model(
    method: str,
    host: str,
    path: str,
    routes: Routes,
    *,
    segments: Callable[[str], list[str]] = right_segments,
    order: Callable[[list[str]], tuple[Any, ...]] = host_then_path,
    under: Callable[[list[str], str], bool] = below,
    on: Callable[[str, str], bool] = covers,
    methods: bool = True,
    last: bool = False,
) -> str | None:
    """The right answer with the defaults; each of the others is a mistake."""
    cut = segments(path)
    fits = [
        one for one in routes
        if on(one[0], host) and under(cut, one[1]) and (not methods or one[2] in ("*", method))
    ]  # fmt: skip
    fits.sort(key=order)
    best = [one for one in fits if order(one) == order(fits[0])]
    return best[-1 if last else 0][3] if best else None


def right_route(method: str, host: str, path: str, routes: Routes) -> str | None:
    """The backend of the most specific route that fits, or None."""
    return model(method, host, path, routes)


def wrong(**mistake: Any) -> Callable[..., str | None]:
    """The answers of somebody who makes this mistake."""
    return lambda *given: model(*given, **mistake)


# ------------------------------------------------------------------------------------------------------------- cases
PLAIN = ["/", "/api", "/api/v2", "/api/v2/cart", "/apiary", "/api/v2x", "/public/logo.png", "/admin", "/api/"]
HOSTS = ["www.example", "a.shop.example", "de.eu.shop.example", "pay.shop.example", "shop.example", "evilshop.example"]
CROOKED = [
    "/public/../admin", "/public/%2e%2e/admin", "/public/%2E./admin", "/%61dmin", "/./admin", "/public/x/../../admin/",
    "/public/%252e%252e/admin", "/%2561dmin", "/api/v1/../v2", "/%61pi/%76%32", "//admin", "/api/..", "/public/%20/..",
    "/api%20", "/public/...", "/public/..x",
]  # fmt: skip
REFUSED = {
    "slash_or_not": ["/public%2fadmin", "/admin%2F..%2Fpublic", "/public%5c..%5Cadmin", "/public\\..\\admin"],
    "above_the_root": ["/..", "/../admin", "/%2e%2e/admin", "/public/../../admin", "/public/.././%2E./public"],
    "half_an_escape": ["/%", "/%2", "/admin%zz", "/%+1dmin"],
}


def route_cases(seed: int) -> list[Case]:
    """Plain paths on plain hosts, hosts, crooked paths, by chance all of it; then what has no one meaning."""
    rng = random.Random(seed)
    here = HOSTS[0]
    plain = [("GET", here, path, ROUTES) for path in PLAIN] + [("POST", here, "/api/v2/cart", ROUTES)]
    plain += [(method, host, path, ROUTES) for host in HOSTS for path in PLAIN[:3] for method in ("GET", "POST")]
    plain += [("GET", here, path, ROUTES[1:4]) for path in ("/", "/api", "/x")] + [("GET", here, "/", [])]
    crooked = [("GET", here, path, ROUTES) for path in CROOKED]
    for _ in range(30):
        routes = rng.sample(ROUTES, rng.randrange(4, len(ROUTES)))
        plain.append((rng.choice(["GET", "POST"]), rng.choice(HOSTS), rng.choice(PLAIN), routes))
        crooked.append(("GET", rng.choice(HOSTS), "/public" + walk(rng), routes))
    found = [Case((m, h, p, [list(one) for one in r]), "table") for m, h, p, r in plain]
    found += [Case((m, h, p, [list(one) for one in r]), "path") for m, h, p, r in crooked]
    refused = [(group, path) for group, some in REFUSED.items() for path in some]
    return [*found, *(Case(("GET", here, path, ROUTES[:6]), group) for group, path in refused)]


def walk(rng: random.Random) -> str:
    """A way through a few folders, at times back, never above where it began."""
    way, depth = "", 1
    for _ in range(rng.randrange(1, 6)):
        back = depth > 0 and rng.random() < 0.5
        step = rng.choice(["..", "%2e.", ".%2E"] if back else ["admin", "%61dmin", "api", "v2", "a%2520b", "%7ejoe"])
        depth += -1 if back else 1
        way += f"/{step}"
    return way + rng.choice(["", "/", "/admin"])


def a_backend(answer: Any, method: str, host: str, path: str, routes: Routes) -> str | None:
    """One of the table's backends, or None."""
    if answer is None or answer in [one[3] for one in routes]:
        return None
    return "Give back the last column of a route, or None if no route fits."


def elsewhere(answer: Any, method: str, host: str, path: str, routes: Routes) -> str | None:
    """The right backend."""
    wanted = right_route(method, host, path, routes)
    if answer == wanted:
        return None
    return f"The segments of {path!r} are {right_segments(path)}. Which routes fit, and which is the most specific?"


ROUTE = Exercise(
    names=("method", "host", "path", "routes"),
    right=right_route,
    praise="Right in all {cases} cases. There is one way to write /admin, and you know it.",
    mistakes=(
        Mistake(
            "no_border",
            wrong(under=below_as_text),
            "As text /apiary begins with /api. As a path it does not: compare whole segments.",
        ),
        Mistake(
            "shortest",
            wrong(order=lambda one: (breadth(one[0]), len(parts(one[1])), one[2] == "*")),
            "Several prefixes fit, and you take the shortest. The longest is the most specific.",
        ),
        Mistake(
            "first_that_fits",
            wrong(order=lambda one: ()),
            "You take the first route that fits. Where it stands decides only between routes that are equal in all "
            "else.",
        ),
        Mistake(
            "path_before_host",
            wrong(order=lambda one: (-len(parts(one[1])), breadth(one[0]), one[2] == "*")),
            "You look for the longest prefix first. The host comes first: a site of its own has no part in the others' "
            "paths.",
        ),
        Mistake(
            "hosts_alike",
            wrong(order=lambda one: (-len(parts(one[1])), one[2] == "*")),
            "You ask whether the host fits, and not how well: the name itself, then the longest wildcard, then any.",
        ),
        Mistake(
            "bare_name",
            wrong(on=lambda pattern, host: covers(pattern, host) or pattern[2:] == host),
            "*.shop.example stands for what is below shop.example, not for shop.example itself.",
        ),
        Mistake(
            "no_dot",
            wrong(on=lambda pattern, host: covers(pattern, host) or (pattern > "*." and host.endswith(pattern[2:]))),
            "evilshop.example ends in shop.example, and is somebody else. The dot belongs to the comparison.",
        ),
        Mistake("any_method", wrong(methods=False), "A route that names a method takes requests of that method only."),
        Mistake(
            "method_no_matter",
            wrong(order=lambda one: host_then_path(one)[:2]),
            "Of two routes with the same host and prefix, the one that names the method is the more specific.",
        ),
        Mistake(
            "last_listed",
            wrong(last=True),
            "Two routes are equal in everything, and you take the one listed last. The first.",
        ),
        Mistake(
            "as_written",
            wrong(segments=parts),
            "You decide by the path as it is written. /public/%2e%2e/admin passes as /public and is served as /admin.",
        ),
        Mistake(
            "escapes_left",
            wrong(segments=lambda path: walked(parts(path))),
            "You walk the dots, but %2e is a dot as well. Decode first.",
        ),
        Mistake(
            "dots_left",
            wrong(segments=lambda path: parts(decoded(path))),
            "You decode, and leave . and .. where they are. Whoever serves the path walks them.",
        ),
        Mistake(
            "decoded_late",
            wrong(segments=lambda path: parts(decoded("/".join(walked(parts(path)))))),
            "You walk the dots first and decode then: %2e%2e becomes .. when nobody looks any more.",
        ),
        Mistake(
            "decoded_twice",
            wrong(segments=lambda path: walked(parts(decoded(decoded(path).replace("%25", "%"))))),
            "You decode twice. %252e is a percent sign and two letters: a name, not a dot.",
        ),
    ),
    properties=(Property("not_a_backend", a_backend), Property("another_route", elsewhere)),
    advice={
        "IndexError": ("nobody", "there may be no route that fits, and no segment to take away."),
        "TypeError": ("nobody", "there may be no route that fits: None."),
    },
    refusals={
        "slash_or_not": "%2F, %5C and \\ are slashes to some programs and letters to others. Who guesses is wrong half "
        "of the time: ValueError.",
        "above_the_root": "This path leads above the root. Some programs stop there, others refuse: ValueError.",
        "half_an_escape": "A % without two hexadecimal digits means nothing that all agree on: ValueError. (int() "
        "takes a sign for a digit.)",
    },
)


def check_route(route: Any, seed: int = 1) -> Verdict:
    """Exercise 1: route(method, host, path, routes) -> a backend, or None."""
    return judge(ROUTE, route, route_cases(seed))
