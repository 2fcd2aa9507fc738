"""A SYN flood in the test-bed, and what keeps good clients served: bounded, a few thousand packets a second."""

from __future__ import annotations

import numpy as np
import pytest

from lbcore.l4.config import Backend, Config, Service
from lbcore.l4.guard import Guard
from lbcore.l4.xdp import InKernel
from lbcore.testbed.under_attack import PORT, VIP, goodput
from lbcore.wire.compose import tcp_frame
from lbcore.wire.dissect import dissect
from lbcore.wire.floods import forged, senders
from tests import needs

SYN = tcp_frame(source="192.0.2.1:1024", destination=f"{VIP}:{PORT}")
random = np.random.default_rng(7)


def flood(sources):
    ports = random.integers(1024, 65536, len(sources), dtype=np.uint16)
    return [row.tobytes() for row in forged(SYN, sources, ports)]


FORGED = flood(senders("198.18.0.0/15", 20_000, random))
FEW = flood(np.resize(senders("192.0.2.0/24", 4, random), 20_000))


def balancer(guard):
    def make(backends):
        pool = [Backend(address, 0, mac) for address, mac in backends]
        return InKernel(Config([Service(VIP, PORT, "tcp", "dsr", pool)]), guard=guard)

    return make


def test_forged_packets_are_right_in_every_checksum():
    for frame in FORGED[:200] + FEW[:20]:
        layers = dissect(frame)
        assert [layer.name for layer in layers][:3] == ["ethernet", "ipv4", "tcp"]
        address = ".".join(map(str, frame[26:30]))
        port = int.from_bytes(frame[34:36], "big")
        assert frame == tcp_frame(source=f"{address}:{port}", destination=f"{VIP}:{PORT}")


def test_only_what_can_be_forged_is():
    with pytest.raises(ValueError, match="TCP or UDP over IPv4"):
        forged(SYN[:12] + b"\x08\x06" + SYN[14:], np.zeros(1, np.uint32), np.zeros(1, np.uint16))


CASES = {
    "no flood": ((), Guard(), False, True),
    "a flood from anywhere, nothing done": (FORGED, Guard(), False, False),
    "dropped early, by its prefix": (FORGED, Guard(blocked=("198.18.0.0/15",)), False, True),
    "a limit is no help against forged senders": (FORGED, Guard(rate=1, burst=5), False, False),
    "the backends' SYN cookies": (FORGED, Guard(), True, True),
    "a flood from four senders, nothing done": (FEW, Guard(), False, False),
    "each source limited": (FEW, Guard(rate=1, burst=5), False, True),
}


@needs.tier(2)
@pytest.mark.parametrize("case", CASES)
def test_good_clients_under_a_flood(case):
    frames, guard, cookies, served = CASES[case]
    outcome = goodput(balancer(guard), frames, cookies=cookies)
    print(case, outcome)
    assert outcome.due >= 50
    assert outcome.flood > 2000 or not frames
    if served:
        assert outcome.goodput > 0.9
    else:
        assert outcome.goodput < 0.3
    assert (outcome.cookies_sent > 500) == cookies
    assert outcome.cookies_back >= outcome.answered // 2 or not cookies
