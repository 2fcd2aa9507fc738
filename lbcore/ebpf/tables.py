"""Map storage: what a map is in memory, and the operations on it, compiled by numba.

Rule of this file: it knows slots and bytes. Names of kinds, errors as exceptions and everything comfortable are in
`storage`. All kinds share one type, `Table`, so a compiled function can take any of them.

Theory. An entry lives in a *slot* and stays there while it exists, so the address of its value stays good. Arrays
need no more. A hash table adds an index of twice as many places, at least, in which the number of a slot stands at
or behind the place its key's digest names (linear probing). Deleting pulls later entries of the run forward, so
there are no tombstones and a table does not age. Free slots form a list; an LRU table chains the used ones from newest
to oldest, and gives away the oldest. A longest-prefix table is a hash table of prefixes that is asked once for each
length that occurs, the longest first.

Traps. The kernel's LRU is approximate, to save locks; this one is exact. The kernel replaces the element of a hash
table when it updates; here the value is overwritten where it is, so an old pointer sees the new value.
"""

# What numba compiles has no annotations.
# mypy: disable-error-code="no-untyped-def"
from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numba.extending import register_jitable

from lbcore.ebpf.access import load8, load32, load64, store8, store64
from lbcore.ebpf.arithmetic import I64, U64
from lbcore.jit import kernel

# Families: what `facts[FAMILY]` says
ARRAY, SPARSE, HASH, LRU, PREFIX, RING = range(6)

# facts: int64[9]. FREE, NEWEST, OLDEST are slots or -1; PRODUCED and CONSUMED are positions in a ring, ever growing.
FAMILY, KEY_SIZE, VALUE_SIZE, ENTRIES, COUNT, FREE, NEWEST, OLDEST, PRODUCED, CONSUMED = range(10)

# columns of links: int64[n, 4]. A free slot's OLDER is the next free slot.
USED, DIGEST, NEWER, OLDER = range(4)

ANY, NOEXIST, EXIST = range(3)
ENOENT, E2BIG, EAGAIN, EEXIST, EINVAL, ENOSPC = 2, 7, 11, 17, 22, 28


class Table(NamedTuple):
    """A map's memory. facts int64[10], index int64[m] (slot or -1; m a power of two), keys uint8[n, key_size], values
    uint8[n, stride], links int64[n, 4], lengths int64[p + 1]: how many prefixes have that length."""

    facts: Any
    index: Any
    keys: Any
    values: Any
    links: Any
    lengths: Any


@kernel
def lookup(table, key):
    """The slot of the key at host address `key` (uint64), or -1. In an LRU table the entry becomes the newest."""
    slot = find(table, key)
    if slot >= 0 and table.facts[FAMILY] == LRU:
        _unchain(table, slot)
        _chain(table, slot)
    return slot


@kernel
def find(table, key):
    """The same, without counting as use."""
    family = table.facts[FAMILY]
    if family in (ARRAY, SPARSE):
        slot = I64(load32(key, 0))
        return slot if slot < table.facts[ENTRIES] and table.links[slot, USED] else -1
    if family == PREFIX:
        longest = min(I64(load32(key, 0)), table.lengths.size)
        if longest == table.lengths.size:
            return -1
        for length in range(longest, -1, -1):
            if table.lengths[length]:
                slot = _slot_of(table, key, length)
                if slot >= 0:
                    return slot
        return -1
    if family == RING:
        return -1
    return _slot_of(table, key, 0)


