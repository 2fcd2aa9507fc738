"""The parts of a pool by themselves and together: pickers, checks, ejection, breakers, slow start, draining, reload."""

from __future__ import annotations

import json
from collections import Counter
from functools import partial
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lbcore.l7.pools.breaker import CLOSED, HALF_OPEN, OPEN
from lbcore.l7.pools.health import Health
from lbcore.l7.pools.options import (
    BreakerOptions,
    HashOptions,
    HealthOptions,
    OutlierOptions,
    RetryOptions,
    SlowStartOptions,
    StickySourceOptions,
)
from lbcore.l7.pools.pool import ACTIVE, DOWN, DRAINING, Backend, Pool, Result, Timeouts
from tests.l7.pools.stage import (
    GOOD,
    REFUSED,
    RESET,
    Clock,
    a_pool,
    a_request,
    addresses,
    attempt,
    picks,
)


# -------------------------------------------------------------------------------------------------- without any options
def test_a_plain_pool_takes_turns():
    pool = Pool("web", [Backend("10.0.0.1", 80), Backend("::1", 8080)])
    assert [pool.pick(a_request()).name for _ in range(4)] == ["10.0.0.1:80", "[::1]:8080"] * 2
    assert not pool.again(a_request(), REFUSED, 1)
    assert pool.timeouts == Timeouts()
    assert pool.protocol == "h1"


def test_a_backend_belongs_to_one_pool():
    backend = Backend("10.0.0.1", 80)
    Pool("web", [backend])
    with pytest.raises(ValueError, match=r"10\.0\.0\.1:80 is in a pool already"):
        Pool("web", [backend])


def test_ended_without_began_is_refused():
    pool = a_pool()
    with pytest.raises(ValueError, match="has no request in flight"):
        pool.ended(pool.backends[0], GOOD)


@pytest.mark.parametrize("weight", [-1, float("nan"), float("inf")])
def test_a_weight_that_is_none_is_refused(weight):
    backend = Backend("10.0.0.1", 80)
    with pytest.raises(ValueError, match="weight: "):
        backend.weight = weight
    assert backend.weight == 1
    with pytest.raises(ValueError, match="state: 'out' is none; it must be one of active, draining, down"):
        backend.state = "out"


@pytest.mark.parametrize(("picker", "weight"), [("round_robin", 2.0), ("jump", 0.5), ("ring", 0.001)])
def test_a_weight_that_the_picker_cannot_use_is_refused_when_it_is_set(picker, weight):
    """Not at the next pick, where nobody could do anything about it."""
    pool = a_pool(3, picker=picker)
    with pytest.raises(ValueError, match="weight"):
        pool.backends[1].weight = weight
    assert pool.backends[1].weight == 1
    assert pool.backends[1].name in {pool.pick(a_request(source=f"192.0.2.{i}")).name for i in range(100)}
    pool.backends[1].weight = 0
    assert pool.backends[1].name not in {pool.pick(a_request(source=f"192.0.2.{i}")).name for i in range(100)}


def test_an_attempt_is_seen_in_the_figures():
    pool = a_pool()
    backend = pool.backends[0]
    for result in (Result(200, "", 0.1, True), Result(200, "", 0.2, True), RESET, Result(0, "client gone", 9.0, True)):
        attempt(pool, backend, result)
    assert (backend.total, backend.errors) == (4, 1)
    assert backend.latency == pytest.approx(0.12)


# -------------------------------------------------------------------------------------------------------------- pickers
@pytest.mark.parametrize(
    ("told", "same", "other"),
    [
        (None, a_request("/a", source="192.0.2.1"), a_request("/b", source="192.0.2.1")),
        (HashOptions(on="header", name="X-User"), a_request(x_user="a"), a_request(x_user="a", source="192.0.2.9")),
        (HashOptions(on="cookie", name="id"), a_request(cookie="id=1; x=2"), a_request("/b", cookie="x=3; id=1")),
        (HashOptions(on="path"), a_request("/a?b=c"), a_request("/a?d")),
        (HashOptions(on="query", name="id"), a_request("/a?x=y&id=5"), a_request("/b?id=5&id=6")),
    ],
)
@pytest.mark.parametrize("picker", ["maglev", "ring", "rendezvous", "jump"])
def test_the_same_key_is_the_same_backend(picker, told, same, other):
    pool = a_pool(5, picker=picker, hash=told)
    assert len(set(picks(pool, 3, same) + picks(pool, 3, other))) == 1


