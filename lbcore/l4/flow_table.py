"""The flow table: which backend a connection was given, in memory of a fixed size.

Rule of this file: it knows keys of five words and what stands beside them; no packets, no clock of its own.

Theory. Rows of eight 64-bit words, one cache line each, in groups of eight. A key's hash names its group, and the row
is there or nowhere: at most eight are looked at, however full the table is. A tag, a byte of hash
for each row, says which of them are worth looking at: a search mostly costs two cache lines, the tags and the row.

The hash also names a row of the group to begin with, the key's home. Who comes while it is free gets it, so in a table
that is not full most searches end at the first look, which a processor foresees; an end anywhere among eight it has to
guess, and a wrong guess costs more than the search.

A new key takes, within its group, a free row, else one that has been idle for too long, else the one idle for longest:
"least recently used" among eight, not among all. Nothing is ever moved or grown, and nothing waits.

Trap. Who can choose keys with one hash can fill one group and push out its neighbours, seven at most. The hash is
seeded for that reason; a fixed seed is for reproducing somebody's vectors.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from lbcore.wire.portable import portable
from lbcore.wire.words import int64, mul64, word64

WAYS = 8
"""Rows in a group: the most that a search looks at."""
ROW = 8
"""Words in a row."""
KEY = 5
"""Words of a key. Then come: when last seen (nanoseconds), the backend, and one word that is free."""
SEEN, BACKEND = 5, 6
BYTES = 8 * ROW + 1
"""Bytes an entry: its row, and its tag."""


class FlowTable(NamedTuple):
    """rows: uint64[groups * 8, 8]; tags: uint8[groups * 8], 0 where a row is free; counts: int64[3]."""

    rows: npt.NDArray[np.uint64]
    tags: npt.NDArray[np.uint8]
    counts: npt.NDArray[np.int64]
    """Entries made, entries that pushed out an idle one, entries that pushed out one still in use."""


class Entry(NamedTuple):
    """What stands beside a key. `row`: -1 if the key is not there."""

    row: int
    seen: int
    backend: int


def flow_table(entries: int) -> FlowTable:
    """An empty table with room for this many entries, rounded up to a power of two; at least 8."""
    if not 1 <= entries <= 1 << 30:
        raise ValueError(f"flow table entries: {entries}; it must be 1 to {1 << 30}")
    rows = max(WAYS, 1 << (entries - 1).bit_length())
    return FlowTable(np.zeros((rows, ROW), np.uint64), np.zeros(rows, np.uint8), np.zeros(3, np.int64))


def in_use(table: FlowTable) -> int:
    """How many rows hold an entry."""
    return int(np.count_nonzero(table.tags))


@portable
def home(table: FlowTable, hash32: int) -> int:
    """The row that a hash's key begins with; `home ^ i`, i from 0 to 7, are those of its group.

    Multiplying spreads hashes that differ only in their low bits.
    """
    return int64(mul64(word64(hash32), word64(0x9E3779B97F4A7C15)) >> 32) & (table.tags.size - 1)


@portable
def _tag(hash32: int) -> int:
    """A byte that is not 0: 0 is a free row's."""
    return (hash32 & 0x7F) | 0x80


@portable
def find(table: FlowTable, hash32: int, key: tuple[int, int, int, int, int]) -> Entry:
    """The entry of a key (five words); `hash32` is a hash of it, the same each time. Does not count as use."""
    first, tag = home(table, hash32), _tag(hash32)
    for i in range(WAYS):
        row = first ^ i
        if table.tags[word64(row)] != tag:
            continue
        here = table.rows[word64(row)]
        if here[0] == key[0] and here[1] == key[1] and here[2] == key[2] and here[3] == key[3] and here[4] == key[4]:
            return Entry(row, int64(int(here[SEEN])), int64(int(here[BACKEND])))
    return Entry(-1, 0, 0)


@portable
def put(table: FlowTable, hash32: int, key: tuple[int, int, int, int, int], now: int, idle: int, backend: int) -> int:
    """Write an entry, over the one of the same key if there is one: its row.

    now: nanoseconds; idle: an entry not seen for so many is no longer in use.
    """
    row = find(table, hash32, key).row
    if row < 0:
        row = _make_room(table, hash32, now, idle)
        table.tags[row] = _tag(hash32)
        table.rows[row, 0], table.rows[row, 1], table.rows[row, 2] = key[0], key[1], key[2]
        table.rows[row, 3], table.rows[row, 4] = key[3], key[4]
    table.rows[row, SEEN] = now
    table.rows[row, BACKEND] = backend
    return row


@portable
def _make_room(table: FlowTable, hash32: int, now: int, idle: int) -> int:
    """A free row of the hash's group, or the one idle for longest, whose entry is lost."""
    first = home(table, hash32)
    table.counts[0] += 1
    victim, oldest = first, now + 1
    for i in range(WAYS):
        row = first ^ i
        if table.tags[row] == 0:
            return row
        seen = int64(int(table.rows[row, SEEN]))
        if seen < oldest:
            victim, oldest = row, seen
    table.counts[1 if now - oldest > idle else 2] += 1
    return victim


@portable
def touch(table: FlowTable, row: int, now: int) -> None:
    """Note that an entry was used."""
    table.rows[row, SEEN] = now


@portable
def remove(table: FlowTable, row: int) -> None:
    """Free a row that `find` or `put` has named."""
    table.tags[row] = 0
