"""The power of two choices: draw two backends at random, take the one with fewer connections.

Theory (Mitzenmacher, "The Power of Two Choices in Randomized Load Balancing", 2001). Throw n balls into n bins at
random and the fullest holds about ln n / ln ln n; look at two bins for each ball and it holds about ln ln n / ln 2.
The second look brings nearly all of it, a third little more. And it does not herd: where many balancers with old
counts would all run to the one least loaded backend, two random draws spread them.

Trap. The two must differ, or one time in n the choice is no choice.
"""

from __future__ import annotations

from collections.abc import Sequence
from random import Random
from typing import Any

from lbcore.balance.least_connections import Active


class PowerOfTwo(Active):
    """The least loaded of `choices` backends drawn by `random`, the first drawn of equals. State: `active`, int64[n].

    choices: 1 is plain random; as many as there are backends, or more, is least connections with random tie-breaks.
    """

    def __init__(self, backends: Sequence[Any], *, random: Random, choices: int = 2) -> None:
        super().__init__(backends)
        if not choices >= 1:
            raise ValueError(f"choices: {choices} draws decide nothing; give 1 or more, best 2")
        self.random = random
        self.choices = min(choices, len(self.backends))

    def draw(self) -> list[int]:
        """The indices of the next candidates, all different."""
        return self.random.sample(range(len(self.backends)), self.choices)

    def pick(self) -> int:
        """The index of the least loaded candidate, which now has one connection more."""
        return self.opened(min(self.draw(), key=self.active.__getitem__))