@pytest.mark.parametrize(
    ("told", "ask"),
    [
        (None, lambda i: a_request(source=f"192.0.2.{i}")),
        (HashOptions(on="header", name="X-User"), lambda i: a_request(x_user=str(i))),
        (HashOptions(on="cookie", name="id"), lambda i: a_request(cookie=f"id={i}")),
        (HashOptions(on="path"), lambda i: a_request(f"/{i}")),
        (HashOptions(on="query", name="id"), lambda i: a_request(f"/?id={i}")),
        (HashOptions(on="header", name="X-User"), lambda i: a_request(source=f"192.0.2.{i}")),  # it is not there
    ],
)
def test_different_keys_are_spread(told, ask):
    pool = a_pool(4, picker="maglev", hash=told)
    shares = Counter(pool.pick(ask(i)).name for i in range(200))
    assert len(shares) == 4
    assert max(shares.values()) < 90


def test_proxies_of_a_fleet_choose_alike_with_one_seed():
    def chosen(seed):
        pool = a_pool(5, seed=Random().randrange(100), picker="ring", hash=HashOptions(on="path", seed=seed))
        return [pool.pick(a_request(f"/{i}")).name for i in range(50)]

    assert chosen(1) == chosen(1) != chosen(2)


def test_a_weight_is_changed_under_way():
    pool = a_pool(3, picker="smooth_weighted")
    assert Counter(picks(pool, 30)) == dict.fromkeys(addresses(3), 10)
    pool.backends[0].weight = 4
    assert Counter(picks(pool, 30)) == dict(zip(addresses(3), [20, 5, 5], strict=True))
    pool.backends[0].weight = 0
    assert Counter(picks(pool, 30)) == dict(zip(addresses(3)[1:], [15, 15], strict=True))


@pytest.mark.parametrize("picker", ["least_connections", "power_of_two"])
def test_requests_in_flight_are_what_counts(picker):
    pool = a_pool(2, picker=picker)
    pool.began(pool.backends[0])
    assert set(picks(pool, 5)) == {pool.backends[1].name}


# --------------------------------------------------------------------------------------------------------------- checks
@given(st.lists(st.booleans(), max_size=60), st.integers(1, 5), st.integers(1, 5), st.sampled_from(["up", "down"]))
def test_a_backend_goes_down_after_fall_and_up_after_rise(answers, rise, fall, initially):
    health, now = Health(HealthOptions(rise=rise, fall=fall, initially=initially), Random(1), 0.0), 0.0
    up = initially == "up"
    for i, good in enumerate(answers):
        health.begin(now)
        now += 0.1
        was = health.up
        changed = health.end("" if good else "status 500", now)
        needed = fall if up else rise
        last = answers[max(0, i + 1 - needed) : i + 1]
        if good != up and last == [good] * needed:
            up = good
        assert health.up == up
        assert changed == (was != up)


@settings(max_examples=50)
@given(st.floats(0, 0.9), st.integers(0, 2**32), st.floats(0.001, 1.0))
def test_checks_are_spread_over_time(jitter, seed, late):
    options = HealthOptions(interval=10, timeout=1, jitter=jitter)
    health = Health(options, Random(seed), 100.0)
    assert 100 <= health.next <= 110
    before = health.next
    health.begin(health.next)
    assert 10 * (1 - jitter) - 1e-9 <= health.next - before <= 10 * (1 + jitter) + 1e-9
    assert health.deadline == before + 1
    health.end("", before + 1 + late)  # it came, too late
    assert health.why == "late"


def test_detection_takes_no_longer_than_interval_times_fall_and_a_timeout():
    """A backend that hangs from some moment on, and a checker that does what it is told in simulated time."""
    for seed in range(50):
        options = HealthOptions(interval=5, timeout=2, fall=3, jitter=0)
        health = Health(options, Random(seed), 0.0)
        hangs_from = Random(seed).uniform(20, 40)
        while health.up:
            begun = health.next
            health.begin(begun)
            if begun < hangs_from:
                health.end("", begun)
            else:
                health.end("no answer", health.deadline)
        assert 2 * 5 + 2 <= health.last - hangs_from <= 3 * 5 + 2


def test_a_backend_that_is_not_checked_yet_may_have_to_wait():
    pool = a_pool(1, health=HealthOptions(initially="down", rise=1))
    assert pool.pick(a_request()) is None
    assert pool.why == "10.0.0.1:80: check: not checked yet"
    pool.checked(pool.backends[0], "")
    assert pool.pick(a_request()) is pool.backends[0]


