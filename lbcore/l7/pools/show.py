"""What there is to be seen of a backend: for the operator, in types that JSON knows.

Rule of this file: it reads, and changes nothing.
"""

from __future__ import annotations

from typing import Any

from lbcore.l7.pools.backend import DRAINING, Backend
from lbcore.l7.pools.standing import NEVER, Standing


def show(standing: Standing, backend: Backend, now: float) -> dict[str, Any]:
    """One backend. Seconds; `left` is None where no end is set; what the pool does not use is left out."""
    place = standing.places[backend]
    shown: dict[str, Any] = {
        "name": backend.name,
        "state": backend.state,
        "why": place.out(standing.panic),
        "weight": backend.weight,
        "share": standing.shares[backend.number],
        "active": backend.active,
        "total": backend.total,
        "errors": backend.errors,
        "latency": backend.latency,
    }
    if backend.state == DRAINING:
        shown["draining"] = {"left": None if place.drained == NEVER else max(0.0, place.drained - now)}
    if place.health:
        health = place.health
        shown["health"] = {"up": health.up, "why": health.why, "checks": health.checks, "changes": health.changes}
    if place.outlier:
        record, left = place.outlier, max(0.0, place.outlier.until - now)
        shown["ejection"] = {"left": left, "why": record.why, "ejections": record.ejections}
    if standing.options.breaker and standing.options.breaker.failures:
        shown["breaker"] = {"state": place.breaker.state, "opened": place.breaker.opened}
    return shown
