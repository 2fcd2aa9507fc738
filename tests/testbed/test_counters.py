"""What is read from /proc is what the kernel counted."""

from __future__ import annotations

import socket
import time

import pytest

from lbcore.testbed import counters
from tests import needs

pytestmark = needs.linux()


def test_sleeping_is_a_context_switch():
    before = counters.context_switches()
    for _ in range(20):
        time.sleep(0.001)
    assert counters.context_switches() - before >= 20


def test_datagrams_are_counted_where_they_come_by():
    before = counters.driver_packets("lo"), counters.ip_packets(), counters.udp_datagrams()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as me:
        me.bind(("127.0.0.1", 0))
        for _ in range(5):
            me.sendto(b"counted?", me.getsockname())
            me.recv(16)
    after = counters.driver_packets("lo"), counters.ip_packets(), counters.udp_datagrams()
    assert all(new - old >= 5 for old, new in zip(before, after, strict=True))


def test_an_interface_that_is_not_there_is_named():
    with pytest.raises(ValueError, match=r"'nowhere9': not here; there are .*\blo\b"):
        counters.driver_packets("nowhere9")
