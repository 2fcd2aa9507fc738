"""Many clients at once, in memory: the same packet from each of them, and where the balancer sends it.

    clients = Crowd.of("10.128.0.0/9", 3000)
    before = clients.connect(forwarder, "203.0.113.80:80", now)
    after = clients.send(forwarder, ack("203.0.113.80:80"), later)          # who moved? before != after

Rule of this file: it asks a `Forwarder` whose services are direct (DSR), for there the answer is the frame's first six
bytes. Time is the caller's: a number of nanoseconds, so that what happens is the same on every machine.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from lbcore.jit import kernel
from lbcore.l4.config import ethernet_of
from lbcore.l4.flow_table import find, flow_table, put
from lbcore.l4.forwarder import HEADROOM, Forwarder
from lbcore.l4.reasons import TX
from lbcore.wire import tcp
from lbcore.wire.compose import tcp_frame
from lbcore.wire.floods import forged, senders
from lbcore.wire.words import int64, word64

AT_ONCE = 1 << 16
"""Frames in a block: some megabytes, however large the crowd is."""


@dataclass(frozen=True)
class Crowd:
    """Clients by address and port. sources: uint32[n], host integers; ports: uint16[n]."""

    sources: npt.NDArray[np.uint32]
    ports: npt.NDArray[np.uint16]

    @classmethod
    def of(cls, network: str, count: int, seed: int = 0) -> Crowd:
        """So many clients, drawn from a network at random; the same for the same seed."""
        random = np.random.default_rng(seed)
        return cls(senders(network, count, random), random.integers(1024, 65536, count, dtype=np.uint16))

    def __len__(self) -> int:
        return len(self.sources)

    def part(self, start: int, end: int) -> Crowd:
        """Some of them."""
        return Crowd(self.sources[start:end], self.ports[start:end])

    def send(self, forwarder: Forwarder, frame: bytes, now: int) -> npt.NDArray[np.int64]:
        """A packet from each of them, all at the same time: the number of the backend it went to, 0 if dropped."""
        return np.concatenate(
            [self.part(at, at + AT_ONCE)._send(forwarder, frame, now) for at in range(0, len(self), AT_ONCE)]
        )

    def connect(self, forwarder: Forwarder, vip: str, now: int) -> npt.NDArray[np.int64]:
        """A SYN from each, then two packets more, for a few lose their place among the attempts to each other."""
        self.send(forwarder, syn(vip), now)
        self.send(forwarder, ack(vip), now + 1)
        return self.send(forwarder, ack(vip), now + 2)

    def _send(self, forwarder: Forwarder, frame: bytes, now: int) -> Any:
        block = forged(frame, self.sources, self.ports, headroom=HEADROOM)
        verdicts, starts, _ = forwarder.process(block, np.full(len(block), len(frame)), now=now)
        if (starts != HEADROOM).any():
            raise ValueError("a service of this forwarder is not in dsr mode: frames have grown")
        went = block[:, HEADROOM : HEADROOM + 6].astype(np.int64) @ (1 << np.arange(40, -1, -8))
        numbers = np.zeros(len(block), np.int64)
        for backend, number in forwarder.balancer.numbers.items():
            numbers[went == ethernet_of(backend.ethernet)] = number
        return np.where(verdicts == TX, numbers, 0)


def syn(vip: str) -> bytes:
    """A first packet to an address and port such as "203.0.113.80:80"."""
    return tcp_frame(source="192.0.2.1:1024", destination=vip, flags=tcp.SYN)


def ack(vip: str) -> bytes:
    """A later packet of the same connection."""
    return tcp_frame(source="192.0.2.1:1024", destination=vip, flags=tcp.ACK)


def one_table(rows: int, connections: int, strangers: Sequence[int], seed: int = 0) -> list[int]:
    """How many of its first `connections` a single table of so many rows still knows, after so many strangers each.

    strangers: ascending. What the data plane would do with one flow table instead of two.
    """
    table = flow_table(rows)
    hashes = np.random.default_rng(seed).integers(0, 2**32, connections + strangers[-1])
    known, there = [], 0
    for count in strangers:
        there = _put(table, hashes, there, connections + count)
        known.append(_known(table, hashes, connections))
    return known


@kernel
def _put(table: Any, hashes: Any, start: int, end: int) -> int:
    for i in range(start, end):
        word = word64(i)
        put(table, int64(hashes[i]), (word, word, word, word, word), i, end, 1)
    return end


@kernel
def _known(table: Any, hashes: Any, count: int) -> int:
    known = 0
    for i in range(count):
        word = word64(i)
        known += find(table, int64(hashes[i]), (word, word, word, word, word)).row >= 0
    return known
