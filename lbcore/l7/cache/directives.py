"""Cache-Control, taken apart (RFC 9111, 5.2).

Rule of this file: bytes to a table of directives; what they mean is `policy`'s business.

Theory. A list of names, some with a value, which may stand in quotes. A name may come twice and a value may be
nonsense. Both must end on the careful side (4.2.1): of two numbers the first counts, a number that is none counts as 0,
no-cache or private without a list of fields outweighs the same one with a list, and of two lists both count.

Trap. Directives are looked for between quotes by those who search for substrings: `ext="max-age=3600"` says nothing
about any age.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final, TypeAlias

TOKEN: Final = rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+"
DIRECTIVE: Final = re.compile(rb'(?:^|,)[ \t]*(%b)(?:=(?:(%b)|"((?:[^"\\]|\\.)*)"))?([^,]*)' % (TOKEN, TOKEN))
LISTS: Final = frozenset((b"private", b"no-cache"))  # of fields
LONGEST: Final = 2**31  # what does not fit counts as this many seconds (RFC 9111, 1.2.2)

Directives: TypeAlias = Mapping[bytes, bytes | None]
"""Name in lower case to its value without quotes; None: it has none, or one that cannot be read."""
NONE: Final[Directives] = {}


def parse(value: bytes) -> Directives:
    """The directives of a field whose lines have been joined by commas."""
    found: dict[bytes, bytes | None] = {}
    for name, token, quoted, junk in DIRECTIVE.findall(value):
        name = name.lower()
        argument = None if junk.strip(b" \t") else token or quoted or None
        first = found.get(name)
        if name not in found or argument is None:
            found[name] = argument
        elif name in LISTS and first is not None:
            found[name] = first + b"," + argument
    return found


def seconds(directives: Directives, name: bytes) -> int | None:
    """The directive's number of seconds; 0 if it is no number; None if it is not there."""
    if name not in directives:
        return None
    value = directives[name]
    if value is None or not value.isdigit():
        return 0
    return min(int(value), LONGEST) if len(value) < 19 else LONGEST


def fields(directives: Directives, name: bytes) -> frozenset[bytes]:
    """The fields that `private="..."` or `no-cache="..."` names, in lower case; empty: none, or it is not there."""
    value = directives.get(name)
    return frozenset(field.strip(b" \t").lower() for field in value.split(b",")) - {b""} if value else frozenset()
