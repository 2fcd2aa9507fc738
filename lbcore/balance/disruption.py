"""How much a change of the pool disturbs: which keys moved to another backend, and which of them needlessly.

Rule of this file: it asks two pickers and compares names; how they pick is their business.

Theory. A key has to move when its backend is gone, and it may move to a backend that is new: that is what the new one
is for. Every other move is needless: the backend that held the key's state is still there, and the key was taken away
from it all the same. Good consistent hashing makes few needless moves, rendezvous none, modulo mostly those.

Trap. Compare names, never indices: taking out the first backend shifts the index of all the others.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from lbcore.balance.pool import Picker


@dataclass(frozen=True)
class Disruption:
    """What became of n keys (or slots): two masks over them."""

    moved: npt.NDArray[np.bool_]  # bool[n]: now goes to a backend of another name
    needless: npt.NDArray[np.bool_]  # bool[n]: moved between two backends that were there before and after

    @property
    def moved_share(self) -> float:
        """Moved keys / all keys."""
        return float(self.moved.mean())

    @property
    def needless_share(self) -> float:
        """Needlessly moved keys / all keys."""
        return float(self.needless.mean())


def compare(before: Picker, after: Picker, keys: npt.ArrayLike) -> Disruption:
    """What a change from `before` to `after` does to `keys` (uint64[n] hashes).

    A backend that is to count as gone must be left out of the list; one with weight 0 counts as still there.
    """
    number = {name: i for i, name in enumerate(dict.fromkeys((*before.backends, *after.backends)))}
    old, new = (np.array([number[name] for name in picker.backends]) for picker in (before, after))
    owner, heir = old[before.pick_many(keys)], new[after.pick_many(keys)]
    moved = owner != heir
    return Disruption(moved, moved & np.isin(owner, new) & np.isin(heir, old))
