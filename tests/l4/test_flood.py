"""A SYN flood in the test-bed, and what keeps good clients served: bounded, a few thousand packets a second."""

from __future__ import annotations

import numpy as np
import pytest

from lbcore.l4.guard import Guard
from lbcore.measure import under_fire
from lbcore.measure.under_fire import FORGED, FOUR, Case, cases, outcome
from lbcore.testbed.under_attack import PORT, VIP, Arena
from lbcore.wire.compose import tcp_frame
from lbcore.wire.dissect import dissect
from lbcore.wire.floods import forged, senders
from tests import needs

SYN = tcp_frame(source="192.0.2.1:1024", destination=f"{VIP}:{PORT}")
random = np.random.default_rng(7)
CONTROLS = {
    "no flood": Case(FORGED[:0], Guard(), cookies=False, helps=True),
    "four sources, nothing done": Case(FOUR, Guard(), cookies=False, helps=False),
}


def test_forged_packets_are_right_in_every_checksum():
    ports = random.integers(0, 65536, 300, dtype=np.uint16)
    for frame in (row.tobytes() for row in forged(SYN, senders("0.0.0.0/0", 300, random), ports)):
        layers = dissect(frame)
        assert [layer.name for layer in layers][:3] == ["ethernet", "ipv4", "tcp"]
        address = ".".join(map(str, frame[26:30]))
        port = int.from_bytes(frame[34:36], "big")
        assert frame == tcp_frame(source=f"{address}:{port}", destination=f"{VIP}:{PORT}")


def test_only_what_can_be_forged_is():
    with pytest.raises(ValueError, match="TCP or UDP over IPv4"):
        forged(SYN[:12] + b"\x08\x06" + SYN[14:], np.zeros(1, np.uint32), np.zeros(1, np.uint16))


@pytest.fixture(scope="module")
def arena():
    with Arena() as one:
        yield one


@needs.tier(2)
@pytest.mark.parametrize("name", cases() | CONTROLS)
def test_good_clients_under_a_flood(name, arena):
    case = (cases() | CONTROLS)[name]
    seen = outcome(case, arena=arena, seconds=1.0)
    assert seen.due >= 30
    assert seen.flood > 2000 or not len(case.senders)
    assert seen.goodput > 0.9 if case.helps else seen.goodput < 0.3, seen
    assert (seen.cookies_sent > 500) == case.cookies
    assert seen.cookies_back >= seen.answered or not case.cookies


@needs.tier(2)
def test_the_curve_falls_where_the_places_are_used_up_and_early_drop_keeps_it_flat():
    seen = under_fire.curve()
    assert seen["SYNs a second"] == list(under_fire.RATES)
    assert seen["let through"][0] > 90
    assert max(seen["let through"][-2:]) < 20
    assert min(seen["dropped early"]) > 80
