"""What is tried again, and that the budget holds at every moment."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lbcore.l7.pools.options import HedgeOptions, RetryOptions
from lbcore.l7.pools.pool import DOWN, Result
from lbcore.l7.pools.retry import Budget
from lbcore.l7.pools.window import Window
from tests.l7.pools.stage import REFUSED, RESET, Clock, a_pool, a_request

MOMENTS = st.lists(st.tuples(st.floats(0, 4), st.booleans()), max_size=200)


@given(MOMENTS, st.floats(0.05, 20), st.integers(1, 12))
def test_a_window_counts_all_of_the_near_past_and_nothing_of_the_far(moments, span, parts):
    window, now, events = Window(span, parts=parts), 1e6, []
    for step, counted in moments:
        now += step
        if counted:
            window.add(0, now)
            events.append(now)
        window.roll(now)
        slack = 1e-6
        surely = sum(then > now - span * (parts - 1) / parts + slack for then in events)
        perhaps = sum(then > now - span - slack for then in events)
        assert surely <= window.sums[0] <= perhaps


@given(MOMENTS, st.floats(0, 1), st.floats(0, 3), st.floats(0.5, 10))
def test_retries_never_exceed_their_budget(moments, share, per_second, span):
    """At the moment of each retry, over the true window that ends there."""
    budget, now = Budget(RetryOptions(budget=share, per_second=per_second, window=span)), 1e6
    asked, granted = [], []
    for step, is_request in moments:
        now += step / 10
        if is_request:
            budget.asked(now)
            asked.append(now)
        elif budget.take(now):
            granted.append(now)
            retries = sum(then > now - span for then in granted)
            requests = sum(then > now - span - 1e-6 for then in asked)
            assert retries <= per_second * span + share * requests + 1e-9


def test_a_retry_counts_for_a_whole_window_wherever_in_a_part_it_was():
    budget = Budget(RetryOptions(budget=0, per_second=0.1, window=10))
    assert budget.take(100.9)
    assert not budget.take(110.05)  # 9.15 s later, though ten parts have begun since
    assert budget.take(112.0)


def test_the_budget_is_used_and_comes_back():
    budget = Budget(RetryOptions(budget=0.2, per_second=0.5, window=10))
    for _ in range(100):
        budget.asked(0.0)
    assert [budget.take(0.0) for _ in range(30)].count(True) == 25  # 0.2 * 100 and 0.5 * 10
    assert not budget.take(5.0)
    assert [budget.take(12.0) for _ in range(30)].count(True) == 5  # the requests are too long ago as well


@pytest.mark.parametrize(
    ("method", "result", "again"),
    [
        ("GET", RESET, True),
        ("PUT", RESET, True),
        ("DELETE", Result(503, "", 0.1, True), True),
        ("POST", RESET, False),
        ("PATCH", RESET, False),
        ("LOCK", RESET, False),
        ("get", RESET, False),  # methods are case-sensitive (RFC 9110, 9.1)
        ("POST", Result(503, "", 0.1, True), False),
        ("POST", REFUSED, True),  # nothing was sent
        ("POST", Result(0, "connect timeout", 3.0, False), True),
        ("GET", Result(200, "", 0.1, True), False),
        ("GET", Result(500, "", 0.1, True), False),
        ("GET", Result(429, "", 0.1, True), False),
        ("GET", Result(0, "client gone", 0.1, True), False),
        ("GET", Result(0, "bad request", 0.1, False), False),
        ("GET", Result(0, "proxy", 0.1, False), False),
    ],
)
def test_what_may_be_tried_again(method, result, again):
    pool = a_pool()
    assert pool.again(a_request(method=method), result, 1) is again
    assert pool.retries.granted == again


def test_attempts_errors_and_statuses_are_the_operators():
    pool = a_pool(retry=RetryOptions(attempts=3, errors=("refused", "unreachable"), statuses=(500,)))
    get = a_request()
    assert [pool.again(get, REFUSED, attempts) for attempts in (1, 2, 3)] == [True, True, False]
    assert not pool.again(get, RESET, 1)
    assert pool.again(get, Result(0, "unreachable: no route", 0.0, False), 1)
    assert [pool.again(get, Result(status, "", 0.1, True), 1) for status in (500, 503)] == [True, False]


def test_a_pool_counts_requests_not_retries():
    """A storm: all fails, every client comes once. Without a budget the backends would see it three times over."""
    clock = Clock()
    pool = a_pool(clock=clock, retry=RetryOptions(attempts=3, budget=0.1, per_second=0))
    asked = 0
    for _ in range(1000):
        clock.now += 0.005
        tried, again = [], True
        while again:
            backend = pool.pick(a_request(), tried)
            pool.began(backend)
            pool.ended(backend, RESET)
            tried.append(backend)
            asked += 1
            again = pool.again(a_request(), RESET, len(tried))
    assert pool.requests == 1000
    assert 1090 <= asked <= 1100
    assert pool.retries.granted == asked - 1000
    assert pool.retries.refused > 800


def test_without_options_nothing_is_tried_again_and_nothing_hedged():
    pool = a_pool(retry=RetryOptions(attempts=1))
    assert not pool.again(a_request(), REFUSED, 1)
    assert not pool.hedge(a_request(), 1)


def test_hedging_is_for_what_may_be_asked_twice_and_takes_from_the_budget():
    pool = a_pool(hedge=HedgeOptions(delay=0.1), retry=RetryOptions(budget=0, per_second=0.1, window=10))
    assert not pool.hedge(a_request(method="POST"), 1)
    assert pool.hedge(a_request(), 1)
    assert not pool.hedge(a_request(), 2)  # all attempts are made
    assert not pool.hedge(a_request(), 1)  # nothing is left
    assert not pool.again(a_request(), REFUSED, 1)


def test_without_anybody_else_to_ask_the_last_answer_stands():
    """A lone backend's 503 is its own to word; and nothing is taken from the budget for a retry that cannot be."""
    unwell = Result(503, "", 0.1, True)
    lone = a_pool(1)
    assert not lone.again(a_request(), unwell, 1)
    pool = a_pool(3, retry=RetryOptions(attempts=5))
    one, two, three = pool.backends
    assert pool.again(a_request(), unwell, 1, tried=[one])
    two.state = DOWN
    assert pool.again(a_request(), unwell, 1, tried=[one])
    assert not pool.again(a_request(), unwell, 2, tried=[one, three])
    assert not pool.again(a_request(), unwell, 3)
    one.state = three.state = DOWN
    assert not pool.again(a_request(), unwell, 1)
    assert (lone.retries.granted, pool.retries.granted, pool.retries.refused) == (0, 2, 0)
