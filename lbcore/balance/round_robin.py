"""Round robin: everyone in turn, and in turn by weight without bursts.

Theory. Plain round robin counts requests, not work: fair when requests cost the same. Weighted turns could be dealt as
a, a, a, a, a, b, c, and then `a` gets five at a stroke; nginx's smooth form spreads them: in each round everyone gains
credit by its weight, the richest is picked (the first of equals) and pays the sum of all weights. The credits add up to
zero after every pick, and return to zero after as many picks as the weights add up to.

Trap. Many balancers that start together with the same list all start with its first backend.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from lbcore.balance.pool import check_backends, check_weights
from lbcore.wire.portable import portable


@portable
def smooth_turn(credit: Any, weights: Any) -> int:
    """One pick of smooth weighted round robin: changes `credit` in place, gives the index (float64[n] each)."""
    best, total = -1, 0.0
    for i in range(len(weights)):
        credit[i] += weights[i]
        total += weights[i]
        if weights[i] > 0 and (best < 0 or credit[i] > credit[best]):
            best = i
    credit[best] -= total
    return best


class RoundRobin:
    """Each backend in turn, from the first. State: `next`, the index whose turn it is."""

    def __init__(self, backends: Sequence[Any]) -> None:
        self.backends = check_backends(backends)
        self.next = 0

    def pick(self) -> int:
        """The index of the backend whose turn it is."""
        index = self.next
        self.next = (index + 1) % len(self.backends)
        return index

    def done(self, index: int) -> None:
        """Nothing: round robin does not know who is busy."""


class SmoothWeighted:
    """Each backend in turn as often as its weight says, spread out as nginx does. State: `credit`, float64[n]."""

    def __init__(self, backends: Sequence[Any], weights: Sequence[float] | None = None) -> None:
        self.backends = check_backends(backends)
        self.weights = check_weights(weights, len(self.backends))
        self.credit: npt.NDArray[np.float64] = np.zeros(len(self.backends))

    def pick(self) -> int:
        """The index of the backend whose turn it is."""
        return smooth_turn(self.credit, self.weights)

    def done(self, index: int) -> None:
        """Nothing: round robin does not know who is busy."""
