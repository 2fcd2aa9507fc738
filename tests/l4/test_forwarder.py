"""The forwarder by itself: a program that imports nothing else of the house; and who is told apart in its tables."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from lbcore.l4.config import Backend, Config, Service
from lbcore.l4.forwarder import Forwarder, batch
from lbcore.wire.compose import udp_frame

ALONE = """
from lbcore.l4.config import Backend, Config, Service
from lbcore.l4.forwarder import Forwarder, batch
from lbcore.wire.compose import tcp_frame
forwarder = Forwarder(Config([Service("10.0.0.9", 80, "tcp", "dsr", [Backend("10.0.0.2")])]))
forwarder.process(*batch([tcp_frame(destination="10.0.0.9:80")]))
print(forwarder.reasons())
"""


def test_it_compiles_where_nobody_has_spoken_of_the_kernel(tmp_path):
    """The cache is a fresh one: from an old one comes what was compiled where somebody had."""
    environment = {**os.environ, "NUMBA_CACHE_DIR": str(tmp_path), "PYTHONPATH": str(Path(__file__).parents[2])}
    done = subprocess.run([sys.executable, "-c", ALONE], env=environment, capture_output=True, text=True, timeout=300)
    assert done.stdout == "{'forwarded': 1}\n", done.stderr[-2000:]


@pytest.mark.parametrize(("vip", "backend", "client"), [
    ("203.0.113.9", "10.0.0.2", "198.51.{0}.{1}:123"), ("[2001:db8::9]", "2001:db8:1::2", "[2001:db8:c::{0}:{1}]:123"),
])  # fmt: skip
def test_clients_that_share_a_source_port_all_find_their_way_back(vip, backend, client):
    """As those of NTP do: to the table of replies they differ in nothing but their address."""
    service = Service(vip.strip("[]"), 123, "udp", "nat", [Backend(backend, 123)])
    forwarder = Forwarder(Config([service], gateway="02:00:00:00:00:01", source6="2001:db8::1", flows=1 << 13))
    clients = [client.format(i >> 7, i & 127) for i in range(1000)]
    forwarder.process(*batch([udp_frame(source=one, destination=f"{vip}:123") for one in clients]))
    server = f"[{backend}]:123" if ":" in backend else f"{backend}:123"
    forwarder.process(*batch([udp_frame(source=server, destination=one) for one in clients]))
    assert forwarder.reasons() == {"forwarded": 1000, "reply": 1000}


def test_tables_whose_rows_have_another_width_are_refused():
    """The compiled code is made of the widths."""
    forwarder = Forwarder(Config([Service("203.0.113.9", 80, "tcp", "dsr", [Backend("10.0.0.2")])], flows=8))
    tables = forwarder.balancer.tables
    forwarder.balancer.tables = tables._replace(backends=tables.backends[:, :4].copy())
    with pytest.raises(ValueError, match="not as Balancer makes them"):
        forwarder.process(*batch([udp_frame()]))
