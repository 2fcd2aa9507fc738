"""Placement of connections: against counting by hand, against formulas, and against the queues of chapter 02."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lbcore.sim import pinning

LOADS = st.lists(st.floats(0, 1e6), min_size=1, max_size=30).filter(lambda loads: sum(loads) > 1e-3)


@given(LOADS, st.floats(0.01, 100))
def test_the_index_lies_between_1_over_n_and_1_and_knows_no_unit(loads, unit):
    index = pinning.jain(loads)
    assert 1 / len(loads) - 1e-9 <= index <= 1 + 1e-9
    assert pinning.jain(np.array(loads) * unit) == pytest.approx(index)


@given(st.integers(1, 50), st.integers(1, 50))
def test_k_equal_ones_among_n_have_k_over_n(k, n):
    k = min(k, n)
    assert pinning.jain([1] * k + [0] * (n - k)) == pytest.approx(k / n)


@settings(max_examples=60)
@given(
    st.sampled_from(pinning.MODES), st.integers(1, 30), st.integers(1, 6), st.integers(1, 12), st.floats(0, 2),
    st.integers(0, 99),
)  # fmt: skip
def test_every_call_goes_somewhere(mode, clients, connections, backends, skew, seed):
    rate = pinning.rates(clients, skew)
    placed = pinning.shares(mode, rate, connections, backends, np.random.default_rng(seed))
    assert placed.shape == (clients, backends)
    assert (placed >= 0).all()
    np.testing.assert_allclose(placed.sum(axis=1), rate)
    reached = (placed > 0).sum(axis=1)
    most = {"L4": min(connections, backends), "subset": min(pinning.SUBSET, backends)}.get(mode, backends)
    assert (reached <= most).all()
    if mode != "L4":
        assert (reached == most).all()


def test_one_connection_is_one_backend_and_formulas_hold():
    assert pinning.typical(pinning.rates(1), 1, 10) == pytest.approx(0.1)
    for clients, connections, backends in ((10, 1, 10), (30, 4, 8), (200, 1, 20)):
        seen = pinning.typical(pinning.rates(clients), connections, backends, draws=400)
        assert seen == pytest.approx(pinning.expected(clients * connections, backends), abs=0.04)
    skewed = pinning.rates(1000, 1)
    assert pinning.typical(skewed, 1, 10, draws=400) == pytest.approx(
        pinning.expected(pinning.effective(skewed), 10), abs=0.05
    )


def test_effective_by_hand():
    assert pinning.effective([1, 1, 1, 1]) == pytest.approx(4)
    assert pinning.effective([0.5, *[0.5 / 999] * 999]) == pytest.approx(4, abs=0.01)  # one of a thousand makes half


def test_trials_order_as_they_must():
    seen = {mode: pinning.trial(mode, clients=100, backends=10) for mode in pinning.MODES}
    assert seen["L7"].jain == pytest.approx(1)
    assert seen["client side"].jain == pytest.approx(1, abs=0.001)
    assert seen["L4"].jain < seen["subset"].jain < 1
    assert seen["L7"].wait < seen["client side"].wait < seen["subset"].wait < seen["L4"].wait


def test_one_client_at_l4_has_the_queue_of_one_backend():
    alone = pinning.trial("L4", clients=1, backends=4, utilisation=0.1)
    assert (alone.jain, alone.busiest) == (pytest.approx(0.25), pytest.approx(4))
    # M/M/1 at 0.4: the response time is exponential with mean 1 / 0.6
    assert alone.wait == pytest.approx(np.log(100) / 0.6, rel=0.15)


def test_newcomers_get_their_share_when_the_age_is_over():
    times = np.array([0, 0.25, 0.5, 1.1, 5])
    share = pinning.newcomers(20_000, 10, 15, 1.0, times, np.random.default_rng(1))
    assert share[0] == 0
    np.testing.assert_allclose(share[1:3], [0.25 / 3, 0.5 / 3], atol=0.01)
    np.testing.assert_allclose(share[3:], 1 / 3, atol=0.015)
    assert not pinning.newcomers(100, 10, 20, np.inf, times, np.random.default_rng(1)).any()


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: pinning.jain([]), "wanted numbers"),
        (lambda: pinning.jain([0, 0]), "wanted numbers"),
        (lambda: pinning.jain([1, -1]), "wanted numbers"),
        (lambda: pinning.rates(0), "at least one client"),
        (lambda: pinning.shares("L3", pinning.rates(2), 1, 2, np.random.default_rng(0)), "wanted one of"),
        (lambda: pinning.shares("L4", pinning.rates(2), 0, 2, np.random.default_rng(0)), "at least 1 of each"),
        (lambda: pinning.newcomers(5, 3, 3, 1.0, [0], np.random.default_rng(0)), "more after"),
    ],
)
def test_what_cannot_be(call, words):
    with pytest.raises(ValueError, match=words):
        call()
