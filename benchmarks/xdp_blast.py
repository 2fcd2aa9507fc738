"""Packets by the thousand at little cost: frames that the kernel makes itself, and batches through sockets.

Rule of this file: it sends and receives; what it costs and what becomes of it is for `xdp_drop`.

Theory. What a driver hands on is a page with a frame in it. The kernel makes such frames by itself in a test run that
is *live* (BPF_F_TEST_XDP_LIVE_FRAMES, Linux 5.18): the verdicts of the program are carried out, 64 frames at a time, so
a program that redirects is a sender. What comes out of a socket has a socket buffer already.
"""

from __future__ import annotations

import ctypes
import errno
import os
import socket
from typing import Any, ClassVar

import numpy as np

from lbcore.ebpf import kernel, system_call

BATCH = 64
LIVE = 1 << 1
SOL_PACKET, QDISC_BYPASS = 263, 20
NO_ROOM = (errno.EAGAIN, errno.ENOBUFS)


def redirected(program: kernel.Program, frame: bytes, count: int) -> int:
    """Let a program that redirects meet `count` copies of a frame, live; returns their number. Raises OSError."""
    data = np.frombuffer(frame, np.uint8)
    call: Any = system_call.TestRun(
        prog_fd=program.fd, data_in=data.ctypes.data, data_size_in=len(frame), repeat=count, flags=LIVE,
        batch_size=BATCH,
    )  # fmt: skip
    system_call.bpf(call)
    return count


class Vector(ctypes.Structure):
    """struct iovec."""

    _fields_: ClassVar = [("base", ctypes.c_void_p), ("length", ctypes.c_size_t)]


class Message(ctypes.Structure):
    """struct mmsghdr; the last two are ints, aligned like pointers."""

    _fields_: ClassVar = [
        ("name", ctypes.c_void_p), ("name_length", ctypes.c_uint32), ("vector", ctypes.c_void_p),
        ("vectors", ctypes.c_size_t), ("control", ctypes.c_void_p), ("control_length", ctypes.c_size_t),
        ("flags", ctypes.c_uint64), ("length", ctypes.c_uint64),
    ]  # fmt: skip


class Batch:
    """BATCH messages of one buffer: the same frame to be sent again and again, or what is received and forgotten."""

    def __init__(self, content: bytes) -> None:
        self.buffer = ctypes.create_string_buffer(content, len(content))
        self.vector = Vector(ctypes.addressof(self.buffer), len(content))
        one = Message(vector=ctypes.addressof(self.vector), vectors=1)
        self.messages = (Message * BATCH)(*[one] * BATCH)
        self.libc = ctypes.CDLL(None, use_errno=True)

    def send(self, sender: socket.socket, count: int) -> int:
        """Up to `count` messages; returns how many went out."""
        return self._call("sendmmsg", sender, min(count, BATCH), 0)

    def receive(self, receiver: socket.socket) -> int:
        """As many as are there, up to BATCH."""
        return self._call("recvmmsg", receiver, BATCH, socket.MSG_DONTWAIT, None)

    def _call(self, name: str, where: socket.socket, count: int, *more: Any) -> int:
        done: int = getattr(self.libc, name)(where.fileno(), self.messages, count, *more)
        if done < 0 and ctypes.get_errno() not in NO_ROOM:
            raise OSError(ctypes.get_errno(), f"{name}: {os.strerror(ctypes.get_errno())}")
        return max(done, 0)


def straight(sender: socket.socket) -> socket.socket:
    """The packet socket, sending to the driver without a queue in between."""
    sender.setsockopt(SOL_PACKET, QDISC_BYPASS, 1)
    return sender
