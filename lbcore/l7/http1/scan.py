"""The ordinary head of HTTP/1.1, read in one pass by compiled code; whatever is not ordinary is left to `head`.

Rule of this file: it says yes or "look closer", never no. What is wrong with a head is for `head` to say, in words, and
what is rare (folding, upgrades, expectations, a Connection field with more than one word) is for `head` to understand.
So there is one authority on what is accepted, and this is a short cut through it: a test holds both side by side on
generated heads.

Theory. A proxy reads two heads for each request, and takes them apart only to write them again with a few lines less.
So the lines that are passed on are copied as they are checked, names in lower case, blanks around values gone, into
one block of bytes: `name: value CRLF`, again and again. If nobody on the way asks for a header, the block is what is
written to the other side, and no list of headers was ever made (`message.Message`).

What else there is to say of a head comes as a tuple of integers, `Request` or `Response`. "Look closer" is a tuple of
zeros: a head that was read has an end.

Traps
- A table of 256 entries says which bytes may stand in a token; a comparison chain would be ten branches a byte.
- The name of a field is compared only if its length and its first letter fit one of the few that matter.
"""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from lbcore.jit import kernel

Fields: TypeAlias = tuple[int, int, int, int, int, int, int]
"""end: first byte after the head. block: bytes in the block. length: Content-Length, or -1. chunked, close: 0 or 1.
host, host_end: where its value stands, 0 and 0 without."""
Request: TypeAlias = tuple[int, int, int, int, int, int, int, int, int, int]
"""`Fields`, and method, target: where they end in `method target HTTP/1.1`. normal: 1 if the target is seen to be in
its normal form (`target.normal` gives it back as it is)."""
Response: TypeAlias = tuple[int, int, int, int, int, int, int, int, int]
"""`Fields`, the status, and where its line ends."""
NO_FIELDS, NO_REQUEST, NO_RESPONSE = (0,) * 7, (0,) * 10, (0,) * 9

TOKEN: npt.NDArray[np.uint8] = np.zeros(256, np.uint8)  # 0: may not stand in a token; else the byte in lower case
for _byte in b"!#$%&'*+-.^_`|~0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz":
    TOKEN[_byte] = ord(chr(_byte).lower())

CONTENT_LENGTH, TRANSFER_ENCODING, CONNECTION, HOST_NAME = (
    b"content-length",
    b"transfer-encoding",
    b"connection",
    b"host",
)
CHUNKED_WORD, CLOSE_WORD, KEEP_WORD = b"chunked", b"close", b"keep-alive"
RARE = (
    b"te", b"expect", b"upgrade", b"keep-alive", b"http2-settings", b"proxy-connection", b"proxy-authenticate",
    b"proxy-authorization", b"proxy-authentication-info", b"content_length", b"transfer_encoding",
)  # fmt: skip
LONGEST = 25  # of the names above
CR, LF, SPACE, TAB, COLON, HASH = 13, 10, 32, 9, 58, 35
SLASH, DOT, PERCENT, BACKSLASH, QUESTION = 47, 46, 37, 92, 63


def interesting() -> npt.NDArray[np.uint8]:
    """uint8[256 * 32]: 1 at `first letter * 32 + length` of every name that matters."""
    table = np.zeros(256 * 32, np.uint8)
    for name in (CONTENT_LENGTH, TRANSFER_ENCODING, CONNECTION, HOST_NAME, *RARE):
        table[name[0] * 32 + len(name)] = 1
    return table


INTERESTING = interesting()


@kernel(gil=True, counted=False)
def same(a: Any, start: int, end: int, word: Any) -> bool:
    """Is a[start:end], letters in lower case, this word?"""
    if end - start != len(word):
        return False
    for i in range(len(word)):
        byte = a[start + i]
        if 65 <= byte <= 90:
            byte += 32
        if byte != word[i]:
            return False
    return True


@kernel(gil=True, counted=False)
def exactly(data: Any, start: int, word: Any) -> bool:
    """Does this word stand at `start`, letter by letter? There are that many bytes."""
    for i in range(len(word)):  # noqa: SIM110
        if data[start + i] != word[i]:
            return False
    return True


@kernel(gil=True, counted=False)
def plain_host(data: Any, start: int, end: int) -> bool:
    """A name or an IPv4 address, with a port or without; brackets and other rare things are looked at closer."""
    at = start
    while at < end and (48 <= data[at] <= 57 or data[at] == 45 or data[at] == 46 or 97 <= data[at] | 32 <= 122):
        at += 1
    if at == start:
        return False
    if at < end and data[at] == COLON and end - at <= 6:
        at += 1
        first = at
        while at < end and 48 <= data[at] <= 57:
            at += 1
        return at == end and at > first
    return at == end


