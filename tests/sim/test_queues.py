"""The simulator against queueing theory, and against a slow simulation written another way."""

import heapq

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lbcore.sim import queues

B, N = 8, 400_000


def mean_wait(load, policy, **how):
    made = queues.run(load, policy, **how)
    return made.settled(made.waiting).mean()


# ------------------------------------------------------------------------------------------------------- theory
@pytest.mark.parametrize("mix", queues.MIXES)
@pytest.mark.parametrize(("utilisation", "cv"), [(0.3, 0.0), (0.7, 0.0), (0.5, 1.0), (0.7, 1.0), (0.7, 2.0)])
def test_random_splitting_is_pollaczek_khinchine(mix, utilisation, cv):
    """Random splitting of a Poisson stream gives B independent M/G/1 queues (M/D/1 at cv 0)."""
    load = queues.poisson(B, utilisation, N, cv=cv, mix=mix, seed=1)
    assert mean_wait(load, "random") == pytest.approx(queues.pollaczek_khinchine(utilisation, cv), rel=0.06)


@pytest.mark.parametrize("cv", [0.0, 1.0, 3.0])
def test_processor_sharing_does_not_care_about_the_mix(cv):
    """M/G/1 processor sharing: the mean response is 1 / (1 - utilisation), whatever the distribution of the work."""
    load = queues.poisson(B, 0.6, N, cv=cv, seed=2)
    made = queues.run(load, "random", concurrency=400)
    assert made.settled(made.response).mean() == pytest.approx(1 / (1 - 0.6), rel=0.06)


@pytest.mark.parametrize(("clerks", "utilisation"), [(2, 1.4), (4, 3.2)])
def test_several_processors_are_erlang_c(clerks, utilisation):
    """M/M/c: the mean wait is Erlang's C over the spare rate, with C from the recursion of Erlang's B."""
    blocked = 1.0
    for k in range(1, clerks + 1):
        blocked = utilisation * blocked / (k + utilisation * blocked)
    waits = clerks * blocked / (clerks - utilisation * (1 - blocked))
    load = queues.poisson(B, utilisation, N, seed=14)
    found = mean_wait(load, "random", concurrency=clerks, processors=clerks)
    assert found == pytest.approx(waits / (clerks - utilisation), rel=0.06)


def test_a_backend_that_only_waits_keeps_nobody():
    load = queues.poisson(B, 20, 20_000, seed=15)
    made = queues.run(load, "random", concurrency=200, processors=np.inf)
    assert np.allclose(made.waiting, 0, atol=1e-9)


def test_waiting_times_of_one_queue_have_the_exponential_tail_of_m_m_1():
    load = queues.poisson(1, 0.7, N, seed=3)
    made = queues.run(load, "random")
    for t in (1, 3, 6):
        share = (made.settled(made.response) > t).mean()
        assert share == pytest.approx(np.exp(-(1 - 0.7) * t), abs=0.02)


