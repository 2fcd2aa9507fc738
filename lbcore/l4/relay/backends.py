"""From a pool to one backend, and to another when that one fails.

Rule of this file: it knows numbers of backends, not sockets. Time comes from a clock that is given.

Theory. A picker decides by the key or by what it remembers (`lbcore.balance.chooser`). Who is draining, has failed a
moment ago or has been tried for this connection has no share, and the choice goes past it. The pool's table never
changes: flows of the other backends stay where they are, and every relay of a fleet comes to the same second choice.
One that failed is better than none at all.

Traps
- Draining is for new connections; those that are open stay until they end or the window does.
- A backend that refuses at once looks idle to least connections and would draw everything: that is what `rest` is for.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from hashlib import blake2b

from lbcore.balance.chooser import CHOOSERS, NOBODY, make
from lbcore.wire.proxy_protocol import Endpoint, Inet

ACTIVE, DRAINING = "active", "draining"
PICKERS = tuple(CHOOSERS)


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
        self._chooser = make(picker, self.names, self.weights)
        self._rest, self._clock = rest, clock
        self._resting_until = [0.0] * len(self.names)

    def choose(self, key: int, tried: Collection[int] = ()) -> int | None:
        """The number of a backend for a connection with this 64-bit key, now counted as open; None: nobody is left."""
        left = [0.0 if self.state[i] != ACTIVE or i in tried else self.weights[i] for i in range(len(self.names))]
        now = self._clock()
        good = [0.0 if until > now else share for share, until in zip(left, self._resting_until, strict=True)]
        chosen = self._chooser.choose(key, good if any(good) else left, self.open)
        if chosen == NOBODY:
            return None
        self.open[chosen] += 1
        return chosen

    def done(self, number: int) -> None:
        """A connection that `choose` gave has ended, or never came to be."""
        self.open[number] -= 1

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
