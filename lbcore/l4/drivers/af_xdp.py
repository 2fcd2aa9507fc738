"""AF_XDP: packets from the driver's own queue into this process's memory, past the whole network stack.

    with AfXdp("eth0", steer="native") as driver:        queue 0 of eth0; all its packets come here now
        count = receive(driver.port, packets)

Rule of this file: the socket and what its four rings say. Ring indexes are `rings`, frames are `umem`.

Theory. Two rings lead to the kernel and two come back. *Fill*: free frames for packets to come. *Rx*: frames that now
hold a packet, with its length. *Tx*: frames to send. *Completion*: frames that were sent, free again. Nothing is
allocated and nothing locked; one index is published per batch, and the only system call is the one that wakes a kernel
which has said that it sleeps (need-wakeup). An XDP program decides, packet by packet, what comes here: it redirects to
a map that has the socket under the queue's number (`programs.to_user_space`; `steer` attaches it).

No ring can run over: each has a place for every frame there is. At most half of the frames are lent to the kernel for
packets to come, so there is always one to send with, unless the caller keeps them.

Traps
- A packet goes to a socket of the very queue it arrived on; there is one socket for a queue, and a network card spreads
  connections over all its queues. Open one driver for each queue, or tell the card to use one.
- In copy mode the kernel sends in the call that wakes it, some 32 packets a call; so sending is a loop of calls.
- A veth sends to a peer that runs an XDP program only if that has room in its queue (256 packets): what is too fast
  may be lost there, and is counted there. Who sends a lot waits for answers, or looks at the peer's counters.
- A child process that was forked while the socket was open keeps it, and the queue, until it ends.
"""

# What numba compiles has no annotations.
# mypy: disable-error-code="no-untyped-def,no-untyped-call"
from __future__ import annotations

import ctypes
import errno
import os
import socket
import struct
import time
from contextlib import ExitStack
from typing import Literal, NamedTuple

import numpy as np
import numpy.typing as npt
from numba.extending import register_jitable

from lbcore.ebpf import kernel
from lbcore.ebpf.contexts import XDP_TX
from lbcore.ebpf.programs.to_user_space import to_user_space
from lbcore.l4.drivers import driver, rings, umem
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
    wait,
)
from lbcore.l4.drivers.mapping import Mapping
from lbcore.l4.drivers.ordered import POLLIN, copy_bytes, receive_now, send_now, wait_readable
from lbcore.l4.drivers.rings import Ring
from lbcore.l4.drivers.umem import FREE, Umem

# include/uapi/linux/if_xdp.h, include/linux/socket.h, include/uapi/asm-generic/socket.h
AF_XDP, SOL_XDP = 44, 283
MMAP_OFFSETS, UMEM_REG, STATISTICS, OPTIONS = 1, 4, 7, 8
RX, TX, FILL, COMPLETION = 2, 3, 5, 6
"""Socket options that make a ring, and by which the rings are told apart here."""
PAGE_OFFSETS = {RX: 0, TX: 0x80000000, FILL: 0x100000000, COMPLETION: 0x180000000}
ORDER = (RX, TX, FILL, COMPLETION)
"""In which XDP_MMAP_OFFSETS tells of them."""
WORDS = {RX: 2, TX: 2, FILL: 1, COMPLETION: 1}
"""An entry: the frame's offset; and for packets, their length (32 bits) and options."""
MODES = {"any": 0, "copy": 2, "zero-copy": 4}
USE_NEED_WAKEUP, IS_ZERO_COPY = 8, 1
BUSY_POLL, PREFER_BUSY_POLL, BUSY_POLL_BUDGET = 46, 69, 70
SO_SNDBUFFORCE, SEND_BUFFER = 32, 1 << 23
KERNEL_COUNTERS = (
    "dropped by kernel", "invalid to receive", "invalid to send", "receive ring full", "fill ring empty",
    "transmit ring empty",
)  # fmt: skip
"""struct xdp_statistics, in its order."""