@pytest.mark.parametrize("concurrency", [1, 3, 64])
@pytest.mark.parametrize("policy", queues.POLICIES)
def test_littles_law(policy, concurrency):
    """Mean number present, sampled at moments that know nothing of the arrivals, is rate x mean response."""
    load = queues.poisson(B, 0.8, N, cv=1.5, seed=4)
    made = queues.run(load, policy, concurrency=concurrency)
    times = np.linspace(load.arrival[N // 10], load.arrival[-1], 50_000)
    present = made.outstanding(times).sum(axis=1).mean()
    assert present == pytest.approx(0.8 * B * made.settled(made.response).mean(), rel=0.03)


@pytest.mark.parametrize(("candidates", "utilisation"), [(1, 0.8), (2, 0.8), (2, 0.9), (3, 0.9)])
def test_queue_lengths_follow_the_mean_field(candidates, utilisation):
    load = queues.poisson(200, utilisation, N, seed=5)
    made = queues.run(load, candidates)
    lengths = made.outstanding(np.linspace(load.arrival[N // 4], load.arrival[-1], 300))
    for k in range(1, 6):
        assert (lengths >= k).mean() == pytest.approx(queues.mean_field_tail(utilisation, candidates, k), abs=0.02)


def test_more_knowledge_waits_less():
    load = queues.poisson(B, 0.85, N, seed=6)
    waits = [mean_wait(load, policy) for policy in ("least connections", 3, 2, "random")]
    assert waits == sorted(waits)
    assert waits[0] < 0.6 * waits[2] < 0.3 * waits[3]


# ------------------------------------------------------------------------------- an independent implementation
def simulate_by_events(load, picks, concurrency, processors, speeds):
    """Finish times by stepping through a heap of every event with sharing recomputed at each: slow and plain."""
    finish = np.zeros(load.arrival.size)
    for b in range(load.backends):
        active, queue, now = {}, [], 0.0
        coming = [(load.arrival[i], i) for i in np.flatnonzero(picks == b)]
        heapq.heapify(coming)
        while coming or active:
            rate = speeds[b] * min(1.0, processors / len(active)) if active else 0.0
            leaves = min(((now + left / rate, i) for i, left in active.items()), default=(np.inf, -1))
            arrives = coming[0] if coming else (np.inf, -1)
            moment, i = min(leaves, arrives)
            for j in active:
                active[j] -= rate * (moment - now)
            now = moment
            if leaves <= arrives:
                del active[i]
                finish[i] = now
            else:
                heapq.heappop(coming)
                queue.append(i)
            while queue and len(active) < concurrency:
                j = queue.pop(0)
                active[j] = load.work[j]
    return finish


@settings(deadline=None, max_examples=40)
@given(
    seed=st.integers(0, 2**32 - 1),
    backends=st.integers(1, 4),
    utilisation=st.floats(0.2, 1.5),
    cv=st.floats(0.1, 4),
    concurrency=st.integers(1, 5),
    processors=st.sampled_from([1, 2, 2.5, np.inf]),
    policy=st.sampled_from(queues.POLICIES),
)
def test_finish_times_equal_an_event_by_event_simulation(
    seed, backends, utilisation, cv, concurrency, processors, policy
):
    load = queues.poisson(backends, utilisation, 150, cv=cv, seed=seed)
    speeds = np.linspace(0.5, 2, backends)
    made = queues.run(load, policy, concurrency=concurrency, processors=processors, speeds=speeds)
    expected = simulate_by_events(load, made.backend, concurrency, processors, speeds)
    np.testing.assert_allclose(made.finish, expected, rtol=1e-9, atol=1e-9)


@settings(deadline=None, max_examples=40)
@given(
    seed=st.integers(0, 2**32 - 1),
    balancers=st.integers(1, 5),
    refresh=st.one_of(st.none(), st.just(0.0), st.floats(0.05, 5)),
)
def test_least_connections_picks_a_minimum_of_what_the_balancer_can_know(seed, balancers, refresh):
    """Recompute, from arrivals and finishes alone, what was known at each pick."""
    load = queues.poisson(4, 0.9, 120, seed=seed)
    made = queues.run(load, "least connections", balancers=balancers, refresh=refresh)
    owner = load.luck % np.uint64(balancers)
    for i in range(load.arrival.size):
        now = load.arrival[i]
        read = now if not refresh else np.floor(now / refresh) * refresh
        known = (load.arrival[:i] <= read) & (made.finish[:i] > read)
        if refresh is None:
            known &= owner[:i] == owner[i]
        counts = np.bincount(made.backend[:i][known], minlength=4)
        assert counts[made.backend[i]] == counts.min()


# ------------------------------------------------------------------------------------------- policies and options
def test_round_robin_takes_turns_at_each_balancer():
    load = queues.poisson(5, 0.5, 10_000, seed=7)
    made = queues.run(load, "round robin", balancers=3)
    owner = load.luck % np.uint64(3)
    for balancer in range(3):
        own = made.backend[owner == balancer]
        assert (own == np.arange(own.size) % 5).all()


def test_many_round_robins_are_as_good_as_random_and_no_better():
    load = queues.poisson(B, 0.9, N, seed=8)
    one, many, chance = (
        mean_wait(load, p, balancers=k) for p, k in (("round robin", 1), ("round robin", 500), ("random", 1))
    )
    assert one < 0.7 * chance
    assert many == pytest.approx(chance, rel=0.15)


def test_stale_boards_herd_least_connections_and_hardly_hurt_two_choices():
    load = queues.poisson(50, 0.9, N, seed=9)
    stale = {policy: mean_wait(load, policy, refresh=5.0) for policy in ("least connections", "power of two")}
    assert stale["least connections"] > 2 * stale["power of two"]
    assert mean_wait(load, "least connections", refresh=0.0) == pytest.approx(mean_wait(load, "least connections"))


def test_a_backend_that_fails_fast_attracts_traffic():
    """Requests that wait for somebody else, twelve at a time: the one backend that is never busy gets nearly all."""
    load = queues.poisson(10, 12, 50_000, seed=10)
    how = {"broken": {3: 0.001}, "concurrency": 1000, "processors": np.inf}
    share = {p: queues.run(load, p, **how).counts[3] / 50_000 for p in queues.POLICIES}
    assert share["round robin"] == pytest.approx(0.1, abs=1e-3)
    assert share["random"] == pytest.approx(0.1, abs=0.01)
    assert share["power of two"] == pytest.approx(0.2, abs=0.02)  # it is one of two candidates two times in ten
    assert share["least connections"] > 0.85


def test_picks_are_obeyed_and_luck_is_common():
    load = queues.poisson(4, 0.5, 1000, seed=11)
    picks = np.arange(1000) % 3
    made = queues.run(load, picks)
    assert (made.backend == picks).all()
    assert made.counts.tolist() == [334, 333, 333, 0]
    assert (queues.run(load, "random").backend == queues.run(load, "random").backend).all()


def test_fast_backends_finish_sooner_by_their_speed():
    load = queues.poisson(2, 0.01, 1000, cv=0, seed=12)
    made = queues.run(load, np.arange(1000) % 2, speeds=[1, 4])
    assert np.allclose(made.work[1::2], 0.25)
    assert np.allclose(made.response - made.waiting, made.work)


@pytest.mark.parametrize(("cv", "mix"), [(0.5, "gamma"), (2.0, "gamma"), (0.5, "lognormal"), (2.0, "lognormal")])
def test_mixes_have_the_mean_and_spread_they_promise(cv, mix):
    work = queues.poisson(1, 0.5, 1_000_000, cv=cv, mix=mix, seed=13).work
    assert work.mean() == pytest.approx(1, rel=0.02)
    assert work.std() == pytest.approx(cv, rel=0.05)


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda load: queues.poisson(0, 0.5, 10), "backends is 0"),
        (lambda load: queues.poisson(1, 0.5, 0), "requests is 0"),
        (lambda load: queues.poisson(1, 0.0, 10), "utilisation is 0.0"),
        (lambda load: queues.poisson(1, float("nan"), 10), "utilisation is nan"),
        (lambda load: queues.poisson(1, 0.5, 10, cv=-1), "cv is -1"),
        (lambda load: queues.poisson(1, 0.5, 10, mix="bimodal"), "mix is 'bimodal'"),
        (lambda load: queues.run(load, "rnd"), "policy is 'rnd'"),
        (lambda load: queues.run(load, 4), "4 candidates, wanted 1 to 3"),
        (lambda load: queues.run(load, np.zeros(9, int)), r"shape \(9,\)"),
        (lambda load: queues.run(load, np.zeros(10)), "float64 of shape"),
        (lambda load: queues.run(load, "random", processors=0.5), "processors is 0.5"),
        (lambda load: queues.run(load, np.full(10, 3)), "picks backends 3 to 3"),
        (lambda load: queues.run(load, np.full(10, 2**32)), "picks backends 4294967296"),
        (lambda load: queues.run(load, "random", balancers=0), "balancers is 0"),
        (lambda load: queues.run(load, "random", concurrency=0), "concurrency is 0"),
        (lambda load: queues.run(load, "random", refresh=-1.0), "refresh is -1.0"),
        (lambda load: queues.run(load, "random", speeds=[1, 0, 1]), "speeds is"),
        (lambda load: queues.run(load, "random", speeds=[1, 1]), "wanted 3 numbers"),
        (lambda load: queues.run(load, "random", broken={3: 0.1}), "broken has 3"),
        (lambda load: queues.run(load, "random", broken={0: float("nan")}), "broken has 0"),
    ],
)
def test_bad_arguments_are_named(make, says):
    with pytest.raises(ValueError, match=says):
        make(queues.poisson(3, 0.5, 10))
