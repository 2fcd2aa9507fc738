"""Options of IPv4 and TCP: kind, length, value, one behind the other (RFC 791 section 3.1, RFC 9293 section 3.2).

Theory. Two kinds are a single byte: 0 ends the list, 1 fills a gap. All others say their length, kind and length
included. So the only way to an option is a walk from the first one, and a length below 2 would stand still for ever:
`read` refuses it. Forty bytes is all that either header has room for; that bounds the walk.
"""

from __future__ import annotations

from typing import NamedTuple

from lbcore.wire.portable import portable
from lbcore.wire.seam import View, advance, need, u8
from lbcore.wire.verdict import BAD_OPTION, OK

END, NO_OP = 0, 1
MAX_LENGTH = 40


class Option(NamedTuple):
    """Where an option stands."""

    verdict: int = OK
    kind: int = END
    offset: int = 0
    """Its kind byte, from the first option's. Its value starts two bytes further on."""
    length: int = 0
    """Bytes, kind and length included. 0: there is no such option."""


@portable
def read(p: View, left: int) -> Option:
    """The option at the start of a view (its `offset` is 0), of which `left` > 0 bytes belong to options.

    Verdict: BAD_OPTION where it runs past them, or has a length below 2.
    """
    if not need(p, 1):
        return Option(BAD_OPTION, 0, 0, 0)
    kind = u8(p, 0)
    if kind in (END, NO_OP):
        return Option(OK, kind, 0, 1)
    if left < 2 or not need(p, 2):
        return Option(BAD_OPTION, kind, 0, 0)
    length = u8(p, 1)
    if length < 2 or length > left or not need(p, length):
        return Option(BAD_OPTION, kind, 0, 0)
    return Option(OK, kind, 0, length)


@portable
def find(p: View, length: int, kind: int) -> Option:
    """The first option of a kind (2 to 255) among the `length` bytes at the start of a view.

    Not there: length 0. Verdict: BAD_OPTION if the walk met a malformed one before it.
    """
    offset = 0
    for _ in range(MAX_LENGTH):
        if offset >= length:
            break
        option = read(p, length - offset)
        if option.verdict:
            return Option(option.verdict, option.kind, offset, 0)
        if option.kind == kind:
            return Option(OK, kind, offset, option.length)
        if option.kind == END:
            break
        offset += option.length
        p = advance(p, option.length)
    return Option(OK, END, offset, 0)
