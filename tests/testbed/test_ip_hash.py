"""What chapter 13 says of nginx's ip_hash, asked of nginx itself: neighbours in a /24 are one key."""

from __future__ import annotations

import socket
import subprocess
import time
from collections import Counter
from contextlib import contextmanager, suppress
from shutil import which

import pytest

from lbcore.testbed.ports import free_ports

CONFIG = """
daemon off; worker_processes 1; pid {folder}/pid; error_log stderr crit;
events {{ worker_connections 256; }}
http {{
    access_log off; client_body_temp_path {folder}/a; proxy_temp_path {folder}/b;
    fastcgi_temp_path {folder}/c; uwsgi_temp_path {folder}/d; scgi_temp_path {folder}/e;
    upstream shops {{ ip_hash; {servers} }}
    server {{ listen 127.0.0.1:{door}; location / {{ proxy_pass http://shops; }} }}
    {shops}
}}
"""


@contextmanager
def ip_hash(folder, shops=5):
    """nginx with ip_hash over servers of its own that say their port: the door."""
    door, *ports = free_ports(shops + 1)
    servers = " ".join(f"server 127.0.0.1:{port};" for port in ports)
    answering = " ".join(f"server {{ listen 127.0.0.1:{port}; return 200 $server_port; }}" for port in ports)
    (folder / "conf").write_text(CONFIG.format(folder=folder, door=door, servers=servers, shops=answering))
    server = subprocess.Popen([which("nginx"), "-p", str(folder), "-c", str(folder / "conf")])
    try:
        until = time.monotonic() + 10
        while time.monotonic() < until and server.poll() is None:
            with suppress(OSError), socket.create_connection(("127.0.0.1", door)):
                break
            time.sleep(0.02)
        yield door
    finally:
        server.terminate()
        server.wait(10)


def ask(door, source):
    with socket.create_connection(("127.0.0.1", door), 5, (source, 0)) as line:
        line.sendall(b"GET / HTTP/1.0\r\n\r\n")
        answer = b"".join(iter(lambda: line.recv(4096), b""))
    assert answer.startswith(b"HTTP/1.1 200"), answer[:80]
    return answer.rpartition(b"\r\n\r\n")[2].decode()


def test_a_24_is_one_key(tmp_path):
    if which("nginx") is None:
        pytest.skip("there is no nginx on PATH")
    with ip_hash(tmp_path) as door:
        blocks = {block: Counter(ask(door, f"127.1.{block}.{i}") for i in (1, 2, 77, 254)) for block in range(24)}
    assert all(len(seen) == 1 for seen in blocks.values()), blocks
    assert len({next(iter(seen)) for seen in blocks.values()}) > 1
