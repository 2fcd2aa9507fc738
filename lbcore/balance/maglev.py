"""Maglev hashing: a look-up table that every balancer builds alike, and that changes little when the pool does.

Rule of this file: it knows names and numbers, no packets and no connections.

Theory (Eisenbud et al., "Maglev: A Fast and Reliable Software Network Load Balancer", NSDI 2016, section 3.4).
The table has a prime number of slots. Each backend has a list of all of them in an order of its own: it starts at
`offset` and goes on by `skip`, and because the size is prime that visits every slot once. The backends take turns,
and each takes the first slot of its list that is still free. So shares differ by at most one slot, and when a backend
goes, most of the others find the same slots free as before. A packet costs one remainder and one memory access.

Weights. The paper leaves them to the reader: let turns come more often. Three ways are in use, and give three tables:
`envoy` (ours as well): turn t is taken when t * weight has reached the next multiple of the largest weight, so that
everyone gets a slot in the first round; `katran_v2`: the same, but with the first multiple still to be reached;
`katran_v1`: `weight` slots at once in the first round, then one a round, which forgets the weights in a large table.

Traps. A skip that shares a factor with the size walks in a short circle and would never find a free slot: `populate`
refuses it. Balancers agree only when they list the backends in the same order: `Maglev` sorts them by name.
Small disruption is not none: count it with `disruption`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from numba.extending import register_jitable

from lbcore.balance.disruption import Disruption, compare
from lbcore.balance.hashes.murmur3 import murmur3_x64_2words
from lbcore.balance.hashes.xxhash64 import xxhash64
from lbcore.balance.pool import as_hashes, check_backends, check_weights, name_bytes
from lbcore.jit import kernel
from lbcore.wire.portable import portable
from lbcore.wire.words import MASK32, MASK64, mod64, word64

FREE = -1
Table = npt.NDArray[np.int32]


# ---------------------------------------------------------------------------------------------- filling the table
@register_jitable
def check_walks(offsets: Any, skips: Any, size: int) -> None:
    """ValueError unless every walk starts inside the table and visits all of it."""
    if offsets.size == 0 or offsets.size != skips.size:
        raise ValueError(f"offsets, skips: {offsets.size} and {skips.size} given; give one of each for every backend")
    for i in range(offsets.size):
        if not 0 <= offsets[i] < size:
            raise ValueError(f"offsets[{i}]: {offsets[i]} is outside the table; it must be 0 to size - 1 = {size - 1}")
        if skips[i] < 1 or math.gcd(int(skips[i]), int(size)) != 1:
            raise ValueError(
                f"skips[{i}]: {skips[i]} does not visit all {size} slots; use a prime size, skip 1 to size - 1"
            )


@portable
def step(slot: Any, skip: Any, size: Any) -> Any:
    """The next slot on a backend's list: (slot + skip) mod size, without a division.

    The processor can work out both sums and the comparison at once, and pick one. That makes filling a tenth faster.
    """
    return slot + skip if slot < size - skip else slot + skip - size


@portable
def claim(table: Any, backend: int, positions: Any, skips: Any, size: Any) -> None:
    """`backend` takes the first free slot on its list, and notes where to go on."""
    slot, skip = positions[backend], skips[backend]
    while table[slot] >= 0:
        slot = step(slot, skip, size)
    table[slot] = backend
    positions[backend] = step(slot, skip, size)


@kernel
def populate(offsets: Any, skips: Any, size: int) -> Any:
    """The paper's pseudocode 1: int32[size], each slot holding the index of its backend.

    offsets, skips: integers[n], one of each for every backend, offsets below `size`, skips coprime to it (any from
    1 to size - 1 when it is prime). ValueError otherwise.
    """
    check_walks(offsets, skips, size)
    positions, skips, end = offsets.astype(np.uint64), skips.astype(np.uint64), np.uint64(size)
    table = np.full(size, FREE, np.int32)
    filled = 0
    while True:
        for backend in range(positions.size):
            claim(table, backend, positions, skips, end)
            filled += 1
            if filled == size:
                return table


@kernel
def populate_weighted(offsets: Any, skips: Any, weights: Any, size: int) -> Any:
    """`populate` where a backend's turns come in proportion to `weights` (float64[n], above 0): Envoy's rule.

    The heaviest backend takes a slot in every round, one of a third of its weight in every third, all in the first.
    """
    check_walks(offsets, skips, size)
    positions, skips, end = offsets.astype(np.uint64), skips.astype(np.uint64), np.uint64(size)
    table = np.full(size, FREE, np.int32)
    due = np.zeros(weights.size)  # what a backend's turns must add up to before it takes its next slot
    heaviest = weights.max()
    filled, turn = 0, 0
    while True:
        turn += 1
        for backend in range(positions.size):
            if turn * weights[backend] >= due[backend]:
                due[backend] += heaviest
                claim(table, backend, positions, skips, end)
                filled += 1
                if filled == size:
                    return table


# ------------------------------------------------------------------------------------------- Katran's two ways
@register_jitable
def claim_katran(table: Any, backend: int, walks: Any, skips: Any) -> None:
    """As `claim`, where the walk offset + turn * skip is a 32-bit number that wraps before the remainder is taken.

    After a wrap the walk is no permutation any more, and may (one skip in 65536) never meet the slot that is left:
    ValueError then, where the original would go on for ever.
    """
    for _ in range(64 * table.size):
        slot = walks[backend] % table.size
        walks[backend] = (walks[backend] + skips[backend]) & MASK32
        if table[slot] == FREE:
            table[slot] = backend
            return
    raise ValueError(f"skips[{backend}]: {skips[backend]} wraps around 2**32 and finds no free slot")


@kernel
def populate_katran_v1(offsets: Any, skips: Any, weights: Any, size: int) -> Any:
    """Katran's MaglevHash: a backend takes `weight` slots (whole numbers) in the first round, then one a round."""
    check_walks(offsets, skips, size)
    table = np.full(size, FREE if offsets.size > 1 else 0, np.int32)
    walks, skips = offsets.astype(np.int64), skips.astype(np.int64)
    slots = weights.astype(np.int64)
    filled = 0 if offsets.size > 1 else size
    while filled < size:
        for backend in range(offsets.size):
            for _ in range(min(slots[backend], size - filled)):
                claim_katran(table, backend, walks, skips)
                filled += 1
            slots[backend] = 1
    return table


