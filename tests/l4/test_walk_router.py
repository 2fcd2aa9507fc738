"""The walk's router is the kernel's: the same frame through a real one arrives with the same bytes."""

from __future__ import annotations

import pytest

from lbcore.l4.walk import BALANCER, CLIENT, VIP, arriving, from_client
from lbcore.testbed.hosts import Topology
from tests import needs

pytestmark = needs.tier(1)


def address(mac: str) -> bytes:
    return bytes.fromhex(mac.replace(":", ""))


@pytest.mark.parametrize("size", [0, 1, 1460])
def test_a_real_router_changes_the_same_bytes(size):
    with Topology() as net:
        client, router, balancer = net.host("client"), net.host("router", forward=True), net.host("balancer")
        net.link(client, router, f"{CLIENT}/24", "198.51.100.1/24")
        net.link(router, balancer, "10.0.0.1/24", f"{BALANCER}/24")
        near, far, end = router.interfaces["eth0"].mac, router.interfaces["eth1"].mac, balancer.interfaces["eth0"].mac
        router.route(f"{VIP}/32", via=BALANCER)
        router.neighbour(BALANCER, end, "eth1")
        sent = address(near) + address(client.interfaces["eth0"].mac) + from_client(payload=bytes(size))[12:]
        with balancer.capture("eth0") as ear, client.packet_socket("eth0") as wire:
            wire.send(sent)
            ear.wait(lambda frames: any(f.way == "in" for f in frames))
            (arrived,) = [f.frame for f in ear.frames() if f.frame[12:14] == b"\x08\x00"]
    assert arrived == address(end) + address(far) + arriving(payload=bytes(size))[12:]
