"""Backends that can stand in for each other, and what is known about each.

Rule of this file: decisions and counts; no sockets. The engine asks for a backend, says when an attempt begins, and how
it ended.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

from lbcore.l7.message import Request, Response

ACTIVE, DRAINING, DOWN = "active", "draining", "down"


@dataclass(slots=True, eq=False)
class Backend:
    """One server of a pool. Compared by identity: after a reload the same address is a new backend."""

    host: str
    port: int
    weight: float = 1.0
    state: str = ACTIVE
    active: int = 0
    """Requests in flight."""

    @property
    def name(self) -> str:
        """`host:port`, as logs and metrics have it."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


class Result(NamedTuple):
    """How one attempt at one backend ended."""

    status: int = 0
    """Of the response; 0 if there was none."""
    error: str = ""
    """`refused`, `timeout`, `reset`, `garbage`...; empty if the response came whole."""
    seconds: float = 0.0
    """From the attempt's beginning to the response's head, or to the error."""
    sent: bool = False
    """Did any byte of the request reach the connection? What was never sent can be sent again, whatever its method."""


@dataclass(frozen=True, slots=True)
class Timeouts:
    """Seconds. connect: until TCP and TLS stand. head: from the request's end to the response's head. idle: between two
    pieces of a body, either way. keep: how long an unused connection is kept. life: how long any connection is used."""

    connect: float = 3.0
    head: float = 30.0
    idle: float = 60.0
    keep: float = 30.0
    life: float = 3600.0


class Pool:
    """Backends, and how one of them is chosen. Thin as it stands: in turn, whoever is active."""

    def __init__(self, name: str, backends: Sequence[Backend], timeouts: Timeouts | None = None, protocol: str = "h1"):
        self.name: Final = name
        self.backends = tuple(backends)
        self.timeouts = timeouts or Timeouts()
        self.protocol = protocol
        """How backends are spoken to: "h1", "h2" (TLS with ALPN) or "h2c" (HTTP/2 in the clear, known beforehand)."""
        self._next = 0

    def pick(self, request: Request, tried: Collection[Backend] = ()) -> Backend | None:
        """Who is to answer this request, not one of `tried`; None: nobody is left."""
        for _ in self.backends:
            backend = self.backends[self._next]
            self._next = (self._next + 1) % len(self.backends)
            if backend.state == ACTIVE and backend not in tried:
                return backend
        return None

    def began(self, backend: Backend) -> None:
        """An attempt begins; `ended` follows, once."""
        backend.active += 1

    def ended(self, backend: Backend, result: Result) -> None:
        """It is over, the body included."""
        backend.active -= 1

    def again(self, request: Request, result: Result, attempts: int) -> bool:
        """May this request be tried at another backend, after so many attempts?"""
        return False

    def mark(self, request: Request, backend: Backend, response: Response) -> None:
        """A last word on the response's head: a sticky pool sets its cookie here."""