@kernel
def populate_katran_v2(offsets: Any, skips: Any, weights: Any, size: int) -> Any:
    """Katran's MaglevHashV2: a backend saves up its weight each round, and pays the largest weight for a slot."""
    check_walks(offsets, skips, size)
    table = np.full(size, FREE if offsets.size > 1 else 0, np.int32)
    walks, skips = offsets.astype(np.int64), skips.astype(np.int64)
    saved = np.zeros(weights.size)
    price = weights.max()
    filled = 0 if offsets.size > 1 else size
    while filled < size:
        for backend in range(offsets.size):
            saved[backend] += weights[backend]
            if saved[backend] >= price and filled < size:
                saved[backend] -= price
                claim_katran(table, backend, walks, skips)
                filled += 1
    return table


# ------------------------------------------------------------------------------------------------- the recipes
@dataclass(frozen=True)
class Recipe:
    """What two balancers must have in common to build the same table from the same backends, sorted."""

    hash: Callable[[Any, Any], int]  # (backend, seed) -> 64-bit word
    seeds: tuple[Any, Any]  # what `hash` takes beside the backend: for the offset, for the skip
    populate: Callable[..., Table]  # (offsets, skips, weights, size) -> table
    whole_weights: bool = False

    def walk(self, backend: Any, size: int) -> tuple[int, int]:
        """(offset, skip) of a backend: hash mod size, and hash mod (size - 1) plus 1."""
        for_offset, for_skip = self.seeds
        return mod64(self.hash(backend, for_offset), size), mod64(self.hash(backend, for_skip), size - 1) + 1


def hash_name(name: str, seed: int) -> int:
    """A backend known by its name, such as "10.0.0.1:80": xxHash64 of the UTF-8 bytes."""
    return xxhash64(name_bytes(name), seed)


