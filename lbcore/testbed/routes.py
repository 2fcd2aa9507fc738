"""Routing rules, and what they still allow when only a part of the request has been seen.

Rule of this file: it knows hosts, paths and headers, not how they came to be known.

Theory. A rule asks up to three questions. Each is answered yes, no, or "not seen" (None), and so is the rule: one no is
a no, else one None is None, else it holds. Rules are tried in order and the first that holds ends the search, so with
everything seen one pool is left. With less, every rule that is not a no may be the one: its pool stays possible. What a
balancer cannot see does not send a request to the wrong place; it leaves more places, and the rest is up to a hash.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from lbcore.balance.maglev import Maglev

TABLE = 251  # slots of a look-up table


class Seen(NamedTuple):
    """What a balancer knows of a request; None is not seen. Header names are lower-cased."""

    host: str | None = None
    path: str | None = None
    headers: Mapping[str, str] | None = None


class Rule(NamedTuple):
    """Requests for `host` (lower-cased) under `prefix`, with this header if one is given, go to `pool`."""

    pool: str
    host: str
    prefix: str = "/"
    header: tuple[str, str] | None = None

    def holds(self, seen: Seen) -> bool | None:
        """Yes, no, or None: what was seen does not tell."""
        answers = (self._host(seen.host), self._path(seen.path), self._header(seen.headers))
        return False if False in answers else None if None in answers else True

    def _host(self, host: str | None) -> bool | None:
        return None if host is None else host.lower().partition(":")[0] == self.host

    def _path(self, path: str | None) -> bool | None:
        if self.prefix == "/":
            return True
        return None if path is None else f"{path.partition('?')[0]}/".startswith(f"{self.prefix}/")

    def _header(self, headers: Mapping[str, str] | None) -> bool | None:
        if self.header is None:
            return True
        return None if headers is None else headers.get(self.header[0]) == self.header[1]


class Choice(NamedTuple):
    """The backends that were still possible, and the one that was taken (None: no rule is left)."""

    candidates: tuple[str, ...]
    backend: str | None


class Site(NamedTuple):
    """Rules in order, and the backends of each pool."""

    rules: Sequence[Rule]
    pools: Mapping[str, Sequence[str]]

    def possible(self, seen: Seen) -> tuple[str, ...]:
        """The pools that the rules leave possible, in order."""
        pools: dict[str, None] = {}
        for rule in self.rules:
            holds = rule.holds(seen)
            if holds is not False:
                pools[rule.pool] = None
            if holds:
                break
        return tuple(pools)

    def choose(self, seen: Seen, hash64: int) -> Choice:
        """A backend by hash, among those that what was seen leaves possible."""
        candidates = tuple(backend for pool in self.possible(seen) for backend in self.pools[pool])
        backend = candidates[Maglev(candidates, size=TABLE).pick(hash64)] if candidates else None
        return Choice(candidates, backend)
