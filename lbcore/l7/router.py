"""Which route a request takes, and to which pool.

Rule of this file: it reads requests; it never changes one.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from lbcore.l7.filters.filter import Filter
from lbcore.l7.message import Request
from lbcore.l7.pool import Pool


@dataclass(frozen=True, slots=True)
class Route:
    """Where a request that fits goes, and through which filters on its way."""

    name: str
    fits: Callable[[Request], bool]
    choose: Callable[[Request], Pool | None]
    """The pool for this request; None: the route's filters answer by themselves."""
    filters: tuple[Filter, ...] = ()


class Router:
    """Routes in order; the first that fits is taken. everywhere: filters for what fits no route, or is refused."""

    def __init__(self, routes: Sequence[Route], everywhere: Sequence[Filter] = ()) -> None:
        self.routes = tuple(routes)
        self.everywhere = tuple(everywhere)

    def find(self, request: Request) -> Route | None:
        """The request's route; None if no route fits."""
        for route in self.routes:
            if route.fits(request):
                return route
        return None
