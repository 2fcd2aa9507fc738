"""What a stored response becomes for one request: itself, pieces of it, or the word that the client has it already.

Rule of this file: it builds answers from entries; whether the entry may be given has been decided.

Theory. Conditions come before ranges (RFC 9110, 13.2.2): who has the response already gets 304, whatever pieces were
asked for. Only an answer of 200 to GET has pieces.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

from lbcore.l7.cache import conditions, ranges
from lbcore.l7.cache.entry import Entry
from lbcore.l7.message import Response, block_of

IN_304: Final = frozenset(
    (b"cache-control", b"content-location", b"date", b"etag", b"expires", b"last-modified", b"set-cookie", b"vary")
)
"""Fields of a stored response that its 304 has too (RFC 9110, 15.4.5)."""


def answer(
    entry: Entry, method: bytes, fields: Mapping[bytes, bytes], tail: bytes, random: Callable[[int], bytes]
) -> Response:
    """The answer to a request with these conditions and ranges. tail: field lines to be added, as bytes.

    A 304 has the stored body: the engine sends no body with it, but takes its length from there.
    """
    if not fields:
        return Response(entry.status, entry.block + tail, entry.body)
    if conditions.not_modified(entry, fields.get(b"if-none-match"), fields.get(b"if-modified-since")):
        return Response(304, block_of([line for line in entry.headers if line[0] in IN_304]) + tail, entry.body)
    wanted = fields.get(b"range") if method == b"GET" and entry.status == 200 else None
    if wanted is None or not conditions.range_holds(entry, fields.get(b"if-range")):
        return Response(entry.status, entry.block + tail, entry.body)
    return _pieces(entry, wanted, tail, random)


def _pieces(entry: Entry, wanted: bytes, tail: bytes, random: Callable[[int], bytes]) -> Response:
    size = len(entry.body)
    found = ranges.parse(wanted, size)
    if found is None:
        return Response(200, entry.block + tail, entry.body)
    if not found:
        return Response(416, b"content-range: bytes */%d\r\n" % size + tail, b"")
    if len(found) == 1:
        (start, end) = found[0]
        tail += b"content-range: %b\r\n" % ranges.content_range(found[0], size)
        return Response(206, entry.block + tail, entry.body[start:end])
    headers, boundary = entry.headers, random(16).hex().encode()
    body = ranges.multipart(found, entry.body, headers.get(b"content-type"), boundary)
    headers.set(b"content-type", b"multipart/byteranges; boundary=" + boundary)
    return Response(206, block_of(headers) + tail, body)
