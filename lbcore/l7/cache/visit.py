"""One exchange as the cache sees it, from the question to the last byte.

Rule of this file: what is known, and nothing that decides.
"""

from __future__ import annotations

from lbcore.l7.cache import directives
from lbcore.l7.cache.collapse import Flight
from lbcore.l7.cache.directives import Directives
from lbcore.l7.cache.entry import Entry
from lbcore.l7.message import Headers


class Visit:
    """What the cache knows of one exchange."""

    __slots__ = (
        "asked", "entry", "fields", "flight", "forward", "headers", "key", "over", "past", "requested", "served",
        "spoiled", "validating",
    )  # fmt: skip

    def __init__(self, key: bytes, fields: dict[bytes, bytes]) -> None:
        self.key, self.fields = key, fields
        said = fields.get(b"cache-control") if fields else None
        self.asked: Directives = directives.parse(said) if said else directives.NONE
        self.entry: Entry | None = None  # stored, fits, but must not be given just so
        self.flight: Flight | None = None  # that we lead
        self.forward = b"uri-miss"  # why a backend is asked (RFC 9211, 2.2)
        self.requested, self.headers = 0.0, Headers()  # when the request departed, and what it said then
        self.over = self.served = self.validating = self.past = self.spoiled = False
