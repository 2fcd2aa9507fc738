"""Every frame that passes an interface of a host, with its time and direction.

Rule of this file: it listens and writes down. What the bytes mean, lbcore.wire.dissect knows.

Theory. A socket belongs to the network namespace it was made in, whoever holds it. So the ear is opened inside the
host and read here, and the kernel keeps the frames in the socket's buffer until they are read. What did not fit is
counted by the kernel (PACKET_STATISTICS), and never passed over: `frames` raises.

Traps
- XDP works below this ear: a frame that a program dropped, sent back or redirected is not seen on that interface.
  Listen at the other end of the cable.
- The kernel takes the VLAN tag out of a frame before it shows it, and tells it beside; it is put back here.
- A frame may be read a moment after it passed: `wait` says what to wait for.
"""

from __future__ import annotations

import socket
import struct
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Literal, NamedTuple

from lbcore.testbed import links

ETH_P_ALL = 3  # linux/if_ether.h
SOL_PACKET, PACKET_STATISTICS, PACKET_AUXDATA = 263, 6, 8  # linux/if_packet.h
AUXDATA, VLAN_VALID, VLAN_TPID_VALID = struct.Struct("=IIIHHHH"), 0x10, 0x40
SO_RCVBUFFORCE, SO_TIMESTAMPNS = 33, 35  # asm-generic/socket.h
BUFFER = 1 << 24
LONGEST = 1 << 17


class Lost(RuntimeError):
    """More frames passed than the socket's buffer could hold."""


class Captured(NamedTuple):
    """when: seconds since the epoch, from the kernel's clock at the interface. way: as the host sees it."""

    when: float
    way: Literal["in", "out"]
    frame: bytes


def open_ear(interface: str) -> socket.socket:
    """To be called inside the host: a socket that hears every frame of the interface."""
    ear = links.packet_socket(interface)  # deaf until it is set up
    try:
        try:
            ear.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, BUFFER)
        except PermissionError:  # in a user namespace the machine's limit holds: rmem_max
            ear.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, BUFFER)
        ear.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPNS, 1)
        ear.setsockopt(SOL_PACKET, PACKET_AUXDATA, 1)
        ear.bind((interface, ETH_P_ALL))
    except BaseException:
        ear.close()
        raise
    return ear


class Capture:
    """What passes since it was made; made by Host.capture. Close it, or use it as a context."""

    def __init__(self, where: str, ear: socket.socket) -> None:
        self.where = where
        self._ear = ear
        self._frames: list[Captured] = []
        self._lost = 0

    def frames(self) -> list[Captured]:
        """All frames so far, in order. Lost says how many are missing, if any are."""
        self._read()
        if self._lost:
            raise Lost(
                f"{self._lost} frames at {self.where} did not fit into the buffer: read more often, or send less"
            )
        return list(self._frames)

    def wait(self, enough: Callable[[list[Captured]], object] = bool, timeout: float = 5.0) -> list[Captured]:
        """`frames` as soon as `enough` says so of them (by itself: as soon as there is one). TimeoutError."""
        deadline = time.monotonic() + timeout
        while not enough(frames := self.frames()):
            if time.monotonic() > deadline:
                raise TimeoutError(f"not enough at {self.where} after {timeout:g} s: {len(frames)} frames")
            time.sleep(0.005)
        return frames

    def close(self) -> None:
        """Stop listening; the frames stay."""
        if self._ear.fileno() >= 0:
            self._read()
            self._ear.close()

    def __enter__(self) -> Capture:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _read(self) -> None:
        if self._ear.fileno() < 0:
            return
        with suppress(BlockingIOError):
            while True:
                frame, notes, _, (_, _, kind, *_) = self._ear.recvmsg(LONGEST, 256, socket.MSG_DONTWAIT)
                known = {(level, name): data for level, name, data in notes}
                seconds, nanoseconds = struct.unpack("=qq", known[socket.SOL_SOCKET, SO_TIMESTAMPNS])
                frame = _with_tag(frame, known.get((SOL_PACKET, PACKET_AUXDATA), bytes(AUXDATA.size)))
                way: Literal["in", "out"] = "out" if kind == socket.PACKET_OUTGOING else "in"
                self._frames.append(Captured(seconds + nanoseconds / 1e9, way, frame))
        self._lost += struct.unpack("=II", self._ear.getsockopt(SOL_PACKET, PACKET_STATISTICS, 8))[1]  # and set to 0


def _with_tag(frame: bytes, beside: bytes) -> bytes:
    """The frame with its VLAN tag back behind the addresses (IEEE 802.1Q), if it had one."""
    status, _, _, _, _, tag, protocol = AUXDATA.unpack_from(beside)
    if not status & VLAN_VALID:
        return frame
    ethertype = protocol if status & VLAN_TPID_VALID else 0x8100
    return frame[:12] + struct.pack("!HH", ethertype, tag) + frame[12:]
