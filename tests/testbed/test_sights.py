"""Who sees a dropped packet, and what a packet costs in context switches: shapes that hold on any machine."""

from __future__ import annotations

from lbcore.testbed import sights, switches
from lbcore.testbed.sights import Seen
from tests import needs


@needs.tier(2)
def test_each_place_hides_packets_from_all_that_stand_behind_it():
    seen = sights.drops(packets=7)
    order = list(seen)
    assert order[0] == "XDP, native"
    assert order[-2:] == ["socket filter", "nowhere"]
    for one in seen.values():
        assert list(one) == sorted(one, reverse=True), "who stands further along the path never sees more"
        assert set(one) <= {0, 7}
    reached = [sum(one) for one in seen.values()]
    assert reached == sorted(reached), "a later drop is seen by more observers"
    assert seen["XDP, native"] == seen["XDP, generic"] == Seen(7, 0, 0, 0, 0)
    assert seen["tc"] == Seen(7, 7, 0, 0, 0)
    assert seen["nowhere"] == Seen(7, 7, 7, 7, 7)


def test_a_reader_of_an_idle_link_is_switched_to_for_each_packet():
    count = switches.one_by_one(200)
    assert count.packets == count.calls == 200
    assert count.switches > 100


def test_a_backlog_costs_calls_but_hardly_a_switch():
    count = switches.backlog(200)
    assert count.packets == count.calls == 200
    assert count.switches < 50


@needs.linux()
def test_one_call_can_read_many():
    count = switches.backlog(200, batch=50)
    assert (count.packets, count.calls) == (200, 4)
    assert switches.backlog(90, batch=64).calls == 2


def test_a_busy_reader_is_woken_once_for_many():
    one, many = switches.bursts(200, 1, work=5e-5), switches.bursts(640, 32, work=5e-5)
    assert many.packets == 640
    assert many.per_packet < one.per_packet / 3


@needs.tier(1)
def test_a_router_forwards_without_waking_anybody():
    passed = switches.through_kernel(5000)
    assert passed.packets == 5000
    assert passed.per_packet < 0.5


@needs.tier(2)
def test_a_program_counts_what_it_saw():
    passed = switches.through_kernel(5000, xdp=True)
    assert passed.packets == 5000
    assert passed.per_packet < 0.5
