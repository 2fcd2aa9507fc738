"""From a pool to one backend, and to another when that one fails.

Rule of this file: it knows numbers of backends, not sockets. Time comes from a clock that is given.

Theory. A picker decides by the key or by what it remembers (`lbcore.balance`). Its choice stands unless the backend is
draining, has failed a moment ago, or has been tried for this connection; then the key is hashed once more and the
picker asked again. So the pool's table never changes: flows of the other backends stay where they are, and every relay
of a fleet comes to the same second choice. When asking does not help, the least busy of those that are left is taken,
one that failed before none at all.

Traps
- Draining is for new connections; those that are open stay until they end or the window does.
- A backend that refuses at once looks idle to least connections and would draw everything: that is what `rest` is for.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from hashlib import blake2b
from random import Random
from typing import Any

from lbcore.balance.hashes import xxhash64_word
from lbcore.balance.least_connections import LeastConnections
from lbcore.balance.maglev import Maglev
from lbcore.balance.power_of_two import PowerOfTwo
from lbcore.balance.rendezvous import Rendezvous
from lbcore.balance.ring import Ring
from lbcore.balance.round_robin import RoundRobin, SmoothWeighted
from lbcore.wire.proxy_protocol import Endpoint, Inet

TABLE = 4099  # slots of a Maglev table: prime, over 100 for each of 40 backends
PICKERS: dict[str, Callable[[Sequence[str], Sequence[float]], Any]] = {
    "maglev": lambda names, weights: Maglev(names, size=TABLE, weights=weights),
    "ring": lambda names, weights: Ring(names, weights),
    "rendezvous": lambda names, weights: Rendezvous(names, weights),
    "round_robin": lambda names, weights: RoundRobin(names),
    "smooth_weighted": lambda names, weights: SmoothWeighted(names, weights),
    "least_connections": lambda names, weights: LeastConnections(names, weights),
    "power_of_two": lambda names, weights: PowerOfTwo(names, random=Random()),
}
BY_KEY = ("maglev", "ring", "rendezvous")
ACTIVE, DRAINING = "active", "draining"
TRIES = 8  # questions to the picker before the least busy is taken


def key_of(hash_on: str, source: Endpoint, destination: Endpoint, seed: int) -> int:
    """The 64-bit key of a flow: of the "connection", or of the "source" address without its port.

    A keyed hash in C: our own hashes are made for compiled code, and take longer here than all else that is decided.
    """
    text: object = source.address if hash_on == "source" and isinstance(source, Inet) else (source, destination)
    digest = blake2b(repr(text).encode(), digest_size=8, key=seed.to_bytes(8, "little")).digest()
    return int.from_bytes(digest, "little")


class Backends:
    """A pool's backends by number. open: connections of each. state: ACTIVE or DRAINING of each."""

    def __init__(
        self, names: Sequence[str], weights: Sequence[float], picker: str, rest: float, clock: Callable[[], float]
    ):
        self.names, self.weights = tuple(names), tuple(weights)
        self.open = [0] * len(self.names)
        self.state = [ACTIVE] * len(self.names)
        self._by_key = picker in BY_KEY
        self._picker = PICKERS[picker](self.names, self.weights)
        self._rest, self._clock = rest, clock
        self._resting_until = [0.0] * len(self.names)

    def choose(self, key: int, tried: Collection[int] = ()) -> int | None:
        """The number of a backend for a connection with this 64-bit key, now counted as open; None: nobody is left."""
        left = [i for i in range(len(self.names)) if self.state[i] == ACTIVE and i not in tried]
        now = self._clock()
        good = {i for i in left if self._resting_until[i] <= now}
        chosen = self._ask(key, good or set(left))
        if chosen is not None:
            self.open[chosen] += 1
        return chosen

    def done(self, number: int) -> None:
        """A connection that `choose` gave has ended, or never came to be."""
        self.open[number] -= 1
        if not self._by_key:
            self._picker.done(number)

    def failed(self, number: int) -> None:
        """It could not be reached: for a while it is asked last."""
        self._resting_until[number] = self._clock() + self._rest

    def answered(self, number: int) -> None:
        """It could be reached."""
        self._resting_until[number] = 0.0

    def set_state(self, number: int, state: str) -> None:
        """ACTIVE or DRAINING. ValueError otherwise."""
        if state not in (ACTIVE, DRAINING):
            raise ValueError(f"state {state!r}: must be {ACTIVE} or {DRAINING}")
        self.state[number] = state

    def _ask(self, key: int, good: set[int]) -> int | None:
        if not good:
            return None
        refused: list[int] = []  # still counted by a scheduler while it is asked, so that it comes to name another
        chosen = None
        while chosen is None and len(refused) < TRIES:
            number = int(self._picker.pick(key) if self._by_key else self._picker.pick())
            if number in good:
                chosen = number
            else:
                refused.append(number)
                key = xxhash64_word(key, len(refused))
        if not self._by_key:
            for number in refused:
                self._picker.done(number)
        if chosen is None:
            chosen = min(good, key=lambda i: self.open[i] / self.weights[i])
            if hasattr(self._picker, "opened"):
                self._picker.opened(chosen)
        return chosen
