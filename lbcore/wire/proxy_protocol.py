"""The PROXY protocol, versions 1 and 2: who the client was, said by the proxy before the client's first byte.

Rule of this file: it reads and writes headers. Whom to believe one is for others to know, and must be known before
the first byte is read: guessing whether a header is there lets every client write its own address.

Theory (haproxy.org, doc/proxy-protocol.txt; sections below are its own). Version 1 is one line of text of at most 107
bytes, version 2 is 16 bytes, an address block of a size known by family, and TLVs. Both tell themselves from the other
and from HTTP, TLS and SSH by their first bytes, so a wrong stream is refused at the first byte that does not fit.

What a header means falls into three cases. With addresses: use them in place of the connection's own. UNKNOWN: the
proxy cannot say; use the connection's own. LOCAL (version 2): the proxy speaks for itself, a health check. In the last
two the block is not addressed to us: what can be read as TLVs is, the rest is discarded as section 2.2 asks.

Traps
- In version 1 an address has one right form for each family: no zone (%eth0), no leading zeros, no IPv4 within TCP6.
- "PROXY UNKNOWN" may be followed by anything up to the CRLF, but a CR or LF of its own ends no line and hides in none.
- A UNIX path of 108 bytes has no zero byte at its end. One that begins with zero is an abstract name, zeros and all.
- UDP: each datagram has a header of its own, and what follows in it is the payload.
"""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import AddressValueError, IPv4Address, IPv6Address
from typing import NamedTuple, TypeAlias

from lbcore.wire import proxy_tlv
from lbcore.wire.crc32c import crc32c
from lbcore.wire.errors import Incomplete, Malformed
from lbcore.wire.proxy_tlv import Ssl, Tlv

SIGNATURE = b"\r\n\r\n\0\r\nQUIT\n"
FIXED = 16  # bytes before version 2's address block
LINE_LIMIT = 107  # bytes of a version 1 line with its CRLF (section 2.1)
SHORTEST_LINE = len(b"PROXY UNKNOWN\r\n")
LIMIT = 4096  # bytes of a version 2 header that we take, unless the caller says otherwise
PATH = 108  # bytes of a UNIX address
LOCAL, PROXY = "LOCAL", "PROXY"
UNKNOWN = "UNKNOWN"


class Inet(NamedTuple):
    """An address in its canonical text, and a port (0 to 65535)."""

    address: str
    port: int


Endpoint: TypeAlias = Inet | bytes
"""IP: an Inet. UNIX: the path; b"" has no name, b"\\0..." is abstract."""


class Family(NamedTuple):
    """An address family: its name in `Header.protocol`, and the size of its addresses (section 2.2)."""

    tcp: str
    udp: str
    block: int  # bytes of both addresses and ports
    width: int = 0  # bytes of one IP address


FAMILIES = {
    0x1: Family("TCP4", "UDP4", 12, 4),
    0x2: Family("TCP6", "UDP6", 36, 16),
    0x3: Family("UNIX_STREAM", "UNIX_DGRAM", 2 * PATH),
}
PROTOCOLS = {
    name: (number << 4 | transport, family)
    for number, family in FAMILIES.items()
    for transport, name in ((1, family.tcp), (2, family.udp))
}  # name: (14th byte, family)
IP: dict[int, type[IPv4Address] | type[IPv6Address]] = {4: IPv4Address, 16: IPv6Address}


@dataclass(frozen=True)
class Header:
    """What a header says.

    version: 1 or 2. command: PROXY or LOCAL. protocol: TCP4 TCP6 UDP4 UDP6 UNIX_STREAM UNIX_DGRAM, or UNKNOWN.
    source, destination: the client's connection; None where the connection's own addresses stand (UNKNOWN, LOCAL).
    tlvs: of version 2, in the order in which they came.
    """

    version: int
    protocol: str = UNKNOWN
    source: Endpoint | None = None
    destination: Endpoint | None = None
    tlvs: tuple[Tlv, ...] = ()
    command: str = PROXY

    def value(self, kind: int) -> bytes | None:
        """The first value of a kind of TLV; None if there is none."""
        return next((tlv.value for tlv in self.tlvs if tlv.kind == kind), None)

    @property
    def authority(self) -> str | None:
        """The host name that the client asked for, such as its SNI."""
        value = self.value(proxy_tlv.AUTHORITY)
        return None if value is None else value.decode()

    @property
    def alpn(self) -> bytes | None:
        """The application protocol."""
        return self.value(proxy_tlv.ALPN)

    @property
    def unique_id(self) -> bytes | None:
        """The proxy's name for the connection."""
        return self.value(proxy_tlv.UNIQUE_ID)

    @property
    def netns(self) -> str | None:
        """The network namespace's name."""
        value = self.value(proxy_tlv.NETNS)
        return None if value is None else value.decode()

    @property
    def ssl(self) -> Ssl | None:
        """What the proxy says of TLS between itself and the client."""
        value = self.value(proxy_tlv.SSL)
        return None if value is None else proxy_tlv.decode_ssl(value)


