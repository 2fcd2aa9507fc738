"""Jump consistent hash: a key and a number of buckets, no table and no memory, and exactly the moves that must be.

Theory (Lamping and Veach, "A Fast, Minimal Memory, Consistent Hash Algorithm", 2014). Let the buckets be added one by
one. When bucket b is added, every key moves into it with probability 1 / (b + 1), as its own random generator decides;
all others stay. Instead of asking at every bucket, `jump` draws the next bucket at which the key will move, and so
needs about ln(buckets) steps. Between n and n + 1 buckets only keys that go to the new one move.

Traps. Buckets are numbers: only the last one can leave. A dead backend in the middle is none of jump's business; put
a layer of names above it, or take another method.
The paper's code computes the quotient in double precision, this one in integers, as the kernel has no floating point.
They differ where the exact quotient is whole and the double falls just short of it: with 1,000 buckets for about one
key in 2**32.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from lbcore.balance.pool import as_hashes, check_backends
from lbcore.jit import kernel
from lbcore.wire.portable import portable
from lbcore.wire.words import add64, int64, mul64, word64

MULTIPLIER = 2862933555777941757  # of the key's own linear congruential generator
LONGEST = 256  # steps: a bound for the compiler of the kernel; the mean is ln(buckets) + 1, so 22 for 2**31 buckets


@portable
def jump(hash64: int, buckets: int) -> int:
    """The bucket, 0 to buckets - 1, of a 64-bit hash (1 <= buckets < 2**31)."""
    state, bucket, drawn = word64(hash64), 0, 0
    for _ in range(LONGEST):
        if drawn >= buckets:
            break
        bucket = drawn
        state = add64(mul64(state, word64(MULTIPLIER)), word64(1))
        drawn = ((bucket + 1) << 31) // (int64(state >> 33) + 1)
    return bucket


@kernel
def jump_many(hashes: Any, buckets: int) -> Any:
    """`jump` of each of `hashes` (uint64[n]): int32[n]."""
    picks = np.empty(hashes.size, np.int32)
    for i in range(hashes.size):
        picks[i] = jump(hashes[i], buckets)
    return picks


class Jump:
    """Jump hash over a list of backends, which may grow and shrink at its end only."""

    def __init__(self, backends: Sequence[Any]) -> None:
        self.backends = check_backends(backends)

    def pick(self, hash64: int) -> int:
        """The index of the backend for a 64-bit hash."""
        return jump(int(hash64), len(self.backends))

    def pick_many(self, hashes: npt.ArrayLike) -> npt.NDArray[np.int32]:
        """`pick` for each of `hashes` (uint64[n]): int32[n]."""
        return jump_many(as_hashes(hashes), len(self.backends))  # type: ignore[no-any-return]
