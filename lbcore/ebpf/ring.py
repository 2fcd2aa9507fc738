"""Ring buffers: records that programs send to whoever reads.

Rule of this file: it knows the ring, which is the one value of a `Table`. Programs reserve, fill and commit; the
reader consumes.

Theory. Two positions only ever grow: how much was produced, how much consumed. A record is a header of eight bytes,
its length with two flags, and the data, rounded up to eight. A record is busy from reservation to commitment, and the
reader stops at the first that is, so records come out in the order in which they were reserved. The memory is twice
the ring's size, so that a record that starts before the end is in one piece; the kernel maps its pages twice instead.
"""

# What numba compiles has no annotations.
# mypy: disable-error-code="no-untyped-def"
from __future__ import annotations

from lbcore.ebpf.access import load32, store32
from lbcore.ebpf.arithmetic import U64
from lbcore.ebpf.tables import CONSUMED, EAGAIN, ENTRIES, PRODUCED, Table, copy, value_address
from lbcore.jit import kernel

HEADER = 8
BUSY, DISCARDED = 1 << 31, 1 << 30
"""Bits in a record's length word."""


@kernel
def reserve(table, size):
    """Room for a record of `size` bytes: its offset in the ring's value, or -EAGAIN if there is none.

    The record is invisible to the reader until `commit`. The ring's memory is twice its size, so that a record that
    starts before the end is one piece.
    """
    facts = table.facts
    room = facts[ENTRIES]
    total = (size + HEADER + 7) & ~7
    if size < 0 or size >= BUSY >> 2 or facts[PRODUCED] + total - facts[CONSUMED] > room:
        return -EAGAIN
    start = facts[PRODUCED] & (room - 1)
    store32(value_address(table, 0), start, size | BUSY)
    facts[PRODUCED] += total
    return start + HEADER


@kernel
def commit(table, offset, discard):
    """Show the record at `offset` to the reader, or have it skipped."""
    base = value_address(table, 0)
    length = load32(base, offset - HEADER) & ~BUSY
    store32(base, offset - HEADER, length | DISCARDED if discard else length)


@kernel
def output(table, data, size):
    """Copy `size` bytes at host address `data` into the ring as one record: 0, or a negative error number."""
    offset = reserve(table, size)
    if offset < 0:
        return offset
    copy(value_address(table, 0) + U64(offset), data, size)
    commit(table, offset, False)
    return 0


def consume(table: Table) -> list[bytes]:
    """Take all committed records out, oldest first, up to the first busy one."""
    facts, records = table.facts, []
    while facts[CONSUMED] < facts[PRODUCED]:
        start, word, total = _record(table, int(facts[CONSUMED]))
        if word & BUSY:
            break
        if not word & DISCARDED:
            records.append(table.values[0, start : start + word].tobytes())
        facts[CONSUMED] += total
    return records


def is_reserved(table: Table, offset: int) -> bool:
    """Does a busy record have its data at `offset`?"""
    at = int(table.facts[CONSUMED])
    while at < table.facts[PRODUCED]:
        start, word, total = _record(table, at)
        if start == offset:
            return bool(word & BUSY)
        at += total
    return False


def _record(table: Table, position: int) -> tuple[int, int, int]:
    """Of the record at a position: where its data starts, its length word, and the bytes it takes in all."""
    header = position & int(table.facts[ENTRIES]) - 1
    word = int.from_bytes(table.values[0, header : header + 4].tobytes(), "little")
    return header + HEADER, word, (word & ~(BUSY | DISCARDED)) + HEADER + 7 & ~7
