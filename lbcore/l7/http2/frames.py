"""Frames of HTTP/2 (RFC 9113 sections 4, 6 and 7): nine bytes of header, and what they announce.

Rule of this file: layouts and numbers. What a frame means for a stream is `connection`'s business.
"""

from __future__ import annotations

from collections.abc import Iterator
from enum import IntEnum
from struct import Struct
from typing import Final

PREFACE: Final = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"  # section 3.4
HEADER: Final = Struct(">BHBBL")  # length (24 bits), type, flags, stream (31 bits)
WORD: Final = Struct(">L")
SETTING: Final = Struct(">HL")
LARGEST: Final = 16_384  # bytes of a frame's payload that everybody must take, and that we take
WINDOW: Final = 65_535  # bytes of a flow-control window unless SETTINGS say otherwise (6.9.2)
MOST: Final = 2**31 - 1  # of a window, or a stream's number

DATA, HEADERS, PRIORITY, RST_STREAM, SETTINGS, PUSH_PROMISE, PING, GOAWAY, WINDOW_UPDATE, CONTINUATION = range(10)
KINDS: Final = (
    "DATA", "HEADERS", "PRIORITY", "RST_STREAM", "SETTINGS", "PUSH_PROMISE", "PING", "GOAWAY", "WINDOW_UPDATE",
    "CONTINUATION",
)  # fmt: skip
END_STREAM, ACK, END_HEADERS, PADDED, PRIORITIZED = 0x1, 0x1, 0x4, 0x8, 0x20
PADDED_PRIORITIZED: Final = PADDED | PRIORITIZED

# section 6.5.2, RFC 8441 section 3
TABLE_SIZE, ENABLE_PUSH, MAX_STREAMS, INITIAL_WINDOW, MAX_FRAME, MAX_HEAD, ENABLE_CONNECT = 1, 2, 3, 4, 5, 6, 8


class Code(IntEnum):
    """Error codes (section 7)."""

    NO_ERROR = 0
    PROTOCOL_ERROR = 1
    INTERNAL_ERROR = 2
    FLOW_CONTROL_ERROR = 3
    SETTINGS_TIMEOUT = 4
    STREAM_CLOSED = 5
    FRAME_SIZE_ERROR = 6
    REFUSED_STREAM = 7
    CANCEL = 8
    COMPRESSION_ERROR = 9
    CONNECT_ERROR = 10
    ENHANCE_YOUR_CALM = 11
    INADEQUATE_SECURITY = 12
    HTTP_1_1_REQUIRED = 13


def name_of(code: int) -> str:
    """An error code's name; unknown ones as a number (they are treated as INTERNAL_ERROR)."""
    return Code(code).name if code <= 13 else f"0x{code:x}"


class Fault(Exception):
    """The connection is over (section 5.4.1)."""

    def __init__(self, code: Code, why: str) -> None:
        super().__init__(f"{code.name}: {why}")
        self.code, self.why = code, why


def split(data: bytes) -> Iterator[tuple[int, int, int, bytes]]:
    """The whole frames of these bytes: kind, flags, stream, payload. What is left of one at the end is left out."""
    at = 0
    while len(data) - at >= HEADER.size:
        high, low, kind, flags, stream = HEADER.unpack_from(data, at)
        end = at + HEADER.size + (high << 16 | low)
        if end > len(data):
            return
        yield kind, flags, stream & MOST, data[at + HEADER.size : end]
        at = end


def frame(kind: int, flags: int, stream: int, payload: bytes = b"") -> bytes:
    """One frame; the payload has at most 2**24 - 1 bytes."""
    size = len(payload)
    return HEADER.pack(size >> 16, size & 0xFFFF, kind, flags, stream) + payload


def head(stream: int, block: bytes, ended: bool, largest: int) -> bytes:
    """A header block as HEADERS and as many CONTINUATION as it takes (6.2, 6.10)."""
    flags = END_STREAM if ended else 0
    if len(block) <= largest:
        return frame(HEADERS, flags | END_HEADERS, stream, block)
    pieces = [block[at : at + largest] for at in range(0, len(block), largest)]
    out = [frame(HEADERS, flags, stream, pieces[0])]
    out += [frame(CONTINUATION, 0, stream, piece) for piece in pieces[1:-1]]
    out.append(frame(CONTINUATION, END_HEADERS, stream, pieces[-1]))
    return b"".join(out)


def reset(stream: int, code: int) -> bytes:
    """RST_STREAM (6.4)."""
    return frame(RST_STREAM, 0, stream, WORD.pack(code))


def settings(values: dict[int, int]) -> bytes:
    """SETTINGS (6.5)."""
    return frame(SETTINGS, 0, 0, b"".join(SETTING.pack(*pair) for pair in values.items()))


def goaway(last: int, code: int, words: str = "") -> bytes:
    """GOAWAY (6.8). last: the highest stream that was or may be worked on."""
    return frame(GOAWAY, 0, 0, WORD.pack(last) + WORD.pack(code) + words.encode()[:200])


def window_update(stream: int, more: int) -> bytes:
    """WINDOW_UPDATE (6.9); stream 0: of the connection."""
    return frame(WINDOW_UPDATE, 0, stream, WORD.pack(more))


def unpadded(payload: bytes, flags: int) -> bytes:
    """The payload of HEADERS without padding and priority (6.1, 6.2)."""
    start, end = 0, len(payload)
    if flags & PADDED:
        if not payload:
            raise Fault(Code.FRAME_SIZE_ERROR, "a padded frame has a pad length")
        start, end = 1, end - payload[0]
    if flags & PRIORITIZED:
        start += 5
    if start > len(payload):
        raise Fault(
            Code.FRAME_SIZE_ERROR, "a frame too small for the priority that it announces (RFC 9113 section 4.2)"
        )
    if start > end:
        raise Fault(Code.PROTOCOL_ERROR, "padding that is longer than its frame (RFC 9113 sections 6.1, 6.2)")
    return payload[start:end]
