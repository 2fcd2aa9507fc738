"""Numbers of what passes: by route, backend and class of status, for Prometheus.

Rule of this file: counting, and the text that is read (exposition format 0.0.4). Who serves that text is `admin`.

Theory. One look-up for each exchange finds one row (route, backend, class of status) of plain numbers, in which all
that is counted about it stands side by side: number, seconds, bytes, histogram. What is shown is summed up from the
rows when somebody asks, which is seldom. Latency has buckets, not averages: buckets of several proxies can be added.

Traps
- Each value of a label is a row in everybody's memory. Labels come from the configuration only (routes, backends),
  never from a client, and beyond `limit` rows all others are one, called `other`.
- A counter that goes back looks like a restart, so a filter of a new configuration counts on where the old one did
  (`share`), in which the last exchanges of the old one still end.
- A gauge of what is in flight goes down in `on_end`, which comes for every `on_request`.
"""

from __future__ import annotations

import time
from bisect import bisect_left
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Final

import msgspec

from lbcore.l7.filters.filter import Answer, Exchange, Filter

BUCKETS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
CLASSES: Final = ("none", "1xx", "2xx", "3xx", "4xx", "5xx")
OTHER: Final = "other"
ESCAPES: Final = str.maketrans({"\\": r"\\", '"': r"\"", "\n": r"\n"})
COUNT, SECONDS, BYTES_IN, BYTES_OUT, ATTEMPTS, FIRST_BUCKET = range(6)
"""Places in a row."""


class MetricsOptions(
    msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True, tag_field="kind", tag="metrics"
):
    """How fine, and how much."""

    buckets: tuple[float, ...] = BUCKETS
    """Upper ends in seconds, ascending; one without an end is added."""
    limit: int = 2000
    """Rows: routes times backends times classes of status that are told apart."""

    def __post_init__(self) -> None:
        if not self.buckets or list(self.buckets) != sorted(set(self.buckets)) or self.buckets[0] <= 0:
            raise ValueError(f"buckets is {self.buckets!r}; must be seconds above 0, ascending")
        if self.limit < 1:
            raise ValueError(f"limit is {self.limit}; must be 1 row or more")


class Counts:
    """What was counted. Filters may share it: those of several routes, those before and after a reload."""

    __slots__ = ("buckets", "errors", "in_flight", "rows")

    def __init__(self, buckets: tuple[float, ...]) -> None:
        self.buckets = buckets
        self.rows: dict[tuple[str, str, int], list[float]] = {}
        """(route, backend, class of status) to numbers, see COUNT and what follows it."""
        self.errors: dict[tuple[str, str, str], int] = {}
        """(route, backend, error) to their number."""
        self.in_flight = 0


