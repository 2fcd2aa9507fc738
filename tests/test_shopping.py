"""The chapter's scenes: what affinity promises, whoever is next in turn; and what a session's place costs."""

from __future__ import annotations

import asyncio
from functools import partial

import pytest

from lbcore.l7.pools.options import StickyCookieOptions, StickySourceOptions
from lbcore.measure import recorded, session_costs, shopping
from lbcore.testbed.session_stores import Sqlite

STICKY = {"sticky": StickyCookieOptions(keys=("k" * 32,))}


def played(scene):
    return asyncio.run(asyncio.wait_for(scene, 30))


@pytest.mark.parametrize(
    "policy", [STICKY, {"sticky": StickySourceOptions()}, {"picker": "rendezvous"}], ids=["cookie", "table", "hash"]
)
def test_with_affinity_a_cart_grows(policy):
    bodies = played(shopping.one_customer(*["/add"] * 4, **policy))
    assert len({body.split()[0] for body in bodies}) == 1
    assert [body.split()[1] for body in bodies] == list("1234")


def test_without_affinity_it_grows_only_in_a_shared_store(tmp_path):
    assert played(shopping.one_customer(*["/add"] * 4)) == ["ant 1", "bee 1", "cat 1", "ant 1"]
    shared = partial(Sqlite, tmp_path / "s")
    assert played(shopping.one_customer(*["/add"] * 4, store=shared)) == ["ant 1", "bee 2", "cat 3", "ant 4"]


def test_a_crash_loses_one_shops_carts_and_none_of_a_shared_store(tmp_path):
    assert [answer.items for answer in played(shopping.after_a_crash(9, **STICKY))].count(2) == 6
    answers = played(shopping.after_a_crash(9, store=partial(Sqlite, tmp_path / "s")))
    assert {(answer.items, answer.status) for answer in answers} == {(2, 200)}


def test_a_store_that_dies_takes_all_with_it(tmp_path):
    before, after = played(shopping.store_dies(partial(Sqlite, tmp_path / "s")))
    assert (set(before), set(after)) == ({200}, {503})


def test_every_algorithms_token_is_checked_and_redis_is_measured_or_recorded(monkeypatch):
    comparison = session_costs.compare_tokens()
    assert {"HS256", "ES256", "RS256"} < comparison.samples.keys()
    monkeypatch.setattr(session_costs, "which", lambda program: None)
    kept = session_costs.redis_costs()
    assert not kept.live
    assert "not on this machine" in kept.label
    assert kept.samples == recorded.load(session_costs.RECORDING).samples
    prices = session_costs.prices()
    assert prices.label == kept.label
    assert all(ratio > 1 for ratios in prices.values() for ratio in ratios)