# ------------------------------------------------------------------------------------------------------------- ejection
def test_failures_in_a_row_eject_and_time_brings_back():
    clock = Clock()
    pool = a_pool(3, clock, outlier=OutlierOptions(consecutive=3, ejection=10))
    bad = pool.backends[0]
    for result in (RESET, RESET, GOOD, RESET, Result(503, "", 0.1, True)):
        attempt(pool, bad, result)
    assert bad.name in picks(pool, 3)
    attempt(pool, bad, REFUSED)
    assert bad.name not in picks(pool, 9)
    assert pool.why_not(bad) == "ejected: 3 failures in a row"
    clock.now += 10
    assert bad.name in picks(pool, 3)


def test_ejections_grow_and_are_forgiven():
    clock = Clock()
    pool = a_pool(3, clock, outlier=OutlierOptions(consecutive=1, ejection=10, longest=25))
    bad = pool.backends[0]

    def ejected_for():
        attempt(pool, bad, RESET)
        start = clock.now
        while pool.why_not(bad):
            clock.now += 1
        return clock.now - start

    assert [ejected_for() for _ in range(4)] == [10, 20, 25, 25]
    clock.now += 35  # three are forgiven
    assert ejected_for() == 20
    clock.now += 1000
    assert ejected_for() == 10


def test_a_share_of_failures_ejects_once_there_were_enough():
    clock = Clock()
    pool = a_pool(3, clock, outlier=OutlierOptions(consecutive=0, rate=0.5, requests=20, window=10))
    bad = pool.backends[0]
    for i in range(19):
        attempt(pool, bad, RESET if i % 2 else GOOD)
    assert pool.why_not(bad) == ""
    attempt(pool, bad, RESET)
    assert pool.why_not(bad) == "ejected: 10 of the last 20 requests failed"
    other = pool.backends[1]
    for _ in range(18):
        attempt(pool, other, RESET)
        clock.now += 1  # slowly: never twenty in a window
    assert pool.why_not(other) == ""


@pytest.mark.parametrize(("count", "most", "out"), [(1, 0.5, 0), (2, 0.5, 1), (3, 0.5, 1), (10, 0.25, 2), (4, 1, 4)])
def test_no_more_are_out_than_may_be(count, most, out):
    pool = a_pool(count, outlier=OutlierOptions(consecutive=1, most=most))
    for backend in pool.backends:
        attempt(pool, backend, RESET)
    assert sum(pool.why_not(backend) != "" for backend in pool.backends) == out
    assert pool.pick(a_request()) is not None  # suspects are better than nobody


def test_the_clients_faults_are_not_the_backends():
    pool = a_pool(3, outlier=OutlierOptions(consecutive=1), breaker=BreakerOptions(failures=1))
    for error in ("client gone", "client too slow", "bad request", "proxy", "stale"):
        attempt(pool, pool.backends[0], Result(0, error, 0.1, True))
    attempt(pool, pool.backends[0], Result(400, "", 0.1, True))
    attempt(pool, pool.backends[0], Result(0, "", 0.1, True))  # broken off before there was a status
    assert pool.why_not(pool.backends[0]) == ""


# -------------------------------------------------------------------------------------------------------------- breaker
def test_a_breaker_opens_rests_tries_and_closes():
    clock = Clock()
    pool = a_pool(1, clock, breaker=BreakerOptions(failures=2, rest=5, trials=2))
    (backend,) = pool.backends

    def state():
        return pool.snapshot()["backends"][0]["breaker"]["state"]

    attempt(pool, backend, RESET)
    assert state() == CLOSED
    for _ in range(3):
        pool.began(backend)  # on their way when the breaker opens
    attempt(pool, backend, RESET)
    assert state() == OPEN
    clock.now += 3
    for _ in range(2):
        pool.ended(backend, RESET)  # they do not make its rest any longer
    clock.now -= 3
    assert pool.pick(a_request()) is None  # at once: nobody waits for a timeout
    assert pool.why == "10.0.0.1:80: breaker open"
    pool.ended(backend, GOOD)
    assert state() == OPEN  # it says nothing about the trials

    clock.now += 5
    trials = [pool.pick(a_request()) for _ in range(1)]
    pool.began(backend)
    assert state() == HALF_OPEN
    assert pool.pick(a_request()) is backend
    pool.began(backend)
    assert pool.pick(a_request()) is None  # no more than two at once
    assert "full, 2 in flight" in pool.why
    pool.ended(backend, GOOD)
    assert state() == HALF_OPEN
    pool.ended(backend, GOOD)
    assert state() == CLOSED
    assert trials == [backend]
    assert picks(pool, 5) == [backend.name] * 5


