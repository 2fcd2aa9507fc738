"""Tunnels opened: what is inside comes out to the byte, and what is no whole tunnel passes as it came."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from scapy.layers.inet import IP, TCP, UDP, IPOption_NOP
from scapy.layers.inet6 import IPv6, IPv6ExtHdrDestOpt, IPv6ExtHdrFragment
from scapy.layers.l2 import GRE, Dot1Q, Ether
from scapy.packet import NoPayload, Raw

from lbcore.ebpf import kernel
from lbcore.ebpf.contexts import XDP_PASS
from lbcore.ebpf.programs import decapsulate as program
from lbcore.ebpf.programs.decapsulate import decapsulate, opened
from lbcore.wire.seam import Frame
from tests import needs
from tests.ebpf.ladder import empty, entries, machine

LINK = Ether(src="02:00:00:00:00:01", dst="02:00:00:00:00:02")
OUTER = {4: IP(src="10.0.0.2", dst="10.0.0.3"), 6: IPv6(src="fd00::2", dst="fd00::3")}
INNER = {
    4: IP(src="198.51.100.9", dst="203.0.113.1") / TCP(sport=4000, dport=80) / b"to the virtual address",
    6: IPv6(src="2001:db8:c::9", dst="2001:db8:f::1") / UDP(sport=4000, dport=53) / b"likewise",
}
BETWEEN = {"ipip": NoPayload(), "gre": GRE(), "gue": UDP(sport=50000, dport=6080)}
NUMBER = {"ipip": program.IPIP, "gre": program.GRE, "gue": program.GUE}


@pytest.fixture(autouse=True)
def empty_maps() -> Iterator[None]:
    empty(decapsulate.maps)
    yield
    empty(decapsulate.maps)


def tunnel(kind: str, outer: int, inner: int) -> bytes:
    return bytes(LINK / OUTER[outer] / BETWEEN[kind] / INNER[inner])


def everywhere(frame: bytes) -> bytes:
    """What comes out, on every target there is; each of them passes it."""
    empty(decapsulate.maps)
    plain = Frame(frame)
    assert int(decapsulate(plain)) == XDP_PASS
    counted = entries({"opened": opened.storage})
    empty(decapsulate.maps)
    done = machine(decapsulate).run(frame)
    assert (done.verdict, done.packet, entries({"opened": opened.storage})) == (XDP_PASS, bytes(plain), counted)
    return bytes(plain)


TUNNELS = [(kind, outer, inner) for kind in BETWEEN for outer in (4, 6) for inner in (4, 6)]


@pytest.mark.parametrize(("kind", "outer", "inner"), TUNNELS)
def test_what_is_inside_comes_out(kind: str, outer: int, inner: int) -> None:
    assert everywhere(tunnel(kind, outer, inner)) == bytes(LINK / INNER[inner])
    assert [opened[number] for number in range(3)] == [int(number == NUMBER[kind]) for number in range(3)]


@needs.tier(2)
def test_the_kernel_opens_them_too() -> None:
    with kernel.load(decapsulate.object) as loaded:
        for kind, outer, inner in TUNNELS:
            assert loaded.test_run(tunnel(kind, outer, inner))[:2] == (XDP_PASS, bytes(LINK / INNER[inner]))
        for frame in PASSED.values():
            assert loaded.test_run(frame)[:2] == (XDP_PASS, frame)
        assert sorted(entries(loaded.maps)["opened"].values()) == [4, 4, 4]


def with_fields(frame: bytes, **changes: int) -> bytes:
    packet = Ether(frame)
    for name, value in changes.items():
        setattr(packet.payload, name, value)
    return bytes(packet)


PASSED = {
    "no tunnel": bytes(LINK / INNER[4]),
    "UDP to another port": bytes(LINK / OUTER[4] / UDP(sport=6080, dport=6081) / Raw(bytes(INNER[4]))),
    "GUE with something else inside": bytes(LINK / OUTER[4] / UDP(dport=6080) / Raw(b"\x00" * 40)),
    "IPIP that says 4 and holds 6": bytes(LINK / IP(src="10.0.0.2", dst="10.0.0.3", proto=4) / Raw(bytes(INNER[6]))),
    "IPIP that says 6 and holds 4": bytes(LINK / IP(src="10.0.0.2", dst="10.0.0.3", proto=41) / Raw(bytes(INNER[4]))),
    "GRE with a key": bytes(LINK / OUTER[4] / GRE(key_present=1, key=7) / INNER[4]),
    "GRE with a sequence number": bytes(LINK / OUTER[6] / GRE(seqnum_present=1, sequence_number=7) / INNER[4]),
    "GRE that carries Ethernet": bytes(LINK / OUTER[4] / GRE(proto=0x6558) / LINK / INNER[4]),
    "the first fragment": with_fields(tunnel("ipip", 4, 4), flags=1),
    "a later fragment": with_fields(tunnel("ipip", 4, 4), frag=100),
    "an IPv6 fragment": bytes(LINK / OUTER[6] / IPv6ExtHdrFragment(m=1) / INNER[6]),
    "outer options": bytes(LINK / IP(src="10.0.0.2", dst="10.0.0.3", options=[IPOption_NOP()] * 4) / INNER[4]),
    "outer extension headers": bytes(LINK / OUTER[6] / IPv6ExtHdrDestOpt() / INNER[6]),
    "a VLAN tag": bytes(LINK / Dot1Q(vlan=7) / OUTER[4] / INNER[4]),
    "nothing inside": bytes(LINK / IP(src="10.0.0.2", dst="10.0.0.3", proto=4)),
    "19 bytes inside": bytes(LINK / IP(src="10.0.0.2", dst="10.0.0.3", proto=4) / Raw(bytes(INNER[4])[:19])),
}


@pytest.mark.parametrize("frame", PASSED.values(), ids=list(PASSED))
def test_what_is_no_whole_tunnel_passes_as_it_came(frame: bytes) -> None:
    assert everywhere(frame) == frame
    assert entries({"opened": opened.storage}) == {"opened": {}}


def test_a_tunnel_in_a_tunnel_loses_its_outer_one() -> None:
    inside = tunnel("ipip", 4, 6)
    nested = bytes(LINK / OUTER[6] / UDP(sport=1, dport=6080) / Raw(inside[14:]))
    assert everywhere(nested) == inside
    assert everywhere(inside) == bytes(LINK / INNER[6])


def test_a_cut_tunnel_never_breaks_anything() -> None:
    for kind, outer, inner in TUNNELS:
        whole = tunnel(kind, outer, inner)
        for length in range(14, len(whole)):
            assert everywhere(whole[:length]) == whole[:length]  # the outer header's length says more than there is
