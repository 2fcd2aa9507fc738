"""To whom a client belongs, by a table of who was served where: for clients that send something of their own, but no
cookie.

Rule of this file: it finds backends by what a request brings. Whether one may be asked is the pool's business.

Theory. The key is a header's value or the source's address, hashed to 16 bytes, however long it is. The table has a
bound, who was not seen for long is forgotten, and the longest unused makes room.

Traps
- The table is this proxy's own: another proxy has another, and a restart has none.
- All who share an address share a backend: behind a carrier's NAT that can be thousands.
"""

from __future__ import annotations

from collections import OrderedDict
from hashlib import blake2b

from lbcore.l7.message import Request, Response
from lbcore.l7.pools.backend import Backend
from lbcore.l7.pools.checks import Checked, at_least, is_token, seconds, want
from lbcore.l7.pools.key import Said, reader


class StickyHeaderOptions(Checked, frozen=True, kw_only=True, tag_field="kind", tag="header"):
    """A client belongs to the backend that answered the last request with the same value of a header.

    entries: values remembered at most, the longest unused goes first. idle: how long a value is remembered unused.
    """

    name: str
    """Of the header."""
    entries: int = 100_000
    idle: float = 1800.0

    def __post_init__(self) -> None:
        want(is_token(self.name), "name", self.name, "the name of a header")
        at_least(1, entries=self.entries)
        seconds(self.idle, "idle")


class StickySourceOptions(Checked, frozen=True, kw_only=True, tag_field="kind", tag="source"):
    """The same by the source's address. All who share an address share a backend."""

    entries: int = 100_000
    """Addresses remembered at most; the longest unused goes first."""
    idle: float = 1800.0
    """Seconds that an address is remembered unused."""

    def __post_init__(self) -> None:
        at_least(1, entries=self.entries)
        seconds(self.idle, "idle")


class TableSticky:
    """By what a client sends of its own accord: the value of a header, or its address."""

    def __init__(self, options: StickyHeaderOptions | StickySourceOptions) -> None:
        self._said: Said = (
            reader("header", options.name) if isinstance(options, StickyHeaderOptions) else reader("source", "")
        )
        self._entries, self._idle = options.entries, options.idle
        self._table: OrderedDict[bytes, tuple[Backend, float]] = OrderedDict()  # the longest unused first
        self._asks = type(options), getattr(options, "name", "").lower()

    def __len__(self) -> int:
        return len(self._table)

    def find(self, request: Request, now: float) -> Backend | None:
        """Who served that value last."""
        key = self._key(request)
        entry = self._table.get(key) if key else None
        return entry[0] if entry and now - entry[1] <= self._idle else None

    def chose(self, request: Request, backend: Backend, now: float) -> None:
        """Remember."""
        key = self._key(request)
        if not key:
            return
        self._table[key] = (backend, now)
        self._table.move_to_end(key)
        oldest = next(iter(self._table.values()))
        if len(self._table) > self._entries or now - oldest[1] > self._idle:
            self._table.popitem(last=False)

    def mark(self, request: Request, backend: Backend, response: Response) -> None:
        """The client need not know."""

    def take_over(self, old: object, heirs: dict[Backend, Backend]) -> None:
        """Keep those whose backend is still there, the last used if there is less room."""
        if isinstance(old, TableSticky) and old._asks == self._asks:
            kept = [(key, (heirs[b], when)) for key, (b, when) in old._table.items() if b in heirs]
            self._table = OrderedDict(kept[-self._entries :])

    def _key(self, request: Request) -> bytes:
        """16 bytes, however long the value: that is the bound on memory. Empty: it said nothing."""
        text = self._said(request)
        return blake2b(text, digest_size=16).digest() if text else b""