def test_a_trial_that_fails_opens_again():
    clock = Clock()
    pool = a_pool(1, clock, breaker=BreakerOptions(failures=3, rest=5))
    (backend,) = pool.backends
    for _ in range(3):
        attempt(pool, backend, RESET)
    for _ in range(3):
        clock.now += 4.9
        assert pool.pick(a_request()) is None
        clock.now += 0.1
        assert pool.pick(a_request()) is backend
        attempt(pool, backend, RESET)
    assert pool.snapshot()["backends"][0]["breaker"] == {"state": OPEN, "opened": 4}


def test_a_breaker_may_take_out_everyone():
    pool = a_pool(3, breaker=BreakerOptions(failures=1))
    for backend in pool.backends:
        attempt(pool, backend, RESET)
    assert pool.pick(a_request()) is None


def test_what_was_under_way_before_the_trials_is_none_of_them():
    """A WebSocket that lives on must not keep a breaker half-open, and its end, late, must not close or open it."""
    clock = Clock()
    pool = a_pool(1, clock, breaker=BreakerOptions(failures=1, trials=1))
    (backend,) = pool.backends
    state = lambda: pool.snapshot()["backends"][0]["breaker"]["state"]  # noqa: E731
    old = [clock.now, clock.now + 1]
    for _ in (*old, "fails"):
        pool.began(backend)
    clock.now += 2
    pool.ended(backend, RESET, clock.now)
    assert pool.pick(a_request()) is None
    clock.now += 6
    assert pool.pick(a_request()) is backend
    pool.began(backend)
    began = clock.now
    assert pool.pick(a_request()) is None  # one trial at a time
    for late, result in zip(old, (RESET, GOOD), strict=True):
        pool.ended(backend, result, late)
        assert (state(), pool.pick(a_request())) == (HALF_OPEN, None)
    pool.ended(backend, GOOD, began)
    assert (state(), pool.pick(a_request())) == (CLOSED, backend)


def test_a_trial_that_seems_to_have_begun_too_early_is_a_trial():
    """Nothing was under way: whoever says so is wrong about the time, and must not take the trials' place for good."""
    clock = Clock()
    pool = a_pool(1, clock, breaker=BreakerOptions(failures=1, trials=1))
    (backend,) = pool.backends
    early = clock.now
    attempt(pool, backend, RESET)
    clock.now += 6
    assert pool.pick(a_request()) is backend
    pool.began(backend)
    pool.ended(backend, GOOD, early)
    assert pool.pick(a_request()) is backend
    assert pool.snapshot()["backends"][0]["breaker"]["state"] == CLOSED


# --------------------------------------------------------------------------------------------------- as many as may be
@pytest.mark.parametrize("picker", ["round_robin", "least_connections", "maglev"])
def test_a_backend_that_is_full_is_passed_over(picker):
    pool = a_pool(3, picker=picker, breaker=BreakerOptions(active=2))
    chosen = []
    while (backend := pool.pick(a_request())) is not None:
        pool.began(backend)
        chosen.append(backend)
    assert Counter(chosen) == dict.fromkeys(pool.backends, 2)
    pool.ended(chosen[0], GOOD)
    assert pool.pick(a_request()) is chosen[0]


def test_a_pool_that_is_full_lets_some_wait_and_calls_them_in_turn():
    pool = a_pool(3, breaker=BreakerOptions(pool_active=1, pending=2))
    backend, called = pool.pick(a_request()), []
    pool.began(backend)

    def take(number):
        called.append(number)
        return True

    assert pool.pick(a_request()) is None
    assert pool.why == "1 requests in flight, as many as the pool may have"
    first, second, third = (partial(take, number) for number in range(3))
    assert [pool.wait(first), pool.wait(second), pool.wait(third)] == [True, True, False]
    assert pool.snapshot()["waiting"] == 2
    pool.give_up(first)
    pool.give_up(first)
    pool.ended(backend, GOOD)
    assert called == [1]
    assert pool.snapshot()["waiting"] == 0
    assert pool.pick(a_request()) is not None


