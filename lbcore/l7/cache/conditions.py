"""What a client has already: 304 instead of a stored response (RFC 9110, 13; RFC 9111, 4.3.2).

Rule of this file: it compares validators. If-Match and If-Unmodified-Since are not for caches: they guard a change, and
only the origin knows what is there now (RFC 9110, 13.1.1).

Theory. If-None-Match is compared weakly, and if it is there If-Modified-Since is not looked at (13.1.3). If-Range is
compared strongly: pieces of two bodies must never be put together (13.1.5).
"""

from __future__ import annotations

import re
from typing import Final

from lbcore.l7.cache import dates
from lbcore.l7.cache.entry import Entry
from lbcore.l7.cache.policy import weak

TAG: Final = re.compile(rb'(?:W/)?"[\x21\x23-\x7e\x80-\xff]*"')  # RFC 9110, 8.8.3


def not_modified(entry: Entry, none_match: bytes | None, modified_since: bytes | None) -> bool:
    """Has the client this response already? `none_match`: If-None-Match, its lines joined by commas."""
    if entry.status != 200:
        return False
    if none_match is not None:
        if none_match.strip() == b"*":
            return True
        return bool(entry.etag) and weak(entry.etag) in map(weak, TAG.findall(none_match))
    since = dates.parse(modified_since, entry.received)
    if since is None:
        return False
    changed = dates.parse(entry.modified, entry.received)
    return (entry.date if changed is None else changed) <= since


def range_holds(entry: Entry, if_range: bytes | None) -> bool:
    """May a range of the stored body be given (RFC 9110, 13.1.5)? Without If-Range: yes."""
    if if_range is None:
        return True
    if TAG.fullmatch(if_range):
        return if_range == entry.etag and not if_range.startswith(b"W/")
    modified = dates.parse(entry.modified, entry.received)
    # A date is a strong validator only if it was not made in the second of the change (RFC 9110, 8.8.2.2).
    return modified is not None and modified == dates.parse(if_range, entry.received) and entry.date - modified >= 1
