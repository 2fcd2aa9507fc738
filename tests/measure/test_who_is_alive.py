"""The experiments of chapter 14: what clients saw is what is counted, and it agrees with the models."""

from __future__ import annotations

import asyncio

import numpy as np
import pytest

from lbcore.l7.pools.options import (
    HttpProbeOptions,
    OutlierOptions,
    RetryOptions,
    TcpProbeOptions,
    TimeoutsOptions,
)
from lbcore.measure import leaked, leaving
from lbcore.measure.mortal import Mortal, asking, started
from lbcore.sim import draining, outage

ONCE = RetryOptions(attempts=1)
PROBES = {"TCP": TcpProbeOptions(), "/health": HttpProbeOptions(path="/health"), "/": HttpProbeOptions(path="/")}


@pytest.mark.parametrize(
    ("condition", "client", "passing"),
    [
        ("", 200, {"TCP", "/health", "/"}),
        ("refuses", 502, set()),
        ("hangs", 504, {"TCP"}),
        ("answers 503", 503, {"TCP", "/health"}),
    ],
)
def test_a_check_sees_what_it_asks_for(condition, client, passing):
    status, said = leaked.verdicts(condition, PROBES)
    assert status == client
    assert {name for name, why in said.items() if not why} == passing


def test_a_window_on_sockets_lies_within_the_bounds_of_the_model():
    health = outage.checks(0.2, 2, 0.2)
    for live in leaked.outages("refuses", health=health, retry=ONCE):
        assert 0.15 < live.window < outage.longest_window(0.2, 2) + 0.5  # others use this machine, too
        assert 0 < live.failed < live.sent


@pytest.mark.parametrize("condition", ["refuses", "answers 503"])
def test_ejection_on_sockets_costs_a_number_of_requests(condition):
    for live in leaked.outages(condition, outlier=OutlierOptions(consecutive=5), retry=ONCE):
        assert 5 <= live.failed <= 7  # and those that were under way


def test_a_second_attempt_hides_a_hang_from_those_who_may_be_asked_twice():
    options = {"outlier": OutlierOptions(consecutive=3), "timeouts": TimeoutsOptions(head=0.2)}
    assert [live.failed for live in leaked.outages("hangs", repeat=1, rate=100, **options)] == [0]
    assert leaked.outages("hangs", repeat=1, rate=100, method="POST", **options)[0].failed >= 3


def test_a_drained_server_leaves_unnoticed_and_a_killed_one_does_not():
    assert {one.status for one in leaving.deploy("drain, then stop")} == {200}
    assert {one.status for one in leaving.deploy("stop")} == {200, 502}


def test_what_is_at_work_ends_as_the_formula_says():
    moments = np.array([0, 0.1, 0.3, 0.8])
    live = leaving.ending(moments, median=0.1, spread=1.0, rate=250, warm=1.0)
    assert live == pytest.approx(draining.at_work(moments, 0.1, 1.0), abs=0.3)
    assert (np.diff(live) <= 0).all()


@pytest.mark.parametrize(("polite", "last"), [(False, "cut"), (True, "bye")])
def test_streams_outlive_the_window(polite, last):
    story, words = leaving.streams(1.0, polite=polite)  # so long that a machine that stumbles is still inside it
    assert [(active, finished) for _, active, finished in story] == [(2, False), (2, False), (2, True)]
    assert words == {"WebSocket": last, "event stream": last}


def test_a_failing_check_has_to_be_given_time():
    assert leaving.announced(0.0, interval=0.1, fall=3)[0] > 0
    assert leaving.announced(1.0, interval=0.1, fall=3)[0] == 0


def test_a_stopped_server_is_gone_and_can_be_started_again():
    async def scene():
        server = Mortal("one")
        async with started(server):
            first = server.address
            async with asking(first, 200, lambda: "/0.05") as seen:
                await asyncio.sleep(0.2)
                await server.stop(grace=1.0)
                assert server.at_work == 0
                await asyncio.sleep(0.1)
            assert {one.status for one in seen} == {200, 0}
            await server.start()
            assert server.address == first
            async with asking(first, 200) as seen:
                await asyncio.sleep(0.1)
            assert {one.status for one in seen} == {200}

    asyncio.run(scene())
