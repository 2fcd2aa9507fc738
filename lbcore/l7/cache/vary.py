"""Which of several responses under one key answers this request (RFC 9111, 4.1).

Rule of this file: it reads the request's fields that a response's Vary names; nothing else of either.

Theory. `Vary: Accept-Language` says: to a request with another Accept-Language I might have answered something else. So
what the field said is stored with the response, and a request is given it if its field says the same. What is the same
may be a matter of the field: the order of what a client accepts has no meaning, nor have blanks and case there.

Trap. A field that the backend looks at, and does not name in Vary, makes one client's answer everybody's: that is how
caches are poisoned. No cache can see it. `key_headers` of the filter treats such fields as if Vary named them.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

from lbcore.l7.cache.entry import Entry
from lbcore.l7.message import Headers

LISTS: Final = frozenset((b"accept", b"accept-charset", b"accept-encoding", b"accept-language"))
"""Fields whose elements may change places, blanks and case (RFC 9110, 12.5)."""


def said(headers: Headers, name: bytes) -> bytes | None:
    """What a request says in this field, in one form; None: nothing."""
    lines = headers.all(name)
    if not lines:
        return None
    if name not in LISTS:
        return b", ".join(lines)
    parts = (part.strip() for line in lines for part in line.lower().replace(b" ", b"").split(b","))
    return b",".join(sorted(part for part in parts if part))


def chosen_by(request: Headers, names: Iterable[bytes]) -> tuple[tuple[bytes, bytes | None], ...]:
    """What to store with a response whose Vary names these."""
    return tuple((name, said(request, name)) for name in sorted(set(names)))


def select(entries: Sequence[Entry], request: Headers) -> Entry | None:
    """The youngest of those that fit this request."""
    best: Entry | None = None
    for entry in entries:
        if (best is None or entry.date >= best.date) and all(said(request, name) == is_ for name, is_ in entry.vary):
            best = entry
    return best
