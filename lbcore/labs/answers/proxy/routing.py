"""Lab 07, exercise 1: answers that must pass, and mistakes with the key of the hint each must get.

Rule of this file: no answer shares code with the checker, which has its own models of the mistakes.
"""

# mypy: ignore-errors

import re
import string
from urllib.parse import unquote

from lbcore.labs.answers import Answers

ANSWERS = Answers()
RIGHT, WRONG, right, wrong = ANSWERS.RIGHT, ANSWERS.WRONG, ANSWERS.right, ANSWERS.wrong

PLAIN = string.ascii_letters + string.digits + "-._~"


def strict(path):
    """ValueError for what the exercise refuses; else the path."""
    lower = path.lower()
    if "%2f" in lower or "%5c" in lower or "\\" in lower:
        raise ValueError("a slash or a letter?")
    for place, one in enumerate(path):
        if one == "%" and not (len(path) > place + 2 and set(path[place + 1 : place + 3]) <= set(string.hexdigits)):
            raise ValueError("half an escape")
    return path


def opened(path):
    """The escapes of plain characters, decoded letter by letter."""
    out, rest = "", path
    while rest:
        letter = chr(int(rest[1:3], 16)) if rest[0] == "%" else ""
        out += letter if letter and letter in PLAIN else rest[:3] if letter else rest[0]
        rest = rest[3 if letter else 1 :]
    return out


def steps(path):
    """Dots walked; what leads above the root is refused."""
    done = []
    for one in filter(None, path.split("/")):
        if one == "..":
            if not done:
                raise ValueError("above the root")
            done = done[:-1]
        elif one != ".":
            done = [*done, one]
    return done


def cut(path):
    return steps(opened(strict(path)))


def fits_host(pattern, host):
    return pattern == "*" or pattern == host or (pattern.startswith("*.") and host.endswith(pattern[1:]))


def host_rank(pattern):
    return 0 if pattern == "*" else len(pattern) if pattern.startswith("*") else 1000


@right("route")
def route_sorted(method, host, path, routes):
    here = "/".join(["", *cut(path), ""])
    table = sorted(routes, key=lambda one: (host_rank(one[0]), len(one[1].strip("/")), one[2] != "*"), reverse=True)
    for pattern, prefix, verb, backend in table:
        if fits_host(pattern, host) and verb in ("*", method) and here.startswith(prefix.rstrip("/") + "/"):
            return backend
    return None


@right("route")
def route_in_passes(method, host, path, routes):
    """Walks from the escape to the decision, throwing out routes on its way."""
    here = []
    for part in strict(path).split("/"):
        plain = re.sub("%[0-9A-Fa-f]{2}", lambda code: c if (c := unquote(code[0])) in PLAIN else code[0], part)
        if plain == "..":
            if here == []:
                raise ValueError("above the root")
            del here[-1]
        elif plain not in (".", ""):
            here.append(plain)
    left = [one for one in routes if fits_host(one[0], host) and one[2] in (method, "*")]
    left = [
        one
        for one in left
        if here[: one[1].count("/") if one[1] != "/" else 0] == one[1].split("/")[1:] or one[1] == "/"
    ]
    for better in (lambda one: host_rank(one[0]), lambda one: len(one[1]), lambda one: one[2] != "*"):
        best = max(map(better, left), default=0)
        left = [one for one in left if better(one) == best]
    return left[0][3] if left else None


def chosen(method, host, here, routes, key=None, under=None, on=fits_host):
    """Routing with a mistake in it."""
    under = under or (lambda prefix: here[: len(steps(prefix))] == steps(prefix))
    key = key or (lambda one: (host_rank(one[0]), len(one[1].strip("/")), one[2] != "*"))
    fits = [one for one in routes if on(one[0], host) and under(one[1]) and one[2] in ("*", method)]
    return max(fits, key=key)[3] if fits else None


@wrong("route", "no_border")
def route_by_letters(method, host, path, routes):
    here = cut(path)
    return chosen(method, host, here, routes, under=lambda prefix: ("/" + "/".join(here)).startswith(prefix))


@wrong("route", "shortest")
def route_shortest(method, host, path, routes):
    return chosen(
        method, host, cut(path), routes, lambda one: (host_rank(one[0]), -len(one[1].strip("/")), one[2] != "*")
    )


