"""The readable view: it says what scapy says, it covers every bit once, and no bytes can upset it."""

from __future__ import annotations

import ipaddress
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scapy.layers.inet import ICMP, IP, TCP, UDP
from scapy.layers.inet6 import IPv6
from scapy.layers.l2 import ARP, Dot1AD, Dot1Q, Ether

from lbcore.wire import checksum, compose, ethernet, fields, icmp, ipv4, ipv6, tcp, udp
from lbcore.wire.dissect import MAX_LAYERS, dissect, find
from lbcore.wire.seam import Frame, advance, view
from lbcore.wire.summary import summary
from lbcore.wire.verdict import (
    BAD_HEADER_LENGTH,
    BAD_OPTION,
    BAD_TOTAL_LENGTH,
    BAD_VERSION,
    OK,
    TEXT,
    TOO_MANY_HEADERS,
)
from tests.wire import corpus, packets

DATA = ("payload", "padding", "unreadable")


def kind(layer):
    return layer.name.removeprefix("quoted ")


def bits(frame, offset, size):
    return int.from_bytes(frame, "big") >> (8 * len(frame) - offset - size) & ((1 << size) - 1)


def covers(frame, **how):
    """Dissects a frame and checks what must hold for any bytes."""
    layers = dissect(frame, **how)
    assert layers[0].offset == 0
    assert all(one.offset + one.length == next_.offset for one, next_ in pairwise(layers))
    assert layers[-1].offset + layers[-1].length == len(frame)
    for layer in layers:
        assert layer.length > 0 or layer.note in {*TEXT.values(), "the quote ends here"}
        assert all(one.bit_offset + one.bits == next_.bit_offset for one, next_ in pairwise(layer.fields))
        if layer.fields:
            assert layer.fields[0].bit_offset == 8 * layer.offset
            assert layer.fields[-1].bit_offset + layer.fields[-1].bits <= 8 * (layer.offset + layer.length)
        fixed = {"ipv4": len(fields.IPV4), "tcp": len(fields.TCP)}.get(kind(layer))
        for field in layer.fields[:fixed]:
            assert field.value == bits(frame, field.bit_offset, field.bits)
    assert summary(frame, **how).endswith(f"{len(frame)} bytes")
    return layers


@given(packets.frames().map(bytes))
def test_every_bit_of_a_good_frame_belongs_to_one_field(frame):
    for layer in covers(frame):
        assert sum(field.bits for field in layer.fields) == 8 * layer.length, layer
        assert layer.note not in TEXT.values() or layer.note == TEXT[TOO_MANY_HEADERS]


@given(st.binary(max_size=200), st.sampled_from(["ethernet", "ipv4", "ipv6", "tcp", "udp", "icmp", "icmpv6", "arp"]))
def test_no_bytes_upset_it(frame, first):
    covers(frame, first=first)


@pytest.mark.parametrize("frame", corpus.FRAMES, ids=summary)
def test_no_cut_upsets_it(frame):
    whole = dissect(frame)
    for length in range(len(frame)):
        covers(corpus.cut(frame, length))
        layers = covers(frame[:length])
        assert [layer.name for layer in layers[: len(layers) - 1]] == [layer.name for layer in whole[: len(layers) - 1]]


@given(
    st.sampled_from(corpus.FRAMES),
    st.lists(st.tuples(st.integers(12, 75), st.integers(0, 255)), min_size=1, max_size=4),
)
def test_no_spoiling_upsets_it(frame, changes):
    spoiled = bytearray(frame)
    for at, value in changes:
        spoiled[at % len(frame)] = value
    covers(bytes(spoiled))


def v4(text):
    return int(ipaddress.ip_address(text))


def mac(text):
    return int(text.replace(":", ""), 16)


FIELDS = {
    "ethernet": (Ether, {"destination": lambda e: mac(e.dst), "source": lambda e: mac(e.src), "ethertype": "type"}),
    "ipv4": (
        IP,
        {"version": "version", "header_length": "ihl", "dscp": lambda ip: ip.tos >> 2, "ecn": lambda ip: ip.tos & 3}
        | {"total_length": "len", "identification": "id", "fragment_offset": "frag", "ttl": "ttl", "protocol": "proto"}
        | {"dont_fragment": lambda ip: "DF" in ip.flags, "more_fragments": lambda ip: "MF" in ip.flags}
        | {"checksum": "chksum", "source": lambda ip: v4(ip.src), "destination": lambda ip: v4(ip.dst)},
    ),
    "ipv6": (
        IPv6,
        {"version": "version", "dscp": lambda ip: ip.tc >> 2, "ecn": lambda ip: ip.tc & 3, "flow_label": "fl"}
        | {"payload_length": "plen", "next_header": "nh", "hop_limit": "hlim"}
        | {"source": lambda ip: v4(ip.src), "destination": lambda ip: v4(ip.dst)},
    ),
    "tcp": (
        TCP,
        {"source_port": "sport", "destination_port": "dport", "sequence": "seq", "acknowledgment": "ack"}
        | {"header_length": "dataofs", "reserved": "reserved", "flags": lambda t: int(t.flags) & 255}
        | {"window": "window", "checksum": "chksum", "urgent": "urgptr"},
    ),
    "udp": (UDP, {"source_port": "sport", "destination_port": "dport", "total_length": "len", "checksum": "chksum"}),
    "icmp": (ICMP, {"type": "type", "code": "code", "checksum": "chksum", "identifier": "id", "sequence": "seq"}),
}


