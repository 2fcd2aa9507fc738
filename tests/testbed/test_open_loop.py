"""Real connections to real backends: each request answered once, and nothing left open, on success or error."""

import asyncio

import numpy as np
import pytest

from lbcore.balance.least_connections import LeastConnections
from lbcore.balance.round_robin import RoundRobin
from lbcore.testbed import open_loop
from tests.holding import holding

POOL = ["a", "b", "c", "d"]


def test_every_request_is_answered_and_everything_is_closed():
    before = holding()
    picks = open_loop.drive(RoundRobin(POOL), [0.01] * 4, np.linspace(0, 0.2, 40))
    assert np.bincount(picks).tolist() == [10] * 4
    assert holding() <= before


def test_every_pick_is_done_again():
    scheduler = LeastConnections(POOL)
    picks = open_loop.drive(scheduler, [0.01, 0.02, 0.03, 0.0], np.zeros(60))
    assert picks.shape == (60,)
    assert not scheduler.active.any()


def test_the_backend_that_answers_at_once_gets_most_of_least_connections():
    arrivals = np.random.default_rng(1).uniform(0, 0.5, 150)
    picks = open_loop.drive(LeastConnections(POOL), [0.1, 0.1, 0.1, 0.0], arrivals)
    assert np.bincount(picks, minlength=4).argmax() == 3


class Refuses(RoundRobin):
    """Fails at its third pick."""

    def pick(self):
        if self.next == 2:
            raise OSError("no backend today")
        return super().pick()


def test_errors_come_through_and_leave_nothing_open():
    before = holding()
    with pytest.raises(ExceptionGroup) as caught:
        open_loop.drive(Refuses(POOL), [0.5] * 4, np.zeros(8))
    assert caught.group_contains(OSError, match="no backend today")
    assert holding() <= before


def test_a_backend_that_hangs_up_is_an_error():
    async def silent():
        server = await asyncio.start_server(lambda _, writer: writer.close(), open_loop.HOST, 0)
        async with server:
            await open_loop.ask(server.sockets[0].getsockname()[1])

    with pytest.raises(ConnectionError):
        asyncio.run(silent())


def test_time_is_limited():
    with pytest.raises(TimeoutError):
        open_loop.drive(RoundRobin(POOL), [60] * 4, np.zeros(4), limit=0.1)


def test_answers_must_fit_the_backends():
    with pytest.raises(ValueError, match="answers: 3 for 4 backends"):
        open_loop.drive(RoundRobin(POOL), [0.1] * 3, [0.0])
