"""A queue between two who never wait for each other: one writes, one reads, and the memory between them is shared.

Rule of this file: indexes. What an entry means, `af_xdp` knows.

Theory. Entries lie in a circle, a power of two of them. The producer alone writes one index, the consumer alone the
other; both only count up, and wrap at 2**32. What is filled is their difference, where an entry lies is the index's low
bits, and neither full nor empty is a special case. Nobody locks: the producer writes entries and then publishes the
index, the consumer reads the index and then entries (`ordered`). Since many entries share one publication, a batch
costs as much order as a single entry.

Trap. Each side must have its own index to itself: two threads that produce into one ring overwrite each other.
"""

# What numba compiles has no annotations.
# mypy: disable-error-code="no-untyped-def,no-untyped-call"
from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from numba.extending import register_jitable

from lbcore.l4.drivers.ordered import load_acquire, store_release

MASK32 = 0xFFFFFFFF
NEED_WAKEUP = 1
"""XDP_RING_NEED_WAKEUP: the kernel sleeps, and does not look at the ring unless it is told to."""


class Ring(NamedTuple):
    """producer, consumer, flags: uint32[1]; entries: uint64[size, words], size a power of two."""

    producer: npt.NDArray[np.uint32]
    consumer: npt.NDArray[np.uint32]
    flags: npt.NDArray[np.uint32]
    entries: npt.NDArray[np.uint64]


def new(size: int, words: int = 1) -> Ring:
    """An empty ring in this process's own memory, for two of its threads."""
    if size < 1 or size & (size - 1):
        raise ValueError(f"size is {size}, wanted a power of two")
    producer, consumer, flags = (np.zeros(1, np.uint32) for _ in range(3))
    return Ring(producer, consumer, flags, np.zeros((size, words), np.uint64))


@register_jitable
def slot(ring, index):
    """The row of the entry with this index."""
    return index & (len(ring.entries) - 1)


# ---- for the producer ----


@register_jitable
def made(ring):
    """The index of the next entry to write."""
    return np.int64(ring.producer[0])


@register_jitable
def room(ring):
    """How many entries can be written."""
    return len(ring.entries) - ((made(ring) - load_acquire(ring.consumer, 0)) & MASK32)


@register_jitable
def publish(ring, count):
    """The next `count` entries, written before, are the consumer's now."""
    store_release(ring.producer, 0, made(ring) + count)


# ---- for the consumer ----


@register_jitable
def taken(ring):
    """The index of the next entry to read."""
    return np.int64(ring.consumer[0])


@register_jitable
def filled(ring):
    """How many entries can be read."""
    return (load_acquire(ring.producer, 0) - taken(ring)) & MASK32


@register_jitable
def consume(ring, count):
    """The next `count` entries, read before, are the producer's again."""
    store_release(ring.consumer, 0, taken(ring) + count)


@register_jitable
def asleep(ring):
    """Does the kernel want to be told of new entries?"""
    return load_acquire(ring.flags, 0) & NEED_WAKEUP != 0
