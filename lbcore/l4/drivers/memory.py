"""Packets from a list and into a list: the driver that needs no machine around it.

Rule of this file: no sockets, no files. `pcap` puts a file at either end.

Theory. What is measured with it is the data plane alone: no interrupt, no system call, no other thread. Each packet is
copied into a slot with room on both sides, as a network card would put it there, so a program may rewrite and grow it
and the list still has the original for the next turn.
"""

# What numba compiles has no annotations.
# mypy: disable-error-code="no-untyped-def,no-untyped-call"
from __future__ import annotations

from collections.abc import Iterable
from itertools import pairwise
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from lbcore.ebpf.contexts import XDP_TX
from lbcore.l4.drivers import driver, umem
from lbcore.l4.drivers.driver import (
    END,
    HIGHEST,
    INTERFACE,
    LOWEST,
    MARK,
    QUEUE,
    RECEIVED,
    RECEIVED_BYTES,
    REFUSED,
    SENT,
    SENT_BYTES,
    START,
)
from lbcore.l4.drivers.ordered import copy_bytes, wait_readable
from lbcore.l4.drivers.umem import Umem

HEADROOM, TAILROOM = 256, 128
"""Bytes that a program may grow a packet by, at least."""


class Port(NamedTuple):
    """source: uint8[bytes], all packets one after another; bounds: int64[packets + 1], where each begins.

    umem: frames, where packets lie while somebody has them.
    target: uint8[bytes], what was sent; ends: int64[sent + 1], where each ends. state: int64[3], see below.
    """

    source: npt.NDArray[np.uint8]
    bounds: npt.NDArray[np.int64]
    umem: Umem
    target: npt.NDArray[np.uint8]
    ends: npt.NDArray[np.int64]
    state: npt.NDArray[np.int64]
    counters: npt.NDArray[np.int64]


NEXT, LEFT, KEPT = range(3)
"""state: the next packet to deliver, how many are left to deliver, packets in `target`."""


class Memory(driver.Driver):
    """Delivers `frames`, `turns` times over, and keeps what is sent (`sent`), as long as it is at most `keep` bytes.

    slots: packets that may be with somebody at once.
    """

    def __init__(self, frames: Iterable[bytes] = (), *, turns: int = 1, slots: int = 256, keep: int = 1 << 24) -> None:
        packets = list(frames)
        lengths = np.array([len(packet) for packet in packets], np.int64)
        size = max(2048, 1 << (int(lengths.max(initial=0)) + HEADROOM + TAILROOM - 1).bit_length())
        self.port = Port(
            source=np.frombuffer(bytearray(b"".join(packets)) or bytearray(1), np.uint8),
            bounds=np.concatenate([np.zeros(1, np.int64), np.cumsum(lengths)]),
            umem=umem.new(np.zeros(slots * size, np.uint8), size),
            target=np.zeros(keep, np.uint8),
            ends=np.zeros(keep // driver.SHORTEST + 1, np.int64),
            state=np.array([0, turns * len(packets), 0], np.int64),
            counters=np.zeros(len(driver.COUNTERS), np.int64),
        )

    def deliver_again(self) -> None:
        """All frames once more."""
        self.port.state[LEFT] += len(self.port.bounds) - 1

    @property
    def sent(self) -> list[bytes]:
        """What was sent so far."""
        ends = self.port.ends[: self.port.state[KEPT] + 1]
        return [self.port.target[a:b].tobytes() for a, b in pairwise(ends)]

    def statistics(self) -> dict[str, int]:
        return driver.counted(self.port.counters)

    def close(self) -> None:
        """Nothing arrives any more."""
        self.port.state[LEFT] = 0


def _receive(port, packets):
    state, size, source = port.state, np.uint64(port.umem.state[umem.SIZE]), np.uint64(port.source.ctypes.data)
    count, number, octets = min(len(packets), state[LEFT], port.umem.state[umem.FREE]), state[NEXT], 0
    for i in range(count):
        begin, length = port.bounds[number], port.bounds[number + 1] - port.bounds[number]
        number = number + 1 if number + 2 < len(port.bounds) else 0
        slot = umem.address(port.umem, umem.take(port.umem))
        packets[i, LOWEST], packets[i, HIGHEST] = slot, slot + size
        packets[i, INTERFACE], packets[i, QUEUE], packets[i, MARK] = 1, 0, 0
        packets[i, START] = slot + np.uint64(HEADROOM)
        packets[i, END] = packets[i, START] + np.uint64(length)
        copy_bytes(packets[i, START], source + np.uint64(begin), length)
        octets += length
    state[NEXT] = number
    state[LEFT] -= count
    port.counters[RECEIVED] += count
    port.counters[RECEIVED_BYTES] += octets
    return count


def _send(port, packets, verdicts, count):
    sent = 0
    for i in range(count):
        if verdicts[i] == XDP_TX:
            length, kept = np.int64(packets[i, END] - packets[i, START]), port.state[KEPT]
            begin = port.ends[kept]
            if length < driver.SHORTEST or begin + length > len(port.target):
                port.counters[REFUSED] += 1
            else:
                copy_bytes(np.uint64(port.target.ctypes.data) + np.uint64(begin), packets[i, START], length)
                port.ends[kept + 1] = begin + length
                port.state[KEPT] += 1
                port.counters[SENT_BYTES] += length
                sent += 1
        umem.give_back(port.umem, packets[i, LOWEST])
    port.counters[SENT] += sent
    return sent


def _release(port, packets, count):
    for i in range(count):
        umem.give_back(port.umem, packets[i, LOWEST])


def _wait(port, milliseconds):
    if port.state[LEFT] == 0 and milliseconds > 0:  # nothing will come by itself: leave the processor to others
        wait_readable(np.array([-1, 0], np.int32), milliseconds)
    return port.state[LEFT] > 0


driver.implement(Port, receive=_receive, send=_send, release=_release, wait=_wait)
