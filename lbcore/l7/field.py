"""What a field line may consist of, and what a proxy keeps its hands off.

Rule of this file: it checks what is put into headers by people; the wire formats check what comes off the wire.

Theory (RFC 9110, 5.1 and 5.5). A name is a token. A value is visible characters, with blanks and tabs between them,
and bytes from 0x80 of which nothing is known. CR, LF or NUL in a value would end the line, and begin another one that
whoever made the value has written: response splitting.
"""

from __future__ import annotations

import re
from typing import Final

from lbcore.l7.hop_by_hop import HOP_BY_HOP

TOKEN: Final = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
VALUE: Final = re.compile(rb"(?:[\x21-\x7e\x80-\xff](?:[\t\x20-\x7e\x80-\xff]*[\x21-\x7e\x80-\xff])?)?")
FRAMING: Final = HOP_BY_HOP | {b"content-length", b"host"}
"""Fields that say where a message ends, whom it is for, or what becomes of its connection: not for filters."""
NOT_IN_TRAILERS: Final = frozenset(
    (
        b"authorization", b"cache-control", b"content-encoding", b"content-length", b"content-range", b"content-type",
        b"cookie", b"expect", b"host", b"max-forwards", b"range", b"set-cookie", b"te", b"trailer",
        b"transfer-encoding",
    )
)  # fmt: skip
"""What says how a message is framed, routed or read must come before its body (RFC 9110, 6.5.1)."""


def legal(value: bytes) -> bool:
    """May this be a field's value (RFC 9110, 5.5)? No CR, LF, NUL or other control byte, no blank at either end."""
    return VALUE.fullmatch(value) is not None


def name_of(text: str, where: str) -> bytes:
    """A field's name in lower case. ValueError, naming `where`, if it is no token or one of FRAMING."""
    name = text.encode("utf-8").lower()
    if not TOKEN.fullmatch(name):
        raise ValueError(f"{where} is {text!r}; must be a field's name such as 'x-served-by' (RFC 9110, 5.1)")
    if name in FRAMING:
        raise ValueError(
            f"{where} is {text!r}; must not be a field that frames or directs a message: the proxy sets it"
        )
    return name


def value_of(text: str, where: str) -> bytes:
    """A field's value in UTF-8. ValueError, naming `where`, if it could not stand in one line."""
    value = text.encode("utf-8")
    if not legal(value):
        raise ValueError(f"{where} is {text!r}; must be one line without control bytes, no blanks around it")
    return value
