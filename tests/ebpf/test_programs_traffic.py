"""The ladder's programs on real packets between hosts, in native and in generic mode."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable, Iterator

import numpy as np
import pytest

from lbcore.ebpf import kernel
from lbcore.ebpf.programs.count_protocols import count_protocols
from lbcore.ebpf.programs.drop_all import drop_all
from lbcore.ebpf.programs.echo import echo
from lbcore.ebpf.programs.redirect import redirect
from lbcore.testbed import traffic
from lbcore.testbed.hosts import Host, Topology
from tests import needs

pytestmark = needs.tier(2)

SERVER = "10.0.0.2"
each_mode = pytest.mark.parametrize("mode", ["native", "generic"])


@pytest.fixture
def hosts() -> Iterator[tuple[Host, Host]]:
    """A client and a server on one cable."""
    with Topology(rootless=False) as net:
        client, server = net.host("client"), net.host("server")
        net.link(client, server, "10.0.0.1/24", f"{SERVER}/24")
        server.xdp_ready()
        yield client, server


def reach(client: Host) -> None:
    """TimeoutError if there is no way to the server."""
    client.run(traffic.ping, SERVER, timeout=10)


def fail_to_reach(client: Host) -> None:
    with pytest.raises(TimeoutError):
        client.run(traffic.ping, SERVER, timeout=0.5)


def soon(condition: Callable[[], bool]) -> bool:
    until = time.monotonic() + 10
    while not condition() and time.monotonic() < until:
        time.sleep(0.01)
    return condition()


@each_mode
def test_drop_cuts_the_cable(hosts: tuple[Host, Host], mode: str) -> None:
    client, server = hosts
    reach(client)
    with server.inside(), kernel.load(drop_all.object) as program, program.attach("eth0", mode):
        fail_to_reach(client)
    reach(client)


@each_mode
def test_counts_what_is_sent(hosts: tuple[Host, Host], mode: str) -> None:
    client, server = hosts
    with server.inside(), kernel.load(count_protocols.object) as program, program.attach("eth0", mode):

        def counted(name: str, key: int) -> int:
            return int(np.frombuffer(program.maps[name][key.to_bytes(4, "little")], "<u8").sum())

        with client.open_socket(socket.AF_INET, socket.SOCK_DGRAM, 0) as sender:
            for _ in range(20):
                sender.sendto(b"count me", (SERVER, 9999))
        assert soon(lambda: counted("ports", 9999) >= 20)
        assert (counted("protocols", 17), counted("ports", 9999)) == (20, 20)


@each_mode
def test_echo_answers_where_nobody_listens(hosts: tuple[Host, Host], mode: str) -> None:
    client, server = hosts
    asker = client.open_socket(socket.AF_INET, socket.SOCK_DGRAM, 0)
    with asker, server.inside(), kernel.load(echo.object) as program, program.attach("eth0", mode):
        asker.settimeout(10)
        for text in (b"is anybody there?", b"", bytes(1400)):
            asker.sendto(text, (SERVER, 7))
            assert asker.recvfrom(2000) == (text, (SERVER, 7))


@each_mode
def test_redirect_makes_a_wire_of_two_ports(mode: str) -> None:
    with Topology(rootless=False) as net:
        client, wire, server = net.host("client"), net.host("wire"), net.host("server")
        net.link(client, wire, "10.0.0.1/24", ())
        net.link(server, wire, f"{SERVER}/24", ())
        wire.xdp_ready()
        fail_to_reach(client)
        with wire.inside(), kernel.load(redirect.object) as there, kernel.load(redirect.object) as back:
            for program, port in ((there, "eth1"), (back, "eth0")):
                index = socket.if_nametoindex(port)
                program.maps["other_port"][bytes(4)] = index.to_bytes(4, "little")
            with there.attach("eth0", mode), back.attach("eth1", mode):
                reach(client)
        fail_to_reach(client)