@given(packets.frames(packets.ipv4_packets() | packets.ipv6_packets(most=0)).map(bytes))
def test_every_field_says_what_scapy_says(frame):
    theirs, layers = Ether(frame), dissect(frame)
    for layer in layers:
        if layer.name in FIELDS:
            theirs_kind, names = FIELDS[layer.name]
            part = theirs[theirs_kind]
            for name, says in names.items():
                expected = says(part) if callable(says) else getattr(part, says)
                assert layer.field(name).value == expected, (layer.name, name)
    ours = {layer.name for layer in layers}
    assert [
        (tag.vlan, tag.prio, tag.dei, tag.type) for tag in theirs.iterpayloads() if isinstance(tag, Dot1Q | Dot1AD)
    ] == [
        tuple(layer.field(name).value for name in ("vlan_id", "priority", "drop_eligible", "ethertype"))
        for layer in layers
        if layer.name == "vlan"
    ]
    assert {"tcp": TCP in theirs, "udp": UDP in theirs} == {"tcp": "tcp" in ours, "udp": "udp" in ours}


@given(packets.ipv6_packets().map(lambda packet: (packet, bytes(packet))))
def test_every_extension_header_is_a_layer_of_its_own(made):
    packet, raw = made
    names = [
        fields.PROTOCOLS[number]
        for part in packet.iterpayloads()
        if (number := packets.NUMBERS.get(type(part))) in ipv6.EXTENSIONS
    ]
    layers = covers(raw, first="ipv6")
    assert [layer.name for layer in layers[1 : 1 + len(names)]] == names
    assert (
        layers[0].length + sum(layer.length for layer in layers[1 : 1 + len(names)])
        == ipv6.parse(view(raw)).header_length
    )


@given(packets.frames(packets.ipv4_packets() | packets.ipv6_packets(extensions=packets.checksummed)).map(bytes))
def test_scapys_checksums_are_right_and_spoiled_ones_are_put_right(frame):
    for layer in dissect(frame):
        names = [field.name for field in layer.fields]
        if "checksum" not in names:
            continue
        field = layer.field("checksum")
        if "not checked" in field.text:
            assert "fragment" in field.text
            continue
        assert field.text == f"0x{field.value:04x} (right)"
        at = field.bit_offset // 8
        wrong = field.value ^ 0x0101
        if layer.name == "udp" and wrong == 0:
            continue
        spoiled = frame[:at] + wrong.to_bytes(2, "big") + frame[at + 2 :]
        text = find(dissect(spoiled), layer.name).field("checksum").text
        assert text in (
            f"0x{wrong:04x} (wrong: should be 0x{field.value:04x})",
            f"0x{wrong:04x} (left to the network card: should become 0x{field.value:04x})",
        )


def test_a_checksum_left_to_the_network_card_is_not_called_wrong():
    frame = compose.tcp_frame(payload=b"hello")
    segment = find(dissect(frame), "tcp")
    header = ipv4.parse(advance(view(frame), 14))
    unfinished = checksum.fold(ipv4.pseudo_header(header))
    frame = frame[:50] + unfinished.to_bytes(2, "big") + frame[52:]
    right = segment.field("checksum").value
    text = find(dissect(frame), "tcp").field("checksum").text
    assert text == f"0x{unfinished:04x} (left to the network card: should become 0x{right:04x})"


@pytest.mark.parametrize(
    ("frame", "name", "why"),
    [
        (compose.udp_frame()[:40] + b"\0\0", "udp", "none was sent"),
        (compose.udp_frame(payload=b"12345678")[:-1], "udp", "the packet is not all here"),
        (compose.tcp_frame(more_fragments=True), "tcp", "only a fragment is here"),
        (corpus.FRAMES[-1], "icmpv6", "it covers the last hop of the routing header"),
    ],
)
def test_a_checksum_that_cannot_be_checked_says_why(frame, name, why):
    assert find(dissect(frame), name).field("checksum").text.endswith(f"(not checked: {why})")


