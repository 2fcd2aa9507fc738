"""Ports for servers of others: free now, and given to no client meanwhile."""

from __future__ import annotations

import socket
from contextlib import ExitStack

import pytest

from lbcore.testbed import ports


def test_they_differ_and_can_be_listened_on_and_are_not_given_to_clients():
    found = ports.free_ports(20)
    assert len(set(found)) == 20
    with ExitStack() as stack:
        servers = [stack.enter_context(socket.create_server(("127.0.0.1", port))) for port in found]
        given = []
        for server in servers:
            client = stack.enter_context(socket.create_connection(server.getsockname()))
            given.append(client.getsockname()[1])
        assert max(found) < min(given)


def test_who_is_there_already_is_passed_by(monkeypatch):
    here, free = ports.free_ports(2)
    monkeypatch.setattr(ports.SystemRandom, "sample", lambda self, population, k: [here, free, *population[: k - 2]])
    with socket.create_server(("127.0.0.1", here)):
        assert ports.free_ports(1) == [free]


def test_if_there_are_too_few_it_says_so(monkeypatch, tmp_path):
    with pytest.raises(OSError, match="2000 were wanted"):
        ports.free_ports(2000)
    monkeypatch.setattr(ports, "RANGE", tmp_path / "range")
    ports.RANGE.write_text("1024\t60999\n")
    with pytest.raises(OSError, match="from 1024 on; below are too few"):
        ports.free_ports(1)