@wrong("route", "first_that_fits")
def route_first(method, host, path, routes):
    return chosen(method, host, cut(path), routes, lambda one: 0)


@wrong("route", "path_before_host")
def route_path_first(method, host, path, routes):
    return chosen(
        method, host, cut(path), routes, lambda one: (len(one[1].strip("/")), host_rank(one[0]), one[2] != "*")
    )


@wrong("route", "hosts_alike")
def route_any_host(method, host, path, routes):
    return chosen(method, host, cut(path), routes, lambda one: (len(one[1].strip("/")), one[2] != "*"))


@wrong("route", "bare_name")
def route_bare(method, host, path, routes):
    return chosen(method, host, cut(path), routes, on=lambda p, h: fits_host(p, h) or p == "*." + h)


@wrong("route", "no_dot")
def route_suffix(method, host, path, routes):
    def on(pattern, host):
        if pattern.startswith("*"):
            return host.endswith(pattern[2:])
        return pattern == host

    return chosen(method, host, cut(path), routes, on=on)


@wrong("route", "any_method")
def route_method_blind(method, host, path, routes):
    ranked = [[a, b, "*", number] for number, (a, b, _, _) in enumerate(routes)]
    key = lambda one: (host_rank(one[0]), len(one[1].strip("/")), routes[one[3]][2] != "*")  # noqa: E731
    found = chosen(method, host, cut(path), ranked, key)
    return None if found is None else routes[found][3]


@wrong("route", "method_no_matter")
def route_method_equal(method, host, path, routes):
    return chosen(method, host, cut(path), routes, lambda one: (host_rank(one[0]), len(one[1].strip("/"))))


@wrong("route", "last_listed")
def route_last(method, host, path, routes):
    return chosen(method, host, cut(path), routes[::-1])


@wrong("route", "as_written")
def route_raw(method, host, path, routes):
    cut(path)
    return chosen(method, host, [one for one in path.split("/") if one], routes)


@wrong("route", "escapes_left")
def route_not_decoded(method, host, path, routes):
    cut(path)
    return chosen(method, host, steps(path), routes)


@wrong("route", "dots_left")
def route_not_walked(method, host, path, routes):
    cut(path)
    return chosen(method, host, [one for one in opened(path).split("/") if one], routes)


@wrong("route", "decoded_late")
def route_late(method, host, path, routes):
    cut(path)
    return chosen(method, host, [opened(one) for one in steps(path)], routes)


@wrong("route", "decoded_twice")
def route_twice(method, host, path, routes):
    cut(path)
    return chosen(method, host, steps(unquote(unquote(path))), routes)


@wrong("route", "slash_or_not")
def route_unquoting(method, host, path, routes):
    here = steps("/".join(unquote(one) if "%25" not in one else one for one in path.split("/")))
    return chosen(method, host, here, routes)


@wrong("route", "above_the_root")
def route_forgiving(method, host, path, routes):
    here = []
    for one in opened(strict(path)).split("/"):
        here = here[:-1] if one == ".." else [*here, one] if one.strip(".") or len(one) > 2 else here
    return chosen(method, host, here, routes)


@wrong("route", "half_an_escape")
def route_int(method, host, path, routes):
    if re.search(r"%2f|%5c|\\", path, re.IGNORECASE):
        raise ValueError("a slash or a letter?")
    found = re.sub("%([0-9A-Fa-f]{2})", lambda code: c if (c := chr(int(code[1], 16))) in PLAIN else code[0], path)
    return chosen(method, host, steps(found), routes)


@wrong("route", "nobody")
def route_certain(method, host, path, routes):
    here = cut(path)
    fits = [one for one in routes if chosen(method, host, here, [one])]
    return sorted(fits, key=lambda one: (host_rank(one[0]), len(one[1].strip("/")), one[2] != "*"), reverse=True)[0][3]


@wrong("route", "not_a_backend")
def route_whole(method, host, path, routes):
    return next((one for one in routes if chosen(method, host, cut(path), [one])), None)


@wrong("route", "another_route")
def route_no_wildcards(method, host, path, routes):
    return chosen(method, host, cut(path), routes, on=lambda pattern, host: pattern in ("*", host))
