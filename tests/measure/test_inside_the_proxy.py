"""The experiments of chapter 09: what they count is what happened."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lbcore import show
from lbcore.l7.filters.filter import Filter
from lbcore.l7.message import Request
from lbcore.l7.pools.options import StickySourceOptions
from lbcore.l7.pools.pool import Pool
from lbcore.measure import (
    canary_live,
    chat,
    counted,
    double_order,
    head_reading,
    pool_sizes,
    retry_storm,
    right_pool,
    upload,
)


def test_layer_7_is_right_for_every_request_and_layer_4_sticks_to_one_backend() -> None:
    l7 = right_pool.trial("L7", video=0.5, connections=8, requests=6)
    assert l7.shape == (8, 6)
    assert l7.all()
    l4 = right_pool.trial(
        "L4", video=0.0, connections=12, requests=4
    )  # one path: right throughout, or wrong throughout
    assert (l4 == l4[:, :1]).all()


def test_a_pool_that_keeps_nothing_connects_for_each_request() -> None:
    assert pool_sizes.trial(0, clients=4, requests=5).connections == 1
    assert pool_sizes.trial(4, clients=4, requests=5).connections <= 4 / 20


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE"])
def test_what_is_idempotent_is_tried_again(method: str) -> None:
    assert double_order.order(method, Pool) == (200, 2)


def test_a_post_is_done_once_by_us_and_twice_by_the_careless() -> None:
    assert double_order.order("POST", Pool) == (502, 1)
    assert double_order.order("POST", double_order.Careless) == (200, 2)
    assert double_order.order("POST", double_order.Careless, keys=set()) == (200, 1)
    assert double_order.refused("POST") == (200, 1)


@settings(max_examples=25, deadline=None)
@given(st.floats(0, 1), st.integers(1, 4))
def test_a_storm_is_the_sum_of_a_geometric_series(failing: float, attempts: int) -> None:
    expected = sum(failing**n for n in range(attempts))
    assert retry_storm.load(failing, attempts=attempts) == pytest.approx(expected, abs=0.2)


@settings(max_examples=25, deadline=None)
@given(st.floats(0, 1), st.floats(0, 1))
def test_a_budget_bounds_it(failing: float, budget: float) -> None:
    assert retry_storm.load(failing, budget=budget, requests=500) <= 1 + budget + 1e-9  # of rounding


def test_polling_misses_its_session_and_a_websocket_does_not() -> None:
    assert chat.polling(8).count(400) == 6
    assert chat.polling(8, sticky=StickySourceOptions()) == [200] * 8
    reply, heard = chat.websocket("a", "b", "c")
    assert reply.status == 101
    assert len({line.split()[0] for line in heard}) == 1


def test_a_silent_tunnel_ends_with_the_idle_time() -> None:
    assert not chat.outlives(1.0, idle=0.2)
    assert chat.outlives(0.3, idle=30)


def test_all_ways_of_reading_find_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    head = counted_head(12)
    seen: list[tuple[bytes, bytes, list[tuple[bytes, bytes]]]] = []

    def note(self: object, request: Request) -> None:
        seen.append((request.method, request.target, list(request.headers)))

    monkeypatch.setattr(head_reading.RequestReader, "on_head", note)
    monkeypatch.setattr(head_reading.Looking, "on_head", note)
    for read in head_reading.ways(head).values():
        read()
    assert len(seen) == 3
    assert seen[0] == seen[1] == seen[2]


def counted_head(fields: int) -> bytes:
    lines = [f"X-Field-{i}: value" for i in range(fields)]
    return "\r\n".join(("GET /a HTTP/1.1", "Host: shop.example", *lines, "", "")).encode()


def test_one_request_arrives_without_what_was_its_connections() -> None:
    reply, backend = counted.once(fields=["Connection: x-debug", "X-Debug: 1", "X-Stays: 1"])
    assert (reply.status, reply.by) == (200, "one")
    assert b"x-stays" in backend.heads[0]
    assert b"x-debug" not in backend.heads[0]


def test_the_spread_of_a_canary_is_that_of_its_draws() -> None:
    shares = show.canary_shares(0.05, 100, 10_000)
    assert shares.std() == pytest.approx(np.sqrt(0.05 * 0.95 / 100), rel=0.1)


def test_a_body_is_passed_on_as_it_comes_unless_somebody_reads_it() -> None:
    class Reads(Filter):
        body_limit = 40_000

    assert upload.trial() == (1, 200)
    assert upload.trial(Reads(), pieces=4) == (4, 200)
    assert upload.trial(Reads(), pieces=5) == (None, 413)


def test_layer_4_gives_a_canary_its_share_of_connections_and_layer_7_of_requests() -> None:
    lengths = [1] * 30 + [20] * 10
    connections, requests = canary_live.shares("L4", weight=0.1, lengths=lengths)
    assert connections == pytest.approx(0.1)
    assert round(requests * sum(lengths)) in {4 + 19 * n for n in range(5)}  # whole connections
    assert canary_live.shares("L7", weight=0.1, lengths=lengths)[1] == pytest.approx(0.1, abs=2 / sum(lengths))
