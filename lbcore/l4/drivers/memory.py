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
from numba.extending import register_jitable

from lbcore.ebpf.contexts import XDP_TX
from lbcore.l4.drivers import driver
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
from lbcore.l4.drivers.ordered import copy_bytes

HEADROOM, TAILROOM = 256, 128
"""Bytes that a program may grow a packet by."""


class Port(NamedTuple):
    """source: uint8[bytes], all packets one after another; bounds: int64[packets + 1], where each begins.

    slots: uint8[slots, size], where packets lie while somebody has them; free: int64[slots], a stack of their numbers.
    target: uint8[bytes], what was sent; ends: int64[sent + 1], where each ends. state: int64[3], see below.
    """

    source: npt.NDArray[np.uint8]
    bounds: npt.NDArray[np.int64]
    slots: npt.NDArray[np.uint8]
    free: npt.NDArray[np.int64]
    target: npt.NDArray[np.uint8]
    ends: npt.NDArray[np.int64]
    state: npt.NDArray[np.int64]
    counters: npt.NDArray[np.int64]


NEXT, STOP, FREE, KEPT = range(4)
"""state: the next packet to deliver, how many to deliver in all, slots on the stack, packets in `target`."""


class Memory(driver.Driver):
    """Delivers `frames`, `turns` times over, and keeps what is sent (`sent`), as long as it is at most `keep` bytes.

    slots: packets that may be with somebody at once.
    """

    def __init__(self, frames: Iterable[bytes] = (), *, turns: int = 1, slots: int = 256, keep: int = 1 << 24) -> None:
        packets = list(frames)
        lengths = np.array([len(packet) for packet in packets], np.int64)
        longest = max(2048, int(lengths.max(initial=0)) + HEADROOM + TAILROOM)
        self.port = Port(
            source=np.frombuffer(bytearray(b"".join(packets)) or bytearray(1), np.uint8),
            bounds=np.concatenate([np.zeros(1, np.int64), np.cumsum(lengths)]),
            slots=np.zeros((slots, longest), np.uint8),
            free=np.arange(slots, dtype=np.int64),
            target=np.zeros(keep, np.uint8),
            ends=np.zeros(keep // driver.SHORTEST + 1, np.int64),
            state=np.array([0, turns * len(packets), slots, 0], np.int64),
            counters=np.zeros(len(driver.COUNTERS), np.int64),
        )

    def deliver_again(self) -> None:
        """All frames once more."""
        self.port.state[STOP] += len(self.port.bounds) - 1

    @property
    def sent(self) -> list[bytes]:
        """What was sent so far."""
        ends = self.port.ends[: self.port.state[KEPT] + 1]
        return [self.port.target[a:b].tobytes() for a, b in pairwise(ends)]

    def statistics(self) -> dict[str, int]:
        return driver.counted(self.port.counters)

    def close(self) -> None:
        """Nothing arrives any more."""
        self.port.state[STOP] = self.port.state[NEXT]


def _receive(port, packets):
    state, size = port.state, port.slots.shape[1]
    base, source = np.uint64(port.slots.ctypes.data), np.uint64(port.source.ctypes.data)
    count = min(len(packets), state[STOP] - state[NEXT], state[FREE])
    for i in range(count):
        number = (state[NEXT] + i) % (len(port.bounds) - 1)
        begin, length = port.bounds[number], port.bounds[number + 1] - port.bounds[number]
        slot = base + np.uint64(port.free[state[FREE] - 1 - i] * size)
        packets[i, LOWEST], packets[i, HIGHEST] = slot, slot + np.uint64(size)
        packets[i, INTERFACE], packets[i, QUEUE], packets[i, MARK] = 1, 0, 0
        packets[i, START] = slot + np.uint64(HEADROOM)
        packets[i, END] = packets[i, START] + np.uint64(length)
        copy_bytes(packets[i, START], source + np.uint64(begin), length)
        port.counters[RECEIVED_BYTES] += length
    state[NEXT] += count
    state[FREE] -= count
    port.counters[RECEIVED] += count
    return count


@register_jitable
def _give_back(port, lowest):
    """The slot at this address is free, if it is one of the port's."""
    offset = np.int64(np.uint64(lowest) - np.uint64(port.slots.ctypes.data))
    if 0 <= offset < port.slots.size:
        port.free[port.state[FREE]] = offset // port.slots.shape[1]
        port.state[FREE] += 1


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
        _give_back(port, packets[i, LOWEST])
    port.counters[SENT] += sent
    return sent


def _release(port, packets, count):
    for i in range(count):
        _give_back(port, packets[i, LOWEST])


def _wait(port, milliseconds):
    return port.state[NEXT] < port.state[STOP]


driver.implement(Port, receive=_receive, send=_send, release=_release, wait=_wait)