def parse(data: bytes | bytearray | memoryview, *, limit: int = LIMIT) -> tuple[Header, int]:
    """The header at the start of `data`, and its size in bytes; what follows is the client's.

    limit: bytes that a version 2 header may take. Linear in the header's size, and that is bounded: call it again
    with everything whenever more has come. Raises Incomplete or, as soon as no further byte could help, Malformed.
    """
    data = bytes(data[: max(limit, LINE_LIMIT)])
    for magic, read in ((SIGNATURE, _parse2), (b"PROXY ", _parse1)):
        if data and data[: len(magic)] == magic[: len(data)]:
            return read(data, limit)
    if not data:
        raise Incomplete("PROXY header", SHORTEST_LINE)
    raise Malformed("signature", proxy_tlv.shorten(data[:12]), 'must be "PROXY " or version 2\'s (section 2)')


def encode(header: Header) -> bytes:
    """The bytes of a header. The value of a CRC32C entry, if it has one, is computed here whatever it was.

    Version 1 says UNKNOWN of all that is not TCP, as section 2.1 wants. ValueError names the field that cannot be.
    """
    if header.command not in (LOCAL, PROXY):
        raise ValueError(f"command {header.command!r}: must be PROXY or LOCAL")
    if header.protocol not in (*PROTOCOLS, UNKNOWN):
        raise ValueError(f"protocol {header.protocol!r}: must be one of {', '.join(PROTOCOLS)} or {UNKNOWN}")
    if header.command == LOCAL and header.protocol != UNKNOWN:
        raise ValueError(f"protocol {header.protocol!r} with LOCAL: must be {UNKNOWN}, a proxy speaks for itself")
    if header.version == 1:
        return _encode1(header)
    if header.version == 2:
        return _encode2(header)
    raise ValueError(f"version {header.version!r}: must be 1 or 2")


# ---------------------------------------------------------------------------------------------- version 1: section 2.1
FIELDS = ("source", "destination", "source port", "destination port")


def _parse1(data: bytes, limit: int) -> tuple[Header, int]:
    line = data[:LINE_LIMIT]
    ends = [at for at in (line.find(b"\r"), line.find(b"\n")) if at >= 0]
    end = min(ends, default=len(line))
    whole = line[end : end + 2] == b"\r\n"
    if ends and not whole and line[end:] != b"\r":
        raise Malformed("line end", proxy_tlv.shorten(line[end : end + 2]), "must be CRLF (section 2.1)", end)
    if not whole and len(line) + (not ends) >= LINE_LIMIT:
        raise Malformed("line length", f"over {LINE_LIMIT}", f"must be at most {LINE_LIMIT} with its CRLF", end)
    words = line[6:end].split(b" ")
    word, rest = words[0], words[1:]
    known = [b"TCP4", b"TCP6", UNKNOWN.encode()]
    if not any(word == name or (name.startswith(word) and not rest and not ends) for name in known):
        raise Malformed("protocol", ascii(word.decode("latin-1")), "must be TCP4, TCP6 or UNKNOWN (section 2.1)", 6)
    fields = [] if word.startswith(b"U") else rest
    values: list[str | int] = []
    at = 6 + len(word) + 1
    for position, field in enumerate(fields):
        last = position == len(fields) - 1
        if position >= len(FIELDS):
            raise Malformed("line", f"{len(fields)} fields", "must have 4 after the protocol (section 2.1)", at)
        if not last or ends:  # this field is whole
            values.append(_port(field, FIELDS[position], at) if position > 1 else _address1(word, field, position, at))
        elif len(field) > MOST[position > 1] or not ALLOWED[position > 1].issuperset(field):
            raise Malformed(FIELDS[position], ascii(field.decode("latin-1")), "cannot become right any more", at)
        at += len(field) + 1
    if not whole:
        raise Incomplete("PROXY line", max(SHORTEST_LINE - len(line), 1 if ends else 2))
    if word == b"UNKNOWN":
        return Header(1), end + 2
    if len(values) < len(FIELDS):
        raise Malformed("line", f"{len(values)} fields", "must have 4 after the protocol (section 2.1)", end)
    source, destination, source_port, destination_port = values
    return (
        Header(1, word.decode(), Inet(str(source), int(source_port)), Inet(str(destination), int(destination_port))),
        end + 2,
    )


