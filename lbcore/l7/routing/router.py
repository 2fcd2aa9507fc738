"""Which route a request takes, and to which pool.

Rule of this file: it reads requests; it never changes one.

Theory. "The first route that fits" is easy to say and slow to do: with a thousand routes it asks a thousand questions.
But most of what is asked has few answers. For every host that a configuration names, and under it for every path and
every prefix that it names, the router works out beforehand which routes can still take such a request, in their order.
A request then costs one look-up by host, one by path (or one for each of its segments), and questions to the few routes
whose other conditions have to be asked: as a rule none.

Such a list ends with the first route that has no question left, for whatever comes after it is never reached. So the
tables also know which routes are `unreachable`: a mistake of the configuration that no request will ever show.

Order
    first      as the routes stand.
    longest    the most specific first: the host (exact, then the longest wildcard, then any), then the path (exact,
               then the longest prefix, then expressions, then any, which the prefix "/" is too), then the number of
               other conditions; where all of that is equal, as they stand.

Traps
- Routes are found by the *normal* path, once `%61` is `a` and `..` is gone: or `/public/%2e%2e/admin` is let in as
  /public and served as /admin. What is normal says `target`, and whoever asks here has asked there before.
- A client names the host and the path. Nothing that it names is remembered here, or it could fill our memory.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from lbcore.l7.filters.chain import Chain
from lbcore.l7.filters.filter import Filter
from lbcore.l7.message import Request
from lbcore.l7.pools.pool import Pool
from lbcore.l7.routing.match import LONGEST_NAME, Match, Test, covers, host_of

ORDERS: Final = ("first", "longest")
SLASH: Final = ord("/")


@dataclass(frozen=True, slots=True)
class Route:
    """Where a request that fits goes, and through which filters on its way."""

    name: str
    fits: Callable[[Request], bool]
    """A `Match`, which the router makes tables of; any other function is asked each time."""
    choose: Callable[[Request], Pool | None]
    """The pool for this request; None: the route's filters answer by themselves."""
    filters: tuple[Filter, ...] = ()
    chain: Chain = field(init=False, compare=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "chain", Chain(self.filters))


class Entry(NamedTuple):
    """A route under one of its hosts."""

    host: bytes
    route: Route
    match: Match


Candidates = tuple[tuple[Test | None, Route], ...]
"""Routes that may take a request, and what is still to be asked of it; None: nothing."""


@dataclass(frozen=True, slots=True)
class Paths:
    """The routes of one host, by path."""

    exact: dict[bytes, Candidates]
    prefixes: dict[bytes, Candidates]
    others: Candidates
    """Of a path that is under none of the prefixes."""
    longest: int
    """Bytes of the longest prefix."""

    def under(self, path: bytes) -> Candidates:
        """The candidates for a path that is no exact one: those of the longest prefix that it is under."""
        prefixes = self.prefixes
        if not prefixes:
            return self.others
        at = len(path)
        if at > self.longest:  # how many segments a client sends is no reason to look at them all
            at = path.rfind(b"/", 0, self.longest + 1)
        while at > 0:
            found = prefixes.get(path[:at])
            if found is not None:
                return found
            at = path.rfind(b"/", 0, at)
        return self.others


