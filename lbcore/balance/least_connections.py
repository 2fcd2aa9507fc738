"""Least connections: to whom has the fewest of them, measured by weight.

Theory. Connections that last are work in progress, so the count is a measure of load that needs no report from the
backend: who is slow keeps them longer and gets fewer new ones. With weights, active / weight is compared, by
multiplying crosswise, which is exact and needs no division. Equals take turns: the search starts after the last pick.

Traps. The count is this balancer's own: ten balancers each see a tenth, and all send to the same idle newcomer at once.
A backend that fails fast has no connections left and gets everything: health checks come first.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from lbcore.balance.pool import check_backends, check_weights
from lbcore.wire.portable import portable


@portable
def least_loaded(active: Any, weights: Any, start: int) -> int:
    """The index with the lowest active / weight, the first of equals from `start` on (int64[n], float64[n])."""
    best = -1
    for step in range(len(active)):
        i = (start + step) % len(active)
        if weights[i] > 0 and (best < 0 or active[i] * weights[best] < active[best] * weights[i]):
            best = i
    return best


class Active:
    """The open connections of each backend: what every scheduler that looks at load has to count."""

    def __init__(self, backends: Sequence[Any]) -> None:
        self.backends = check_backends(backends)
        self.active: npt.NDArray[np.int64] = np.zeros(len(self.backends), np.int64)

    def opened(self, index: int) -> int:
        """Count one more; gives `index` back."""
        self.active[index] += 1
        return index

    def done(self, index: int) -> None:
        """A connection to this backend has ended. ValueError when it had none, IndexError when there is no such one."""
        if not 0 <= index < len(self.backends):
            raise IndexError(f"index: {index} is no backend; it must be 0 to {len(self.backends) - 1}")
        if self.active[index] == 0:
            raise ValueError(f"index: backend {index} has no open connection; call done once for each pick")
        self.active[index] -= 1


class LeastConnections(Active):
    """The backend with the fewest open connections for its weight (0 drains). State: `active` (int64[n]), `start`."""

    def __init__(self, backends: Sequence[Any], weights: Sequence[float] | None = None) -> None:
        super().__init__(backends)
        self.weights = check_weights(weights, len(self.backends))
        self.start = 0

    def pick(self) -> int:
        """The index of the least loaded backend, which now has one connection more."""
        index = least_loaded(self.active, self.weights, self.start)
        self.start = (index + 1) % len(self.backends)
        return self.opened(index)
