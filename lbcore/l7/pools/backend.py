"""One server of a pool, and how an attempt at it ended.

Rule of this file: facts. What follows from them is the pool's to say.
"""

from __future__ import annotations

from collections.abc import Callable, Collection

from msgspec import Struct

ACTIVE, DRAINING, DOWN = "active", "draining", "down"
STATES = (ACTIVE, DRAINING, DOWN)


class Backend:
    """One server of a pool. Compared by identity: after a reload the same address is a new backend.

    host: as it is dialled. port: 1 to 65535. weight: its share, 0 or more. state: what the operator wants of it,
    ACTIVE, DRAINING (those that are stuck to it are served, until the window ends) or DOWN. Setting weight or state
    takes effect with the next pick; a weight that the pool's picker cannot use is refused. What health checks and
    ejection make of it is `Pool.why_not`.
    """

    __slots__ = (
        "_active",
        "_state",
        "_weight",
        "changed",
        "errors",
        "host",
        "latency",
        "name",
        "number",
        "port",
        "total",
    )

    def __init__(self, host: str, port: int, weight: float = 1.0, state: str = ACTIVE) -> None:
        self.host, self.port = host, port
        self.name = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        """`host:port`, as logs and metrics have it."""
        self.changed: Callable[[], None] = _nobody_listens
        self._weight, self._state = 0.0, state
        self.weight, self.state = weight, state
        self.total = 0
        """Attempts that have ended."""
        self.errors = 0
        """Of these, those that the backend failed."""
        self.latency = 0.0
        """Seconds to the response's head, averaged so that the last attempts weigh most; 0 before the first."""
        self._active, self.number = [0], 0

    @property
    def active(self) -> int:
        """Requests in flight."""
        return self._active[self.number]

    @property
    def weight(self) -> float:
        """Its share, next to the others'."""
        return self._weight

    @weight.setter
    def weight(self, weight: float) -> None:
        if not 0 <= weight < float("inf"):
            raise ValueError(f"weight: {weight!r} is none; give a finite number, 0 (nothing new) or more")
        before, self._weight = self._weight, float(weight)
        try:
            self.changed()
        except ValueError:  # the pool's picker cannot do that
            self._weight = before
            raise

    @property
    def state(self) -> str:
        """What the operator wants of it."""
        return self._state

    @state.setter
    def state(self, state: str) -> None:
        if state not in STATES:
            raise ValueError(f"state: {state!r} is none; it must be one of {', '.join(STATES)}")
        self._state = state
        self.changed()

    def join(self, active: list[int], number: int, changed: Callable[[], None]) -> None:
        """Become number `number` of a pool, which keeps the counts of all in `active` and is told of changes.

        ValueError if it is in a pool already: two would count its requests, and none would know them all.
        """
        if self.changed is not _nobody_listens:
            raise ValueError(f"backends: {self.name} is in a pool already; make a backend of its own for each pool")
        self._active, self.number, self.changed = active, number, changed

    def __repr__(self) -> str:
        return f"<Backend {self.name} {self.state} weight {self.weight:g} active {self.active}>"


def _nobody_listens() -> None:
    """Before a backend is in a pool."""


class Result(Struct, frozen=True, gc=False):
    """How one attempt at one backend ended."""

    status: int = 0
    """Of the response; 0 if there was none."""
    error: str = ""
    """`refused`, `timeout`, `reset`, `garbage`...; empty if the response came whole."""
    seconds: float = 0.0
    """From the attempt's beginning to the response's head, or to the error."""
    sent: bool = False
    """Did any byte of the request reach the connection? What was never sent can be sent again, whatever its method."""


OUR_OWN = frozenset({"bad request", "cancelled", "not wanted any more", "proxy", "shutdown", "stale"})


def verdict(result: Result, statuses: Collection[int]) -> bool | None:
    """Did the backend do well? None: it broke off for a reason that is not the backend's, and says nothing of it.

    statuses: of responses that are failures. Errors are, unless they are the client's ("client gone", "client too
    slow") or our own.
    """
    if result.error:
        return None if result.error in OUR_OWN or result.error.startswith("client") else False
    return result.status not in statuses if result.status else None
