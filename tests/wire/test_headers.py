"""Every field of every header against scapy, both ways: what it builds we parse, what we build it parses."""

from __future__ import annotations

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scapy.layers.inet import ICMP, IP, TCP, UDP
from scapy.layers.inet6 import ICMPv6EchoRequest, IPv6, IPv6ExtHdrFragment
from scapy.layers.l2 import Dot1AD, Dot1Q, Ether

from lbcore.wire import compose, ethernet, icmp, ipv4, ipv6, tcp, udp
from lbcore.wire.seam import Frame, advance, view
from lbcore.wire.verdict import OK, TOO_MANY_HEADERS
from tests.wire import packets
from tests.wire.packets import addresses4, addresses6, number, payloads


def mac(text: str) -> int:
    return int(text.replace(":", ""), 16)


def address(text: str) -> int:
    return int(ipaddress.ip_address(text))


@given(packets.frames())
def test_ethernet_reads_what_scapy_wrote(packet):
    raw = bytes(packet)
    theirs, tags = Ether(raw), []
    layer = theirs.payload
    while isinstance(layer, Dot1Q | Dot1AD):
        tags.append(layer)
        layer = layer.payload
    vlan = tags[-1].prio << 13 | tags[-1].dei << 12 | tags[-1].vlan if tags else ethernet.UNTAGGED
    ethertype = (tags[-1] if tags else theirs).type
    ours = ethernet.parse(view(raw))
    assert ours == (OK, 14 + 4 * len(tags), mac(theirs.dst), mac(theirs.src), ethertype, vlan)


def test_a_third_vlan_tag_is_one_too_many():
    raw = bytes(Ether(dst="02:00:00:00:00:02") / Dot1Q() / Dot1Q() / Dot1Q() / IP(dst="10.0.0.1"))
    assert ethernet.parse(view(raw)).verdict == TOO_MANY_HEADERS


@given(packets.ipv4_packets())
def test_ipv4_reads_what_scapy_wrote(packet):
    raw = bytes(packet)
    theirs, p = IP(raw), view(raw)
    ours = ipv4.parse(p)
    assert ours == ipv4.Header(
        verdict=OK,
        header_length=4 * theirs.ihl,
        tos=theirs.tos,
        total_length=theirs.len,
        identification=theirs.id,
        dont_fragment=int("DF" in theirs.flags),
        more_fragments=int("MF" in theirs.flags),
        fragment_offset=8 * theirs.frag,
        ttl=theirs.ttl,
        protocol=theirs.proto,
        checksum=theirs.chksum,
        source=address(theirs.src),
        destination=address(theirs.dst),
    )
    assert ipv4.checksum_ok(p, ours)
    assert not ipv4.checksum_ok(view(raw[:8] + bytes([raw[8] ^ 1]) + raw[9:]), ours)
    assert ipv4.is_fragment(ours) == (theirs.frag > 0 or "MF" in theirs.flags)


@given(packets.ipv6_packets())
def test_ipv6_walks_the_chain_that_scapy_wrote(packet):
    raw = bytes(packet)
    theirs = IPv6(raw)
    last = next(packet[kind] for kind in (TCP, UDP, ICMPv6EchoRequest) if kind in packet)
    fragment = next(
        (part for part in reversed(list(packet.iterpayloads())) if isinstance(part, IPv6ExtHdrFragment)), None
    )
    ours = ipv6.parse(view(raw))
    assert ours == ipv6.Header(
        verdict=OK,
        header_length=len(raw) - len(last),
        traffic_class=theirs.tc,
        flow_label=theirs.fl,
        total_length=40 + theirs.plen,
        next_header=theirs.nh,
        hop_limit=theirs.hlim,
        source_high=address(theirs.src) >> 64,
        source_low=address(theirs.src) & (2**64 - 1),
        destination_high=address(theirs.dst) >> 64,
        destination_low=address(theirs.dst) & (2**64 - 1),
        protocol=packets.NUMBERS[type(last)],
        more_fragments=fragment.m if fragment else 0,
        identification=fragment.id if fragment else 0,
        fragmented=int(fragment is not None),
    )


