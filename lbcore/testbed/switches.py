"""How often a processor changes from one process to another while packets are handled.

Rule of this file: it sends, receives and counts. A *context switch* is a change of the process that runs; a *system
call* enters the kernel and comes back to the same process. They are counted apart, because they are mixed up so often.

Theory. A process that waits is taken off its processor, and put back when there is something (a voluntary switch); one
that wakes another may be put aside for it (an involuntary one). The kernel counts both for each thread (getrusage(2);
on Linux also /proc/self/status). A process that finds packets waiting does not wait. So a reader costs switches for as
often as it was woken, not for as many packets as came. What the kernel handles itself, in a soft interrupt, wakes
nobody.

Traps
- Threads that share Python's global lock also sleep for it: whoever sends is a process of its own.
- A card's interrupt is held up by no reader, but the process that stands for the card may be: when both share a
  processor, whoever is woken by the first packet of a burst would take it before the second is sent. A reader of kind
  SCHED_BATCH (sched(7)) waits until the sender is done.
"""

from __future__ import annotations

import ctypes
import errno
import os
import resource
import socket
import struct
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

from lbcore.testbed import counters
from lbcore.testbed.hosts import Topology
from lbcore.testbed.traffic import blast
from lbcore.wire import compose

BUFFER = 1 << 21  # bytes that a socket may hold; a system allows less, and then less is sent at once
LONGEST = 64  # bytes of a datagram here
PATIENCE = 5.0  # seconds
BATCHES = sys.platform == "linux"  # can one call receive many datagrams? recvmmsg(2) is Linux's
WHO = getattr(resource, "RUSAGE_THREAD", resource.RUSAGE_SELF)  # macOS counts for the whole process only

ASKED = struct.Struct("=II")
PEER = """
import socket, struct
me = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
me.bind(("127.0.0.1", 0))
me.settimeout(30)
print(me.getsockname()[1], flush=True)
while True:
    data, back = me.recvfrom(8)
    count, size = struct.unpack("=II", data)
    if not count:
        break
    for _ in range(count):
        me.sendto(bytes(size), back)
"""
"""The other process: asked for so many datagrams of a size, it sends them; asked for none, it ends."""


class Count(NamedTuple):
    """packets received; system calls for that; context switches of the reader meanwhile; seconds of wall time."""

    packets: int
    calls: int
    switches: int
    seconds: float

    @property
    def per_packet(self) -> float:
        """Context switches for each packet."""
        return self.switches / self.packets


class Passed(NamedTuple):
    """packets that went through a host in which no process runs; switches: of every process of this machine."""

    packets: int
    switches: int

    @property
    def per_packet(self) -> float:
        return self.switches / self.packets


def mine() -> int:
    """Context switches of this thread so far, of its own will or not."""
    usage = resource.getrusage(WHO)
    return usage.ru_nvcsw + usage.ru_nivcsw


def one_by_one(packets: int = 500) -> Count:
    """A reader of an idle link: each datagram finds it asleep."""
    return bursts(packets, size=1)


def bursts(packets: int, size: int, work: float = 0.0) -> Count:
    """Another process sends `size` datagrams at once; this one works on each for `work` seconds, then wants more."""
    with _peer() as ask, _yielding():
        got, start, before = 0, time.perf_counter(), mine()
        while got < packets:
            me = ask(size)
            for _ in range(size):
                me.recv(LONGEST)
                _spin(work)
            got += size
        return Count(got, got, mine() - before, time.perf_counter() - start)


def backlog(packets: int = 500, batch: int = 1) -> Count:
    """All datagrams are waiting before the first is read; read up to `batch` with each call.

    OSError for a batch of more than one where the system has no such call (see BATCHES).
    """
    if batch > 1 and not BATCHES:
        raise OSError(errno.ENOSYS, f"batch is {batch}: recvmmsg(2) is not on {sys.platform}, wanted 1")
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as me:
        me.bind(("127.0.0.1", 0))
        me.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, BUFFER)
        me.settimeout(PATIENCE)
        for _ in range(packets):
            me.sendto(bytes(LONGEST), me.getsockname())
        read = _one(me) if batch == 1 else _many(me, batch)
        got, calls, start, before = 0, 0, time.perf_counter(), mine()
        while got < packets:
            got, calls = got + read(), calls + 1
        return Count(got, calls, mine() - before, time.perf_counter() - start)


