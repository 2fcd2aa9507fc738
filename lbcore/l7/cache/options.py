"""What a cache can be told in a configuration.

Rule of this file: names, units and limits; what they do is said where it is done.
"""

from __future__ import annotations

import msgspec

from lbcore.l7.cache.policy import SetCookie
from lbcore.l7.field import name_of


class CacheOptions(
    msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True, tag_field="kind", tag="cache"
):
    """Where, how much, and how careful."""

    path: str = ""
    """File of the store, kept over restarts; empty: in memory."""
    size: int = 256 << 20
    """Bytes of the store."""
    largest: int = 8 << 20
    """Bytes of a body that is stored."""
    filling: int = 64 << 20
    """Bytes of bodies on their way into the store, all together; what would be more is not stored."""
    collapse: float = 5.0
    """Seconds for which a request waits for another one's answer; 0: it never does."""
    heuristic_limit: float = 86400.0
    """Seconds for which a response is fresh at most that does not say for how long."""
    stale_if_error: float = 0.0
    """Seconds for which a stale response stands in for an error, if it says nothing of it; never if it forbids it."""
    set_cookie: SetCookie = "refuse"
    """A response with Set-Cookie: "refuse" to store it, "strip" the field, or "store" it with the field."""
    key_headers: tuple[str, ...] = ()
    """Fields of requests that the backend's answers depend on although it does not say so in Vary."""
    name: str = "lbcore"
    """Of this cache, in Cache-Status; empty: nothing is said there."""

    def __post_init__(self) -> None:
        for field, value in (("size", self.size), ("largest", self.largest), ("filling", self.filling)):
            if value < 1:
                raise ValueError(f"{field} is {value}; must be bytes, 1 or more")
        for field, span in (
            ("collapse", self.collapse),
            ("heuristic_limit", self.heuristic_limit),
            ("stale_if_error", self.stale_if_error),
        ):
            if not 0 <= span < float("inf"):
                raise ValueError(f"{field} is {span}; must be seconds, 0 or more")
        if self.largest > self.size:
            raise ValueError(f"largest is {self.largest}; must not be more than size, {self.size}")
        if self.name and not (self.name.isascii() and self.name.replace("-", "").replace(".", "").isalnum()):
            raise ValueError(f"name is {self.name!r}; must be letters, digits, '-' and '.'")
        for name in self.key_headers:
            name_of(name, "key_headers")
