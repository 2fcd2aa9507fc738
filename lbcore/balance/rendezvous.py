"""Rendezvous hashing, also called highest random weight: every backend draws a number for the key, the highest wins.

Theory (Thaler and Ravishankar, "Using Name-Based Mappings to Increase Hit Rates", 1998). The draw is a hash of key and
backend together, so everybody who knows the names draws the same numbers. Take a backend out and only the keys that
it had won go elsewhere, each to its own runner-up: no needless move, ever, and the load of the dead one spreads evenly.
Weights (Schindelhauer and Schomaker, 2005): with u uniform in (0, 1), -w / ln(u) is highest for a backend with
probability w / (sum of all w), and changing one weight moves keys only to or from that backend.

The price is one hash for each backend and key: fine for ten caches, not for every packet and a thousand servers.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from lbcore.balance.hashes.xxhash64 import xxhash64, xxhash64_word
from lbcore.balance.pool import as_hashes, check_backends, check_weights, name_bytes
from lbcore.jit import kernel
from lbcore.wire.portable import portable

UNIT = 2.0**-52  # with 52 bits of the hash, and a half added, u is never 0 and never 1


@portable
def highest(hash64: int, seeds: Any) -> int:
    """The winner for a key where all weights are equal: no logarithm is needed to know who drew the most."""
    winner, best = 0, xxhash64_word(hash64, seeds[0])
    for i in range(1, len(seeds)):
        draw = xxhash64_word(hash64, seeds[i])
        if draw > best:
            winner, best = i, draw
    return winner


@portable
def highest_weighted(hash64: int, seeds: Any, weights: Any) -> int:
    """The winner for a key by the score -w / ln(u)."""
    winner, best = -1, 0.0
    for i in range(len(seeds)):
        u = (float(xxhash64_word(hash64, seeds[i]) >> 12) + 0.5) * UNIT
        score = -weights[i] / math.log(u)
        if score > best:
            winner, best = i, score
    return winner


@kernel
def highest_many(hashes: Any, seeds: Any) -> Any:
    """`highest` of each of `hashes` (uint64[n]), seeds uint64[backends]: int32[n]."""
    picks = np.empty(hashes.size, np.int32)
    for i in range(hashes.size):
        picks[i] = highest(hashes[i], seeds)
    return picks


@kernel
def highest_weighted_many(hashes: Any, seeds: Any, weights: Any) -> Any:
    """`highest_weighted` of each of `hashes` (uint64[n]), weights float64[backends]: int32[n]."""
    picks = np.empty(hashes.size, np.int32)
    for i in range(hashes.size):
        picks[i] = highest_weighted(hashes[i], seeds, weights)
    return picks


class Rendezvous:
    """Rendezvous hashing over named backends, in any order; weights are any numbers, 0 drains."""

    def __init__(self, backends: Sequence[str], weights: Sequence[float] | None = None) -> None:
        self.backends = check_backends(backends)
        share = check_weights(weights, len(self.backends))
        self.weights = share / share.max()  # the largest is 1, so that no winning score is too small to be told from 0
        self.seeds = np.array([xxhash64(name_bytes(name), 0) for name in self.backends], np.uint64)
        self.equal = bool((self.weights == self.weights[0]).all())

    def pick(self, hash64: int) -> int:
        """The index of the backend for a 64-bit hash."""
        return int(self.pick_many([hash64])[0])

    def pick_many(self, hashes: npt.ArrayLike) -> npt.NDArray[np.int32]:
        """`pick` for each of `hashes` (uint64[n]): int32[n]."""
        if self.equal:
            return highest_many(as_hashes(hashes), self.seeds)  # type: ignore[no-any-return]
        return highest_weighted_many(as_hashes(hashes), self.seeds, self.weights)  # type: ignore[no-any-return]