HEADROOM = 256
"""XDP_PACKET_HEADROOM: where the kernel puts a packet, and so does a copy."""
LENGTH = 0xFFFFFFFF
PATIENCE = 1.0
"""Seconds to wait for a queue: the kernel gives it free a moment after its last socket was closed."""
KICKS = 256
"""Calls that a `send` makes at most; what is still on the ring then, the next one sends."""


class Port(NamedTuple):
    """The four rings, the memory, the socket (polled: int32[2], a struct pollfd), and what was counted."""

    rx: Ring
    tx: Ring
    fill: Ring
    completion: Ring
    umem: Umem
    place: npt.NDArray[np.int64]
    """int64[2]: interface and queue."""
    polled: npt.NDArray[np.int32]
    busy: npt.NDArray[np.int64]
    """int64[1]: 1 where looking for packets makes the kernel look for them, in the caller's own time."""
    counters: npt.NDArray[np.int64]


class AfXdp(driver.Driver):
    """A socket bound to one queue of an interface, in the network namespace that this thread is in.

    frames: how many, a power of two, of `frame_size` bytes (2048 or 4096), 256 of them headroom; the longest packet is
    that less 256. mode: "copy", "zero-copy" (only where the network driver has it), or "any" for the best there is.
    busy_poll: microseconds that the kernel may look for packets in a call, instead of by interrupts; 0: not at all.
    steer: attach `to_user_space` in this mode, so that all packets of this queue come here; None: somebody else does,
    and puts `fd` into a map.

    Raises OSError: EPERM without the rights (CAP_NET_RAW; CAP_BPF to steer), EBUSY if the queue has a socket.
    """

    def __init__(
        self, interface: str, queue: int = 0, *, frames: int = 4096, frame_size: int = 2048,
        mode: Literal["any", "copy", "zero-copy"] = "any", busy_poll: int = 0,
        steer: Literal["native", "generic"] | None = None,
    ) -> None:  # fmt: skip
        _check(frames, frame_size, mode)
        index = driver.index_of(interface)
        self.interface, self.queue = interface, queue
        self._counted: dict[str, int] = {}
        with ExitStack() as stack:
            self._socket = stack.enter_context(_open(f"{interface} queue {queue}"))
            pages = _mapped(stack, frames * frame_size)
            memory = umem.new(pages.array(np.uint8, pages.size), frame_size)
            registration = struct.pack("=QQIIII", pages.address, pages.size, frame_size, 0, 0, 0)
            self._socket.setsockopt(SOL_XDP, UMEM_REG, registration)
            made = _rings(self._socket, frames, stack)
            if busy_poll:
                for option, value in ((PREFER_BUSY_POLL, 1), (BUSY_POLL, busy_poll), (BUSY_POLL_BUDGET, 64)):
                    self._socket.setsockopt(socket.SOL_SOCKET, option, value)
            self._bind(index, mode)
            self.port = Port(
                made[RX], made[TX], made[FILL], made[COMPLETION], memory, place=np.array([index, queue], np.int64),
                polled=np.array([self.fd, POLLIN], np.int32), busy=np.array([busy_poll > 0], np.int64),
                counters=np.zeros(len(driver.COUNTERS), np.int64),
            )  # fmt: skip
            # The descriptor's number may soon be somebody else's: the port is to forget it.
            stack.callback(self.port.polled.__setitem__, 0, -1)
            wait(self.port, 0)  # lends the kernel the first frames
            if steer:
                program = stack.enter_context(kernel.load(to_user_space.object))
                program.maps["sockets"][queue.to_bytes(4, "little")] = self.fd.to_bytes(4, "little")
                stack.enter_context(program.attach(interface, steer))
            self._stack = stack.pop_all()

    @property
    def fd(self) -> int:
        """The socket, as a map of sockets wants it."""
        return self._socket.fileno()

    @property
    def zero_copy(self) -> bool:
        """Does the network driver write into this memory itself?"""
        (flags,) = struct.unpack("=I", self._socket.getsockopt(SOL_XDP, OPTIONS, 4))
        return bool(flags & IS_ZERO_COPY)

    def statistics(self) -> dict[str, int]:
        if self.fd >= 0:
            raw = self._socket.getsockopt(SOL_XDP, STATISTICS, 8 * len(KERNEL_COUNTERS))
            self._counted = dict(zip(KERNEL_COUNTERS, struct.unpack(f"={len(raw) // 8}Q", raw), strict=False))
        return driver.counted(self.port.counters) | self._counted

    def close(self) -> None:
        self.statistics()
        self._stack.close()

    def _bind(self, index: int, mode: str) -> None:
        place = struct.pack("=HHIII", AF_XDP, MODES[mode] | USE_NEED_WAKEUP, index, self.queue, 0)
        deadline = time.monotonic() + PATIENCE
        while ctypes.CDLL(None, use_errno=True).bind(self.fd, place, len(place)):
            code = ctypes.get_errno()
            if code != errno.EBUSY or time.monotonic() > deadline:
                where = f"{self.interface} queue {self.queue} ({mode})"
                raise OSError(code, f"AF_XDP on {where}: {os.strerror(code)}{WHY.get(code, '')}")
            time.sleep(0.005)