def test_who_cannot_use_a_place_leaves_it_to_the_next_and_keeps_its_turn():
    pool = a_pool(2, breaker=BreakerOptions(active=1, pending=3))
    for backend in pool.backends:
        pool.began(backend)
    tried, called = {"a": pool.backends[0], "b": pool.backends[1], "c": pool.backends[0]}, []

    def take(name):
        backend = pool.pick(a_request(), (tried[name],))
        if backend is None:
            return False
        pool.began(backend)
        called.append((name, backend))
        return True

    assert all(pool.wait(partial(take, name)) for name in tried)
    first, second = pool.backends
    pool.ended(first, GOOD)
    pool.ended(second, GOOD)
    pool.ended(second, GOOD)
    assert called == [("b", first), ("a", second), ("c", second)]


def test_nobody_waits_by_default_nor_for_an_end_that_cannot_come():
    pool = a_pool()
    pool.began(pool.backends[0])
    assert not pool.wait(lambda: True)
    assert not a_pool(breaker=BreakerOptions(pending=5)).wait(lambda: True)


# ---------------------------------------------------------------------------------------------------------------- panic
@pytest.mark.parametrize(("panic", "ill", "used"), [(0.0, 4, 0), (0.5, 2, 2), (0.5, 3, 4), (0.5, 4, 4), (1.0, 1, 4)])
def test_below_the_threshold_checks_are_not_believed(panic, ill, used):
    pool = a_pool(4, panic=panic, health=HealthOptions(fall=1))
    for backend in pool.backends[:ill]:
        pool.checked(backend, "no answer")
    assert len({name for name in picks(pool, 8) if name}) == used
    assert pool.snapshot()["panic"] is (used == 4)


def test_panic_does_not_overrule_the_operator():
    pool = a_pool(3, panic=1.0, health=HealthOptions(fall=1), breaker=BreakerOptions(failures=1))
    down, open_, ill = pool.backends
    down.state = DOWN
    attempt(pool, open_, RESET)
    pool.checked(ill, "no answer")
    assert set(picks(pool, 6)) == {ill.name}


# ----------------------------------------------------------------------------------------------------------- slow start
@pytest.mark.parametrize("picker", ["smooth_weighted", "random", "maglev", "ring", "jump", "rendezvous"])
def test_who_comes_back_gets_its_share_bit_by_bit(picker):
    clock = Clock()
    pool = a_pool(4, clock, picker=picker, slow_start=SlowStartOptions(window=100, least=0.1))
    ask = [a_request(source=f"2001:db8::{i:x}") for i in range(2000)]

    def share():
        return sum(pool.pick(each) is newcomer for each in ask) / len(ask)

    newcomer = pool.backends[0]
    full = share()
    newcomer.state = DOWN
    assert share() == 0
    newcomer.state = ACTIVE
    shares = []
    for _ in range(5):
        shares.append(share())
        clock.now += 25
    assert shares == sorted(shares)
    assert shares[0] < 0.25 * full
    assert 0.4 * full < shares[2] < 0.7 * full  # half of its weight; a little more where the sum of weights counts
    assert shares[4] == pytest.approx(full, rel=0.15)


def test_at_the_start_all_are_there_at_once():
    pool = a_pool(2, picker="smooth_weighted", slow_start=SlowStartOptions())
    assert [each["share"] for each in pool.snapshot()["backends"]] == [1.0, 1.0]


# ------------------------------------------------------------------------------------------------------------- draining
def test_draining_takes_nobody_new_and_ends_with_the_last_request_or_the_window():
    clock = Clock()
    pool = a_pool(2, clock)
    leaving, other = pool.backends
    pool.began(leaving)
    pool.drain(leaving, 10)
    assert set(picks(pool, 6)) == {other.name}
    assert not pool.finished(leaving)
    pool.ended(leaving, GOOD)
    assert pool.finished(leaving)
    pool.began(leaving)
    clock.now += 9.9
    assert not pool.finished(leaving)
    clock.now += 0.1
    assert pool.finished(leaving)  # the window is over, whatever is still there
    assert not pool.finished(other)


def test_a_backend_that_comes_back_has_no_window_left():
    clock = Clock()
    pool = a_pool(2, clock)
    backend = pool.backends[0]
    pool.drain(backend, 5)
    backend.state = ACTIVE
    assert backend.name in picks(pool, 2)
    pool.began(backend)
    backend.state = DRAINING
    clock.now += 1000
    assert not pool.finished(backend)
    assert pool.snapshot()["backends"][0]["draining"] == {"left": None}
    with pytest.raises(ValueError, match="seconds: -1 is no window"):
        pool.drain(backend, -1)


