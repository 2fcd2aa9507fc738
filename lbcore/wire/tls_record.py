"""TLS records: the handshake message that they carry in pieces, and where in the input each piece lies.

Rule of this file: it knows records (RFC 8446 section 5.1), not what the message says.

Theory. Two cursors. `wire` holds the input and is at the end of what has been moved; `message` holds the message and
asks for more by moving the next bytes out of their record. A lower bound for the size of the whole is known from the
first byte on and rises with each length field that arrives, so a message that cannot stay within the limit is refused
then, not when it has been received.

Traps
- A record may be as short as one byte: then the message takes six times its size, and the limit counts all of it.
- The version in a record header means nothing (3.1 in most first flights, whatever is offered inside).
- After its hello a client waits or changes keys: bytes in the same record behind the hello are somebody's mistake.
"""

from __future__ import annotations

from bisect import bisect_right
from typing import NamedTuple

from lbcore.wire.errors import Malformed
from lbcore.wire.stream import Cursor, Wait

HANDSHAKE = 22
HEADER, RECORD_LIMIT = 5, 2**14

NOT_HANDSHAKE = {
    **dict.fromkeys(b"ABCDEFGHIJKLMNOPQRSTUVWXYZ", "this looks like plain HTTP or another protocol in text"),
    **dict.fromkeys(range(0x80, 0x100), "this looks like an SSLv2 hello, which RFC 6176 forbids"),
    0x0D: "this looks like a PROXY protocol v2 header: take it off first",
    20: "this is a change_cipher_spec record",
    21: "this is an alert record",
    23: "this is an application data record",
}


class Span(NamedTuple):
    """Bytes start..end (end excluded) belong to the field `name`."""

    name: str
    start: int
    end: int


class Records:
    """One handshake message out of records; append input to `wire.bytes`, read fields off `message`.

    limit: bytes that all records may take. earliest, latest: what is known of where the message ends, in its own bytes.
    """

    def __init__(self, limit: int, earliest: int, latest: int) -> None:
        self.wire = Cursor()
        self.message = Cursor(self._more, self._place)
        self.headers: list[Span] = []  # of records, in offsets of the input
        self._limit, self._earliest, self._latest = limit, earliest, latest
        self._left = 0  # bytes of the current record that are not in the message yet
        self._floor = HEADER + earliest  # the whole takes at least so many bytes of input
        self._pieces: list[tuple[int, int]] = []  # a record's first byte: (offset in the message, in the input)

    @property
    def missing(self) -> int:
        """How many more bytes of input at least are needed."""
        return self._floor - len(self.wire.bytes)

    def expect(self, earliest: int, latest: int) -> None:
        """The message is now known to end within earliest..latest."""
        self._earliest, self._latest = earliest, latest
        self._weigh()

    def places(self, name: str, start: int, end: int) -> list[Span]:
        """The input ranges of message bytes start..end: one for each record that they touch."""
        spans = []
        index = bisect_right(self._pieces, start, key=lambda piece: piece[0])
        while start < end:
            cut = min(end, self._pieces[index][0]) if index < len(self._pieces) else end
            place = self._place(start)
            spans.append(Span(name, place, place + cut - start))
            start, index = cut, index + 1
        return spans

    def _place(self, at: int) -> int:
        """The input offset of a message offset; of one that has not arrived, where the input ends so far."""
        if at >= len(self.message.bytes):
            return self.wire.at
        start, place = self._pieces[bisect_right(self._pieces, at, key=lambda piece: piece[0]) - 1]
        return place + at - start

    def _more(self) -> Wait[None]:
        """Append to the message what has arrived of it, at least one byte."""
        wire = self.wire
        if not self._left:
            yield from self._header()
        while wire.at == len(wire.bytes):
            yield
        chunk = wire.bytes[wire.at : wire.at + self._left]
        self.message.bytes += chunk
        wire.at += len(chunk)
        self._left -= len(chunk)

    def _header(self) -> Wait[None]:
        wire = self.wire
        start = wire.at
        kind = (yield from wire.take(1))[0]
        if kind != HANDSHAKE:
            wanted = f"must be 22, handshake (RFC 8446 section 5.1); {NOT_HANDSHAKE.get(kind, 'this is not TLS')}"
            raise Malformed("record type", f"0x{kind:02x}", wanted, start)
        yield from wire.number("record version", 2, 0x0300, 0x03FF, "3.x, and x is ignored: RFC 8446 section 5.1")
        self._left = yield from wire.number("record length", 2, 1, RECORD_LIMIT, "handshake, RFC 8446 section 5.1")
        self.headers.append(Span("record header", start, wire.at))
        self._pieces.append((len(self.message.bytes), wire.at))
        self._weigh()

    def _weigh(self) -> None:
        """A length has become known: the floor rises; the whole may now be too long, or its last record."""
        have = len(self.message.bytes)
        missing = max(self._earliest - have, self._left)
        self._floor = self.wire.at + missing + HEADER * -(-(missing - self._left) // RECORD_LIMIT)
        if self._floor > self._limit:
            wanted = f"must be at most {self._limit} bytes with all headers (our limit)"
            raise Malformed("handshake message size", f"at least {self._floor}", wanted)
        if have + self._left > self._latest:
            wanted = f"must end with the message, at {self._latest}: a client has nothing to add (RFC 8446 section 5.1)"
            raise Malformed("record's end in the message", have + self._left, wanted, self._pieces[-1][1])