WHY = {
    errno.EBUSY: "; another socket has this queue, perhaps in a child process that was forked from this one",
    errno.EINVAL: "; the interface may have no such queue, or be too small for its MTU",
    errno.EOPNOTSUPP: "; the network driver does not offer it: try mode 'copy'",
    errno.EPERM: "; it takes CAP_NET_RAW",
}


def _check(frames: int, frame_size: int, mode: str) -> None:
    if frames < 2 or frames & (frames - 1):
        raise ValueError(f"frames is {frames}, wanted a power of two, at least 2")
    if frame_size not in (2048, 4096):
        raise ValueError(f"frame_size is {frame_size}, wanted 2048 or 4096")
    if mode not in MODES:
        raise ValueError(f"mode is {mode!r}; there are: {', '.join(MODES)}")


def _open(where: str) -> socket.socket:
    try:
        made = socket.socket(AF_XDP, socket.SOCK_RAW)
    except OSError as error:
        why = {errno.EAFNOSUPPORT: "; this kernel has no AF_XDP"}.get(error.errno or 0, WHY.get(error.errno or 0, ""))
        raise OSError(error.errno, f"AF_XDP for {where}: {error.strerror}{why}") from None
    try:
        made.setsockopt(socket.SOL_SOCKET, SO_SNDBUFFORCE, SEND_BUFFER)
    except PermissionError:  # then fewer packets are under way at once
        made.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER)
    return made


def _mapped(stack: ExitStack, size: int, fd: int = -1, offset: int = 0) -> Mapping:
    made = Mapping(size, fd, offset)
    stack.callback(made.release)
    return made


def _rings(made: socket.socket, size: int, stack: ExitStack) -> dict[int, Ring]:
    for option in ORDER:
        made.setsockopt(SOL_XDP, option, size)
    told = struct.unpack("=16Q", made.getsockopt(SOL_XDP, MMAP_OFFSETS, 128))
    found = {}
    for place, option in enumerate(ORDER):
        producer, consumer, entries, flags = told[4 * place : 4 * place + 4]
        words = WORDS[option]
        pages = _mapped(stack, entries + size * words * 8, made.fileno(), PAGE_OFFSETS[option])
        found[option] = Ring(
            producer=pages.array(np.uint32, 1, producer),
            consumer=pages.array(np.uint32, 1, consumer),
            flags=pages.array(np.uint32, 1, flags),
            entries=pages.array(np.uint64, size * words, entries).reshape(size, words),
        )
    return found


# ---- the operations, compiled ----


@register_jitable
def _reclaim(port):
    """Frames that were sent are free."""
    done, first = rings.filled(port.completion), rings.taken(port.completion)
    for i in range(done):
        umem.give(port.umem, port.completion.entries[rings.slot(port.completion, first + i), 0])
    if done:
        rings.consume(port.completion, done)


