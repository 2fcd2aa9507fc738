"""The fleet against an account of it in plain Python, and what each loss may and may not break."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lbcore.sim import ecmp
from lbcore.sim.fleet import BROKEN, BY_MEMORY, LOST, Fleet, broken_by, broken_share, debt, random_flows

FLOWS = random_flows(4000, seed=5)
each_router = pytest.mark.parametrize("router", ecmp.ROUTERS)


@each_router
@given(st.integers(2, 12), st.data())
def test_a_router_uses_all_hops_and_never_the_lost_one(router, count, data):
    before = ecmp.ROUTERS[router](tuple(range(count)))
    gone = data.draw(st.integers(0, count - 1))
    after = before.without(gone)
    picked = after.pick_many(FLOWS)
    assert set(picked.tolist()) == set(after.hops) == set(range(count)) - {gone}
    assert np.bincount(picked).max() < 1.5 * FLOWS.size / (count - 1)


@given(st.integers(2, 12), st.data())
def test_a_resilient_router_moves_only_orphans(count, data):
    router = ecmp.Resilient(tuple(range(count)))
    for _ in range(data.draw(st.integers(1, count - 1))):
        gone = data.draw(st.sampled_from(router.hops))
        after = router.without(gone)
        moved = router.pick_many(FLOWS) != after.pick_many(FLOWS)
        assert (moved == (router.pick_many(FLOWS) == gone)).all()
        router = after


@given(st.integers(3, 12), st.data())
def test_hash_threshold_moves_what_rfc_2992_says(count, data):
    """Removing hop i of n moves, of the others' flows, the sum over ranges of how far boundaries shift."""
    gone = data.draw(st.integers(0, count - 1))
    before = ecmp.Threshold(tuple(range(count)))
    moved = (before.pick_many(FLOWS) != before.without(gone).pick_many(FLOWS)).mean()
    old = np.arange(count + 1) / count
    new = np.arange(count) / (count - 1)
    stay = 0.0
    for place, hop in enumerate(before.without(gone).hops):
        stay += max(0.0, min(old[hop + 1], new[place + 1]) - max(old[hop], new[place]))
    assert abs(moved - (1 - stay)) < 0.05


@pytest.mark.parametrize("hop", [7, -1])
def test_a_hop_that_is_not_there_cannot_go(hop):
    with pytest.raises(ValueError, match=f"hop {hop} cannot go"):
        ecmp.Modulo((0, 1)).without(hop)
    with pytest.raises(ValueError, match="one must stay"):
        ecmp.Resilient((3,)).without(3)


events = st.lists(st.tuples(st.sampled_from(["drain", "fail", "lose", "send"]), st.integers(0, 9)), max_size=8)


@settings(max_examples=40, deadline=None)
@given(events, st.sampled_from(sorted(ecmp.ROUTERS)), st.sampled_from(["Maglev", "modulo"]), st.booleans())
def test_the_fleet_agrees_with_dictionaries(events, router, picker, remembers):
    """Tables with room for all flows are dictionaries; the fleet must do what a fleet of these does."""
    flows = FLOWS[:300]
    fleet = Fleet(6, 3, router=router, picker=picker, entries=1 << 14 if remembers else 0)
    memories, alive = [{} for _ in range(3)], set(range(6))
    for what, number in [("send", 0), *events, ("send", 0)]:
        if what == "lose" and number in fleet.router.hops and len(fleet.router.hops) > 1:
            fleet.lose_balancer(number)
        elif what in ("drain", "fail") and number in fleet.pool and fleet.pool.size > 1:
            getattr(fleet, what)(number)
            alive -= {number} if what == "fail" else set()
        elif what == "send":
            sent = fleet.send(flows)
            for flow, balancer, backend, hashed in zip(flows.tolist(), *(part.tolist() for part in sent), strict=True):
                known = memories[balancer].get(flow) if remembers else None
                assert backend == (known if known in alive else hashed)
                memories[balancer][flow] = backend
                assert hashed in fleet.pool
                assert balancer in fleet.router.hops


@each_router
@pytest.mark.parametrize("picker", ["Maglev", "modulo"])
def test_one_loss_alone_breaks_nothing_and_both_break_some(router, picker):
    def share(entries, lose, drain):
        return broken_by(FLOWS, balancer=lose, backend=drain, router=router, picker=picker, entries=entries)

    assert share(1 << 16, True, False) == share(1 << 16, False, True) == share(0, True, False) == 0
    assert 0 < share(1 << 16, True, True) < share(0, False, True)


@each_router
def test_shares_of_two_losses_multiply(router):
    both = broken_by(FLOWS, balancer=True, backend=True, router=router)
    lost = ecmp.moved_share(router, 4, FLOWS, lost=1)
    assert abs(both - lost * broken_by(FLOWS, backend=True, entries=0)) < 0.01


def test_debt_grows_with_every_backend_and_is_none_without_a_change():
    owed = [debt(FLOWS, added) for added in range(6)]
    assert owed[0] == 0
    assert owed == sorted(owed)
    assert owed[5] > 0.3


def test_moved_share_is_the_mean_over_hops():
    assert abs(ecmp.moved_share("resilient", 5, FLOWS) - 1 / 5) < 1e-9
    assert abs(ecmp.moved_share("modulo", 5, FLOWS) - 4 / 5) < 0.03


def test_order_and_delay_do_not_matter():
    """The balancer may die long after the pool changed: what it alone knew breaks then."""
    fleet = Fleet(10, 4)
    before = fleet.send(FLOWS)
    fleet.drain(3)
    between = fleet.fates(before, fleet.send(FLOWS))
    held = (between == BY_MEMORY) & (before.balancers == 1)
    fleet.lose_balancer(1)
    after = fleet.fates(before, fleet.send(FLOWS))
    assert held.any()
    assert ((after == BROKEN) == held).all()


def test_a_failed_backends_flows_are_lost_and_no_others():
    fleet = Fleet(10, 4)
    before = fleet.send(FLOWS)
    fleet.fail(3)
    fates = fleet.fates(before, fleet.send(FLOWS))
    assert ((fates == LOST) == (before.backends == 3)).all()
    assert not (fates == BROKEN).any()


def test_a_small_memory_forgets():
    shares = []
    for entries in (64, 2048, 1 << 14):
        fleet = Fleet(10, 1, entries=entries)
        before = fleet.send(FLOWS)
        fleet.drain(3)
        shares.append(broken_share(fleet.fates(before, fleet.send(FLOWS))))
    assert shares[0] > shares[1] > shares[2] == 0


@pytest.mark.parametrize("bad", [{"router": "rip"}, {"picker": "fate"}, {"backends": 0}, {"balancers": 0}])
def test_what_cannot_be_is_named(bad):
    with pytest.raises(ValueError, match=next(iter(bad))):
        Fleet(**bad)