OPTIONS = {
    "MSS": ("maximum_segment_size", lambda mss: mss),
    "WScale": ("window_scale", lambda shift: shift),
    "SAckOK": ("sack_permitted", lambda _: 0),
    "SAck": ("sack", lambda edges: edges[0] << 32 | edges[1]),
    "Timestamp": ("timestamps", lambda times: times[0] << 32 | times[1]),
    "NOP": ("no_operation", lambda _: 0),
}


@given(packets.tcps.map(bytes))
def test_options_have_scapys_names_and_values(raw):
    listed = [(OPTIONS[name][0], OPTIONS[name][1](value)) for name, value in TCP(raw).options if name != "EOL"]
    (layer,) = dissect(raw, first="tcp")
    found = [(field.name, field.value) for field in layer.fields[len(fields.TCP) :]]
    assert [pair for pair in found if pair[0] not in ("end_of_options", "unused")] == listed


def test_options_are_told_to_people():
    frame = compose.tcp_frame(
        options=bytes.fromhex("020405b4 01030307 0402 080a 00000001 00000002 0101 fd04abcd 0101"),
        ip_options=bytes([148, 4, 0, 0]),
    )
    text = {field.name: field.text for field in find(dissect(frame), "tcp").fields}
    assert text["maximum_segment_size"] == "1460 bytes"
    assert text["window_scale"] == "times 128"
    assert text["timestamps"] == "sent 1, echoes 2"
    assert text["option_253"] == "ab cd"
    assert find(dissect(frame), "ipv4").field("router_alert").value == 0
    cut = frame[: 14 + 24 + 20] + bytes([5, 10]) + frame[14 + 24 + 22 :]
    assert "sack" in [field.name for field in find(dissect(cut), "tcp").fields]
    bad = frame[: 14 + 24 + 20] + bytes([5, 0]) + frame[14 + 24 + 22 :]
    layer = find(dissect(bad), "tcp")
    assert (layer.fields[-1].name, layer.note) == ("malformed", "an option runs past the end of the header")


def parsed(frame, layer):
    p = advance(view(frame), layer.offset)
    return {"ethernet": ethernet, "ipv4": ipv4, "ipv6": ipv6, "tcp": tcp, "udp": udp, "icmp": icmp}[layer.name].parse(p)


@given(st.sampled_from(corpus.FRAMES), st.sampled_from([14, 16, 17]), st.integers(0, 255))
def test_a_bad_ip_header_gets_the_parsers_verdict_and_the_rest_is_unreadable(frame, at, value):
    spoiled = frame[:at] + bytes([value]) + frame[at + 1 :]
    ip, *following = dissect(spoiled)[1:]
    if ip.name not in ("ipv4", "ipv6"):
        return
    verdict = parsed(spoiled, ip).verdict
    if verdict in (BAD_VERSION, BAD_HEADER_LENGTH, BAD_TOTAL_LENGTH):
        assert ip.note == TEXT[verdict]
    if verdict in (BAD_VERSION, BAD_HEADER_LENGTH):
        assert [layer.name for layer in following] == ["unreadable"]
    if verdict == OK:
        assert ip.note in ("", TEXT[BAD_OPTION])


@pytest.mark.parametrize(
    ("at", "value", "layer", "verdict"),
    [
        (14, 0x65, "ipv4", "the version field names another protocol"),
        (14, 0x44, "ipv4", "the header says it is shorter than its fixed part"),
        (16, 0xFF, "ipv4", "the length field is shorter than the header, or longer than what arrived"),
        (46, 0x40, "tcp", "the header says it is shorter than its fixed part"),
        (46, 0xF0, "tcp", "the packet ends before the header does"),
    ],
)
def test_a_malformed_header_is_read_and_named(at, value, layer, verdict):
    frame = bytearray(compose.tcp_frame(payload=b"behind"))
    frame[at] = value
    layers = covers(bytes(frame))
    assert find(layers, layer).note == verdict
    assert TEXT[parsed(bytes(frame), find(layers, layer)).verdict] == verdict


def test_a_quote_is_dissected_with_names_of_its_own():
    about = compose.tcp_frame(source="10.0.0.1:40000", destination="10.0.0.9:80", payload=b"too long")
    frame = compose.icmp_frame(
        source="10.9.9.9", destination="10.0.0.1", type=3, code=4, sequence=1400, payload=about[14:42]
    )
    layers = covers(frame + bytes(8))
    assert [layer.name for layer in layers] == ["ethernet", "ipv4", "icmp", "quoted ipv4", "quoted tcp", "padding"]
    assert find(layers, "icmp").field("next_hop_mtu").text == "1400 bytes"
    assert find(layers, "icmp").field("code").text == "4 (fragmentation needed)"
    assert find(layers, "quoted tcp").field("destination_port").value == 80
    assert find(layers, "quoted tcp").note == "the quote ends here"


