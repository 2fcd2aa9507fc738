"""Frames in one line, for chapters and tests: right lengths, right checksums, everything else as you say.

Theory. A packet is built from the inside out, as a sending host does it: the data, then a header in front of it, then
another in front of that. `grow_head` makes the room, `build` writes the header, `finish` the checksum, once all that
it covers is in place. Tunnels do the same in the data plane.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Sequence
from typing import Any

from lbcore.wire import ethernet, icmp, ipv4, ipv6, tcp, udp
from lbcore.wire.seam import Frame, grow_head, set8, set16, view

IPAddress = ipaddress.IPv4Address | ipaddress.IPv6Address
_ENDPOINT = "'10.0.0.1:40000' or '[2001:db8::1]:40000'"
_HEADROOM = ethernet.LENGTH + 8 + 60 + 60


def tcp_frame(
    *,
    source: str = "10.0.0.1:40000",
    destination: str = "10.0.0.9:80",
    payload: bytes = b"",
    flags: int = tcp.SYN,
    sequence: int = 0,
    acknowledgment: int = 0,
    window: int = 65535,
    urgent: int = 0,
    options: bytes = b"",
    **below: Any,
) -> bytes:
    """An Ethernet frame with a TCP segment, over IPv4 or IPv6 by the form of the addresses.

    `options` are the bytes behind the fixed header (a multiple of 4, at most 40). `below`: the keywords of
    `ip_frame`. ValueError names the field, the value and what would be right; so for all functions here.
    """
    from_address, from_port = _endpoint("source", source)
    to_address, to_port = _endpoint("destination", destination)
    header = tcp.Header(
        header_length=tcp.LENGTH + _options("options", options),
        source_port=from_port,
        destination_port=to_port,
        sequence=_number("sequence", sequence, 32),
        acknowledgment=_number("acknowledgment", acknowledgment, 32),
        flags=_number("flags", flags, 8),
        window=_number("window", window, 16),
        urgent=_number("urgent", urgent, 16),
    )
    frame = Frame(options + payload, headroom=_HEADROOM)
    grow_head(frame, tcp.LENGTH)
    tcp.build(view(frame), header)
    return _with_ip(frame, from_address, to_address, ipv4.TCP, **below)


def udp_frame(
    *, source: str = "10.0.0.1:40000", destination: str = "10.0.0.9:53", payload: bytes = b"", **below: Any
) -> bytes:
    """An Ethernet frame with a UDP datagram. `below`: the keywords of `ip_frame`."""
    from_address, from_port = _endpoint("source", source)
    to_address, to_port = _endpoint("destination", destination)
    total_length = _number("payload length + 8", len(payload) + udp.LENGTH, 16)
    frame = Frame(payload, headroom=_HEADROOM)
    grow_head(frame, udp.LENGTH)
    udp.build(view(frame), udp.Header(source_port=from_port, destination_port=to_port, total_length=total_length))
    return _with_ip(frame, from_address, to_address, ipv4.UDP, **below)


def icmp_frame(
    *,
    source: str = "10.0.0.1",
    destination: str = "10.0.0.9",
    type: int | None = None,
    code: int = 0,
    identifier: int = 0,
    sequence: int = 0,
    payload: bytes = b"",
    **below: Any,
) -> bytes:
    """An Ethernet frame with an ICMP message, ICMPv6 if the addresses are IPv6; an echo request unless `type` says
    otherwise. An error's `payload` is the packet that it quotes. `below`: the keywords of `ip_frame`."""
    from_address, to_address = _address("source", source), _address("destination", destination)
    six = from_address.version == 6
    header = icmp.Header(
        type=_number("type", type, 8) if type is not None else icmp.ECHO6 if six else icmp.ECHO,
        code=_number("code", code, 8),
        identifier=_number("identifier", identifier, 16),
        sequence=_number("sequence", sequence, 16),
    )
    frame = Frame(payload, headroom=_HEADROOM)
    grow_head(frame, icmp.LENGTH)
    icmp.build(view(frame), header)
    return _with_ip(frame, from_address, to_address, ipv6.ICMP if six else ipv4.ICMP, **below)


def ip_frame(
    *, source: str = "10.0.0.1", destination: str = "10.0.0.9", protocol: int, payload: bytes = b"", **below: Any
) -> bytes:
    """An Ethernet frame with an IP packet of any protocol. TCP, UDP and ICMP in a whole packet get their checksum.

    Keywords for all frames: `ttl` (64; IPv6: hop limit), `tos` (0; IPv6: traffic class), `identification`,
    `dont_fragment` (True), `more_fragments` (False), `fragment_offset` (bytes, a multiple of 8) and `ip_options`
    (bytes, a multiple of 4, at most 40), all four IPv4 only, `flow_label` (IPv6 only); `vlan` (a VLAN id, or the outer
    and the inner one), `source_mac` and `destination_mac` ("02:00:00:00:00:01" and "...:02").
    """
    frame = Frame(payload, headroom=_HEADROOM)
    from_address, to_address = _address("source", source), _address("destination", destination)
    return _with_ip(frame, from_address, to_address, _number("protocol", protocol, 8), **below)


