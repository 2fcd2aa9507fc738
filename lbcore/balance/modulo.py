"""Modulo: the remainder of the hash by the number of backends.

Theory. Even, stateless, one instruction; every balancer agrees. And the moment the number changes from n to n - 1, a
key stays only where both remainders happen to agree: (n - 1) of n keys move, most of them away from healthy backends.
It is here to be compared with.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from lbcore.balance.pool import as_hashes, check_backends
from lbcore.wire.words import mod64, word64


class Modulo:
    """hash64 % len(backends)."""

    def __init__(self, backends: Sequence[Any]) -> None:
        self.backends = check_backends(backends)

    def pick(self, hash64: int) -> int:
        """The index of the backend for a 64-bit hash."""
        return mod64(word64(int(hash64)), len(self.backends))

    def pick_many(self, hashes: npt.ArrayLike) -> npt.NDArray[np.int32]:
        """`pick` for each of `hashes` (uint64[n]): int32[n]."""
        return (as_hashes(hashes) % np.uint64(len(self.backends))).astype(np.int32)
