"""Finding a service by address and port: a list of rules read from the top, or a table asked once.

Rule of this file: it is a twin in user space of two ways in which a kernel can find a service. It has their shape, a
cost that grows with the list or does not; it has not their nanoseconds, for a real rule is a bigger thing to test.

Theory. Each rule fills one cache line, so that a long walk costs memory traffic, as it does in a kernel. The table is
open addressing: a hash names a slot, a wrong or free one is looked at in vain, and at most half of the slots are used,
so one or two looks settle it, however many services there are.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from lbcore.balance.hashes.xxhash64 import xxhash64_word
from lbcore.jit import kernel
from lbcore.wire.portable import portable
from lbcore.wire.words import int64, word64

LINE = 8  # words of 64 bits in a rule: one cache line of 64 bytes on most machines
ADDRESS, PORT = 0, 1  # columns of a rule and of a packet
Words = npt.NDArray[np.int64]


@portable
def slot_of(address: int, port: int, size: int) -> int:
    """Where the search for a service starts in a table of `size` slots (a power of two)."""
    return int64(xxhash64_word(word64((address << 16) | port), word64(0)) & word64(size - 1))


@kernel
def walk(rules: Any, packets: Any) -> Any:
    """For each packet the first rule that fits, -1 for none: rules int64[n, LINE], packets int64[m, 2] -> int32[m]."""
    found = np.full(packets.shape[0], -1, np.int32)
    for i in range(packets.shape[0]):
        for rule in range(rules.shape[0]):
            if rules[rule, ADDRESS] == packets[i, ADDRESS] and rules[rule, PORT] == packets[i, PORT]:
                found[i] = rule
                break
    return found


@kernel
def build(rules: Any) -> Any:
    """The table of `rules`: int32[size], each slot a rule or -1; of two rules for one service the first counts."""
    size = 4
    while size < 2 * rules.shape[0]:
        size *= 2
    table = np.full(size, -1, np.int32)
    for rule in range(rules.shape[0]):
        slot = slot_of(rules[rule, ADDRESS], rules[rule, PORT], size)
        while table[slot] >= 0:
            slot = (slot + 1) & (size - 1)
        table[slot] = rule
    return table


@kernel
def look_up(rules: Any, table: Any, packets: Any) -> Any:
    """The same answer as `walk`, from the table."""
    found = np.full(packets.shape[0], -1, np.int32)
    for i in range(packets.shape[0]):
        slot = slot_of(packets[i, ADDRESS], packets[i, PORT], table.size)
        while table[slot] >= 0:
            rule = table[slot]
            if rules[rule, ADDRESS] == packets[i, ADDRESS] and rules[rule, PORT] == packets[i, PORT]:
                found[i] = rule
                break
            slot = (slot + 1) & (table.size - 1)
    return found


def services(count: int, seed: int = 0) -> Words:
    """`count` rules for services on distinct addresses in 10.0.0.0/8, in no order: int64[count, LINE]."""
    if not 1 <= count <= 1 << 24:
        raise ValueError(f"count is {count}, wanted 1 to {1 << 24}: 10.0.0.0/8 has no more addresses")
    rng = np.random.default_rng(seed)
    rules = np.zeros((count, LINE), np.int64)
    rules[:, ADDRESS] = (10 << 24) + rng.choice(1 << 24, count, replace=False)
    rules[:, PORT] = rng.choice([80, 443, 8080], count)
    return rules


def first_packets(rules: Words, count: int, seed: int = 0) -> Words:
    """`count` packets to services drawn at random from `rules`: int64[count, 2]."""
    return np.ascontiguousarray(rules[np.random.default_rng(seed).integers(0, len(rules), count), : PORT + 1])
