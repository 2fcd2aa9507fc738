"""The filters of a route, in order, and which of them want to be called when.

Rule of this file: it is worked out once, when a route is made; exchanges only walk along it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any, Final

from lbcore.l7.filters.filter import Filter


class Chain:
    """Most filters have one or two of the hooks. A hook stands with its filter's place, 1 for the first."""

    def __init__(self, filters: Iterable[Filter]) -> None:
        self.filters: Final = tuple(filters)
        self.body_limit: Final = max((one.body_limit for one in self.filters), default=0)
        self.requests: Final[tuple[tuple[int, Callable[..., Any]], ...]] = tuple(self._hooks("on_request"))
        self.responses: Final = tuple(reversed(tuple(self._hooks("on_response"))))
        """From the inside to the outside."""
        self.ends: Final = tuple(self._hooks("on_end"))

    def _hooks(self, name: str) -> Iterator[tuple[int, Callable[..., Any]]]:
        for place, one in enumerate(self.filters, 1):
            hook = getattr(one, name)
            if getattr(hook, "__func__", None) is not getattr(Filter, name):
                yield place, hook
