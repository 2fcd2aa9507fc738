"""Many ask for the same at once, one goes (RFC 9111, 4: collapsed requests).

Rule of this file: who leads, who waits, and for how long at most; what is asked is not its business.

Theory. When a popular response grows stale, all who come until the new one is there would ask the backend: a thundering
herd. The first one goes, the flight; the others wait until it has landed and look into the store again. They wait for
the whole response, which they are then given from memory: a follower cannot be faster than the leader anyway, and
nobody's slow reading holds up the others.

Traps
- A leader that fails must not fail the others: when it lands without a response the next one leads.
- What cannot be stored must not be asked for one by one: such a key is remembered for a while (`alone`), and everybody
  goes for themselves. This is told as soon as the head is there.
- A change while a flight is under way (POST to the same target): what lands may be from before it. Who comes from then
  on must not wait for it: it is forgotten, and those who wait already are told.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final

REMEMBERED: Final = 10_000
"""Keys that are remembered at most, of each kind."""


class Remembered:
    """Keys that something was found out about, for so many seconds."""

    def __init__(self, seconds: float, monotonic: Callable[[], float], most: int = REMEMBERED) -> None:
        self._seconds, self._monotonic, self._most = seconds, monotonic, most
        self._until: dict[bytes, float] = {}

    def add(self, key: bytes) -> None:
        """From now on, for a while. The oldest are forgotten first."""
        self._until.pop(key, None)
        while len(self._until) >= self._most:
            del self._until[next(iter(self._until))]
        self._until[key] = self._monotonic() + self._seconds

    def discard(self, key: bytes) -> None:
        """Not any more."""
        self._until.pop(key, None)

    def __contains__(self, key: bytes) -> bool:
        until = self._until.get(key)
        return until is not None and self._monotonic() < until


class Flight:
    """One request under way, for whoever wants the same."""

    __slots__ = ("landed",)

    def __init__(self) -> None:
        self.landed: asyncio.Future[None] | None = None

    def tell(self) -> None:
        """Whoever waits."""
        if self.landed is not None and not self.landed.done():
            self.landed.set_result(None)


class Flights:
    """Those under way, by key. monotonic: seconds of a clock that is never set."""

    def __init__(self, monotonic: Callable[[], float], alone: float = 10.0) -> None:
        self._flights: dict[bytes, Flight] = {}
        self.alone = Remembered(alone, monotonic)
        """Keys for which waiting has been found to be of no use."""

    def __len__(self) -> int:
        return len(self._flights)

    def lead(self, key: bytes) -> Flight | None:
        """Go; None if somebody has gone already."""
        if key in self._flights:
            return None
        flight = self._flights[key] = Flight()
        return flight

    async def wait(self, key: bytes, seconds: float) -> bool:
        """Until the flight has landed. False: it takes too long."""
        flight = self._flights.get(key)
        if flight is None:
            return True
        if flight.landed is None:
            flight.landed = asyncio.get_running_loop().create_future()
        done, _ = await asyncio.wait((flight.landed,), timeout=seconds)
        return bool(done)

    def land(self, key: bytes, flight: Flight, *, alone: bool = False) -> None:
        """It is over, however it ended. May be called again. alone: it brought nothing that others could be given."""
        if self._flights.get(key) is flight:
            del self._flights[key]
            (self.alone.add if alone else self.alone.discard)(key)
        flight.tell()

    def forget(self, key: bytes) -> None:
        """What is under way for this key is not what is wanted any more."""
        flight = self._flights.pop(key, None)
        if flight is not None:
            flight.tell()
