"""What every picker shares: the two interfaces, and what is a valid pool of backends.

Rule of this file: it decides nothing about traffic; it says no, in words, before anybody else has to.
"""

from __future__ import annotations

import math
import numbers
from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt


class Picker(Protocol):
    """Chooses by the key alone: the same key gives the same backend for as long as the pool is the same."""

    @property
    def backends(self) -> tuple[Any, ...]: ...
    def pick(self, hash64: int) -> int: ...
    def pick_many(self, hashes: npt.ArrayLike) -> npt.NDArray[np.int32]: ...


class Scheduler(Protocol):
    """Chooses by what it remembers: whose turn it is, or who is busy."""

    @property
    def backends(self) -> tuple[Any, ...]: ...
    def pick(self) -> int: ...
    def done(self, index: int) -> None: ...


def check_backends(backends: Sequence[Any]) -> tuple[Any, ...]:
    """The pool as a tuple. ValueError when it is empty or names a backend twice; TypeError for a bare string."""
    if isinstance(backends, str | bytes):
        raise TypeError(f"backends: {backends!r} is one name; give a list of names, such as [{backends!r}]")
    names = tuple(backends)
    if not names:
        raise ValueError("backends: the pool is empty; give at least one backend")
    seen: set[Any] = set()
    for name in names:
        if name in seen:
            raise ValueError(
                f"backends: {name!r} appears twice; each name must be its own (use weights for a bigger share)"
            )
        seen.add(name)
    return names


def check_weights(weights: Sequence[float] | None, count: int, *, whole: bool = False) -> npt.NDArray[np.float64]:
    """Weights as float64[count]; None means all 1. Zero drains a backend.

    ValueError when there is not one weight for each backend, when a weight is negative, infinite or not a number
    (not a whole number below 2**32, if `whole`), or when all are zero.
    """
    if weights is None:
        return np.ones(count)
    if len(weights) != count:
        raise ValueError(f"weights: {len(weights)} given for {count} backends; give one weight for each backend")
    for i, weight in enumerate(weights):
        if not (isinstance(weight, numbers.Real) and math.isfinite(weight) and weight >= 0):
            raise ValueError(f"weights[{i}]: {weight!r} is not a weight; give a finite number, 0 (drained) or more")
        if whole and (weight != int(weight) or weight >= 2**32):
            raise ValueError(f"weights[{i}]: {weight!r} is not a whole number below 2**32; this algorithm counts turns")
    checked = np.array([float(weight) for weight in weights])
    if not checked.any():
        raise ValueError("weights: all are 0; at least one backend must take traffic")
    return checked


def name_bytes(name: str) -> bytes:
    """A backend's name as it is hashed: UTF-8. TypeError for anything but a str."""
    if not isinstance(name, str):
        raise TypeError(f"backends: {name!r} is a {type(name).__name__}; names are str, such as '10.0.0.1:80'")
    return name.encode()


def as_hashes(hashes: npt.ArrayLike) -> npt.NDArray[np.uint64]:
    """Keys as a contiguous uint64[n], whatever integers they came as."""
    return np.ascontiguousarray(hashes, dtype=np.uint64)
