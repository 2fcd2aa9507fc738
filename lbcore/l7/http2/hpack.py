"""HPACK (RFC 7541): field lines as numbers of lines that both ends remember.

Rule of this file: blocks and lines, no frames. Huffman codes and the static table are the `hpack` package's.

Theory. Both ends keep a table: 61 lines that everybody knows, then those that were sent, the newest first. A line in
the table costs one byte. The second request of a connection is nearly all such bytes, so the common path is one look
into a list or a dict for each line.

Where it pays: a client's table and a backend's differ, so a proxy decodes and encodes each head anyway. And it need not
use Huffman codes when it encodes: lines sent once are rare, and a fourth fewer bytes of them cost more time than they
save.

Traps
- A block that is too big must be read to its end all the same, or the two tables part for the rest of the connection.
  What is over the limit is not kept: one byte can stand for 4,096 (an "HPACK bomb").
- A line that was sent as "never indexed" (6.2.3) is a secret's: every hop must send it so. Its value is a `Secret`, and
  stays one whoever makes a line of it anew.
- A secret in the table can be guessed by its size (7.1): what we know to be one is never indexed.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from typing import Final

from hpack.exceptions import HPACKDecodingError
from hpack.huffman_table import decode_huffman
from hpack.table import HeaderTable

Line = tuple[bytes, bytes]

STATIC: Final[tuple[Line, ...]] = tuple(HeaderTable.STATIC_TABLE)  # numbered from 1
PLACES: Final = {line: number for number, line in enumerate(STATIC, 1)}
NAMES: Final = {name: number for number, (name, _) in reversed(tuple(enumerate(STATIC, 1)))}
FIRST: Final = len(STATIC) + 1  # number of the newest line of the dynamic table
TABLE: Final = 4096  # bytes of a dynamic table unless SETTINGS say otherwise
OVERHEAD: Final = 32  # bytes that a line counts beyond its own (4.1)
WRITTEN: Final = 128  # lines, or words, that are in no table and whose bytes are remembered all the same
SECRET: Final = frozenset((b"authorization", b"proxy-authorization", b"cookie", b"set-cookie"))
PASSING: Final = frozenset(
    (b":path", b"content-length", b"content-range", b"age", b"etag", b"last-modified", b"location", b"range",
     b"if-modified-since", b"if-none-match", b"traceparent", b"x-request-id")
)  # fmt: skip


class BadBlock(ValueError):
    """A block that cannot be read: the connection is over (RFC 9113 section 4.3, COMPRESSION_ERROR)."""


class TooBig(ValueError):
    """A block read to its end, whose lines are more than the limit; the connection can go on."""


class Secret(bytes):
    """The value of a line that must never be in any table."""

    __slots__ = ()


class Decoder:
    """Blocks in, in the order of the connection. size: the dynamic table's, as we announced it, in bytes."""

    def __init__(self, size: int = TABLE) -> None:
        self._most = self._limit = size
        self._table: list[Line] = []  # the newest is the last
        self._size = 0
        self._words: dict[bytes, bytes] = {}  # short strings in Huffman codes, as they were read the last time

    def decode(self, block: bytes, limit: int, lines_limit: int = 1000) -> list[Line]:
        """The lines of a whole block.

        Raises BadBlock, or TooBig for more than `limit` bytes (with 32 for each line, as SETTINGS_MAX_HEADER_LIST_SIZE
        counts) or more lines than `lines_limit`.
        """
        try:
            return self._decode(block, limit, lines_limit)
        except IndexError:
            raise BadBlock("the block ends in the middle of a line, or names one that is in no table") from None
        except HPACKDecodingError as error:
            raise BadBlock(str(error)) from None

    def _decode(self, block: bytes, limit: int, lines_limit: int) -> list[Line]:
        lines: list[Line] = []
        table, at, end, size, count = self._table, 0, len(block), 0, 0
        while at < end:
            byte = block[at]
            if byte & 0x80:  # in a table (6.1)
                number, at = (byte & 0x7F, at + 1) if byte != 0xFF else _integer(block, at, 0x7F)
                line = STATIC[number - 1] if 0 < number < FIRST else self._line(number)
            elif byte & 0xE0 == 0x20:  # the table's size changes (6.3)
                if count:
                    raise BadBlock("a table size update behind a line (RFC 7541 section 4.2)")
                number, at = _integer(block, at, 0x1F)
                if number > self._most:
                    raise BadBlock(f"table size {number}: {self._most} bytes at most were offered")
                self._limit = number
                self._evict()
                continue
            else:  # in no table as yet: kept (6.2.1), not kept (6.2.2), never to be kept (6.2.3)
                number, at = _integer(block, at, 0x3F if byte & 0x40 else 0x0F)
                if number:
                    name = (STATIC[number - 1] if number < FIRST else self._line(number))[0]
                else:
                    name, at = self._string(block, at)
                value, at = self._string(block, at)
                line = (name, value)
                if byte & 0x40:
                    table.append(line)
                    self._size += len(name) + len(value) + OVERHEAD
                    if self._size > self._limit:
                        self._evict()
                elif byte & 0x10:
                    line = (name, Secret(value))
            count += 1
            size += len(line[0]) + len(line[1]) + OVERHEAD
            if size <= limit and count <= lines_limit:
                lines.append(line)
        if len(lines) < count:
            raise TooBig(f"{count} lines of {size} bytes; at most {lines_limit} of {limit} are taken")
        return lines

    def _string(self, block: bytes, at: int) -> tuple[bytes, int]:
        """A string (5.2), and where it ends."""
        coded = block[at] & 0x80
        size, at = _integer(block, at, 0x7F)
        end = at + size
        if end > len(block):
            raise BadBlock(f"a string of {size} bytes in a block that has {len(block) - at} more")
        data = block[at:end]
        if not coded:
            return data, end
        word = self._words.get(data)
        if word is None:
            word = bytes(decode_huffman(data))
            if size < 64:
                if len(self._words) >= WRITTEN:
                    self._words.clear()
                self._words[data] = word
        return word, end

    def _line(self, number: int) -> Line:
        if not FIRST <= number < FIRST + len(self._table):
            raise BadBlock(f"line {number} is in no table")
        return self._table[FIRST - 1 - number]

    def _evict(self) -> None:
        gone, table = 0, self._table
        while self._size > self._limit:
            name, value = table[gone]
            self._size -= len(name) + len(value) + OVERHEAD
            gone += 1
        del table[:gone]


