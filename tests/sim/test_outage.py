"""Windows and leaks: the pool's own decisions, played through, against the formulas."""

from __future__ import annotations

from math import inf

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lbcore.l7.pools.options import OutlierOptions, RetryOptions, TimeoutsOptions
from lbcore.sim import outage

ONCE = RetryOptions(attempts=1)
HALF = TimeoutsOptions(head=0.5)
faults = st.sampled_from(sorted(outage.FAULTS))


@settings(max_examples=40, deadline=None)
@given(
    faults, st.floats(0.2, 5), st.integers(1, 4), st.floats(0.1, 8), st.floats(0, 0.5), st.integers(2, 6), st.integers()
)
def test_a_window_lies_within_its_bounds_and_leaks_what_was_sent_in_it(
    fault, interval, fall, timeout, jitter, backends, seed
):
    options = outage.pool_options(
        backends,
        health=outage.checks(interval, fall, timeout, jitter),
        retry=ONCE,
        timeouts=TimeoutsOptions(head=0.7),
    )
    takes = timeout if fault == "hangs" else 0.0
    longest = outage.longest_window(interval * (1 + jitter), fall, takes)
    least = (fall - 1) * max(interval * (1 - jitter), takes) + takes
    seen = outage.play(options, fault, rate=20, seconds=longest + 5, seed=seed)
    assert least - 1e-9 <= seen.window <= longest + 1e-9
    assert (seen.failed <= seen.window).all()
    sent = 20 / backends * seen.window
    assert abs(seen.failed.size - sent) <= 6 * (sent + 1) ** 0.5 + backends


@pytest.mark.parametrize(("fault", "takes"), [("refuses", 0.0), ("answers 503", 0.0), ("hangs", 2.0), ("hangs", 0.5)])
@pytest.mark.parametrize("fall", [1, 3])
def test_the_mean_window_and_the_mean_leak_are_the_formulas(fault, takes, fall):
    options = outage.pool_options(health=outage.checks(1.0, fall, max(takes, 0.1)), retry=ONCE)
    runs = [outage.play(options, fault, rate=40, seconds=14, seed=seed) for seed in range(150)]
    expected = outage.expected_window(1.0, fall, takes)
    assert np.mean([run.window for run in runs]) == pytest.approx(expected, abs=0.1)
    assert np.mean([run.failed.size for run in runs]) == pytest.approx(10 * expected, rel=0.1)


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 8), st.floats(10, 200), st.sampled_from(["refuses", "answers 503"]), st.integers())
def test_ejection_leaks_a_number_of_requests_whatever_the_rate(consecutive, rate, fault, seed):
    options = outage.pool_options(outlier=OutlierOptions(consecutive=consecutive, ejection=200), retry=ONCE)
    seconds = 20 * (consecutive + 4) / rate  # four servers: five times as long as it takes on average
    seen = outage.play(options, fault, rate=rate, seconds=seconds, seed=seed)
    assert seen.failed.size == consecutive
    assert seen.window == seen.failed[-1]


def test_a_hang_leaks_what_is_sent_before_the_first_timeouts():
    options = {"outlier": OutlierOptions(consecutive=5), "retry": ONCE, "timeouts": TimeoutsOptions(head=2.0)}
    leaks = outage.leaks("hangs", rate=40, seconds=20, runs=100, **options)
    assert leaks.mean() == pytest.approx(5 + 10 * 2, rel=0.05)


def test_a_lone_server_is_never_ejected():
    options = outage.pool_options(1, outlier=OutlierOptions(consecutive=2), retry=ONCE)
    seen = outage.play(options, "refuses", rate=20, seconds=5)
    assert (seen.failed.size, seen.window) == (seen.requests, inf)


def test_an_ejection_ends_and_real_requests_pay_again():
    outlier = OutlierOptions(consecutive=3, ejection=5.0)
    assert outage.leaks("refuses", rate=100, seconds=9, runs=5, outlier=outlier, retry=ONCE).tolist() == [6] * 5


@settings(max_examples=30, deadline=None)
@given(faults, st.sampled_from(["GET", "POST"]), st.integers())
def test_retries_hide_what_may_be_sent_twice(fault, method, seed):
    generous = RetryOptions(attempts=2, budget=1.0)
    options = outage.pool_options(health=outage.checks(1.0, 3, 0.5), retry=generous, timeouts=HALF)
    seen = outage.play(options, fault, rate=40, seconds=8, method=method, seed=seed)
    if method == "GET" or fault == "refuses":
        assert seen.failed.size == 0
    else:
        assert seen.failed.size > 0


def test_a_check_that_asks_something_else_never_ends_it():
    options = outage.pool_options(health=outage.checks(0.5, 1), retry=ONCE)
    seen = outage.play(options, "hangs", rate=40, seconds=10, seen=False)
    assert seen.window == inf
    assert seen.failed[-1] > 9


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"fault": "sulks"}, "fault is 'sulks', wanted one of: refuses"),
        ({"rate": 0}, "rate is 0, wanted a finite number over 0"),
        ({"seconds": inf}, "seconds is inf, wanted"),
        ({"before": -1}, "before is -1, wanted seconds, 0 or more"),
    ],
)
def test_what_cannot_be_is_named(wrong, words):
    with pytest.raises(ValueError, match=words):
        outage.play(outage.pool_options(), **{"fault": "refuses", "rate": 1, "seconds": 1} | wrong)


@settings(max_examples=20, deadline=None)
@given(faults, st.floats(0.1, 20), st.integers())
def test_good_health_before_changes_neither_bounds_nor_counts(fault, before, seed):
    options = outage.pool_options(health=outage.checks(1.0, 2, 0.5), retry=ONCE, timeouts=HALF)
    seen = outage.play(options, fault, rate=20, seconds=6, before=before, seed=seed)
    takes = 0.5 if fault == "hangs" else 0.0
    assert 1 + takes - 1e-9 <= seen.window <= outage.longest_window(1.0, 2, takes) + 1e-9
    assert ((seen.failed >= 0) & (seen.failed <= seen.window)).all()


def test_a_budget_of_a_fifth_does_not_cover_one_of_four_servers():
    tight = RetryOptions(attempts=2, budget=0.2, per_second=0.0)
    options = outage.pool_options(health=outage.checks(5.0, 3), retry=tight)
    for seed in range(10):
        seen = outage.play(options, "refuses", rate=100, seconds=20, before=15, seed=seed)
        # A second attempt takes a turn, too, so one request of three meets the broken server: 33 a second, of 200.
        assert seen.failed[0] == pytest.approx(6, abs=1)
