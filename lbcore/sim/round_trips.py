"""How long a client waits for the first byte of an answer: round trips, times distance.

Rule of this file: arithmetic. How many waits a handshake has is counted in `testbed.tls_memory`, on real ones.

Theory. A round trip is spent whenever a side cannot go on before it has heard from the other. TCP spends one (SYN,
SYN-ACK), the request itself one. Between them TLS 1.2 spends two, and one when resumed (RFC 5246 section 7.3); TLS 1.3
spends one (RFC 8446 section 2), and none for early data on a resumed session (section 2.3). QUIC does the handshakes of
transport and TLS together (RFC 9001 section 2).

Trap. It counts waits and nothing else: no CPU time, no loss, no DNS, and hellos and certificates that fit into the
first window.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple


class Setup(NamedTuple):
    """Round trips until a request may be sent."""

    transport: int
    tls: int

    @property
    def first_byte(self) -> int:
        """Round trips until the first byte of the answer."""
        return self.transport + self.tls + 1


SETUPS: Mapping[str, Setup] = {
    "TCP, no TLS": Setup(1, 0),
    "TLS 1.2": Setup(1, 2),
    "TLS 1.2 resumed": Setup(1, 1),
    "TLS 1.3": Setup(1, 1),
    "TLS 1.3 early data": Setup(1, 0),
    "QUIC": Setup(1, 0),  # its one round trip carries TLS along
    "QUIC early data": Setup(0, 0),
    "kept connection": Setup(0, 0),
}


def first_byte(
    setup: str, to_edge: float, beyond: float = 0.0, *, ends_at: str = "backend", warm: bool = True
) -> float:
    """The wait for the first byte, in the unit of the round-trip times given: client to edge, edge to backend.

    ends_at: "edge": TLS ends there, and the edge asks the backend over a connection of its own, which stands already
    (`warm`) or is made for this request (TCP without TLS). "backend": every round trip goes all the way.
    ValueError for another place, an unknown setup or a negative time.
    """
    if setup not in SETUPS:
        raise ValueError(f"setup is {setup!r}, wanted one of: {', '.join(SETUPS)}")
    if ends_at not in ("edge", "backend"):
        raise ValueError(f"ends_at is {ends_at!r}, wanted 'edge' or 'backend'")
    if to_edge < 0 or beyond < 0:
        raise ValueError(f"round-trip times are {to_edge} and {beyond}, wanted 0 or more")
    trips = SETUPS[setup].first_byte
    if ends_at == "backend":
        return trips * (to_edge + beyond)
    return trips * to_edge + (1 if warm else 2) * beyond
