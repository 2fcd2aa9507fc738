"""The hash ring: backends own the arcs before their points, a key belongs to the next point clockwise.

Theory (Karger et al., "Consistent Hashing and Random Trees", STOC 1997). Each backend stands at many points of a circle
of 32-bit numbers. A backend that goes leaves its arcs to the next points, and nobody else's keys move; that is the same
promise as rendezvous hashing keeps, at the price of a search instead of a hash for every backend.
Its weakness is balance: arcs between random points differ, and with p points a share is off by about 1 / sqrt(p).

What is ketama, and what is ours. As in libketama, a backend has 160 points, four from each MD5 digest of "name-0" to
"name-39", read as little-endian 32-bit words, and a key goes to the first point at or after it, past the top to the
lowest. Ours: weight w gives 160 * w points, however heavy the others are (libketama deals out 160 * n points in
proportion, so that a newcomer with another weight changes everybody's points); a key's place is the low half of the
64-bit hash that the caller brings (libketama takes an MD5 of the key); of two backends at one point, the name that
sorts first has it.
"""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import md5
from typing import Any

import numpy as np
import numpy.typing as npt

from lbcore.balance.pool import as_hashes, check_backends, check_weights
from lbcore.jit import kernel
from lbcore.wire.portable import portable
from lbcore.wire.words import MASK32, int64, word64

POINTS_PER_DIGEST = 4


def points_of(name: str, count: int) -> npt.NDArray[np.uint32]:
    """The first `count` (a multiple of 4) points of a backend on the ring: uint32[count]."""
    digests = (md5(f"{name}-{i}".encode(), usedforsecurity=False).digest() for i in range(count // POINTS_PER_DIGEST))
    return np.frombuffer(b"".join(digests), "<u4")


@portable
def next_point(points: Any, place: int) -> int:
    """The index of the first of the sorted `points` at or after `place`, or 0 past the last: a binary search."""
    low, high = 0, len(points)
    for _ in range(32):
        if low < high:
            middle = (low + high) >> 1
            if int(points[middle]) < place:
                low = middle + 1
            else:
                high = middle
    return low if low < len(points) else 0


@kernel
def owners_many(points: Any, owners: Any, hashes: Any) -> Any:
    """The owners of the places of many keys: points uint32[p] sorted, owners int32[p], hashes uint64[n] -> int32[n]."""
    picks = np.empty(hashes.size, np.int32)
    for i in range(hashes.size):
        picks[i] = owners[next_point(points, int64(word64(hashes[i]) & word64(MASK32)))]
    return picks


class Ring:
    """A hash ring over named backends, in any order.

    weights: one for each backend, 0 drains; each backend gets points_per_weight * weight points, rounded to 4.
    points: uint32[p], sorted. owners: int32[p], the index into `backends` of whose point it is.
    """

    def __init__(
        self, backends: Sequence[str], weights: Sequence[float] | None = None, *, points_per_weight: int = 160
    ) -> None:
        self.backends = check_backends(backends)
        share = check_weights(weights, len(self.backends))
        counts = [round(points_per_weight * weight / POINTS_PER_DIGEST) * POINTS_PER_DIGEST for weight in share]
        for weight, count in zip(share, counts, strict=True):
            if weight > 0 and count < POINTS_PER_DIGEST:
                raise ValueError(
                    f"points_per_weight: {points_per_weight} at weight {weight} makes no point; "
                    f"their product must be {POINTS_PER_DIGEST} or more"
                )
        order = sorted(range(len(self.backends)), key=self.backends.__getitem__)
        points = np.concatenate([points_of(self.backends[i], counts[i]) for i in order])
        owners = np.repeat(np.array(order, np.int32), [counts[i] for i in order])
        clockwise = np.argsort(points, kind="stable")  # stable: where points meet, the first name wins
        self.points: npt.NDArray[np.uint32] = points[clockwise]
        self.owners: npt.NDArray[np.int32] = owners[clockwise]

    def pick(self, hash64: int) -> int:
        """The index of the backend for a 64-bit hash."""
        return int(self.owners[next_point(self.points, int(hash64) & MASK32)])

    def pick_many(self, hashes: npt.ArrayLike) -> npt.NDArray[np.int32]:
        """`pick` for each of `hashes` (uint64[n]): int32[n]."""
        return owners_many(self.points, self.owners, as_hashes(hashes))  # type: ignore[no-any-return]
