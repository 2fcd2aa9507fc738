"""Katran's own fixtures: one balancer that it would take for another Katran, byte for byte, on every target."""

from __future__ import annotations

import base64
from functools import cache

import pytest
from scapy.layers.inet import UDP
from scapy.layers.inet6 import IPv6
from scapy.layers.l2 import Ether

from lbcore.l4 import flags
from lbcore.l4.config import Backend, Config, Service
from tests import needs, vectors
from tests.l4 import targets

VERDICTS = {"XDP_DROP": 1, "XDP_PASS": 2, "XDP_TX": 3}
FLAGS = {"dport_hash": flags.BY_DESTINATION_PORT, "quic": flags.QUIC, "udp_flow_migration": 0}
pytestmark = needs.vectors("katran")


@cache
def config(mode, ring="katran"):
    told = vectors.load("katran/config.json")
    pools = {name: [Backend(address) for address in addresses] for name, addresses in told["reals"].items()} | {
        None: []
    }
    services = [
        Service(
            vip["ip"], vip["port"], vip["proto"], mode, pools[vip["reals"]], sum(FLAGS[f] for f in vip.get("flags", ()))
        )
        for vip in told["vips"]
    ]
    ids = {int(number): address for number, address in told["quic_server_ids"].items() if number != "note"}
    ids |= {0x030000 | number: address for number, address in ids.items()}
    constants = told["constants"]
    return Config(
        services,
        gateway=constants["default_mac"],
        source4=constants["gue_src4"],
        source6=constants["gue_src6"],
        spread4=constants["ipip_v4_src_prefix"],
        spread6=constants["ipip_v6_src"],
        gue_port=constants["gue_dport_in_fixtures"],
        max_frame=constants["MAX_PCKT_SIZE"],
        server_ids=ids,
        ring=ring,
    )


@cache
def cases():
    return [
        (case["description"], base64.b64decode(case["input"]), VERDICTS[case["ret"]], base64.b64decode(case["output"]))
        for case in vectors.load("katran/base.json")["cases"]
    ]


@pytest.mark.parametrize(
    "target",
    [targets.InPython, targets.InNumba, targets.InMachine, pytest.param(targets.InKernel, marks=needs.tier(2))],
)
def test_every_case_in_order_verdict_and_bytes(target):
    balancer = target(config("ipip"))
    try:
        wrong = [what for what, frame, *expected in cases() if [*balancer.run(frame)] != expected]
    finally:
        balancer.close()
    assert len(cases()) == 36
    assert not wrong


def udp_checksum(frame):
    """What scapy computes over a frame's outer UDP datagram."""
    packet = Ether(frame)
    del packet[UDP].chksum
    return Ether(bytes(packet))[UDP].chksum


def inner_is_right(frame):
    """Are the checksums of a plain frame what scapy would write?"""
    packet = Ether(frame)
    for layer in packet.layers():
        if "chksum" in [field.name for field in layer.fields_desc]:
            del packet[layer].chksum
    return bytes(packet) == frame


def test_gue_wraps_the_same_packets_and_its_checksum_is_that_of_all_its_bytes():
    """Katran's is not, of an ICMP error over IPv4 (see `tunnel.inner_sum`); ours is."""
    ipip, gue = targets.InPython(config("ipip")), targets.InPython(config("gue"))
    ours = targets.InPython(config("gue", "maglev"))
    wrapped = 0
    for what, frame, verdict, output in cases():
        assert ipip.run(frame) == (verdict, output)
        got, out = gue.run(frame)
        own = ours.run(frame)[1]
        assert got == verdict, what
        if Ether(frame).payload == Ether(out).payload or verdict != 3 or "echo" in what:
            continue
        plain, tunnel = Ether(output), Ether(out)
        assert tunnel[UDP].dport == 9886
        assert bytes(tunnel[UDP].payload) == frame[14:], what
        assert tunnel.payload.dst == plain.payload.dst, "the same backend as by IPIP"
        length = len(tunnel.payload) - 40 if IPv6 in tunnel else len(tunnel.payload) - 20
        assert tunnel[UDP].len == length
        if inner_is_right(frame):
            wrapped += 1
            assert Ether(own)[UDP].chksum == udp_checksum(own), what
            assert (tunnel[UDP].chksum == udp_checksum(out)) == ("v4 ICMP" not in what), what
    assert wrapped >= 15
