"""A frame as people read it: its layers, their fields, what each value means.

Rule of this file: it says what the bytes say, for any bytes. Whether a header is well formed is the parsers' verdict;
what a field is called is a table's (`fields`); here is only the walk from one header to the next.

Theory. The layers tile the frame: each begins where the one before ends, and the last ends with the frame. What
stands behind the end that a length field gives is "padding" (Ethernet fills up to 60 bytes); what nobody here reads
is "payload"; what cannot be read because the header in front of it is malformed is "unreadable". A header inside the
quote of an ICMP error is "quoted ipv4", "quoted tcp" and so on, and may be cut short.

Trap. On the machine that sends it, a packet is often seen with an unfinished checksum, the sum of the pseudo-header
alone: the network card was to do the rest. Such a checksum is called that here, and not just wrong.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from lbcore.wire import checksum, ethernet, fields, icmp, ipv4, ipv6, options, tcp, udp
from lbcore.wire.seam import View, advance, view
from lbcore.wire.verdict import BAD_HEADER_LENGTH, BAD_TOTAL_LENGTH, BAD_VERSION, TEXT, TOO_MANY_HEADERS, TRUNCATED

GUE_PORT = 6080
"""Generic UDP encapsulation, variant 1: the packet stands right behind the UDP header (draft-ietf-intarea-gue)."""
MAX_LAYERS = 32
"""A frame of tunnels in tunnels ends here; so does the walk."""


@dataclass(frozen=True)
class Field:
    """A few bits with a name."""

    name: str
    bit_offset: int
    """From the frame's first bit."""
    bits: int
    value: int
    """What the bits say, big-endian: a header length of 5 is 5 here and "20 bytes" in `text`. An option's field spans
    the whole option; its value is what stands behind its kind and length."""
    text: str
    """What that means."""


@dataclass(frozen=True)
class Layer:
    """One header with its fields, or a stretch of data."""

    name: str
    offset: int
    """Of its first byte in the frame."""
    length: int
    """Bytes."""
    fields: tuple[Field, ...]
    note: str = ""
    """What is unusual about it; empty if nothing is."""

    def field(self, name: str) -> Field:
        """The first field of this name. KeyError names those there are."""
        for field in self.fields:
            if field.name == name:
                return field
        raise KeyError(f"{self.name} has no field {name!r}; it has {', '.join(field.name for field in self.fields)}")


def dissect(frame: bytes, *, first: str = "ethernet") -> list[Layer]:
    """The layers of a frame (any bytes-like object, or a `Frame`). Never raises for what the bytes hold.

    `first` is what it starts with: "ethernet", or "ipv4" or "ipv6" for a packet without a link header.
    """
    if first not in _READERS:
        raise ValueError(f"first: {first!r} is no layer; it must be one of {', '.join(_READERS)}")
    walk = _Walk(bytes(frame))
    reader: str | None = first
    while reader and len(walk.layers) < MAX_LAYERS:
        reader = _READERS[reader](walk)
    walk.rest("unreadable", TEXT[TOO_MANY_HEADERS] if reader else "")
    walk.end, walk.prefix = len(walk.frame), ""
    walk.rest("padding", "behind the end that the length fields give")
    return walk.layers


def find(layers: Sequence[Layer], name: str) -> Layer:
    """The first layer of this name. KeyError names those there are."""
    for layer in layers:
        if layer.name == name:
            return layer
    raise KeyError(f"no layer {name!r}; there is {', '.join(layer.name for layer in layers)}")