def _with_ip(
    frame: Frame,
    source: IPAddress,
    destination: IPAddress,
    protocol: int,
    *,
    vlan: int | Sequence[int] = (),
    source_mac: str = "02:00:00:00:00:01",
    destination_mac: str = "02:00:00:00:00:02",
    **fields: Any,
) -> bytes:
    """The frame with IP and Ethernet headers in front and the checksum of what is inside."""
    if source.version != destination.version:
        raise ValueError(f"destination: {destination} is not of the family of source {source}: both must be the same")
    with_header = _with_ipv4 if source.version == 4 else _with_ipv6
    with_header(frame, int(source), int(destination), protocol, **fields)
    tags = (vlan,) if isinstance(vlan, int) else tuple(vlan)
    if len(tags) > 2:
        raise ValueError(f"vlan: {len(tags)} tags; at most two can be read (provider's and customer's)")
    grow_head(frame, ethernet.LENGTH + 4 * len(tags))
    p, ethertype = view(frame), ethernet.IPV4 if source.version == 4 else ethernet.IPV6
    chain = [*[ethernet.PROVIDER_VLAN, ethernet.VLAN][2 - len(tags) :], ethertype]
    for at, tag in enumerate(tags):
        set16(p, ethernet.LENGTH + 4 * at, _number("vlan", tag, 12))
        set16(p, ethernet.LENGTH + 4 * at + 2, chain[at + 1])
    ethernet.build(
        p,
        ethernet.Header(
            destination=_mac("destination_mac", destination_mac),
            source=_mac("source_mac", source_mac),
            ethertype=chain[0],
        ),
    )
    return bytes(frame)


def _with_ipv4(
    frame: Frame,
    source: int,
    destination: int,
    protocol: int,
    *,
    ttl: int = 64,
    tos: int = 0,
    identification: int = 0,
    dont_fragment: bool = True,
    more_fragments: bool = False,
    fragment_offset: int = 0,
    ip_options: bytes = b"",
) -> None:
    length = ipv4.LENGTH + _options("ip_options", ip_options)
    if fragment_offset % 8:
        raise ValueError(f"fragment_offset: {fragment_offset} is not a multiple of 8")
    header = ipv4.Header(
        header_length=length,
        tos=_number("tos", tos, 8),
        total_length=_number("packet length", length + len(frame), 16),
        identification=_number("identification", identification, 16),
        dont_fragment=int(dont_fragment),
        more_fragments=int(more_fragments),
        fragment_offset=8 * _number("fragment_offset / 8", fragment_offset // 8, 13),
        ttl=_number("ttl", ttl, 8),
        protocol=protocol,
        source=source,
        destination=destination,
    )
    if not ipv4.is_fragment(header):
        _finish(frame, protocol, ipv4.pseudo_header(header))
    grow_head(frame, length)
    p = view(frame)
    for at, byte in enumerate(ip_options, ipv4.LENGTH):
        set8(p, at, byte)
    ipv4.build(p, header)


def _with_ipv6(
    frame: Frame,
    source: int,
    destination: int,
    protocol: int,
    *,
    ttl: int = 64,
    tos: int = 0,
    flow_label: int = 0,
) -> None:
    low = (1 << 64) - 1
    header = ipv6.Header(
        traffic_class=_number("tos", tos, 8),
        flow_label=_number("flow_label", flow_label, 20),
        total_length=ipv6.LENGTH + _number("payload length", len(frame), 16),
        next_header=protocol,
        hop_limit=_number("ttl", ttl, 8),
        source_high=source >> 64,
        source_low=source & low,
        destination_high=destination >> 64,
        destination_low=destination & low,
        protocol=protocol,
    )
    _finish(frame, protocol, ipv6.pseudo_header(header))
    grow_head(frame, ipv6.LENGTH)
    ipv6.build(view(frame), header)


def _finish(frame: Frame, protocol: int, pseudo_header: int) -> None:
    """The checksum of what the frame holds so far, if it is of a kind that has one."""
    finish, least, covered = {
        ipv4.TCP: (tcp.finish, tcp.LENGTH, pseudo_header),
        ipv4.UDP: (udp.finish, udp.LENGTH, pseudo_header),
        ipv4.ICMP: (icmp.finish, icmp.LENGTH, 0),
        ipv6.ICMP: (icmp.finish, icmp.LENGTH, pseudo_header),
    }.get(protocol, (None, 0, 0))
    if finish is not None and len(frame) >= least:
        finish(view(frame), covered, len(frame))


def _number(name: str, value: int, bits: int) -> int:
    if not 0 <= value < 1 << bits:
        raise ValueError(f"{name}: {value} does not fit; it must be 0 to {(1 << bits) - 1}")
    return value


def _options(name: str, options: bytes) -> int:
    if len(options) % 4 or len(options) > 40:
        raise ValueError(f"{name}: {len(options)} bytes; they must be a multiple of 4, at most 40 (fill up with 0x01)")
    return len(options)


def _address(name: str, text: str) -> IPAddress:
    try:
        return ipaddress.ip_address(text)
    except ValueError:
        raise ValueError(f"{name}: {text!r} is no IP address; '10.0.0.1' or '2001:db8::1' would be right") from None


def _endpoint(name: str, text: str) -> tuple[IPAddress, int]:
    address, colon, port = text.rpartition(":")
    six = address.startswith("[") and address.endswith("]")
    if not colon or not (port.isascii() and port.isdigit()) or (":" in address) != six:
        raise ValueError(f"{name}: {text!r} is no address with a port; {_ENDPOINT} would be right")
    return _address(name, address[1:-1] if six else address), _number(f"{name} port", int(port), 16)


def _mac(name: str, text: str) -> int:
    if re.fullmatch("[0-9a-fA-F]{2}(:[0-9a-fA-F]{2}){5}", text):
        return int(text.replace(":", ""), 16)
    raise ValueError(f"{name}: {text!r} is no hardware address; '02:00:00:00:00:01' would be right")
