"""X-Forwarded-For against nginx: for lists of addresses, its recursive realip and ours name the same client."""

from __future__ import annotations

import http.client
import shutil
import socket
import subprocess
import time
from ipaddress import ip_address, ip_network

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lbcore.testbed.ports import free_ports
from lbcore.wire.forwarded import client_of
from tests import needs

pytestmark = [needs.command("nginx"), needs.linux()]

OURS = [ip_network(text) for text in ("127.0.0.11/32", "10.0.0.0/8", "2001:db8:a::/48")]
CONFIG = """
daemon off; master_process off; error_log {folder}/error.log; pid {folder}/pid;
events {{}}
http {{
    access_log off;
    client_body_temp_path {folder}; proxy_temp_path {folder}; fastcgi_temp_path {folder};
    uwsgi_temp_path {folder}; scgi_temp_path {folder};
    {trusted}
    real_ip_header X-Forwarded-For;
    real_ip_recursive on;
    server {{ listen 127.0.0.1:{port}; location / {{ return 200 $remote_addr; }} }}
}}
"""
ADDRESS = (
    st.sampled_from(["10.0.0.1", "10.200.0.9", "2001:db8:a::5", "127.0.0.11"])
    | st.ip_addresses(v=4).map(str).filter(lambda a: a != "255.255.255.255")  # to nginx that is no address
    | st.ip_addresses(v=6).filter(lambda a: not a.ipv4_mapped and not a.scope_id).map(str)
)


@pytest.fixture(scope="module")
def nginx(tmp_path_factory):
    """Where it listens."""
    (port,) = free_ports(1)
    folder = tmp_path_factory.mktemp("nginx")
    trusted = "\n".join(f"set_real_ip_from {network};" for network in OURS)
    (folder / "nginx.conf").write_text(CONFIG.format(folder=folder, port=port, trusted=trusted))
    process = subprocess.Popen([shutil.which("nginx"), "-p", str(folder), "-c", "nginx.conf"], stderr=subprocess.PIPE)
    try:
        for _ in range(200):
            if process.poll() is not None:
                pytest.fail(process.stderr.read().decode())
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", port)) == 0:
                    break
            time.sleep(0.02)
        yield port
    finally:
        process.kill()
        process.communicate()


@settings(deadline=None, max_examples=150)
@given(
    lines=st.lists(st.lists(ADDRESS, min_size=1, max_size=4).map(", ".join), max_size=2),
    peer=st.sampled_from(["127.0.0.11", "127.0.0.12"]),
)
def test_nginx_believes_the_same(nginx, lines, peer):
    connection = http.client.HTTPConnection("127.0.0.1", nginx, timeout=10, source_address=(peer, 0))
    try:
        connection.putrequest("GET", "/")
        for line in lines:
            connection.putheader("X-Forwarded-For", line)
        connection.endheaders()
        theirs = connection.getresponse().read().decode()
    finally:
        connection.close()
    assert str(ip_address(theirs)) == client_of(peer, lines, OURS)
