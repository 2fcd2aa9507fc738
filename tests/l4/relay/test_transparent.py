"""Source preservation: with IP_TRANSPARENT the backend sees the client's own address and port; without, the relay's."""

from __future__ import annotations

import asyncio
import json
import socket

import pytest

from lbcore.l4.relay import Listener, Options, Pool, Target, run
from lbcore.testbed import backends, traffic
from lbcore.testbed.hosts import Topology
from tests import needs

pytestmark = needs.tier(1)


@pytest.fixture(params=[4, 6])
def network(request):
    """client - relay - backend in two networks; the backend's way out is the relay."""
    client_net, backend_net = {4: ("10.0.1.{}/24", "10.0.2.{}/24"), 6: ("2001:db8:1::{}/64", "2001:db8:2::{}/64")}[
        request.param
    ]
    with Topology() as net:
        client, middle, backend = (net.host(name) for name in ("client", "relay", "backend"))
        net.link(client, middle, client_net.format(1), client_net.format(2))
        net.link(middle, backend, backend_net.format(1), backend_net.format(2))
        backend.route("default", via=backend_net.format(1).partition("/")[0])
        six = ["-6"] * (request.param == 6)
        # what comes from the backends' side is ours, whatever its address: half of it is for clients
        middle.command("ip", *six, "rule", "add", "iif", "eth1", "lookup", "100")
        middle.command("ip", *six, "route", "add", "local", "default", "dev", "lo", "table", "100")
        # For a foreign source, IPv6 asks for neighbours from the link-local address, which test-bed hosts do not have.
        port = backend.interfaces["eth0"]
        middle.neighbour(port.ip, port.mac, "eth1")
        yield client, middle, backend


def text(address, port):
    return f"[{address}]:{port}" if ":" in address else f"{address}:{port}"


def start(middle, backend, protocol, preserve):
    """The relay in its host, from the client's side; (address, port) when it listens."""
    pool = Pool("web", [Target(text(backend.ip, 8080))], preserve_source=preserve)
    options = Options([Listener("web", text(middle.ip, 80), protocol)], [pool], expose=True)
    ours, theirs = socket.socketpair()

    def life():
        run(options, started=lambda relay: theirs.sendall(b"!"))

    task = middle.start(life)
    ours.settimeout(20)
    assert ours.recv(1) == b"!"
    ours.close(), theirs.close()
    return task


@pytest.mark.parametrize("kind", ["http", "udp"])
@pytest.mark.parametrize("preserve", [True, False])
def test_whom_the_backend_sees(network, kind, preserve):
    client, middle, backend = network
    serve = backends.serve_http if kind == "http" else backends.serve_udp
    anywhere = "::" if ":" in backend.ip else "0.0.0.0"
    with (
        serve(backend, 8080, anywhere),
        start(middle, backend, "tcp" if kind == "http" else "udp", preserve),
    ):
        for _ in range(3):
            answer = client.run(traffic.ask, middle.ip, 80, kind=kind)
            assert answer["backend"] == "backend"
            seen = answer["client"][0]
            assert seen == (client.ip if preserve else middle.interfaces["eth1"].ip)


def test_the_port_is_the_clients_too(network):
    client, middle, backend = network

    def ask(where):
        async def once():
            reader, writer = await asyncio.open_connection(where, 80)
            writer.write(b"GET / HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")
            body = (await reader.read()).partition(b"\r\n\r\n")[2]
            me = writer.get_extra_info("sockname")[:2]
            writer.close()
            return list(me), json.loads(body)["client"]

        return asyncio.run(once())

    anywhere = "::" if ":" in backend.ip else "0.0.0.0"
    with backends.serve_http(backend, 8080, anywhere), start(middle, backend, "tcp", True):
        me, seen = client.run(ask, middle.ip)
        assert me == seen
