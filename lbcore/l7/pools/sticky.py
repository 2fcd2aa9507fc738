"""To whom a client belongs: what all ways of knowing it have in common.

Rule of this file: the contract, and who fulfils it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, TypeAlias

from lbcore.l7.message import Request, Response
from lbcore.l7.pools.backend import Backend
from lbcore.l7.pools.sticky_cookie import CookieSticky, StickyCookieOptions, keys_of
from lbcore.l7.pools.sticky_table import StickyHeaderOptions, StickySourceOptions, TableSticky

StickyOptions: TypeAlias = StickyCookieOptions | StickyHeaderOptions | StickySourceOptions


class Sticky(Protocol):
    """Who belongs where."""

    def find(self, request: Request, now: float) -> Backend | None:
        """Whose client this is; None: nobody's yet."""
        ...

    def chose(self, request: Request, backend: Backend, now: float) -> None:
        """It was sent there."""
        ...

    def mark(self, request: Request, backend: Backend, response: Response) -> None:
        """It was answered from there; the response may be told."""
        ...

    def take_over(self, old: object, heirs: dict[Backend, Backend]) -> None:
        """Know what another knew, of whose backends these are the heirs."""
        ...


def sticky_of(options: StickyOptions, pool: str, backends: Sequence[Backend]) -> Sticky:
    """The pool's memory of who belongs where. OSError or ValueError if its keys cannot be had."""
    if isinstance(options, StickyCookieOptions):
        return CookieSticky(options, keys_of(options), pool, backends)
    return TableSticky(options)
