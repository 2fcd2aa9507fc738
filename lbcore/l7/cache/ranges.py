"""Pieces of a stored body (RFC 9110, 14).

Rule of this file: bytes in, slices out. What is no range of bytes is ignored, as if it had not been asked for (14.2).

Theory. `bytes=0-99`, `bytes=100-`, `bytes=-100`, and several of them by commas. One is answered by those bytes and
Content-Range, several by multipart/byteranges (14.6); none that fits: 416.

Traps
- A thousand ranges, each nearly the whole body, make an answer a thousand times its size (RFC 9110, 17.15). So more
  than `MOST` ranges, or ranges that overlap, get the whole body.
- The last hundred bytes of an empty body can be had (14.1.2), but no Content-Range could say so: the whole is sent.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import pairwise
from typing import Final

MOST: Final = 16
SPEC: Final = re.compile(rb"(\d{0,18})-(\d{0,18})")
Range = tuple[int, int]
"""First byte, and the one after the last."""


def parse(value: bytes, length: int) -> list[Range] | None:
    """The ranges of a body of `length` bytes, as asked for; empty: none fits (416); None: not to be obeyed."""
    unit, found, rest = value.partition(b"=")
    if not found or unit.strip().lower() != b"bytes":
        return None
    ranges: list[Range] = []
    parts = [part.strip(b" \t") for part in rest.split(b",")]
    if len(parts) > MOST:
        return None
    for part in parts:
        if not part:
            continue
        match = SPEC.fullmatch(part)
        if match is None or part == b"-":
            return None
        first, last = match[1], match[2]
        if first and last and int(first) > int(last):
            return None
        start, end = (int(first), int(last) + 1 if last else length) if first else (length - int(last), length)
        if (not first and int(last) == 0) or start >= length:
            continue
        ranges.append((max(0, start), min(end, length)))
    if not any(parts) or (not length and ranges) or _overlap(ranges):
        return None
    return ranges


def _overlap(ranges: Sequence[Range]) -> bool:
    in_order = sorted(ranges)
    return any(after[0] < before[1] for before, after in pairwise(in_order))


def content_range(of: Range, length: int) -> bytes:
    """Content-Range of one piece (RFC 9110, 14.4)."""
    return b"bytes %d-%d/%d" % (of[0], of[1] - 1, length)


def multipart(ranges: Sequence[Range], body: bytes, content_type: bytes | None, boundary: bytes) -> bytes:
    """A body of several pieces (RFC 9110, 14.6). The boundary must not be guessable, or a body could contain it."""
    kind = b"content-type: %b\r\n" % content_type if content_type is not None else b""
    parts = [
        b"\r\n--%b\r\n%bcontent-range: %b\r\n\r\n%b"
        % (boundary, kind, content_range(one, len(body)), body[one[0] : one[1]])
        for one in ranges
    ]
    return b"".join([*parts, b"\r\n--%b--\r\n" % boundary])