@kernel
def update(table, key, value, flags):
    """Write the value at host address `value` for a key: 0, or a negative error number of the kernel's."""
    facts = table.facts
    family = facts[FAMILY]
    if family == RING or flags < ANY or flags > EXIST:
        return -EINVAL
    if family in (ARRAY, SPARSE):
        slot = I64(load32(key, 0))
        if slot >= facts[ENTRIES]:
            return -E2BIG
        if flags == NOEXIST:
            return -EEXIST
        facts[COUNT] += 1 - table.links[slot, USED]
        table.links[slot, USED] = 1
        copy(value_address(table, slot), value, facts[VALUE_SIZE])
        return 0
    length = I64(load32(key, 0)) if family == PREFIX else 0
    if length >= table.lengths.size:
        return -EINVAL
    slot = _slot_of(table, key, length)
    if slot >= 0 and flags == NOEXIST:
        return -EEXIST
    if slot < 0:
        if flags == EXIST:
            return -ENOENT
        slot = _insert(table, key, length)
        if slot < 0:
            return slot
    elif family == LRU:
        _unchain(table, slot)
        _chain(table, slot)
    copy(key_address(table, slot), key, facts[KEY_SIZE])
    copy(value_address(table, slot), value, facts[VALUE_SIZE])
    return 0


@kernel
def delete(table, key):
    """Remove a key: 0, or a negative error number."""
    family = table.facts[FAMILY]
    if family in (ARRAY, RING):
        return -EINVAL
    if family == SPARSE:
        slot = find(table, key)
        if slot < 0:
            return -ENOENT
        table.links[slot, USED] = 0
        table.facts[COUNT] -= 1
        return 0
    length = I64(load32(key, 0)) if family == PREFIX else 0
    if length >= table.lengths.size:
        return -EINVAL
    slot = _slot_of(table, key, length)
    if slot < 0:
        return -ENOENT
    _remove(table, slot)
    return 0


@register_jitable
def value_address(table, slot):
    """The host address of a slot's value; 8-byte aligned."""
    return U64(table.values.ctypes.data) + U64(slot * table.values.shape[1])


@register_jitable
def key_address(table, slot):
    return U64(table.keys.ctypes.data) + U64(slot * table.keys.shape[1])


# ---- hash tables ----


@register_jitable
def _slot_of(table, key, length):
    """The slot with exactly this key; of a prefix, with these `length` bits."""
    skip, bits = _significant(table, length)
    digest = _digest(key + U64(skip), bits)
    mask = table.index.size - 1
    place = digest & mask
    while table.index[place] >= 0:
        slot = table.index[place]
        there = key_address(table, slot)
        alike = table.links[slot, DIGEST] == digest and _same(key + U64(skip), there + U64(skip), bits)
        if alike and (table.facts[FAMILY] != PREFIX or load32(there, 0) == length):
            return slot
        place = (place + 1) & mask
    return -1


@register_jitable
def _insert(table, key, length):
    """A slot for a new key, or a negative error number when the table is full."""
    facts, links = table.facts, table.links
    if facts[FREE] < 0:
        if facts[FAMILY] != LRU:
            return -ENOSPC if facts[FAMILY] == PREFIX else -E2BIG
        _remove(table, facts[OLDEST])
    slot = facts[FREE]
    facts[FREE] = links[slot, OLDER]
    facts[COUNT] += 1
    skip, bits = _significant(table, length)
    digest = _digest(key + U64(skip), bits)
    links[slot, USED], links[slot, DIGEST] = 1, digest
    mask = table.index.size - 1
    place = digest & mask
    while table.index[place] >= 0:
        place = (place + 1) & mask
    table.index[place] = slot
    if facts[FAMILY] == PREFIX:
        table.lengths[length] += 1
    _chain(table, slot)
    return slot


@register_jitable
def _remove(table, slot):
    """Free a slot, and pull forward what stands behind it in the index and would no longer be found."""
    facts, links, index = table.facts, table.links, table.index
    if facts[FAMILY] == PREFIX:
        table.lengths[load32(key_address(table, slot), 0)] -= 1
    mask = index.size - 1
    hole = links[slot, DIGEST] & mask
    while index[hole] != slot:
        hole = (hole + 1) & mask
    place = (hole + 1) & mask
    while index[place] >= 0:
        home = links[index[place], DIGEST] & mask
        if (place - home) & mask >= (place - hole) & mask:
            index[hole] = index[place]
            hole = place
        place = (place + 1) & mask
    index[hole] = -1
    _unchain(table, slot)
    links[slot, USED], links[slot, OLDER] = 0, facts[FREE]
    facts[FREE] = slot
    facts[COUNT] -= 1


