"""Counts: Prometheus' own reader and its own client as second opinions."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry, Histogram
from prometheus_client.parser import text_string_to_metric_families

from lbcore.l7.filters.metrics import BUCKETS, OTHER, Metrics, MetricsOptions, exposition
from lbcore.l7.message import Response
from tests.l7.fakes import FakeExchange, request


def samples(*filters):
    families = text_string_to_metric_families(exposition(filters).decode())
    return {(s.name, *sorted(s.labels.items())): s.value for family in families for s in family.samples}


def count(metrics, status=200, **more):
    exchange = FakeExchange(request(), response=Response(status) if status else None, **more)
    metrics.on_request(exchange)
    metrics.on_end(exchange)


def test_what_is_counted():
    metrics = Metrics(MetricsOptions(), monotonic=lambda: 0.004)
    count(metrics, 200, backend="b:1", attempts=2, bytes_in=10, bytes_out=20)
    count(metrics, 204, backend="b:1", attempts=1)
    count(metrics, 503, error="timeout", backend="b:2", attempts=1)
    count(metrics, None, error="client gone")
    metrics.on_request(FakeExchange(request()))
    found = samples(metrics)
    b1 = (("backend", "b:1"), ("route", "main"))
    assert found["lbcore_requests_total", *b1, ("status", "2xx")] == 2
    assert found["lbcore_requests_total", ("backend", ""), ("route", "main"), ("status", "none")] == 1
    assert found["lbcore_attempts_total", *b1] == 3
    assert found["lbcore_request_bytes_total", *b1] == 10
    assert found["lbcore_response_bytes_total", *b1] == 20
    assert found["lbcore_errors_total", ("backend", "b:2"), ("error", "timeout"), ("route", "main")] == 1
    assert found["lbcore_request_seconds_count", ("route", "main")] == 4
    assert found["lbcore_request_seconds_bucket", ("le", "0.0025"), ("route", "main")] == 0
    assert found["lbcore_request_seconds_bucket", ("le", "0.005"), ("route", "main")] == 4
    assert found["lbcore_requests_in_flight",] == 1


@given(st.lists(st.one_of(st.floats(0, 20), st.sampled_from(BUCKETS)), max_size=30))
def test_the_histogram_is_that_of_prometheus_client(durations):
    now = [0.0]
    metrics = Metrics(MetricsOptions(), monotonic=lambda: now[0])
    registry = CollectorRegistry()
    peer = Histogram("lbcore_request_seconds", "x", ["route"], buckets=BUCKETS, registry=registry)
    for seconds in durations:
        now[0] = seconds
        count(metrics)
        peer.labels("main").observe(seconds)
    theirs = {
        tuple(sorted(s.labels.items())): s.value
        for family in registry.collect()
        for s in family.samples
        if s.name == "lbcore_request_seconds_bucket"
    }
    ours = {key[1:]: value for key, value in samples(metrics).items() if key[0] == "lbcore_request_seconds_bucket"}
    assert ours == theirs


@given(st.text(max_size=20), st.text(max_size=20))
def test_labels_are_escaped_so_that_they_come_back(route, backend):
    metrics = Metrics(MetricsOptions())
    count(metrics, route=route, backend=backend)
    assert samples(metrics)["lbcore_requests_total", ("backend", backend), ("route", route), ("status", "2xx")] == 1


def test_rows_are_bounded_and_nothing_is_lost():
    metrics = Metrics(MetricsOptions(limit=10))
    for number in range(1000):
        count(metrics, backend=f"b:{number}", error=f"e{number}", attempts=1)
    assert len(metrics.counts.rows) <= 11
    assert len(metrics.counts.errors) <= 11
    found = samples(metrics)
    assert sum(value for key, value in found.items() if key[0] == "lbcore_requests_total") == 1000
    assert sum(value for key, value in found.items() if key[0] == "lbcore_errors_total") == 1000
    assert found["lbcore_requests_total", ("backend", OTHER), ("route", OTHER), ("status", "2xx")] == 990


def test_a_reload_goes_on_counting():
    old, new, finer = Metrics(MetricsOptions()), Metrics(MetricsOptions()), Metrics(MetricsOptions(buckets=(1.0,)))
    late = FakeExchange(request(), response=Response(200))
    old.on_request(late)
    assert new.share(old)
    assert not finer.share(old)
    count(new)
    old.on_end(late)
    for shown in ([old], [new], [old, new]):
        found = samples(*shown)
        assert found["lbcore_requests_total", ("backend", ""), ("route", "main"), ("status", "2xx")] == 2
        assert found["lbcore_requests_in_flight",] == 0


def test_filters_are_shown_together():
    one, two = Metrics(MetricsOptions()), Metrics(MetricsOptions())
    count(one)
    count(two)
    two.on_request(FakeExchange(request()))
    found = samples(one, two)
    assert found["lbcore_requests_total", ("backend", ""), ("route", "main"), ("status", "2xx")] == 2
    assert found["lbcore_requests_in_flight",] == 1
    assert samples() == {("lbcore_requests_in_flight",): 0}
    with pytest.raises(ValueError, match="buckets differ"):
        exposition([one, Metrics(MetricsOptions(buckets=(1.0,)))])


@pytest.mark.parametrize(
    "wrong", [{"buckets": ()}, {"buckets": (2.0, 1.0)}, {"buckets": (0.0, 1.0)}, {"buckets": (1.0, 1.0)}, {"limit": 0}]
)
def test_options_that_cannot_be(wrong):
    with pytest.raises(ValueError, match="must"):
        MetricsOptions(**wrong)