@kernel(gil=True, counted=False)
def fields(data: Any, at: int, most: int, block: Any) -> Fields:
    """The field lines from `at` to the empty line, into `block`."""
    size, out, count = len(data), 0, 0
    room = len(block) - 8
    length, chunked, close, host, host_end = -1, 0, 0, 0, 0
    while True:
        if at + 1 >= size:
            return NO_FIELDS
        if data[at] == CR:
            if data[at + 1] != LF:
                return NO_FIELDS
            break
        count += 1
        if count > most:
            return NO_FIELDS
        name, line = at, out
        while at < size:  # the name
            lower = TOKEN[data[at]]
            if lower == 0 or out >= room:
                break
            block[out] = lower
            out += 1
            at += 1
        if at >= size or data[at] != COLON or at == name or out >= room:
            return NO_FIELDS
        name_end = at
        at += 1
        while at < size and (data[at] == SPACE or data[at] == TAB):
            at += 1
        value = at
        block[out], block[out + 1] = COLON, SPACE
        out += 2
        first = out
        while at < size and out < room:  # the value
            byte = data[at]
            if (byte < SPACE and byte != TAB) or byte == 127:
                break
            block[out] = byte
            out += 1
            at += 1
        if at + 1 >= size or out >= room or data[at] != CR or data[at + 1] != LF:
            return NO_FIELDS
        value_end = at
        while out > first and (block[out - 1] == SPACE or block[out - 1] == TAB):
            out -= 1
            value_end -= 1
        block[out], block[out + 1] = CR, LF
        out += 2
        at += 2
        word = line + name_end - name
        if word - line > LONGEST or not INTERESTING[block[line] * 32 + word - line]:
            continue
        if same(block, line, word, HOST_NAME):
            if host_end or not plain_host(data, value, value_end):
                return NO_FIELDS
            host, host_end = value, value_end
        elif same(block, line, word, CONTENT_LENGTH):
            if length >= 0 or value_end == value or value_end - value > 18:
                return NO_FIELDS
            number = 0
            for i in range(value, value_end):
                if not 48 <= data[i] <= 57:
                    return NO_FIELDS
                number = number * 10 + data[i] - 48
            length = number
        elif same(block, line, word, TRANSFER_ENCODING):
            if chunked or not same(data, value, value_end, CHUNKED_WORD):
                return NO_FIELDS
            chunked = 1
        elif same(block, line, word, CONNECTION):
            if same(data, value, value_end, CLOSE_WORD):
                close = 1
            elif not same(data, value, value_end, KEEP_WORD) or close:
                return NO_FIELDS
        elif rare(block, line, word):
            return NO_FIELDS
        else:
            continue
        out = line  # said in numbers, not passed on
    if chunked and length >= 0:
        return NO_FIELDS
    return at + 2, out, length, chunked, close, host, host_end


@kernel(gil=True, counted=False)
def rare(block: Any, start: int, end: int) -> bool:
    """Does the name need more understanding than there is here?"""
    for word in RARE:  # noqa: SIM110
        if same(block, start, end, word):
            return True
    return False


def load() -> None:
    """Have both compiled, or loaded from the cache: some seconds that no client should wait."""
    block = np.empty(512, np.uint8)
    request(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n", 100, 100, block)
    response(b"HTTP/1.1 200 OK\r\n\r\n", 100, block)


@kernel(gil=True, counted=False)
def request(data: Any, longest: int, most: int, block: Any) -> Request:
    """A whole request head at the beginning of `data` (bytes). longest: of the target. most: field lines.

    block: uint8[n], room for the lines. Zeros: not complete, not ordinary, or wrong.
    """
    size, at = len(data), 0
    while at < size and TOKEN[data[at]]:
        at += 1
    if at == 0 or at + 2 >= size or data[at] != SPACE or data[at + 1] != SLASH:
        return NO_REQUEST
    method = at
    at += 1
    start, last, normal = at, SPACE, 1
    while at < size and 32 < data[at] < 127 and data[at] != HASH and data[at] != QUESTION:  # the path
        byte = data[at]
        if byte in (PERCENT, BACKSLASH) or (last == SLASH and byte in (SLASH, DOT)):
            normal = 0
        last = byte
        at += 1
    while at < size and 32 < data[at] < 127 and data[at] != HASH:  # the query
        at += 1
    if at - start > longest or at + 11 > size or data[at] != SPACE:
        return NO_REQUEST
    target = at
    if not exactly(data, at, b" HTTP/1.1\r\n"):
        return NO_REQUEST
    found = fields(data, at + 11, most, block)
    end, host_end = found[0], found[6]
    return (*found, method, target, normal) if end and host_end else NO_REQUEST


@kernel(gil=True, counted=False)
def response(data: Any, most: int, block: Any) -> Response:
    """A whole response head at the beginning of `data`, of a status from 200 on. As `request`."""
    if len(data) < 16 or not exactly(data, 0, b"HTTP/1.1 "):
        return NO_RESPONSE
    status = 0
    for i in range(9, 12):
        if not 48 <= data[i] <= 57:
            return NO_RESPONSE
        status = status * 10 + data[i] - 48
    at = 12
    if status < 200 or status > 599 or data[at] != SPACE:
        return NO_RESPONSE
    while at < len(data) and (data[at] >= SPACE or data[at] == TAB) and data[at] != 127:
        at += 1
    if at + 1 >= len(data) or data[at] != CR or data[at + 1] != LF:
        return NO_RESPONSE
    found = fields(data, at + 2, most, block)
    end, host_end = found[0], found[6]
    return (*found, status, at) if end and not host_end else NO_RESPONSE


class Scratch:
    """Where `scan` puts what it finds. One for all readers of a thread: it is empty again before the next one reads."""

    def __init__(self, head: int) -> None:
        self.block: npt.NDArray[np.uint8] = np.empty(2 * head + 64, np.uint8)
        self.view = memoryview(self.block.data)
        """Of the block, to take bytes from."""