class _Walk:
    """Where the walk along a frame is, and what the headers already read say about those to come."""

    def __init__(self, frame: bytes) -> None:
        self.frame, self.at, self.end = frame, 0, len(frame)
        self.layers: list[Layer] = []
        self.prefix = ""
        self.pseudo_header = 0
        """The unfolded sum that the next checksum includes."""
        self.unchecked = ""
        """Why the checksums of what follows cannot be checked."""

    def view(self) -> View:
        return advance(view(self.frame[: self.end]), self.at)

    def read(self, table: fields.Table, end: int) -> list[Field]:
        """The fields of a table that lie between the walk and byte `end`."""
        found, bit = [], 8 * self.at
        for name, bits, text in table:
            bits = bits or 8 * end - bit
            if bits <= 0 or bit + bits > 8 * end:
                break
            found.append(self.field(name, bit, bits, text))
            bit += bits
        return found

    def field(self, name: str, bit: int, bits: int, text: fields.Text) -> Field:
        last = bit + bits
        word = int.from_bytes(self.frame[bit // 8 : -(-last // 8)], "big")
        value = word >> (-last % 8) & ((1 << bits) - 1)
        return Field(name, bit, bits, value, text(value, bits))

    def take(self, name: str, length: int, found: Sequence[Field], note: str = "") -> None:
        """The next `length` bytes, or those there are, are this layer."""
        length = min(length, self.end - self.at)
        self.layers.append(Layer(self.prefix + name, self.at, length, tuple(found), note))
        self.at += length

    def rest(self, name: str, note: str = "") -> None:
        """All that is left, if anything, is this."""
        if self.at < self.end:
            self.take(name, self.end - self.at, self.read(fields.PAYLOAD, self.end), note)

    def header(self, name: str, table: fields.Table, note: str = "") -> dict[str, int] | None:
        """A header of fixed length: the values of its fields, or None if it is not all there."""
        length = sum(bits for _, bits, _ in table) // 8
        found = self.read(table, self.end)
        complete = self.at + length <= self.end
        self.take(name, length, found, note if complete else self.cut())
        return {field.name: field.value for field in found} if complete else None

    def cut(self, verdict: int = TRUNCATED) -> str:
        """The note for what ends too early: usual in a quote, an error elsewhere."""
        if not self.prefix:
            return TEXT[verdict]
        return "the quote ends here" if verdict == TRUNCATED else "the quote ends before the packet does"


def _after_ethertype(walk: _Walk, ethertype: int) -> str | None:
    reader = {ethernet.IPV4: "ipv4", ethernet.IPV6: "ipv6", ethernet.ARP: "arp"}.get(ethertype)
    if ethertype in (ethernet.VLAN, ethernet.PROVIDER_VLAN):
        if sum(layer.name == "vlan" for layer in walk.layers) < 2:
            return "vlan"
        walk.rest("unreadable", TEXT[TOO_MANY_HEADERS])
    elif reader is None:
        walk.rest("payload", f"ethertype {fields.ether_type(ethertype, 16)}: not read any further")
    return reader


def _ethernet(walk: _Walk) -> str | None:
    header = walk.header("ethernet", fields.ETHERNET)
    return _after_ethertype(walk, header["ethertype"]) if header else None


def _vlan(walk: _Walk) -> str | None:
    header = walk.header("vlan", fields.VLAN)
    return _after_ethertype(walk, header["ethertype"]) if header else None


def _arp(walk: _Walk) -> str | None:
    kinds = [field.value for field in walk.read(fields.ARP[:4], walk.end)]
    if len(kinds) == 4 and kinds != [1, ethernet.IPV4, 6, 4]:
        walk.header("arp", fields.ARP[:5], "not about Ethernet and IPv4: its addresses are not read")
        walk.rest("payload")
    else:
        walk.header("arp", fields.ARP)
        walk.rest("padding")
    return None


def _after_ip(walk: _Walk, protocol: int, fragment_offset: int) -> str | None:
    reader = _PROTOCOLS.get(protocol)
    if fragment_offset:
        walk.rest("payload", f"from byte {fragment_offset} of a fragmented packet: no header stands here")
        return None
    if reader is None:
        walk.rest("payload", f"protocol {fields.protocol(protocol, 8)}: not read any further")
    return reader


def _options(walk: _Walk, start: int, end: int, kinds: fields.Options) -> tuple[list[Field], str]:
    """The options between two offsets of the frame, as fields; and a note if one is malformed."""
    found: list[Field] = []
    while start < end:
        option = options.read(view(walk.frame[start:end]), end - start)
        if option.verdict:
            found.append(walk.field("malformed", 8 * start, 8 * (end - start), fields.content))
            return found, TEXT[option.verdict]
        length = option.length
        name, right_length, text = kinds.get(option.kind, (f"option_{option.kind}", None, fields.content))
        if right_length not in (None, length):
            text = fields.content
        if length > 2:
            behind = walk.field(name, 8 * start + 16, 8 * length - 16, text)
            found.append(replace(behind, bit_offset=8 * start, bits=8 * length))
        else:
            found.append(Field(name, 8 * start, 8 * length, 0, fields.nothing(0, 0)))
        start += length
        if option.kind == options.END and start < end:
            found.append(walk.field("unused", 8 * start, 8 * (end - start), fields.content))
            break
    return found, ""


def _checksum(walk: _Walk, found: list[Field], total: int, pseudo_header: int = 0, *, zero: int = 0) -> list[Field]:
    """The fields with what the checksum is worth in its text. `total` is the unfolded sum over all that it covers,
    itself and the pseudo-header included; `zero` is what is sent for a computed 0."""

    def judged(field: Field) -> Field:
        right = checksum.finish(total - field.value) or zero
        if walk.unchecked:
            judgement = f"not checked: {walk.unchecked}"
        elif checksum.finish(total) == 0:
            judgement = "right"
        elif pseudo_header and field.value == checksum.fold(pseudo_header):
            judgement = f"left to the network card: should become 0x{right:04x}"
        else:
            judgement = f"wrong: should be 0x{right:04x}"
        return replace(field, text=f"{field.text} ({judgement})")

    return [judged(field) if field.name == "checksum" else field for field in found]


def _transport_sum(walk: _Walk) -> int:
    """The unfolded sum of all that is left and of the pseudo-header."""
    return walk.pseudo_header + checksum.add(walk.view(), 0, walk.end - walk.at)


def _ipv4(walk: _Walk) -> str | None:
    p, start = walk.view(), walk.at
    header = ipv4.parse(p)
    if header.verdict in (BAD_VERSION, BAD_HEADER_LENGTH) or walk.end - start < ipv4.LENGTH:
        walk.header("ipv4", fields.IPV4, TEXT[header.verdict])
        return None
    found, walk.unchecked = walk.read(fields.IPV4, walk.end), ""
    if header.verdict != TRUNCATED:
        found = _checksum(walk, found, checksum.add(p, 0, header.header_length))
    extra, note = _options(walk, start + ipv4.LENGTH, min(start + header.header_length, walk.end), fields.IPV4_OPTIONS)
    missing = header.total_length > walk.end - start
    if header.verdict:
        note = walk.cut(header.verdict) if missing else TEXT[header.verdict]
    walk.take("ipv4", header.header_length, found + extra, note)
    if header.verdict == TRUNCATED or header.total_length < header.header_length:
        return None
    walk.end = min(walk.end, start + header.total_length)
    walk.pseudo_header = ipv4.pseudo_header(header)
    walk.unchecked = _INCOMPLETE if missing else _FRAGMENT if ipv4.is_fragment(header) else ""
    return _after_ip(walk, header.protocol, header.fragment_offset)


def _ipv6(walk: _Walk) -> str | None:
    start, header = walk.at, ipv6.parse(walk.view())
    missing = header.total_length > walk.end - start
    note = TEXT[BAD_VERSION] if header.verdict == BAD_VERSION else walk.cut(BAD_TOTAL_LENGTH) if missing else ""
    if walk.header("ipv6", fields.IPV6, note) is None or header.verdict == BAD_VERSION:
        return None
    walk.end = min(walk.end, start + header.total_length)
    walk.pseudo_header = ipv6.pseudo_header(header)
    walk.unchecked = _INCOMPLETE if missing else _FRAGMENT if ipv6.is_fragment(header) else ""
    protocol, offset = header.next_header, 0
    for _ in range(ipv6.MAX_EXTENSIONS):
        if not ipv6.is_extension(protocol) or offset:
            break
        extension = _extension(walk, protocol)
        if extension is None:
            return None
        if extension.get("segments_left"):
            walk.unchecked = "it covers the last hop of the routing header"
        protocol, offset = extension["next_header"], 8 * extension.get("fragment_offset", 0)
    if ipv6.is_extension(protocol) and not offset:
        walk.rest("unreadable", TEXT[TOO_MANY_HEADERS])
        return None
    return _after_ip(walk, protocol, offset)


def _extension(walk: _Walk, protocol: int) -> dict[str, int] | None:
    """An IPv6 extension header: the values of its fields, or None if it is not all there."""
    left = walk.end - walk.at
    units = walk.frame[walk.at + 1] if left >= 8 else 0
    size = {ipv6.FRAGMENT: 8, ipv6.AUTHENTICATION: 4 * units + 8}.get(protocol, 8 * units + 8)
    found = walk.read(fields.EXTENSIONS[protocol], walk.at + min(size, left))
    walk.take(fields.PROTOCOLS[protocol], size, found, "" if size <= left else walk.cut())
    return {field.name: field.value for field in found} if size <= left else None


def _tcp(walk: _Walk) -> str | None:
    p, start = walk.view(), walk.at
    header = tcp.parse(p)
    if header.verdict == BAD_HEADER_LENGTH or walk.end - start < tcp.LENGTH:
        walk.header("tcp", fields.TCP, TEXT[header.verdict])
        return None
    found = _checksum(walk, walk.read(fields.TCP, walk.end), _transport_sum(walk), walk.pseudo_header)
    extra, note = _options(walk, start + tcp.LENGTH, min(start + header.header_length, walk.end), fields.TCP_OPTIONS)
    walk.take("tcp", header.header_length, found + extra, walk.cut() if header.verdict else note)
    walk.rest("payload")
    return None


def _udp(walk: _Walk) -> str | None:
    start, header = walk.at, udp.parse(walk.view())
    if walk.end - start < udp.LENGTH:
        walk.header("udp", fields.UDP)
        return None
    note = ""
    if header.verdict:
        note = TEXT[BAD_TOTAL_LENGTH] if header.total_length < udp.LENGTH else walk.cut(BAD_TOTAL_LENGTH)
        walk.unchecked = walk.unchecked or _INCOMPLETE
    else:
        walk.end = start + header.total_length
    if header.checksum == 0:
        walk.unchecked = "none was sent"
    found = walk.read(fields.UDP, walk.end)
    found = _checksum(walk, found, _transport_sum(walk), walk.pseudo_header, zero=0xFFFF)
    walk.take("udp", udp.LENGTH, found, note)
    if not note and header.destination_port == GUE_PORT and walk.at < walk.end:
        inner = {4: "ipv4", 6: "ipv6"}.get(walk.frame[walk.at] >> 4)
        if inner:
            return inner
    if header.verdict != BAD_TOTAL_LENGTH or header.total_length >= udp.LENGTH:
        walk.rest("payload")
    return None


def _gre(walk: _Walk) -> str | None:
    header = walk.header("gre", fields.GRE)
    if header is None:
        return None
    if header["checksum_present"] or header["reserved"] or header["version"]:
        walk.rest("payload", "GRE with optional fields: not read any further")
        return None
    return _after_ethertype(walk, header["protocol"])


def _icmp(walk: _Walk, *, six: bool = False) -> str | None:
    header, name = icmp.parse(walk.view()), "icmpv6" if six else "icmp"
    table = fields.icmp_table(header.type, six=six)
    if header.verdict:
        walk.header(name, table)
        return None
    pseudo_header = walk.pseudo_header if six else 0
    total = pseudo_header + checksum.add(walk.view(), 0, walk.end - walk.at)
    walk.take(name, icmp.LENGTH, _checksum(walk, walk.read(table, walk.end), total, pseudo_header))
    if not walk.prefix and (icmp.quotes_ipv6(header) if six else icmp.quotes_ipv4(header)):
        walk.prefix = "quoted "
        return "ipv6" if six else "ipv4"
    walk.rest("payload")
    return None


def _icmpv6(walk: _Walk) -> str | None:
    return _icmp(walk, six=True)


_INCOMPLETE, _FRAGMENT = "the packet is not all here", "only a fragment is here"
_READERS: dict[str, Callable[[_Walk], str | None]] = {
    "ethernet": _ethernet,
    "vlan": _vlan,
    "arp": _arp,
    "ipv4": _ipv4,
    "ipv6": _ipv6,
    "tcp": _tcp,
    "udp": _udp,
    "icmp": _icmp,
    "icmpv6": _icmpv6,
    "gre": _gre,
}
"""Each takes its layer off the walk and names the next reader; None where nothing that can be read follows."""
_PROTOCOLS = {
    ipv4.ICMP: "icmp",
    ipv4.IPIP: "ipv4",
    ipv4.TCP: "tcp",
    ipv4.UDP: "udp",
    ipv4.IPV6: "ipv6",
    ipv4.GRE: "gre",
    ipv6.ICMP: "icmpv6",
}