@register_jitable
def _refill(port):
    """Lend the kernel free frames, until it has half of all."""
    ring = port.fill
    lent = len(ring.entries) - rings.room(ring)
    more, first = min(len(ring.entries) // 2 - lent, port.umem.state[FREE]), rings.made(ring)
    for i in range(more):
        ring.entries[rings.slot(ring, first + i), 0] = umem.take(port.umem)
    if more > 0:
        rings.publish(ring, more)


@register_jitable
def _kick(port):
    """Have the kernel send what is on the ring; give up when a call does not help, or it needs none."""
    for _ in range(KICKS):
        left = rings.room(port.tx)
        if left == len(port.tx.entries) or not rings.asleep(port.tx):
            return
        send_now(port.polled[0])
        _reclaim(port)
        if rings.room(port.tx) == left:
            return


def _receive(port, packets):
    _reclaim(port)
    _refill(port)
    ring, size = port.rx, np.uint64(port.umem.state[umem.SIZE])
    if port.busy[0] or rings.asleep(port.fill):
        receive_now(port.polled[0])
    count, first = min(rings.filled(ring), len(packets)), rings.taken(ring)
    for i in range(count):
        row = rings.slot(ring, first + i)
        offset, length = ring.entries[row, 0], ring.entries[row, 1] & np.uint64(LENGTH)
        packets[i, LOWEST] = umem.address(port.umem, umem.frame_of(port.umem, offset))
        packets[i, HIGHEST] = packets[i, LOWEST] + size
        packets[i, START] = umem.address(port.umem, offset)
        packets[i, END] = packets[i, START] + length
        packets[i, INTERFACE], packets[i, QUEUE], packets[i, MARK] = port.place[0], port.place[1], 0
        port.counters[RECEIVED_BYTES] += np.int64(length)
    if count:
        rings.consume(ring, count)
        port.counters[RECEIVED] += count
    return count


@register_jitable
def _placed(port, packet, length):
    """The offset of a packet in the port's memory, where a foreign one is copied to; -1 if that cannot be."""
    base = umem.address(port.umem, 0)
    if umem.owns(port.umem, packet[START]):
        inside = packet[START] >= packet[LOWEST] and packet[END] <= packet[HIGHEST]
        return np.int64(packet[START] - base) if inside and length >= driver.SHORTEST else -1
    if not driver.SHORTEST <= length <= port.umem.state[umem.SIZE] - HEADROOM or port.umem.state[FREE] == 0:
        return -1
    offset = np.int64(umem.take(port.umem)) + HEADROOM
    copy_bytes(base + np.uint64(offset), packet[START], length)
    return offset


def _send(port, packets, verdicts, count):
    _reclaim(port)
    ring, sent = port.tx, 0
    first = rings.made(ring)
    for i in range(count):
        offset = -1
        if verdicts[i] == XDP_TX:
            length = np.int64(packets[i, END] - packets[i, START])
            offset = _placed(port, packets[i], length)
            if offset < 0:
                port.counters[REFUSED] += 1
            else:
                row = rings.slot(ring, first + sent)
                ring.entries[row, 0], ring.entries[row, 1] = np.uint64(offset), np.uint64(length)
                port.counters[SENT_BYTES] += length
                sent += 1
        if offset < 0:
            umem.give_back(port.umem, packets[i, LOWEST])
    if sent:
        rings.publish(ring, sent)
        port.counters[SENT] += sent
    _kick(port)
    return sent


def _release(port, packets, count):
    for i in range(count):
        umem.give_back(port.umem, packets[i, LOWEST])


def _wait(port, milliseconds):
    if rings.filled(port.rx):
        return True
    _refill(port)
    wait_readable(port.polled, milliseconds)
    return rings.filled(port.rx) > 0


driver.implement(Port, receive=_receive, send=_send, release=_release, wait=_wait)