def through_kernel(packets: int = 20_000, *, xdp: bool = False) -> Passed:
    """Send packets through a router without any process (tier 1); with `xdp`, one whose driver drops them (tier 2).

    Packets are counted by the host behind the router, or by the program. Raises `hosts.Unavailable`.
    """
    with Topology() as net:
        left, right = net.host("left"), net.host("right")
        router = net.host("router", forward=True)
        near, far = net.link(left, router, "10.1.0.1/24", "10.1.0.2/24")
        _, end = net.link(router, right, "10.2.0.1/24", "10.2.0.2/24")
        router.neighbour("10.2.0.2", end.mac, "eth1")
        frame = compose.udp_frame(
            source="10.1.0.1:4000", destination="10.2.0.2:9", source_mac=near.mac, destination_mac=far.mac
        )
        sender = left.packet_socket()
        if xdp:
            from lbcore.ebpf import kernel
            from lbcore.ebpf.programs.count_protocols import count_protocols

            with router.inside(), kernel.load(count_protocols.object) as program:
                program.attach("eth0")
                switches = _blasted(sender, frame, packets)
                counted = int(program.maps["protocols"].as_array("<u8")[17].sum())
        else:
            before = right.run(counters.ip_packets)
            switches = _blasted(sender, frame, packets)
            counted = right.run(counters.ip_packets) - before
    return Passed(counted, switches)


def _blasted(sender: socket.socket, frame: bytes, packets: int) -> int:
    before = counters.context_switches()
    blast(sender, [frame], count=packets)
    return counters.context_switches() - before


@contextmanager
def _peer() -> Iterator[Callable[[int], socket.socket]]:
    """A function that asks the other process for datagrams, and gives the socket at which they arrive."""
    command = [sys.executable, "-I", "-S", "-c", PEER]
    with (
        subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process,
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as me,
    ):
        try:
            assert process.stdout is not None
            me.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, BUFFER)
            me.settimeout(PATIENCE)
            me.connect(("127.0.0.1", int(process.stdout.readline())))

            def ask(count: int) -> socket.socket:
                me.send(ASKED.pack(count, LONGEST))
                return me

            yield ask
            me.send(ASKED.pack(0, 0))
        except BaseException:
            process.kill()
            raise


@contextmanager
def _yielding() -> Iterator[None]:
    """Within it, this thread takes the processor from nobody; where a system has no such kind of thread, it may."""
    if not hasattr(os, "sched_setscheduler"):
        yield
        return
    kind, priority = os.sched_getscheduler(0), os.sched_getparam(0)
    os.sched_setscheduler(0, os.SCHED_BATCH, os.sched_param(0))
    try:
        yield
    finally:
        os.sched_setscheduler(0, kind, priority)


def _spin(seconds: float) -> None:
    end = time.perf_counter() + seconds
    while time.perf_counter() < end:
        pass


class _Vector(ctypes.Structure):
    _fields_ = (("base", ctypes.c_void_p), ("length", ctypes.c_size_t))


class _Header(ctypes.Structure):
    _fields_ = (
        ("name", ctypes.c_void_p), ("name_length", ctypes.c_uint32), ("vectors", ctypes.POINTER(_Vector)),
        ("vectors_length", ctypes.c_size_t), ("control", ctypes.c_void_p), ("control_length", ctypes.c_size_t),
        ("flags", ctypes.c_int),
    )  # fmt: skip


class _Message(ctypes.Structure):
    """struct mmsghdr (recvmmsg(2)): a struct msghdr, and how many bytes came."""

    _fields_ = (("header", _Header), ("got", ctypes.c_uint32))


def _one(me: socket.socket) -> Callable[[], int]:
    return lambda: len(me.recv(LONGEST)) // LONGEST


def _many(me: socket.socket, batch: int) -> Callable[[], int]:
    """A function that receives up to `batch` datagrams with one system call, and says how many there were."""
    buffer = ctypes.create_string_buffer(batch * LONGEST)
    base = ctypes.addressof(buffer)
    vectors = (_Vector * batch)(*[_Vector(base + i * LONGEST, LONGEST) for i in range(batch)])
    messages = (_Message * batch)()
    for message, vector in zip(messages, vectors, strict=True):
        message.header.vectors, message.header.vectors_length = ctypes.pointer(vector), 1
    libc: Any = ctypes.CDLL(None, use_errno=True)
    wait_for_one = 0x10000  # MSG_WAITFORONE (recvmmsg(2)): wait for the first, then take what there is

    def read() -> int:
        # A socket with a timeout does not block by itself, so what is read here must be there already.
        got = libc.recvmmsg(me.fileno(), messages, batch, wait_for_one, None)
        if got < 0:
            raise OSError(ctypes.get_errno(), "recvmmsg")
        return int(got)

    read.buffer = buffer, vectors  # type: ignore[attr-defined]  # what the messages point to lives as long as this
    return read