# --------------------------------------------------------------------------------------------------------------- reload
def test_a_new_pool_goes_on_where_the_old_one_left_off():
    clock = Clock()
    told = {
        "picker": "smooth_weighted",
        "health": HealthOptions(fall=1, rise=2),
        "outlier": OutlierOptions(consecutive=1, ejection=30),
        "breaker": BreakerOptions(failures=2),
        "sticky": StickySourceOptions(),
        "slow_start": SlowStartOptions(window=100),
        "retry": RetryOptions(budget=0, per_second=0.1, window=10),
    }
    old = a_pool(6, clock, **told)
    client = a_request(source="192.0.2.77")
    stuck = old.pick(client)
    ill, ejected, drained, good, last = [b for b in old.backends if b is not stuck]
    assert old.again(a_request(), REFUSED, 1)
    old.checked(ill, "status 500")
    attempt(old, ejected, RESET)
    old.drain(drained, 60)
    attempt(old, last, GOOD)

    new = a_pool(8, clock, **told)
    new.take_over(old)
    heir = {backend.name: backend for backend in new.backends}
    assert new.pick(client) is heir[stuck.name]
    assert new.why_not(heir[ill.name]) == "check: status 500"
    assert new.why_not(heir[ejected.name]) == "ejected: 1 failures in a row"
    assert new.why_not(heir[drained.name]) == "draining"
    assert new.why_not(heir[good.name]) == ""
    assert heir[last.name].total == 1
    assert heir[last.name].active == 0
    assert not new.again(a_request(), REFUSED, 1)  # the budget is used up
    shares = {each["name"]: each["share"] for each in new.snapshot()["backends"]}
    assert (shares[good.name], shares["10.0.0.7:80"], shares["10.0.0.8:80"]) == (1.0, 0.1, 0.1)

    clock.now += 30
    assert new.why_not(heir[ejected.name]) == ""
    assert not new.finished(heir[drained.name])
    clock.now += 30
    assert new.finished(heir[drained.name])
    new.checked(heir[ill.name], "")
    new.checked(heir[ill.name], "")
    assert new.why_not(heir[ill.name]) == ""


def test_failures_of_an_old_pool_leave_the_new_ones_breaker_alone():
    """And those of the new one open it, whatever becomes of the old one."""
    clock = Clock()
    old, new = (a_pool(1, clock, breaker=BreakerOptions(failures=2)) for _ in range(2))
    for _ in range(2):
        old.began(old.backends[0])
    new.take_over(old)
    assert new.pick(a_request()) is new.backends[0]
    for _ in range(2):
        old.ended(old.backends[0], RESET)
    assert old.why_not(old.backends[0]) == "breaker open"
    for _ in range(2):
        assert new.pick(a_request()) is new.backends[0]
        attempt(new, new.backends[0], RESET)
    assert new.pick(a_request()) is None
    clock.now += 5
    assert new.pick(a_request()) is new.backends[0]


def test_a_pool_takes_over_from_its_own_name_only_and_other_policies_do_not_matter():
    old = a_pool(3, health=HealthOptions(fall=1), outlier=OutlierOptions())
    with pytest.raises(ValueError, match="old: api is another pool"):
        old.take_over(a_pool(3, name="api"))
    new = a_pool(2, sticky=StickySourceOptions(), breaker=BreakerOptions())
    new.take_over(old)
    assert set(picks(new, 4)) <= set(addresses(2))
    old.take_over(new)


# ------------------------------------------------------------------------------------------------------ what is shown
def test_a_snapshot_is_json_and_says_why():
    clock = Clock()
    pool = a_pool(
        4,
        clock,
        outlier=OutlierOptions(consecutive=1),
        health=HealthOptions(fall=1),
        breaker=BreakerOptions(failures=9),
    )
    pool.began(pool.backends[0])
    attempt(pool, pool.backends[1], RESET)
    pool.checked(pool.backends[2], "status 500")
    pool.drain(pool.backends[3], 60)
    clock.now += 15
    shown = json.loads(json.dumps(pool.snapshot(), allow_nan=False))
    assert [each["why"] for each in shown["backends"]] == [
        "",
        "ejected: 1 failures in a row",
        "check: status 500",
        "draining",
    ]
    assert [each["active"] for each in shown["backends"]] == [1, 0, 0, 0]
    assert shown["backends"][1]["ejection"] == {"left": 15, "why": "1 failures in a row", "ejections": 1}
    assert shown["backends"][3]["draining"] == {"left": 45}
    assert shown["active"] == 1
