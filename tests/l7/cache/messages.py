"""Stored responses for tests, from the fields that matter."""

from __future__ import annotations

from typing import Any

from lbcore.l7.cache import dates, directives
from lbcore.l7.cache.entry import Entry, entry_of
from lbcore.l7.message import Headers

NOW = 1_800_000_000.0
DAY = 86400.0


def headers(*lines: str) -> Headers:
    """`name: value` each."""
    return Headers([(name.encode(), value.encode()) for name, _, value in (line.partition(": ") for line in lines)])


def at(seconds: float) -> str:
    """A date so many seconds after NOW."""
    return dates.written(NOW + seconds).decode()


def stored(*lines: str, status: int = 200, body: bytes = b"hello", **more: Any) -> Entry:
    """Asked for and received at NOW, unless told otherwise."""
    known = {"vary": (), "requested": NOW, "received": NOW, "heuristic_limit": DAY}
    return entry_of(status, headers(*lines), body=body, **{**known, **more})  # type: ignore[arg-type]


def cc(text: str) -> directives.Directives:
    """Cache-Control."""
    return directives.parse(text.encode())
