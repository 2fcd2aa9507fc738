"""Capture files: packets as others recorded them, and ours for others to read.

Rule of this file: bytes to packets and back; `Pcap` puts a file at either end of `memory`.

Theory. A classic capture (the libpcap file format) is a header of 24 bytes and then, for each packet, 16 bytes with
its time and two lengths: what is here, and what was on the wire; a capture may cut packets short. All numbers are in
the byte order of the machine that wrote them, and the magic number, read the wrong way round, tells. It also tells
whether times are in microseconds or nanoseconds. Its successor pcapng (draft-ietf-opsawg-pcapng) is a row of blocks,
each with its length before and behind; packets refer to an interface described earlier, which says the unit of time.

Trap. A file ends where its writer was stopped. A packet that is cut off by the end of the file is an error that names
its place; what came before it can be read with `whole=False`.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Literal, NamedTuple

from lbcore.l4.drivers.memory import Memory

MICROSECONDS, NANOSECONDS = 0xA1B2C3D4, 0xA1B23C4D
ETHERNET = 1
"""LINKTYPE_ETHERNET."""
LONGEST = 1 << 18
"""Bytes of a packet: what libpcap takes for a broken file if it is exceeded."""
SECTION, INTERFACE, SIMPLE, ENHANCED = 0x0A0D0D0A, 1, 3, 6
"""Types of pcapng blocks; others are passed over, as they are to be."""
BYTE_ORDER_MAGIC = 0x1A2B3C4D
RESOLUTION_OPTION, OFFSET_OPTION = 9, 14


class Malformed(ValueError):
    """The file is no capture, or broken; the message says where and what would have been right."""


class Packet(NamedTuple):
    """data: what was captured; length: bytes on the wire; when: nanoseconds since 1970 (0: the file does not tell)."""

    data: bytes
    length: int = 0
    when: int = 0
    link_type: int = ETHERNET


def read(data: bytes, *, whole: bool = True) -> Iterator[Packet]:
    """The packets of a classic or pcapng capture. Raises Malformed; without `whole`, a cut end ends it quietly."""
    if len(data) < 4:
        raise Malformed(f"a capture begins with 4 bytes of magic number; here are {len(data)} bytes in all")
    try:
        if data[:4] == SECTION.to_bytes(4, "big"):
            yield from _blocks(data)
            return
        for order in ("<", ">"):
            (magic,) = struct.unpack_from(f"{order}I", data)
            if magic in (MICROSECONDS, NANOSECONDS):
                yield from _classic(data, order, 1 if magic == NANOSECONDS else 1000)
                return
    except _Cut:
        if whole:
            raise
        return
    raise Malformed(f"magic number is {data[:4].hex()}: neither pcap (a1b2c3d4, a1b23c4d) nor pcapng (0a0d0d0a)")


def write(packets: Iterable[Packet], *, nanoseconds: bool = True, order: Literal["<", ">"] = "<") -> bytes:
    """A classic capture of Ethernet frames; times and lengths as the packets have them."""
    unit = 1 if nanoseconds else 1000
    magic = NANOSECONDS if nanoseconds else MICROSECONDS
    parts = [struct.pack(f"{order}IHHiIII", magic, 2, 4, 0, 0, LONGEST, ETHERNET)]
    for packet in packets:
        seconds, fraction = divmod(packet.when // unit, 10**9 // unit)
        if not 0 <= seconds < 1 << 32 or len(packet.data) > LONGEST:
            here = f"when is {packet.when} ns and data has {len(packet.data)} bytes"
            raise ValueError(f"{here}, wanted 0 <= when < 2**32 s and at most {LONGEST} bytes")
        length = max(packet.length, len(packet.data))
        parts += [struct.pack(f"{order}IIII", seconds, fraction, len(packet.data), length), packet.data]
    return b"".join(parts)


class _Cut(Malformed):
    """The file ends in the middle of something."""


def _piece(data: bytes, at: int, size: int, what: str) -> bytes:
    if at + size > len(data):
        raise _Cut(f"at byte {at}: {what} of {size} bytes is cut off after {len(data) - at}")
    return data[at : at + size]


def _classic(data: bytes, order: str, unit: int) -> Iterator[Packet]:
    link_type = struct.unpack(f"{order}IHHiIII", _piece(data, 0, 24, "the header"))[6] & 0xFFFF
    at = 24
    while at < len(data):
        head = _piece(data, at, 16, "the header of a packet")
        seconds, fraction, captured, length = struct.unpack(f"{order}IIII", head)
        if captured > LONGEST:
            raise Malformed(f"at byte {at}: a packet of {captured} bytes, wanted at most {LONGEST}")
        packet = _piece(data, at + 16, captured, "a packet")
        yield Packet(packet, length, seconds * 10**9 + fraction * unit, link_type)
        at += 16 + captured


class _Interface(NamedTuple):
    link_type: int
    longest: int
    ticks: int
    """A second's."""
    offset: int
    """Seconds to add."""


