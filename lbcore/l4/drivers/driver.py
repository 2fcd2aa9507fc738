"""What every source of packets can do, and how packet code reaches it from compiled loops.

    with AfXdp("eth0") as driver:
        count = receive(driver.port, packets)          packets = batch(64): a seam cell for each packet
        ...                                            look at them, rewrite them where they lie, decide
        send(driver.port, packets, verdicts, count)

Rule of this file: names and meaning. Each driver says in its own file what the operations do to its kind of port.

Theory. A driver has two halves. The Python half opens and closes. The other half is its `port`: a named tuple of numpy
arrays that compiled code works on without Python and without its lock. The operations below are chosen by the type of
the port when a loop is compiled (`overload`), so the same loop runs on every driver and calls nothing indirectly.
Packets stay where the driver has them, and a row of `packets` says where: a cell of `wire.seam_numba`, ready for
`memory_context(packets[i])`: the packet's start, its end, the bytes around it that may be used, and where it came in.

Trap. What was received is the caller's until it is sent or released, once: what is forgotten is lost to the driver,
what is given back twice is somebody else's packet the second time.
"""

# What numba compiles has no annotations.
# mypy: disable-error-code="no-untyped-def,no-untyped-call,no-any-return"
from __future__ import annotations

import ctypes
import errno
import socket
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Any, Protocol, Self

import numpy as np
import numpy.typing as npt
from numba.extending import overload

from lbcore.ebpf.contexts import XDP_TX
from lbcore.jit import kernel
from lbcore.wire.seam_numba import CELL

COUNTERS = ("received", "received bytes", "sent", "sent bytes", "refused")
"""refused: packets that were to be sent and could not: too long, too short, or no frame was free for a copy."""
RECEIVED, RECEIVED_BYTES, SENT, SENT_BYTES, REFUSED = range(len(COUNTERS))
START, END, LOWEST, HIGHEST, INTERFACE, QUEUE, MARK = range(CELL)
"""Words of a row: four addresses, LOWEST and HIGHEST around what may be used; and where the packet came in."""
SHORTEST = 14
"""Bytes of an Ethernet header."""


class Driver(Protocol):
    """A source and sink of packets. Closed by `close`, at the end of a `with`, and on an error within."""

    port: Any
    """What the operations work on: a named tuple of arrays. It may be used by one thread at a time."""

    def statistics(self) -> dict[str, int]:
        """COUNTERS and what the driver adds to them, since it was opened; at any time, from any thread."""
        ...

    def close(self) -> None:
        """Give everything back to the machine; twice does no harm. Stop the loops on its port first."""
        ...

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()


# ---- the operations, from compiled code and from Python ----


def _receive(port, packets):
    """Each driver's meaning of `receive`."""


def _send(port, packets, verdicts, count):
    """Each driver's meaning of `send`."""


def _release(port, packets, count):
    """Each driver's meaning of `release`."""


def _wait(port, milliseconds):
    """Each driver's meaning of `wait`."""


@kernel
def receive(port: Any, packets: Any) -> int:
    """Fill rows of `packets` (a `batch`) with what has arrived; how many (0: nothing is there). Never waits."""
    return _receive(port, packets)


@kernel
def send(port: Any, packets: Any, verdicts: Any, count: int) -> int:
    """Send those of the first `count` packets whose verdict (uint8[n]) is XDP_TX; how many that were.

    Packets that this port received are given back to it, sent or not. Others stay their owner's: they are copied.
    """
    return _send(port, packets, verdicts, count)


@kernel
def release(port: Any, packets: Any, count: int) -> None:
    """Give the first `count` packets back to the port that received them."""
    _release(port, packets, count)


@kernel
def wait(port: Any, milliseconds: int) -> bool:
    """Wait until something has arrived, so long at most. Whether something has. A signal ends it early."""
    return _wait(port, milliseconds)


def implement(kind: type, *, receive: Any, send: Any, release: Any, wait: Any) -> None:
    """Say what the operations mean for ports of this type."""
    for operation, function in ((_receive, receive), (_send, send), (_release, release), (_wait, wait)):
        _choose(operation, kind, function)


def _choose(operation: Callable[..., Any], kind: type, function: Any) -> None:
    @overload(operation, strict=False)
    def _(port, *rest):
        return function if getattr(port, "instance_class", None) is kind else None


# ---- for drivers ----


def index_of(interface: str) -> int:
    """The number of an interface of this network namespace. OSError."""
    try:
        return socket.if_nametoindex(interface)
    except OSError:
        there = ", ".join(name for _, name in socket.if_nameindex())
        raise OSError(errno.ENODEV, f"interface {interface!r}: not here; there are: {there}") from None


def counted(counters: npt.NDArray[np.int64]) -> dict[str, int]:
    """The counters by name."""
    return dict(zip(COUNTERS, map(int, counters), strict=True))


# ---- for notebooks and tests: frames as bytes ----


def batch(size: int) -> npt.NDArray[np.uint64]:
    """Room for `size` packets: uint64[size, CELL]."""
    return np.zeros((size, CELL), np.uint64)


def read(driver: Driver, limit: int = 64) -> list[bytes]:
    """Up to `limit` packets that have arrived, copied and given back."""
    packets = batch(limit)
    count = receive(driver.port, packets)
    frames = [content(row) for row in packets[:count]]
    release(driver.port, packets, count)
    return frames


def write(driver: Driver, frames: Sequence[bytes]) -> int:
    """Send frames; how many the driver took."""
    kept = [np.frombuffer(frame, np.uint8) for frame in frames]
    packets = batch(len(frames))
    for row, at in zip(packets, kept, strict=True):
        row[START] = row[LOWEST] = at.ctypes.data
        row[END] = row[HIGHEST] = at.ctypes.data + len(at)
    return int(send(driver.port, packets, np.full(len(frames), XDP_TX, np.uint8), len(frames)))


def content(row: npt.NDArray[np.uint64]) -> bytes:
    """The bytes of a packet that is still the caller's."""
    return ctypes.string_at(int(row[START]), int(row[END] - row[START]))