def test_an_error_about_an_error_is_not_followed():
    inner = compose.icmp_frame(type=icmp.TIME_EXCEEDED, payload=compose.tcp_frame()[14:])
    layers = covers(compose.icmp_frame(type=icmp.TIME_EXCEEDED, payload=inner[14:]))
    assert [layer.name for layer in layers[3:]] == ["quoted ipv4", "quoted icmp", "quoted payload"]


def test_tunnels_in_tunnels_end():
    frame = compose.tcp_frame()[14:]
    for _ in range(2000):
        frame = compose.ip_frame(protocol=4, payload=frame)[14:]
    layers = covers(frame, first="ipv4")
    assert len(layers) == MAX_LAYERS + 1
    assert (layers[-1].name, layers[-1].note) == ("unreadable", TEXT[TOO_MANY_HEADERS])


@pytest.mark.parametrize(
    ("frame", "line"),
    [
        (compose.tcp_frame(destination="10.0.0.2:80") + bytes(6), "10.0.0.1:40000 > 10.0.0.2:80 TCP SYN 60 bytes"),
        (
            compose.udp_frame(source="[2001:db8::1]:4", destination="[::2]:53", vlan=(5, 6)),
            "VLAN 5 VLAN 6 [2001:db8::1]:4 > [::2]:53 UDP 70 bytes",
        ),
        (compose.icmp_frame(), "10.0.0.1 > 10.0.0.9 ICMP echo request 42 bytes"),
        (
            corpus.FRAMES[8],
            "10.0.0.1 > 10.0.0.9 ICMP destination unreachable about 10.0.0.1:40000 > 10.0.0.9:80 TCP 70 bytes",
        ),
        (corpus.FRAMES[12], "ARP who has 10.0.0.2, tell 10.0.0.1 60 bytes"),
        (
            bytes(
                Ether(dst="02:00:00:00:00:01") / ARP(op=2, psrc="10.0.0.2", hwsrc="02:00:00:00:00:02", pdst="10.0.0.1")
            ),
            "ARP 10.0.0.2 is at 02:00:00:00:00:02 42 bytes",
        ),
        (
            compose.ip_frame(protocol=132, payload=b"1234"),
            "10.0.0.1 > 10.0.0.9 (protocol 132 (SCTP): not read any further) 38 bytes",
        ),
        (b"", "(ethernet: the packet ends before the header does) 0 bytes"),
    ],
)
def test_a_frame_in_one_line(frame, line):
    assert summary(frame) == line


def test_a_frame_that_can_grow_is_read_like_its_bytes():
    frame = compose.tcp_frame()
    assert dissect(Frame(frame)) == dissect(bytearray(frame)) == dissect(frame)


def test_what_is_not_there_is_named_with_what_is():
    layers = dissect(compose.udp_frame())
    with pytest.raises(KeyError, match="no layer 'tcp'; there is ethernet, ipv4, udp"):
        find(layers, "tcp")
    with pytest.raises(KeyError, match="udp has no field 'ttl'; it has source_port"):
        find(layers, "udp").field("ttl")
    with pytest.raises(ValueError, match="first: 'ip' is no layer; it must be one of ethernet"):
        dissect(b"", first="ip")


@pytest.mark.parametrize("table", ["ETHERNET", "VLAN", "ARP", "IPV4", "IPV6", "TCP", "UDP", "FRAGMENT"])
def test_a_table_fills_its_header(table):
    size = {"ETHERNET": 14, "VLAN": 4, "ARP": 28, "IPV4": 20, "IPV6": 40, "TCP": 20, "UDP": 8, "FRAGMENT": 8}[table]
    assert sum(width for _, width, _ in getattr(fields, table)) == 8 * size


def names(frame):
    return [layer.name for layer in dissect(frame)]


def test_gre_and_gue_are_opened():
    inner = compose.tcp_frame()[14:]
    gre = compose.ip_frame(protocol=47, payload=bytes.fromhex("00000800") + inner)
    gue = compose.udp_frame(destination="10.0.0.9:6080", payload=inner)
    assert names(gre) == ["ethernet", "ipv4", "gre", "ipv4", "tcp"]
    assert names(gue) == ["ethernet", "ipv4", "udp", "ipv4", "tcp"]
    assert all("wrong" not in field.text for layer in dissect(gue) for field in layer.fields)


def test_gre_with_optional_fields_and_other_data_on_gues_port_are_left_alone():
    assert names(compose.ip_frame(protocol=47, payload=bytes.fromhex("20000800") + bytes(24)))[-1] == "payload"
    assert names(compose.ip_frame(protocol=47, payload=b"\0\0"))[-1] == "gre"
    for payload in (b"", b"\x00data", b"\x4f"):
        assert names(compose.udp_frame(destination="10.0.0.9:6080", payload=payload))[:3] == ["ethernet", "ipv4", "udp"]
