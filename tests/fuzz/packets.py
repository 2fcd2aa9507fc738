"""What must hold for any packets at all: each gets one verdict for one reason, and Python and compiled code agree.

Nothing is read or written outside a frame: in Python every access is checked by the seam; the compiled code gets the
frame right before a page that may not be touched.
"""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import numpy as np

from lbcore.l4 import core as plane
from lbcore.l4 import reasons
from lbcore.l4.config import Balancer
from lbcore.l4.forwarder import forward_batch
from lbcore.l4.tables import ACTIVE
from lbcore.wire import quic as ids
from lbcore.wire.seam import Frame, view
from lbcore.wire.seam_numba import new_cell
from tests.l4.corpus import CONFIGS
from tests.wire.page_end import page_before_a_wall

NOW = 1_000_000_000_000
LONGEST = 2047
MOST = 12
"""Packets of one input."""
STATE = 0xF000


class Pair:
    """The same balancer twice, with small tables that are pushed out of often."""

    def __init__(self, name: str) -> None:
        config = replace(CONFIGS[name], ring_size=251, flows=16)
        self.both = Balancer(config), Balancer(config)
        self.addresses = sorted({backend.address for backend in self.both[0].backends})
        self.page = page_before_a_wall()
        self.cell = new_cell()

    def restart(self) -> None:
        """As if no packet had ever come."""
        for balancer in self.both:
            t = balancer.tables
            for table in (t.established, t.attempts, t.returns):
                table.tags[:] = 0
            t.reason_counters[:] = 0
            t.clock[0] = NOW
            if set(balancer.states.values()) != {ACTIVE}:
                balancer.states = dict.fromkeys(balancer.states, ACTIVE)
                balancer.refresh()

    def set_state(self, number: int, state: int) -> None:
        for balancer in self.both:
            balancer.set_state(self.addresses[number % len(self.addresses)], state)

    def plain(self, frame: bytes) -> tuple[int, bytes]:
        packet = Frame(frame, tailroom=0)
        verdict = plane.forward(packet, self.both[0].tables, plane.ALL_MODES)
        return int(verdict), bytes(packet)

    def compiled(self, frame: bytes) -> tuple[int, bytes]:
        page, start = self.page, self.page.size - len(frame)
        page[start:] = np.frombuffer(frame, np.uint8)
        starts, lengths = np.array([start]), np.array([len(frame)])
        verdicts = np.zeros(1, np.uint8)
        forward_batch(self.cell, page.reshape(1, -1), starts, lengths, verdicts, self.both[1].tables, 0)
        return int(verdicts[0]), page[starts[0] : starts[0] + lengths[0]].tobytes()


@cache
def pair(name: str) -> Pair:
    return Pair(name)


def core(data: bytes) -> None:
    """The first byte picks the mode. Then come packets, each after its length in two bytes, or 0xF0 and a new state."""
    if not data:
        return
    balancers = pair(sorted(CONFIGS)[data[0] % len(CONFIGS)])
    balancers.restart()
    at, packets = 1, 0
    for _ in range(MOST):
        word, at = int.from_bytes(data[at : at + 2], "big"), at + 2
        if at > len(data):
            break
        if word & STATE == STATE:
            balancers.set_state(word & 0xFF, (word >> 8 & 0xF) % 3)
            continue
        frame, at = data[at : at + (word & LONGEST)], at + (word & LONGEST)
        verdict, out = balancers.plain(frame)
        assert balancers.compiled(frame) == (verdict, out)
        assert verdict in (reasons.DROP, reasons.PASS, reasons.TX)
        if verdict == reasons.PASS:
            assert out == frame
        packets += 1
        counts = [balancer.tables.reason_counters for balancer in balancers.both]
        assert counts[0].sum() == packets
        assert (counts[0] == counts[1]).all()


def quic(data: bytes) -> None:
    """As RFC 8999 lays a packet out, and Katran an id."""
    found = ids.server_id(view(data))
    where = 1
    if data[:1] and data[0] & 0x80:
        known = len(data) >= 14 and data[5] >= 8 and data[0] & 0x30 in (0x20, 0x30)
        where = 6 if known else len(data)
    cid = data[where : where + 8]
    if len(cid) < 8:
        assert found == ids.NO_ID
    else:
        bits = int.from_bytes(cid, "big")
        assert found == {0: 0, 1: bits >> 46 & 0xFFFF, 2: bits >> 32 & 0xFFFFFF, 3: bits >> 24 & 0xFFFFFFFF}[bits >> 62]