def hash_number(number: int, seed: tuple[int, int]) -> int:
    """A backend known by a 64-bit number: MurmurHash3 of it and one more word, under a seed."""
    if not (isinstance(number, int) and 0 <= number <= MASK64):
        raise TypeError(f"backends: {number!r} is no 64-bit number; this recipe knows backends by 0 to 2**64 - 1")
    return murmur3_x64_2words(number, *seed)


KATRAN_SEEDS = ((42, 0), (2718281828, 2307))
RECIPES = {
    "envoy": Recipe(hash_name, (0, 1), populate_weighted),
    "katran_v1": Recipe(hash_number, KATRAN_SEEDS, populate_katran_v1, whole_weights=True),
    "katran_v2": Recipe(hash_number, KATRAN_SEEDS, populate_katran_v2, whole_weights=True),
}


# ------------------------------------------------------------------------------------------------- looking up
@portable
def slot_of(hash64: int, size: int) -> int:
    """The slot that a 64-bit flow hash falls into: the whole of the packet path, but for the memory access."""
    return mod64(word64(hash64), size)


@kernel
def look_up_many(table: Any, hashes: Any) -> Any:
    """The backends of many flow hashes: table int32[size], hashes uint64[n] -> int32[n]."""
    picks = np.empty(hashes.size, np.int32)
    for i in range(hashes.size):
        picks[i] = table[slot_of(hashes[i], table.size)]
    return picks


def retry(hash64: int, attempt: int) -> int:
    """The hash to look up on the `attempt`-th retry (0: the first try, unchanged), so that it meets other slots.

    Envoy's rule: flip the bits that ~0 - attempt + 1 has set.
    """
    return hash64 ^ ((MASK64 - attempt + 1) & MASK64 if attempt else 0)


# -------------------------------------------------------------------------------------------------- the picker
def is_prime(number: int) -> bool:
    """By trial division: at most 46,000 steps for a size of 31 bits."""
    return number > 1 and all(number % divisor for divisor in range(2, math.isqrt(number) + 1))


def check_size(size: int, live: int) -> int:
    """ValueError unless `size` is a prime below 2**31 and no smaller than the number of `live` backends."""
    if not isinstance(size, int | np.integer) or not 2 <= size < 2**31 or not is_prime(int(size)):
        raise ValueError(f"size: {size!r} is not a prime below 2**31; try 251, 65537 or 655373")
    if size < live:
        raise ValueError(f"size: {size} slots for {live} backends; take a prime over {live}, best 100 times as many")
    return int(size)


class Maglev:
    """A Maglev table over named backends.

    backends: names (str; whole numbers for the Katran recipes), each once; their order does not change who gets a key.
    size: number of slots, a prime, about 100 times the number of backends for shares within one percent.
    weights: one for each backend, 0 drains it. recipe: how names become walks and weights become turns.
    table: int32[size], index into `backends`.
    """

    def __init__(
        self,
        backends: Sequence[Any],
        *,
        size: int = 65537,
        weights: Sequence[float] | None = None,
        recipe: Recipe = RECIPES["envoy"],
    ) -> None:
        self.backends = check_backends(backends)
        share = check_weights(weights, len(self.backends), whole=recipe.whole_weights)
        live = [i for i in range(len(self.backends)) if share[i] > 0]
        self.size = check_size(size, len(live))
        walks = {i: recipe.walk(self.backends[i], self.size) for i in live}
        order = np.array(sorted(live, key=self.backends.__getitem__), np.int32)
        offsets, skips = np.array([walks[i] for i in order]).T
        self.table: Table = order[recipe.populate(offsets, skips, share[order], self.size)]

    def pick(self, hash64: int) -> int:
        """The index of the backend for a 64-bit flow hash."""
        return int(self.table[slot_of(int(hash64), self.size)])

    def pick_many(self, hashes: npt.ArrayLike) -> npt.NDArray[np.int32]:
        """`pick` for each of `hashes` (uint64[n]): int32[n]."""
        return look_up_many(self.table, as_hashes(hashes))  # type: ignore[no-any-return]


def disruption(before: Maglev, after: Maglev) -> Disruption:
    """Which slots changed hands between two tables of one size, and which of them needlessly."""
    if before.size != after.size:
        raise ValueError(f"size: {before.size} before, {after.size} after; slots compare only in tables of one size")
    return compare(before, after, np.arange(before.size))
