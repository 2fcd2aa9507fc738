"""Everything that the running proxy counts, for Prometheus (exposition format 0.0.4).

Rule of this file: a table of figures, and where each is read. What the filters `metrics` count is theirs to show; it
stands in front of this.

Theory. Names say what is counted and in which unit, in base units; what only grows ends in `_total` and is a counter,
all else is a gauge. Labels tell apart what may be added up: the sum over all values of a label means something.

Trap. A counter may fall when the proxy reads another configuration, where nothing carries on what it counted; for
whoever reads it that is a restart.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from lbcore.l7.filters.metrics import exposition, family, labelled
from lbcore.l7.filters.rate_limit import RateLimit
from lbcore.l7.filters.waf import Waf

if TYPE_CHECKING:
    from lbcore.l7.program.service import Service

Values = Iterable[tuple[tuple[str, ...], float | None]]
"""Values of the labels, and of the figure; None: there is no such figure here."""


class Figure(NamedTuple):
    """A family of figures: lbcore_`name`."""

    name: str
    labels: tuple[str, ...]
    words: str
    values: Callable[[Service], Values]


def of_pools(what: Callable[[dict[str, Any]], float | None]) -> Callable[[Service], Values]:
    """One figure of each pool's snapshot."""
    return lambda service: (((pool.name,), what(pool.snapshot())) for pool in service.parts.pools.values())


def of_backends(what: Callable[[dict[str, Any]], float | None]) -> Callable[[Service], Values]:
    """One figure of each backend's."""
    return lambda service: (
        ((pool.name, shown["name"]), what(shown))
        for pool in service.parts.pools.values()
        for shown in pool.snapshot()["backends"]
    )


def part(section: str, key: str) -> Callable[[dict[str, Any]], float | None]:
    """What only some backends have."""
    return lambda shown: shown[section][key] if section in shown else None


def clients(service: Service) -> Values:
    return [((), len(service.proxy.clients))]


def reloads(service: Service) -> Values:
    return [((), service.reloads)]


def retries(service: Service) -> Values:
    for pool in service.parts.pools.values():
        for outcome, count in pool.snapshot()["retries"].items():
            yield (pool.name, outcome), count


def of_caches(*keys: str) -> Callable[[Service], Values]:
    """So many figures of each cache's state; where there are several, `event` tells them apart."""

    def values(service: Service) -> Iterator[tuple[tuple[str, ...], float]]:
        for cache in service.parts.caches:
            state = cache.state()
            for key in keys:
                yield (cache.options.name, key)[: min(len(keys), 2)], state[key]

    return values


def rate_limits(*outcomes: str) -> Callable[[Service], Values]:
    """Requests, by what became of them."""

    def values(service: Service) -> Iterator[tuple[tuple[str, ...], float]]:
        for one in service.parts.of(RateLimit):
            for outcome in outcomes:
                yield (one.policy, outcome)[: min(len(outcomes), 2)], one.counts[outcome]

    return values


def findings(service: Service) -> Values:
    for one in service.parts.of(Waf):
        for rule, count in one.counts.items():
            yield (rule,), count


def handshakes(service: Service) -> Values:
    for listener in service.listeners:
        if listener.tls is not None:
            for kind in ("full", "resumed", "failed"):
                yield (listener.address, kind), getattr(listener.tls.handshakes, kind)


POOL, BACKEND = ("pool",), ("pool", "backend")
CACHED: Final = (
    "hits",
    "stale",
    "confirmed",
    "followed",
    "asked",
    "stored",
    "evicted",
    "too_large",
    "broken",
    "failed",
)
FIGURES: Final = (
    Figure("clients", (), "Connections of clients.", clients),
    Figure("reloads_total", (), "Configurations read again and put in force.", reloads),
    Figure("tls_handshakes_total", ("listener", "kind"), "Handshakes, by how they ended.", handshakes),
    Figure("pool_requests_total", POOL, "Requests that got a backend.", of_pools(lambda pool: pool["requests"])),
    Figure("pool_active", POOL, "Attempts under way.", of_pools(lambda pool: pool["active"])),
    Figure("pool_waiting", POOL, "Requests that wait for a place.", of_pools(lambda pool: pool["waiting"])),
    Figure("pool_panic", POOL, "Are so many down that nobody believes it?", of_pools(lambda pool: pool["panic"])),
    Figure("pool_retries_total", (*POOL, "outcome"), "Second attempts that were wanted.", retries),
    Figure("backend_up", BACKEND, "May this backend be asked?", of_backends(lambda one: not one["why"])),
    Figure("backend_active", BACKEND, "Attempts under way.", of_backends(lambda one: one["active"])),
    Figure("backend_weight", BACKEND, "Its share, next to the others'.", of_backends(lambda one: one["weight"])),
    Figure("backend_attempts_total", BACKEND, "Attempts that ended.", of_backends(lambda one: one["total"])),
    Figure("backend_errors_total", BACKEND, "Of these, those that it failed.", of_backends(lambda one: one["errors"])),
    Figure(
        "backend_latency_seconds", BACKEND, "To the response's head, of late.", of_backends(lambda one: one["latency"])
    ),
    Figure("backend_checks_total", BACKEND, "Checks that ended.", of_backends(part("health", "checks"))),
    Figure("backend_ejections_total", BACKEND, "How often it was ejected.", of_backends(part("ejection", "ejections"))),
    Figure("backend_breaks_total", BACKEND, "How often its breaker opened.", of_backends(part("breaker", "opened"))),
    Figure("cache_events_total", ("cache", "event"), "What became of requests and answers.", of_caches(*CACHED)),
    Figure("cache_entries", ("cache",), "Answers that are stored.", of_caches("entries")),
    Figure("cache_bytes", ("cache",), "Bytes that they take.", of_caches("bytes")),
    Figure(
        "rate_limit_requests_total",
        ("policy", "outcome"),
        "Requests that were counted.",
        rate_limits("passed", "refused"),
    ),
    Figure("rate_limit_store_failures_total", ("policy",), "Of these, without the store.", rate_limits("store_failed")),
    Figure("waf_findings_total", ("rule",), "Requests that looked like an attack.", findings),
)


def text(service: Service) -> bytes:
    """All of it."""
    lines = []
    for figure in FIGURES:
        sums: dict[tuple[str, ...], float] = {}
        for values, count in figure.values(service):
            if count is not None:
                sums[values] = sums.get(values, 0) + count
        kind = "counter" if figure.name.endswith("_total") else "gauge"
        if sums:
            lines += family(figure.name, kind, figure.words, labelled(figure.labels, sums))
    return exposition(service.parts.metrics) + "".join(f"{line}\n" for line in lines).encode()
