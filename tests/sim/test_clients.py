"""Packets of numbered clients through the real data plane, and groups counted two ways."""

import numpy as np
import pytest

from lbcore.l4 import flow_table, tables
from lbcore.l4.config import Config
from lbcore.l4.forwarder import Forwarder
from lbcore.sim import clients
from lbcore.sim.fleet import random_flows
from lbcore.sim.groups import forced_out
from lbcore.wire import tcp

SYNS, DATA = (clients.packets(range(600), flags) for flags in (tcp.SYN, tcp.ACK))


def test_answers_are_what_the_tables_hold():
    forwarder = Forwarder(Config([clients.web(7)]))
    first = clients.chosen(forwarder, SYNS)
    assert set(first.tolist()) == set(range(1, 8))
    attempts = forwarder.balancer.tables.attempts
    remembered = attempts.rows[attempts.tags != 0, flow_table.BACKEND].astype(int)
    assert (np.bincount(remembered, minlength=8) == np.bincount(first, minlength=8)).all()


def test_draining_keeps_flows_until_the_balancer_forgets():
    forwarder = Forwarder(Config([clients.web(7)]))
    first = clients.chosen(forwarder, SYNS)
    assert (clients.chosen(forwarder, DATA) == first).all()
    forwarder.balancer.set_state("10.0.0.3", tables.DRAINING)
    assert (clients.chosen(forwarder, DATA) == first).all()
    clients.forget(forwarder)
    after = clients.chosen(forwarder, DATA)
    assert not (after == 3).any()
    assert (after[first != 3] == first[first != 3]).mean() > 0.97


def test_a_flood_of_first_packets_pushes_out_nobody_established():
    forwarder = Forwarder(Config([clients.web(7)], flows=4096))
    first = clients.chosen(forwarder, SYNS)
    clients.chosen(forwarder, DATA)
    clients.chosen(forwarder, clients.packets(range(600, 8000), tcp.SYN))
    forwarder.balancer.set_state("10.0.0.3", tables.DRAINING)
    assert (clients.chosen(forwarder, DATA) == first).all()


@pytest.mark.parametrize("count", [0, 251])
def test_backends_that_one_byte_cannot_tell_apart_are_refused(count):
    with pytest.raises(ValueError, match="count is"):
        clients.backends(count)


@pytest.mark.parametrize("fill", [0.3, 0.6, 1.0])
def test_the_flow_table_loses_what_counting_says(fill):
    table = flow_table.flow_table(1 << 13)
    for flow in random_flows(int(fill * table.tags.size), seed=3).tolist():
        flow_table.put(table, flow >> 32, (flow, 0, 0, 0, 0), 1, 10**9, 1)
    assert abs(table.counts[2] / table.counts[0] - forced_out(fill, flow_table.WAYS)) < 0.01


@pytest.mark.parametrize(("fill", "ways"), [(0, 8), (0.5, 0), (0.5, 7)])
def test_groups_that_cannot_be_are_named(fill, ways):
    with pytest.raises(ValueError, match="fill"):
        forced_out(fill, ways)
