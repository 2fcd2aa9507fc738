"""The memory that packets live in, cut into frames, and who has which of them.

Rule of this file: frames are numbers, the offset of their first byte. The kernel, sockets and rings are `af_xdp`'s.

Theory. An AF_XDP socket copies nothing on its way to user space (or copies once, where the driver must): packets are
written into memory that this process gave, and what travels through the rings is only "frame 4096 holds 60 bytes". So
each frame has an owner at any moment: the kernel (on the fill or the transmit ring), the caller (received), or nobody:
then it lies on the stack of free frames. A stack, not a queue: the frame used last is the one still in the cache.

Trap. There is no owner written anywhere, so nothing notices a frame that is put on the stack twice. Two packets will
then be written over each other.
"""

# What numba compiles has no annotations.
# mypy: disable-error-code="no-untyped-def,no-untyped-call"
from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from numba.extending import register_jitable


class Umem(NamedTuple):
    """memory: uint8[frames * size]; free: uint64[frames], a stack of offsets; state: int64[2], as below."""

    memory: npt.NDArray[np.uint8]
    free: npt.NDArray[np.uint64]
    state: npt.NDArray[np.int64]


FREE, SIZE = range(2)
"""state: frames on the stack; bytes of a frame, a power of two."""


def new(memory: npt.NDArray[np.uint8], size: int) -> Umem:
    """All frames of a memory, free."""
    offsets = np.arange(0, len(memory), size, dtype=np.uint64)[::-1].copy()
    return Umem(memory, offsets, np.array([len(offsets), size], np.int64))


@register_jitable
def address(umem, offset):
    """Where the byte at this offset is, as uint64."""
    return np.uint64(umem.memory.ctypes.data) + np.uint64(offset)


@register_jitable
def owns(umem, place):
    """Is the byte at this address (uint64) one of the memory's?"""
    return np.uint64(place) - np.uint64(umem.memory.ctypes.data) < np.uint64(len(umem.memory))


@register_jitable
def give_back(umem, place):
    """The frame in which this address lies is free, if it is one of this memory's."""
    if owns(umem, place):
        give(umem, np.uint64(place) - np.uint64(umem.memory.ctypes.data))


@register_jitable
def frame_of(umem, offset):
    """The frame in which an offset lies: its first byte."""
    return np.uint64(offset) & ~np.uint64(umem.state[SIZE] - 1)


@register_jitable
def take(umem):
    """A frame from the stack, which must not be empty."""
    umem.state[FREE] -= 1
    return umem.free[umem.state[FREE]]


@register_jitable
def give(umem, offset):
    """The frame in which this offset lies is free."""
    umem.free[umem.state[FREE]] = frame_of(umem, offset)
    umem.state[FREE] += 1