ALLOWED = (frozenset(b"0123456789abcdefABCDEF:."), frozenset(b"0123456789"))  # of an address, of a port
MOST = (45, 5)  # bytes of each


def _address1(word: bytes, field: bytes, position: int, at: int) -> str:
    width = 4 if word == b"TCP4" else 16
    try:
        if not ALLOWED[0].issuperset(field):
            raise AddressValueError("a character of no address")
        return str(IP[width](field.decode("ascii")))
    except AddressValueError:
        wanted = f"must be an IPv{4 if width == 4 else 6} address as {word.decode()} says, in plain form (section 2.1)"
        raise Malformed(FIELDS[position], ascii(field.decode("latin-1")), wanted, at) from None


def _port(field: bytes, name: str, at: int) -> int:
    plain = 0 < len(field) <= 5 and ALLOWED[1].issuperset(field) and (field == b"0" or field[:1] != b"0")
    if not plain or int(field) > 0xFFFF:
        wanted = "must be 0 to 65535, digits only and no leading zero (section 2.1)"
        raise Malformed(name, ascii(field.decode("latin-1")), wanted, at)
    return int(field)


def _encode1(header: Header) -> bytes:
    if header.command == LOCAL:
        raise ValueError("command LOCAL: version 1 has none (section 2.1)")
    if header.tlvs:
        raise ValueError(f"tlvs: {len(header.tlvs)} of them; version 1 has none (section 2.1)")
    if header.protocol not in ("TCP4", "TCP6"):
        return b"PROXY UNKNOWN\r\n"
    source, destination = (Inet(*end) for end in _ends(header))
    return f"PROXY {header.protocol} {source[0]} {destination[0]} {source[1]} {destination[1]}\r\n".encode()


# ---------------------------------------------------------------------------------------------- version 2: section 2.2
def _parse2(data: bytes, limit: int) -> tuple[Header, int]:
    size = len(data)
    if size > 12 and data[12] not in (0x20, 0x21):
        raise Malformed("version and command", f"0x{data[12]:02x}", "must be 0x20 (LOCAL) or 0x21 (PROXY)", 12)
    command = PROXY if size > 12 and data[12] == 0x21 else LOCAL
    if size > 13 and command == PROXY and (data[13] >> 4 > 3 or data[13] & 15 > 2):
        wanted = "must have a family of 0 to 3 and a transport of 0 to 2 (section 2.2)"
        raise Malformed("family and transport", f"0x{data[13]:02x}", wanted, 13)
    if size > 14 and FIXED + (data[14] << 8) > limit:
        raise Malformed("length", f"0x{data[14]:02x}..", f"must be at most {limit - FIXED} (our limit)", 14)
    if size < FIXED:
        raise Incomplete("PROXY v2 header", FIXED - size)
    family = FAMILIES.get(data[13] >> 4)
    known = bool(command == PROXY and family and data[13] & 15)
    block = family.block if family else 0
    length = int.from_bytes(data[14:16], "big")
    end = FIXED + length
    if end > limit:
        raise Malformed("length", length, f"must be at most {limit - FIXED} (our limit)", 14)
    if known and length < block:
        raise Malformed("length", length, f"must be at least {block}, the addresses' size (section 2.2)", 14)
    if size < end:
        raise Incomplete("PROXY v2 header", end - size)
    data = data[:end]
    try:
        tlvs = proxy_tlv.decode(data, FIXED + block)
    except Malformed:
        if known:
            raise
        tlvs = ()  # LOCAL and UNKNOWN: a block of somebody else's making, to be discarded
    _check_crc(data, tlvs, FIXED + block)
    if not (known and family):
        return Header(2, tlvs=tlvs, command=command), end
    name = family.tcp if data[13] & 15 == 1 else family.udp
    source, destination = _endpoints(data[FIXED : FIXED + block], family)
    return Header(2, name, source, destination, tlvs), end