@given(packets.tcps, payloads)
def test_tcp_reads_what_scapy_wrote(segment, load):
    raw = bytes(IP(src="10.0.0.1", dst="10.0.0.2") / segment / load)
    theirs = IP(raw)[TCP]
    assert tcp.parse(advance(view(raw), 20)) == tcp.Header(
        OK,
        4 * theirs.dataofs,
        theirs.sport,
        theirs.dport,
        theirs.seq,
        theirs.ack,
        int(theirs.flags),
        theirs.window,
        theirs.chksum,
        theirs.urgptr,
    )


@given(packets.udps, payloads)
def test_udp_reads_what_scapy_wrote(datagram, load):
    raw = bytes(IP(src="10.0.0.1", dst="10.0.0.2") / datagram / load)
    theirs = IP(raw)[UDP]
    ours = udp.parse(advance(view(raw), 20))
    assert ours == (OK, 8, theirs.sport, theirs.dport, theirs.len, theirs.chksum)


@given(packets.pings, payloads)
def test_icmp_reads_what_scapy_wrote(message, load):
    raw = bytes(message / load)
    theirs = ICMP(raw)
    assert icmp.parse(view(raw)) == (OK, 8, theirs.type, theirs.code, theirs.chksum, theirs.id, theirs.seq)


wanted = {
    ethernet: {"destination": 48, "source": 48, "ethertype": 11},
    ipv4: {"tos": 8, "identification": 16, "dont_fragment": 1, "more_fragments": 1, "ttl": 8, "protocol": 8}
    | {"source": 32, "destination": 32},
    ipv6: {"traffic_class": 8, "flow_label": 20, "hop_limit": 8}
    | dict.fromkeys(["source_high", "source_low", "destination_high", "destination_low"], 64),
    tcp: {"source_port": 16, "destination_port": 16, "sequence": 32, "acknowledgment": 32, "flags": 8, "window": 16}
    | {"checksum": 16, "urgent": 16},
    udp: {"source_port": 16, "destination_port": 16, "checksum": 16},
    icmp: {"type": 8, "code": 8, "checksum": 16, "identifier": 16, "sequence": 16},
}


@pytest.mark.parametrize("protocol", wanted, ids=lambda module: module.__name__.rpartition(".")[2])
@given(draw=st.data())
def test_what_is_built_is_parsed_back(protocol, draw):
    header = protocol.Header(**{name: draw.draw(number(bits), name) for name, bits in wanted[protocol].items()})
    if protocol is ipv4:
        header = header._replace(fragment_offset=8 * draw.draw(number(13)))
    frame = Frame(bytes([0xEE] * header.header_length))
    protocol.build(view(frame), header)
    parsed = protocol.parse(view(frame))
    if protocol is ipv4:
        assert ipv4.checksum_ok(view(frame), parsed)
        parsed = parsed._replace(checksum=0)
    assert parsed == header


def rebuilt(raw: bytes, *fresh) -> bytes:
    """The frame as scapy writes it from the fields it read, the checksums of the layers `fresh` computed anew."""
    packet = Ether(raw)
    packet.clear_cache()
    for kind in fresh:
        del packet[kind].chksum
    return bytes(packet)


common4 = {"ttl": number(8), "tos": number(8), "identification": number(16), "dont_fragment": st.booleans()}
common6 = {"ttl": number(8), "tos": number(8), "flow_label": number(20)}
vlans = {"vlan": st.sampled_from([(), 5, (5, 4095)])}
tcp_bytes = st.sampled_from([b"", b"\x02\x04\x05\xb4", b"\x01\x03\x03\x07\x04\x02\x01\x01"])


def ends(address, port):
    return st.tuples(address, port).map(lambda end: f"[{end[0]}]:{end[1]}" if ":" in end[0] else f"{end[0]}:{end[1]}")


