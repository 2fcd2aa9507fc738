"""A packet in the machine: its bytes, the room around them, and the context that tells a program where they are.

Rule of this file: it knows offsets. What to do with a packet is up to programs and helpers.

Theory. As in the kernel, a packet lies in a buffer with 256 bytes of headroom, and its metadata, empty at first, right
before it. The region's bounds follow: what is outside of the packet faults, and after a packet has moved, so does
what an old pointer reaches outside of the new bounds. The context's fields hold 32-bit addresses; the packet's region
is the one for which that is enough.
"""

from __future__ import annotations

import struct
from errno import EACCES, EINVAL
from typing import NamedTuple

import numpy as np

from lbcore.ebpf import memory
from lbcore.ebpf.memory import PACKET_START, Memory, Region
from lbcore.ebpf.storage import Map

HEADROOM = 256
"""XDP_PACKET_HEADROOM: bytes before a packet."""
FRAME_HEADER = 40
"""Of those, bytes that the kernel keeps for itself (struct xdp_frame)."""
FRAME = 4096
"""A packet, its headroom and its tailroom lie in a page; the last 320 bytes are the kernel's (skb_shared_info)."""
TAIL_RESERVED = 320
MIN_LENGTH = 14
"""A packet keeps an Ethernet header, whatever a program cuts off."""


class Layout(NamedTuple):
    """Where a kind of context has what: `size` bytes in all; offsets of 32-bit fields."""

    size: int
    data: int
    data_end: int
    data_meta: int
    interface: int
    queue: int
    length: int | None = None
    protocol: int | None = None
    mark: int | None = None


XDP_MD = Layout(size=24, data=0, data_end=4, data_meta=8, interface=12, queue=16)
"""struct xdp_md; egress_ifindex, at 20, stays 0."""
SK_BUFF = Layout(size=192, data=76, data_end=80, data_meta=140, interface=40, queue=12, length=0, protocol=16, mark=8)
"""struct __sk_buff; `interface` is its ifindex."""


class Packet:
    """The packet and context of one run, placed in `where`.

    redirect: what the last redirect helper was asked for: (map or None, key or interface). redirect_verdict: what
    that helper returns (XDP_REDIRECT 4, TC_ACT_REDIRECT 7). clones: (interface, bytes) of copies that were sent.
    """

    def __init__(
        self, where: Memory, data: bytes, layout: Layout = XDP_MD, *, interface: int = 1, queue: int = 0,
        mark: int = 0,
    ) -> None:  # fmt: skip
        room = max(FRAME, HEADROOM + len(data) + TAIL_RESERVED)
        self.memory, self.layout = where, layout
        self.buffer = np.zeros(room, np.uint8)
        self.limit = room - TAIL_RESERVED
        self.meta = self.data = HEADROOM
        self.end = HEADROOM + len(data)
        self.buffer[self.data : self.end] = np.frombuffer(data, np.uint8)
        self.context = np.zeros(layout.size, np.uint8)
        self.redirect: tuple[Map | None, int] | None = None
        self.clones: list[tuple[int, bytes]] = []
        self.redirect_verdict = 4 if layout is XDP_MD else 7
        where.place(memory.PACKET, Region("the packet", self.buffer, origin=PACKET_START))
        where.place(memory.CONTEXT, Region("the context", self.context), writable=layout is not XDP_MD)
        self._field(layout.interface, interface)
        self._field(layout.queue, queue)
        if layout.protocol is not None:
            self._field(layout.protocol, int.from_bytes(data[12:14], "little"))
        if layout.mark is not None:
            self._field(layout.mark, mark)
        self._publish()

    @property
    def mark(self) -> int:
        """The mark that the packet has now; 0 where it has none."""
        at = self.layout.mark
        return 0 if at is None else int.from_bytes(self.context[at : at + 4].tobytes(), "little")

    def __bytes__(self) -> bytes:
        return self.buffer[self.data : self.end].tobytes()

    @property
    def context_address(self) -> int:
        """The program's address of the context: its r1."""
        return memory.address(memory.CONTEXT)

    def peek(self, offset: int, size: int) -> bytes | None:
        """`size` bytes at `offset` from the packet's start; None if it does not have them."""
        if offset < 0 or self.data + offset + size > self.end:
            return None
        return self.buffer[self.data + offset : self.data + offset + size].tobytes()

    def poke(self, offset: int, data: bytes) -> bool:
        """Write bytes into the packet; False if it is too short."""
        if self.peek(offset, len(data)) is None:
            return False
        self.buffer[self.data + offset : self.data + offset + len(data)] = np.frombuffer(data, np.uint8)
        return True

    def move_head(self, delta: int) -> int:
        """Move the packet's first byte (delta < 0: more packet): 0, or a negative error number and nothing done."""
        if not FRAME_HEADER <= self.meta + delta <= self.end - MIN_LENGTH - (self.data - self.meta):
            return -EINVAL
        metadata = self.buffer[self.meta : self.data].copy()
        self.meta, self.data = self.meta + delta, self.data + delta
        self.buffer[self.meta : self.data] = metadata
        self._publish()
        return 0

    def move_tail(self, delta: int) -> int:
        """Move the packet's end (delta > 0: more packet, of zero bytes): 0, or a negative error number."""
        if not self.data + MIN_LENGTH <= self.end + delta <= self.limit:
            return -EINVAL
        self.buffer[self.end : max(self.end, self.end + delta)] = 0
        self.end += delta
        self._publish()
        return 0

    def move_meta(self, delta: int) -> int:
        """Move the start of the metadata, words right before the packet: 0, or a negative error number."""
        meta = self.meta + delta
        if not FRAME_HEADER <= meta <= self.data:
            return -EINVAL
        if (self.data - meta) % 4 or self.data - meta > 255:
            return -EACCES
        self.meta = meta
        self._publish()
        return 0

    def _publish(self) -> None:
        """Tell the table of regions and the context where the packet is."""
        self.memory.bound(memory.PACKET, PACKET_START + self.meta, PACKET_START + self.end)
        for field, offset in (
            (self.layout.data, self.data),
            (self.layout.data_end, self.end),
            (self.layout.data_meta, self.meta),
        ):
            self._field(field, PACKET_START + offset)
        if self.layout.length is not None:
            self._field(self.layout.length, self.end - self.data)

    def _field(self, offset: int, value: int) -> None:
        self.context[offset : offset + 4] = np.frombuffer(struct.pack("<I", value & 0xFFFFFFFF), np.uint8)