def _blocks(data: bytes) -> Iterator[Packet]:
    order, interfaces = "<", list[_Interface]()
    at = 0
    while at < len(data):
        kind, size = struct.unpack(f"{order}II", _piece(data, at, 8, "the header of a block"))
        if kind == SECTION:
            order = _order(_piece(data, at + 8, 4, "a byte-order magic"), at)
            (size,) = struct.unpack_from(f"{order}I", data, at + 4)
            interfaces = []
        if size < 12 or size % 4:
            raise Malformed(f"at byte {at}: a block of {size} bytes, wanted at least 12 and a multiple of 4")
        block = _piece(data, at, size, "a block")
        if block[-4:] != block[4:8]:
            raise Malformed(f"at byte {at}: the block's length is {block[4:8].hex()} and behind it {block[-4:].hex()}")
        body = block[8:-4]
        if kind == INTERFACE:
            interfaces.append(_interface(body, order, at))
        elif kind == ENHANCED:
            yield _enhanced(body, order, interfaces, at)
        elif kind == SIMPLE:
            if not interfaces or len(body) < 4:
                raise Malformed(f"at byte {at}: a simple packet needs an interface before it and 4 bytes")
            (length,) = struct.unpack_from(f"{order}I", body)
            captured = min(length, interfaces[0].longest or length)
            if captured > len(body) - 4:
                raise Malformed(f"at byte {at}: a packet of {captured} bytes in a block with {len(body) - 4}")
            yield Packet(body[4 : 4 + captured], length, 0, interfaces[0].link_type)
        at += size


def _order(magic: bytes, at: int) -> str:
    for order in ("<", ">"):
        if struct.unpack(f"{order}I", magic)[0] == BYTE_ORDER_MAGIC:
            return order
    raise Malformed(f"at byte {at}: byte-order magic is {magic.hex()}, wanted 1a2b3c4d or 4d3c2b1a")


def _interface(body: bytes, order: str, at: int) -> _Interface:
    if len(body) < 8:
        raise Malformed(f"at byte {at}: an interface has {len(body)} bytes, wanted at least 8")
    link_type, longest = struct.unpack_from(f"{order}HxxI", body)
    ticks, offset = 10**6, 0
    for code, value in _options(body[8:], order, at):
        if code == RESOLUTION_OPTION and value:
            ticks = 2 ** (value[0] & 0x7F) if value[0] & 0x80 else 10 ** value[0]
        elif code == OFFSET_OPTION and len(value) >= 8:
            (offset,) = struct.unpack_from(f"{order}q", value)
    return _Interface(link_type, longest, ticks, offset)


def _options(data: bytes, order: str, start: int) -> Iterator[tuple[int, bytes]]:
    at = 0
    while at + 4 <= len(data):
        code, size = struct.unpack_from(f"{order}HH", data, at)
        if code == 0:
            return
        if at + 4 + size > len(data):
            raise Malformed(f"at byte {start}: option {code} of {size} bytes runs past its block")
        yield code, data[at + 4 : at + 4 + size]
        at += 4 + -(-size // 4) * 4


def _enhanced(body: bytes, order: str, interfaces: list[_Interface], at: int) -> Packet:
    if len(body) < 20:
        raise Malformed(f"at byte {at}: a packet's block has {len(body)} bytes, wanted at least 20")
    number, high, low, captured, length = struct.unpack_from(f"{order}IIIII", body)
    if number >= len(interfaces):
        raise Malformed(f"at byte {at}: interface is {number}; there are {len(interfaces)}")
    if captured > min(len(body) - 20, LONGEST):
        raise Malformed(f"at byte {at}: a packet of {captured} bytes in a block with {len(body) - 20}")
    there = interfaces[number]
    when = (high << 32 | low) * 10**9 // there.ticks + there.offset * 10**9
    return Packet(body[20 : 20 + captured], length, when, there.link_type)


class Pcap(Memory):
    """Delivers the Ethernet frames of a capture file; what is sent goes to another when it is closed.

    Frames that the capture has cut short are delivered as they are. Raises Malformed, OSError.
    """

    def __init__(self, source: str | Path, target: str | Path | None = None, *, turns: int = 1) -> None:
        packets = list(read(Path(source).read_bytes()))
        others = {packet.link_type for packet in packets} - {ETHERNET}
        if others:
            raise Malformed(f"{source}: link type is {min(others)}, wanted {ETHERNET} (Ethernet)")
        self.target = target
        super().__init__((packet.data for packet in packets), turns=turns)

    def close(self) -> None:
        super().close()
        if self.target is not None:
            Path(self.target).write_bytes(write(Packet(frame) for frame in self.sent))
            self.target = None