@given(st.data())
def test_scapy_reads_and_recomputes_what_we_compose(draw):
    six, over_udp = draw.draw(st.booleans()), draw.draw(st.booleans())
    end = ends(addresses6 if six else addresses4, packets.ports)
    wanted = {"source": end, "destination": end, "payload": payloads, **(common6 if six else common4), **vlans}
    if not six:
        wanted["ip_options"] = st.sampled_from([b"", b"\x94\x04\0\0", b"\x01\x01\x01\x00"])
    if not over_udp:
        wanted |= {"flags": number(8), "sequence": number(32), "acknowledgment": number(32), "options": tcp_bytes}
    says = draw.draw(st.fixed_dictionaries(wanted))
    raw = (compose.udp_frame if over_udp else compose.tcp_frame)(**says)
    theirs = Ether(raw)
    assert rebuilt(raw, *([] if six else [IP]), UDP if over_udp else TCP) == raw
    ip, part = theirs[IPv6 if six else IP], theirs[UDP if over_udp else TCP]
    host, port = says["destination"].rsplit(":", 1)
    assert (address(ip.dst), part.dport) == (address(host.strip("[]")), int(port))
    assert bytes(part)[-len(says["payload"]) :] == says["payload"] or not says["payload"]
    assert (ip.hlim, ip.tc) == (says["ttl"], says["tos"]) if six else (ip.ttl, ip.tos) == (says["ttl"], says["tos"])
    tags = (says["vlan"],) if isinstance(says["vlan"], int) else says["vlan"]
    assert [tag.vlan for tag in theirs.iterpayloads() if isinstance(tag, Dot1Q | Dot1AD)] == list(tags)
    if not over_udp:
        assert (int(part.flags), part.seq, part.ack) == (says["flags"], says["sequence"], says["acknowledgment"])


@given(addresses4, addresses4, number(16), number(16), payloads)
def test_scapy_recomputes_our_pings(source, destination, identifier, sequence, load):
    raw = compose.icmp_frame(
        source=source, destination=destination, identifier=identifier, sequence=sequence, payload=load
    )
    assert rebuilt(raw, IP, ICMP) == raw
    assert (Ether(raw)[ICMP].id, Ether(raw)[ICMP].seq) == (identifier, sequence)


@given(addresses6, addresses6, number(16), payloads)
def test_scapy_recomputes_our_pings_over_ipv6(source, destination, sequence, load):
    raw = compose.icmp_frame(source=source, destination=destination, sequence=sequence, payload=load)
    packet = Ether(raw)
    packet.clear_cache()
    del packet[ICMPv6EchoRequest].cksum
    assert bytes(packet) == raw


def test_udp_never_sends_zero_for_a_computed_zero():
    def stored(word):
        return Ether(compose.udp_frame(payload=word.to_bytes(2, "big")))[UDP].chksum

    completes_to_zero = stored(0)  # adding the checksum of the rest makes the sum all ones
    assert completes_to_zero not in (0, 0xFFFF)
    assert stored(completes_to_zero) == 0xFFFF


@pytest.mark.parametrize(
    ("says", "complaint"),
    [
        ({"source": "10.0.0.256:80"}, "source: '10.0.0.256' is no IP address; '10.0.0.1'"),
        ({"source": "2001:db8::1:80"}, "source: '2001:db8::1:80' is no address with a port"),
        ({"destination": "10.0.0.1"}, "destination: '10.0.0.1' is no address with a port"),
        ({"destination": "10.0.0.1:70000"}, "destination port: 70000 does not fit; it must be 0 to 65535"),
        ({"destination": "[::1]:80"}, "destination: ::1 is not of the family of source 10.0.0.1"),
        ({"ttl": 256}, "ttl: 256 does not fit; it must be 0 to 255"),
        ({"sequence": -1}, "sequence: -1 does not fit"),
        ({"options": b"123"}, "options: 3 bytes; they must be a multiple of 4"),
        ({"vlan": (1, 2, 3)}, "vlan: 3 tags; at most two"),
        ({"vlan": 4096}, "vlan: 4096 does not fit; it must be 0 to 4095"),
        ({"source_mac": "2:0:0:0:0:1"}, "source_mac: '2:0:0:0:0:1' is no hardware address"),
        ({"payload": bytes(65500)}, "packet length: 65540 does not fit"),
        ({"fragment_offset": 4}, "fragment_offset: 4 is not a multiple of 8"),
    ],
)
def test_compose_names_the_field_the_value_and_what_would_be_right(says, complaint):
    with pytest.raises(ValueError, match="^" + complaint.replace("[", r"\[").replace("(", r"\(")):
        compose.tcp_frame(**says)


@given(packets.ipv6_packets(most=9))
def test_the_walk_ends_after_so_many_extension_headers(packet):
    chain = sum(packets.NUMBERS.get(type(part), 6) in ipv6.EXTENSIONS for part in packet.iterpayloads())
    verdict = TOO_MANY_HEADERS if chain > ipv6.MAX_EXTENSIONS else OK
    assert ipv6.parse(view(bytes(packet))).verdict == verdict