class Router:
    """Routes in the order that was asked for; the first that fits is taken.

    everywhere: filters for what fits no route, or is refused.
    """

    def __init__(
        self,
        routes: Sequence[Route],
        everywhere: Sequence[Filter] = (),
        *,
        order: str = "first",
    ) -> None:
        if order not in ORDERS:
            raise ValueError(f"order is {order!r}, wanted one of {', '.join(ORDERS)}")
        self.routes, self.everywhere = tuple(routes), Chain(everywhere)
        entries = list(_entries(self.routes))
        if order == "longest":
            entries.sort(key=_breadth)
        self._hosts: Final[dict[bytes, Paths]] = {}
        self._wildcards: Final[dict[bytes, Paths]] = {}
        for pattern in dict.fromkeys(entry.host for entry in entries if entry.host):
            paths = _paths([entry for entry in entries if covers(entry.host, pattern)])
            if pattern.startswith(b"*"):
                self._wildcards[pattern[1:]] = paths
            else:
                self._hosts[pattern] = paths
        self._others: Final = _paths([entry for entry in entries if not entry.host])
        self._named: Final = bool(self._hosts or self._wildcards)

    def find(self, request: Request) -> Route | None:
        """The request's route; None if no route fits."""
        path = request.path
        paths = self._hosts.get(request.authority) or (
            self._by_host(request.authority) if self._named else self._others
        )
        candidates = paths.exact.get(path)
        if candidates is None:
            candidates = paths.under(path)
        for test, route in candidates:
            if test is None or test(request, path):
                return route
        return None

    def unreachable(self) -> list[Route]:
        """Routes that no request can take, for others before them take it all."""
        tables = [*self._hosts.values(), *self._wildcards.values(), self._others]
        reached = {
            id(route)
            for paths in tables
            for candidates in (*paths.exact.values(), *paths.prefixes.values(), paths.others)
            for _, route in candidates
        }
        return [route for route in self.routes if id(route) not in reached]

    def _by_host(self, authority: bytes) -> Paths:
        """The same for an authority with a port, and for hosts under a wildcard."""
        host = host_of(authority)
        found = self._hosts.get(host)
        if found is None and self._wildcards and len(host) <= LONGEST_NAME:
            at = host.find(b".", 1)
            while found is None and at > 0:
                found = self._wildcards.get(host[at:])
                at = host.find(b".", at + 1)
        return self._others if found is None else found


def _entries(routes: Iterable[Route]) -> Iterator[Entry]:
    for route in routes:
        fits = route.fits
        match = fits if isinstance(fits, Match) else Match(rest=(_asked(fits),))
        for host in dict.fromkeys(match.hosts) or (b"",):
            yield Entry(host, route, match)


def _asked(fits: Callable[[Request], bool]) -> Test:
    return lambda request, path: fits(request)


def _breadth(entry: Entry) -> tuple[int, ...]:
    """Smaller for what is more specific."""
    host, match = entry.host, entry.match
    if match.path is not None:
        path = (0, 0)
    elif match.prefix:
        path = (1, -len(match.prefix))
    else:
        path = (3, 0) if match.regex is None else (2, 0)
    return (not host, host.startswith(b"*"), -len(host) if host.startswith(b"*") else 0, *path, -len(match.rest))


def _paths(entries: list[Entry]) -> Paths:
    """The tables of one host, of all entries that speak of it, in order."""
    exact: dict[bytes, list[int]] = {}
    prefixes: dict[bytes, list[int]] = {}
    others: list[int] = []  # of what any path may be taken by
    for place, (_, _, match) in enumerate(entries):
        if match.path is not None:
            exact.setdefault(match.path, []).append(place)
        elif match.prefix:
            prefixes.setdefault(match.prefix, []).append(place)
        else:
            others.append(place)
    return Paths(
        {path: _candidates(entries, [*there, *_over(path, prefixes), *others], path) for path, there in exact.items()},
        {prefix: _candidates(entries, [*_over(prefix, prefixes), *others]) for prefix in prefixes},
        _candidates(entries, others),
        max(map(len, prefixes), default=0),
    )


def _over(path: bytes, prefixes: dict[bytes, list[int]]) -> Iterator[int]:
    """The places of all prefixes that the path is under, itself among them."""
    ends = (at for at, byte in enumerate(path + b"/") if byte == SLASH)
    return (place for at in ends for place in prefixes.get(path[:at], ()))


def _candidates(entries: list[Entry], places: Iterable[int], path: bytes | None = None) -> Candidates:
    """What is to be asked where these entries are left; of the path nothing if it is known."""
    found: list[tuple[Test | None, Route]] = []
    for place in sorted(places):
        _, route, match = entries[place]
        if path is not None and not match.takes(path):
            continue
        tests = match.rest if path is not None or match.regex is None else (_whole(match.regex.fullmatch), *match.rest)
        found.append((_all(tests), route))
        if not tests:
            break
    return tuple(found)


def _whole(fits: Callable[[bytes], object]) -> Test:
    return lambda request, path: fits(path) is not None


def _all(tests: tuple[Test, ...]) -> Test | None:
    if len(tests) < 2:
        return tests[0] if tests else None
    return lambda request, path: all(test(request, path) for test in tests)