def _check_crc(data: bytes, tlvs: tuple[Tlv, ...], at: int) -> None:
    """Section 2.2.3. Malformed if a CRC32C entry is there and not right, or there twice."""
    place = _crc_place(tlvs, at)
    if place is None:
        return
    sent = int.from_bytes(data[place : place + 4], "big")
    right = crc32c(data[:place] + bytes(4) + data[place + 4 :])
    if sent != right:
        raise Malformed("CRC32C", f"0x{sent:08x}", f"this header has 0x{right:08x} (section 2.2.3)", place)


def _crc_place(tlvs: tuple[Tlv, ...], at: int) -> int | None:
    """The offset of the checksum's four bytes, if TLVs that begin at `at` have one."""
    places = []
    for tlv in tlvs:
        if tlv.kind == proxy_tlv.CRC32C:
            places.append(at + proxy_tlv.HEADER)
        at += proxy_tlv.HEADER + len(tlv.value)
    if len(places) > 1:
        raise Malformed("CRC32C", "there twice", "must be there once: it covers the whole header", places[1])
    return places[0] if places else None


def _endpoints(block: bytes, family: Family) -> tuple[Endpoint, Endpoint]:
    if not family.width:
        return _path(block[:PATH]), _path(block[PATH:])
    width, ip = family.width, IP[family.width]
    ports = [int.from_bytes(block[at : at + 2], "big") for at in (2 * width, 2 * width + 2)]
    return Inet(str(ip(block[:width])), ports[0]), Inet(str(ip(block[width : 2 * width])), ports[1])


def _path(raw: bytes) -> bytes:
    return raw.rstrip(b"\0") if raw[:1] == b"\0" else raw.partition(b"\0")[0]


def _encode2(header: Header) -> bytes:
    tlvs = tuple(Tlv(kind, bytes(4) if kind == proxy_tlv.CRC32C else value) for kind, value in header.tlvs)
    if sum(tlv.kind == proxy_tlv.CRC32C for tlv in tlvs) > 1:
        raise ValueError("tlvs: CRC32C twice; must be there once")
    number, block = 0, b""
    if header.protocol != UNKNOWN:
        number, family = PROTOCOLS[header.protocol]
        ends = _ends(header)
        if family.width:
            block = b"".join(IP[family.width](end[0]).packed for end in ends if isinstance(end, tuple))
            block += b"".join(end[1].to_bytes(2, "big") for end in ends if isinstance(end, tuple))
        else:
            block = b"".join(end.ljust(PATH, b"\0") for end in ends if isinstance(end, bytes))
    elif header.source is not None or header.destination is not None:
        raise ValueError("source, destination: must be None with UNKNOWN")
    body = block + proxy_tlv.encode(tlvs)
    if len(body) > 0xFFFF:
        raise ValueError(f"tlvs: the header takes {len(body)} bytes after the first 16; must be at most 65535")
    out = SIGNATURE + bytes([0x20 | (header.command == PROXY), number]) + len(body).to_bytes(2, "big") + body
    place = _crc_place(tlvs, FIXED + len(block))
    return out if place is None else out[:place] + crc32c(out).to_bytes(4, "big") + out[place + 4 :]


def _ends(header: Header) -> tuple[Endpoint, Endpoint]:
    """Source and destination, canonical and of the protocol's family. ValueError otherwise."""
    family = PROTOCOLS[header.protocol][1]
    ends: list[Endpoint] = []
    for name, end in (("source", header.source), ("destination", header.destination)):
        if not family.width:
            if not isinstance(end, bytes) or len(end) > PATH or end != _path(end.ljust(PATH, b"\0")):
                raise ValueError(f"{name} {end!r}: must be a UNIX path, at most {PATH} bytes without zeros at its end")
            ends.append(end)
            continue
        if not isinstance(end, tuple) or not (isinstance(end[1], int) and 0 <= end[1] <= 0xFFFF):
            raise ValueError(f"{name} {end!r}: must be an address and a port of 0 to 65535")
        try:
            ip = IP[family.width](end[0])
        except AddressValueError as error:
            raise ValueError(f"{name} {end[0]!r}: must be an address of {header.protocol} ({error})") from None
        if "%" in end[0]:
            raise ValueError(f"{name} {end[0]!r}: must have no zone, which means nothing to another machine")
        ends.append(Inet(str(ip), end[1]))
    return ends[0], ends[1]