class Metrics(Filter):
    """Counts exchanges. `monotonic` gives seconds on the clock of `exchange.started`."""

    def __init__(self, options: MetricsOptions, monotonic: Callable[[], float] = time.monotonic) -> None:
        self.counts = Counts(options.buckets)
        self._limit, self._monotonic = options.limit, monotonic

    def share(self, other: Metrics) -> bool:
        """Before the first exchange: count on where the other one counts. False, nothing done: buckets differ."""
        if other.counts.buckets != self.counts.buckets:
            return False
        self.counts = other.counts
        return True

    def on_request(self, exchange: Exchange) -> Answer:
        self.counts.in_flight += 1
        return None

    def on_end(self, exchange: Exchange) -> None:
        counts = self.counts
        counts.in_flight -= 1
        seconds = self._monotonic() - exchange.started
        response = exchange.response
        key = (exchange.route, exchange.backend, response.status // 100 if response else 0)
        row = counts.rows.get(key)
        if row is None:
            row = self._new(key)
        row[COUNT] += 1
        row[SECONDS] += seconds
        row[BYTES_IN] += exchange.bytes_in
        row[BYTES_OUT] += exchange.bytes_out
        row[ATTEMPTS] += exchange.attempts
        row[FIRST_BUCKET + bisect_left(counts.buckets, seconds)] += 1
        if exchange.error:
            self._failed((exchange.route, exchange.backend, exchange.error))

    def _new(self, key: tuple[str, str, int]) -> list[float]:
        rows = self.counts.rows
        if len(rows) >= self._limit:
            key = (OTHER, OTHER, key[2])
        return rows.setdefault(key, [0] * (FIRST_BUCKET + len(self.counts.buckets) + 1))

    def _failed(self, key: tuple[str, str, str]) -> None:
        errors = self.counts.errors
        if key not in errors and len(errors) >= self._limit:
            key = (OTHER, OTHER, OTHER)
        errors[key] = errors.get(key, 0) + 1


def exposition(filters: Sequence[Metrics]) -> bytes:
    """What these filters counted, summed up, as Prometheus reads it. They must have the same buckets.

    lbcore_requests_total{route,backend,status}, lbcore_attempts_total{route,backend},
    lbcore_request_bytes_total{route,backend}, lbcore_response_bytes_total{route,backend},
    lbcore_errors_total{route,backend,error}, lbcore_request_seconds{route} (histogram), lbcore_requests_in_flight.
    """
    all_counts = list({id(one.counts): one.counts for one in filters}.values())
    buckets = all_counts[0].buckets if filters else BUCKETS
    if any(one.buckets != buckets for one in all_counts):
        raise ValueError("buckets differ; must be the same for all filters that are shown together")
    requests: dict[tuple[str, ...], float] = {}
    errors: dict[tuple[str, ...], float] = {}
    sums: dict[int, dict[tuple[str, ...], float]] = {ATTEMPTS: {}, BYTES_IN: {}, BYTES_OUT: {}}
    routes: dict[str, list[float]] = {}
    for one in all_counts:
        for (route, backend, kind), row in one.rows.items():
            _add(requests, (route, backend, CLASSES[kind] if 0 <= kind < 6 else "none"), row[COUNT])
            for place, table in sums.items():
                _add(table, (route, backend), row[place])
            whole = routes.setdefault(route, [0.0] * len(row))
            whole[:] = map(sum, zip(whole, row, strict=True))
        for key, count in one.errors.items():
            _add(errors, key, count)
    two = ("route", "backend")
    lines = [
        *family("requests_total", "counter", "Exchanges that ended.", labelled((*two, "status"), requests)),
        *family(
            "attempts_total", "counter", "Requests sent to backends, retries included.", labelled(two, sums[ATTEMPTS])
        ),
        *family("request_bytes_total", "counter", "Bytes of request bodies.", labelled(two, sums[BYTES_IN])),
        *family(
            "response_bytes_total", "counter", "Bytes of answers' bodies, as sent.", labelled(two, sums[BYTES_OUT])
        ),
        *family("errors_total", "counter", "Exchanges without a whole answer.", labelled((*two, "error"), errors)),
        *family(
            "request_seconds", "histogram", "From a request's head to the answer's end.", _histogram(routes, buckets)
        ),
        *family(
            "requests_in_flight", "gauge", "Exchanges under way.", [("", sum(one.in_flight for one in all_counts))]
        ),
    ]
    return "".join(f"{line}\n" for line in lines).encode()


def _add(table: dict[tuple[str, ...], float], key: tuple[str, ...], value: float) -> None:
    table[key] = table.get(key, 0) + value


def _labels(names: Sequence[str], values: Iterable[str]) -> str:
    pairs = (f'{name}="{value.translate(ESCAPES)}"' for name, value in zip(names, values, strict=True))
    return "{" + ",".join(pairs) + "}" if names else ""


def labelled(names: tuple[str, ...], table: Mapping[tuple[str, ...], float]) -> list[tuple[str, float]]:
    """Values of these labels, and numbers, as lines of a family: what stands behind its name, and the number."""
    return [(_labels(names, key), value) for key, value in sorted(table.items())]


def _histogram(routes: Mapping[str, list[float]], buckets: Sequence[float]) -> list[tuple[str, float]]:
    """Buckets hold all up to their end, so each holds the one before it."""
    lines: list[tuple[str, float]] = []
    for route, row in sorted(routes.items()):
        total = 0.0
        for end, count in zip((*map(repr, buckets), "+Inf"), row[FIRST_BUCKET:], strict=True):
            total += count
            lines.append(("_bucket" + _labels(("route", "le"), (route, end)), total))
        lines.append(("_sum" + _labels(("route",), (route,)), row[SECONDS]))
        lines.append(("_count" + _labels(("route",), (route,)), total))
    return lines


def family(name: str, kind: str, words: str, lines: Iterable[tuple[str, float]]) -> list[str]:
    """All lines of one: what it is, and each value."""
    shown = (f"lbcore_{name}{labels} {int(value) if value == int(value) else repr(value)}" for labels, value in lines)
    return [f"# HELP lbcore_{name} {words}", f"# TYPE lbcore_{name} {kind}", *shown]