class Encoder:
    """Lines in, blocks out."""

    def __init__(self) -> None:
        self._limit, self._size, self._sent = TABLE, 0, 0
        self._serials: dict[Line, int] = {}  # of the lines in the dynamic table; the newest has sent - 1
        self._oldest: deque[Line] = deque()
        self._resized: list[int] = []
        self._written: dict[Line, bytes] = {}  # how lines that are in no table were written the last time

    def resize(self, offered: int) -> None:
        """The peer offers a table of so many bytes (SETTINGS_HEADER_TABLE_SIZE); we never use more than the usual."""
        size = min(offered, TABLE)
        if size == self._limit and not self._resized:
            return
        self._resized = [min([size, *self._resized]), size]  # the smallest, then the last (4.2)
        self._limit = size
        self._evict()

    def encode(self, lines: Iterable[Line]) -> bytes:
        """A whole block."""
        out = bytearray()
        for size in self._resized:
            out += _number(size, 0x20, 0x1F)
        self._resized = []
        serials, written = self._serials, self._written
        for line in lines:
            serial = serials.get(line)
            if serial is not None and type(line[1]) is not Secret:
                number = FIRST - 1 + self._sent - serial
                if number < 0x7F:
                    out.append(0x80 | number)
                else:
                    out += _number(number, 0x80, 0x7F)
            elif (place := PLACES.get(line)) is not None and type(line[1]) is not Secret:
                out.append(0x80 | place)
            elif (again := written.get(line)) is not None and type(line[1]) is not Secret:
                out += again
            else:
                self._literal(out, line)
        return bytes(out)

    def _literal(self, out: bytearray, line: Line) -> None:
        name, value = line
        start = len(out)
        number = NAMES.get(name, 0)
        size = len(name) + len(value) + OVERHEAD
        if type(value) is Secret or name in SECRET:
            out += _number(number, 0x10, 0x0F)
        elif name in PASSING or size > self._limit >> 2:
            out += _number(number, 0x00, 0x0F)
        else:
            out += _number(number, 0x40, 0x3F)
            self._serials[line] = self._sent
            self._oldest.append(line)
            self._sent += 1
            self._size += size
            self._evict()
        if not number:
            out += _number(len(name), 0, 0x7F)
            out += name
        out += _number(len(value), 0, 0x7F)
        out += value
        if name in PASSING and size < 256:
            if len(self._written) >= WRITTEN:
                self._written.clear()
            self._written[line] = bytes(out[start:])

    def _evict(self) -> None:
        while self._size > self._limit:
            line = self._oldest.popleft()
            del self._serials[line]
            self._size -= len(line[0]) + len(line[1]) + OVERHEAD


def _integer(block: bytes, at: int, mask: int) -> tuple[int, int]:
    """A number whose first byte has `mask` for it (5.1), and where it ends."""
    number = block[at] & mask
    at += 1
    if number < mask:
        return number, at
    for shift in (0, 7, 14, 21):  # up to 2**28: nothing here may be longer
        byte = block[at]
        at += 1
        number += (byte & 0x7F) << shift
        if not byte & 0x80:
            return number, at
    raise BadBlock("a number of more than 28 bits")


def _number(number: int, flags: int, mask: int) -> bytes:
    """A number behind the flags of its first byte (5.1)."""
    if number < mask:
        return bytes((flags | number,))
    out = bytearray((flags | mask,))
    number -= mask
    while number > 0x7F:
        out.append(0x80 | number & 0x7F)
        number >>= 7
    out.append(number)
    return bytes(out)