@register_jitable
def _chain(table, slot):
    """Make a slot the newest."""
    facts, links = table.facts, table.links
    newest = facts[NEWEST]
    links[slot, NEWER], links[slot, OLDER] = -1, newest
    if newest >= 0:
        links[newest, NEWER] = slot
    else:
        facts[OLDEST] = slot
    facts[NEWEST] = slot


@register_jitable
def _unchain(table, slot):
    facts, links = table.facts, table.links
    newer, older = links[slot, NEWER], links[slot, OLDER]
    if newer >= 0:
        links[newer, OLDER] = older
    else:
        facts[NEWEST] = older
    if older >= 0:
        links[older, NEWER] = newer
    else:
        facts[OLDEST] = newer


@register_jitable
def _significant(table, length):
    """How many bytes of a key to skip, and how many bits then count. A prefix's first four bytes are its length."""
    if table.facts[FAMILY] == PREFIX:
        return 4, length
    return 0, 8 * table.facts[KEY_SIZE]


@register_jitable
def _digest(at, bits):
    """A number of 62 bits for the first `bits` bits at a host address."""
    h = U64(0x9E3779B97F4A7C15) ^ U64(bits)
    size, offset = bits >> 3, 0
    while offset + 8 <= size:
        h = _mix(h ^ load64(at, offset))
        offset += 8
    while offset < size:
        h = _mix(h ^ U64(load8(at, offset)))
        offset += 1
    if bits & 7:
        h = _mix(h ^ U64(load8(at, size) & (0xFF00 >> (bits & 7)) & 0xFF))
    return I64(h >> U64(2))


@register_jitable
def _mix(h):
    h *= U64(0xBF58476D1CE4E5B9)
    return h ^ (h >> U64(32))


@register_jitable
def _same(a, b, bits):
    """Are the first `bits` bits at two host addresses equal?"""
    size = bits >> 3
    for offset in range(size):
        if load8(a, offset) != load8(b, offset):
            return False
    rest = bits & 7
    return rest == 0 or (load8(a, size) ^ load8(b, size)) >> (8 - rest) == 0


@register_jitable
def copy(to, source, size):
    offset = 0
    while offset + 8 <= size:
        store64(to, offset, load64(source, offset))
        offset += 8
    while offset < size:
        store8(to, offset, load8(source, offset))
        offset += 1


def empty(family: int, key_size: int, value_size: int, entries: int) -> Table:
    """The memory of a new map; sizes in bytes. `entries` of a ring is its size in bytes, a power of two."""
    hashed = family in (HASH, LRU, PREFIX)
    slots = 1 if family == RING else entries
    stride = 2 * entries if family == RING else (value_size + 7) & ~7
    links = np.zeros((slots, 4), np.int64)
    links[:, USED] = family in (ARRAY, RING)
    links[:, OLDER] = np.arange(1, slots + 1)
    links[-1, OLDER] = -1
    facts = np.zeros(10, np.int64)
    facts[[FAMILY, KEY_SIZE, VALUE_SIZE, ENTRIES]] = family, key_size, value_size, entries
    facts[[FREE, NEWEST, OLDEST]] = 0, -1, -1
    facts[COUNT] = entries if family == ARRAY else 0
    places = 1 << (2 * entries - 1).bit_length() if hashed else 1
    prefixes = 8 * (key_size - 4) + 1 if family == PREFIX else 1
    return Table(
        facts,
        np.full(places, -1, np.int64),
        np.zeros((slots if hashed else 1, max(key_size, 1)), np.uint8),
        np.zeros((slots, stride), np.uint8),
        links,
        np.zeros(prefixes, np.int64),
    )
