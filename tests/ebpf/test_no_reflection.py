"""The chapter's first program: what it drops, said by another parser."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from scapy.layers.inet import IP, UDP
from scapy.layers.l2 import Ether

from lbcore.ebpf import kernel
from lbcore.ebpf.contexts import XDP_DROP, XDP_PASS
from lbcore.ebpf.machine import Machine
from lbcore.ebpf.programs.no_reflection import no_reflection
from lbcore.wire.compose import tcp_frame, udp_frame
from tests import needs

ANSWER = udp_frame(source="192.0.2.53:53", destination="10.0.0.9:4000", payload=bytes(20))
OTHERS = (
    udp_frame(source="192.0.2.53:54", destination="10.0.0.9:53"),
    tcp_frame(source="192.0.2.53:53", destination="10.0.0.9:4000"),
    udp_frame(source="[2001:db8::1]:53", destination="[2001:db8::9]:4000"),
    udp_frame(source="192.0.2.53:53", destination="10.0.0.9:4000", ip_options=bytes(4)),
    udp_frame(source="192.0.2.53:53", destination="10.0.0.9:4000", vlan=3),
)
MACHINE = Machine(no_reflection.object.program)


def wanted(packet: bytes) -> int:
    """By scapy: plain Ethernet, IPv4 without options, UDP, from port 53."""
    link = Ether(packet)
    plain = IP in link and link.type == 0x0800 and link[IP].version == 4 and link[IP].ihl == 5 and len(packet) >= 38
    return XDP_DROP if plain and UDP in link and link[UDP].sport == 53 else XDP_PASS


def test_answers_are_dropped_and_nothing_else():
    assert [MACHINE.run(packet).verdict for packet in (ANSWER, *OTHERS)] == [XDP_DROP] + [XDP_PASS] * len(OTHERS)
    assert [wanted(packet) for packet in (ANSWER, *OTHERS)] == [XDP_DROP] + [XDP_PASS] * len(OTHERS)


@given(
    st.sampled_from((ANSWER, *OTHERS)),
    st.one_of(st.integers(14, 37), st.integers(42, 80)),  # scapy wants a whole UDP header, we its port
    st.lists(st.tuples(st.integers(12, 37), st.integers(0, 255)), max_size=2),
)
@settings(deadline=None)
def test_python_machine_and_another_parser_agree(packet, length, changes):
    changed = bytearray(packet[:length])
    for at, value in changes:
        if at < len(changed) and at not in (20, 21):  # scapy looks no further into a later fragment
            changed[at] = value
    data = bytes(changed)
    assert no_reflection(data) == MACHINE.run(data).verdict == wanted(data)


@needs.tier(2)
def test_the_kernel_agrees():
    with kernel.load(no_reflection.object) as program:
        assert [program.test_run(packet).verdict for packet in (ANSWER, *OTHERS)] == [1] + [2] * len(OTHERS)
