"""A network to balance in: a client, two balancers, a router before them and three web servers, all on one switch.

    with lan() as net, net.plane("AF_XDP", config) as lb:
        fetch(net, "203.0.113.1", 80, 100)

The client has an address for each way back: backends answer one directly, and the other by way of the balancer, as NAT
needs it. Who is who is written down beforehand (static neighbours), for an AF_XDP driver takes ARP away too. Backends
have the virtual addresses on loopback and open tunnels by their own XDP program, where the machine allows one.
"""

from __future__ import annotations

import asyncio
import json
import socket
import struct
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

from lbcore.ebpf import kernel
from lbcore.ebpf.programs.decapsulate import decapsulate
from lbcore.l4.config import Backend, Config, Service
from lbcore.l4.data_plane import DataPlane
from lbcore.l4.drivers.af_packet import AfPacket
from lbcore.l4.drivers.af_xdp import AfXdp
from lbcore.l4.xdp import InKernel
from lbcore.testbed import backends
from lbcore.testbed.hosts import Host, Topology
from lbcore.testbed.rtnetlink import mac_bytes

VIP = {4: "203.0.113.1", 6: "2001:db8:f::1"}
SHARED = "203.0.113.2"
"""A virtual address that the router spreads over both balancers."""
DIRECT = {4: "198.51.100.9", 6: "2001:db8:c::9"}
THROUGH = {4: "198.51.101.9", 6: "2001:db8:d::9"}
"""The client, as backends answer it directly and by way of the balancer."""
OWN = {4: "10.0.0.2", 6: "fd00::2"}
"""The balancers' own address: source of tunnels and of full NAT."""
SERVERS = {4: ["10.0.0.11", "10.0.0.12", "10.0.0.13"], 6: ["fd00::11", "fd00::12", "fd00::13"]}
PORT = 8080
TRANSLATING = ("nat", "full_nat")
AT_ONCE = 16
PATIENCE = 30.0
PLANES = ("XDP", "AF_XDP", "AF_PACKET")


class Lan:
    """Hosts by their names; `plane` makes one of them a balancer."""

    def __init__(self, net: Topology, stack: ExitStack) -> None:
        self.client, self.balancer, self.other, self.router = (
            net.host(name) for name in ("client", "balancer", "other", "router")
        )
        self.servers = [net.host(f"server{number}") for number in (1, 2, 3)]
        switch = net.switch("switch")
        clients = (f"{DIRECT[4]}/24", f"{THROUGH[4]}/24", f"{DIRECT[6]}/64", f"{THROUGH[6]}/64")
        net.plug(switch, self.client, *clients)
        for host in (self.balancer, self.other, self.router):
            net.plug(switch, host)
        for host, four, six in zip(self.servers, SERVERS[4], SERVERS[6], strict=True):
            net.plug(switch, host, f"{four}/24", f"{six}/64")
            self._server(host)
            for address in ("0.0.0.0", "::"):
                stack.enter_context(backends.serve_http(host, PORT, address))
        for host in (self.client, self.balancer, self.other, self.router, *self.servers):
            announce(host)
        for address, host in ((VIP[4], self.balancer), (VIP[6], self.balancer), (SHARED, self.router)):
            self.client.route(f"{address}/{32 if '.' in address else 128}", interface="eth0")
            self.client.neighbour(address, mac(host))

    def _server(self, host: Host) -> None:
        for version, prefix in ((4, 24), (6, 64)):
            host.neighbour(OWN[version], mac(self.balancer))
            host.neighbour(DIRECT[version], mac(self.client))
            host.route(f"{DIRECT[version].rstrip('9')}0/{prefix}".replace("::0", "::"), interface="eth0")
            host.route(f"{THROUGH[version].rstrip('9')}0/{prefix}".replace("::0", "::"), via=OWN[version])
            host.vip(VIP[version])
        host.vip(SHARED)

    def with_programs(self, stack: ExitStack) -> None:
        """Tunnels are opened, and balancers may send by XDP."""
        for host in (self.balancer, self.other, self.router):
            host.xdp_ready()
        for host in self.servers:
            with host.inside():
                stack.enter_context(stack.enter_context(kernel.load(decapsulate.object)).attach("eth0"))

    def config(self, mode: str, address: str = VIP[4], *, version: int = 4, **more: Any) -> Config:
        """One service in a mode, its backends of an IP version. NAT turns port 80 into the servers' port."""
        port = 80 if mode in TRANSLATING else PORT
        there = [
            Backend(ip, PORT if mode in TRANSLATING else 0, ethernet=mac(host))
            for ip, host in zip(SERVERS[version], self.servers, strict=True)
        ]
        service = Service(address, port, "tcp", mode, there)
        return Config([service], source4=OWN[4], source6=OWN[6], ring_size=4099, **more)

    @contextmanager
    def plane(self, kind: str, config: Config, host: Host | None = None) -> Iterator[DataPlane | InKernel]:
        """A balancer at work, in the kernel or over a driver."""
        with ExitStack() as stack:
            with (host or self.balancer).inside():
                if kind == "XDP":
                    in_kernel = stack.enter_context(InKernel(config))
                    stack.enter_context(in_kernel.attach("eth0"))
                    lb: DataPlane | InKernel = in_kernel
                else:
                    driver: Any = AfXdp("eth0", frames=1024, steer="native") if kind == "AF_XDP" else AfPacket("eth0")
                    lb = DataPlane(config, stack.enter_context(driver))
                    stack.callback(lb.stop)
            yield lb


@contextmanager
def lan(programs: bool = True) -> Iterator[Lan]:
    with Topology(rootless=False) as net, ExitStack() as stack:
        made = Lan(net, stack)
        if programs:
            made.with_programs(stack)
        yield made


def announce(host: Host) -> None:
    """Let the switch learn where a host is. Frames to strangers go out of every port: the client's ear would hear what
    the balancer sends to a server, and of two balancers both would get what is for one."""
    with host.packet_socket() as out:
        out.send(b"\xff" * 6 + mac_bytes(mac(host)) + b"\x88\xb5" + bytes(46))  # an ethertype for experiments


def mac(host: Host) -> str:
    return host.interfaces["eth0"].mac


def until_equal(left: Callable[[], Any], right: Callable[[], Any]) -> None:
    """Wait for two things to become the same."""
    deadline = time.monotonic() + PATIENCE
    while (a := left()) != (b := right()) and time.monotonic() < deadline:
        time.sleep(0.005)
    assert a == b


# ---- clients ----


class Connection:
    """A TCP connection of the client's, from a port that is given or free, for one request after another."""

    def __init__(self, client: Host, source: str, port: int = 0) -> None:
        with client.inside():
            self.socket = socket.socket(socket.AF_INET6 if ":" in source else socket.AF_INET)
        self.socket.setblocking(False)
        # Closed by a reset: else a last segment, sent again, might turn up in the middle of another test.
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.socket.bind((source, port))
        self.port: int = self.socket.getsockname()[1]

    async def open(self, target: str, port: int) -> None:
        async with asyncio.timeout(PATIENCE):
            await asyncio.get_running_loop().sock_connect(self.socket, (target, port))

    async def ask(self) -> dict[str, Any]:
        """The next answer: what the backend says of itself and of the client."""
        loop, said = asyncio.get_running_loop(), b""
        async with asyncio.timeout(PATIENCE):
            await loop.sock_sendall(self.socket, b"GET / HTTP/1.1\r\nhost: test\r\n\r\n")
            while not said.endswith(b"}\n"):
                more = await loop.sock_recv(self.socket, 65536)
                if not more:
                    raise EOFError(f"the connection ended after {said!r}")
                said += more
        answer: dict[str, Any] = json.loads(said.partition(b"\r\n\r\n")[2])
        return answer | {"port": self.port}


def connect(net: Lan, source: str, target: str, port: int, count: int, first: int = 0) -> list[Connection]:
    """So many connections, open, from ports counted from `first`, or from free ones. Close them with `close`."""
    made = [Connection(net.client, source, first and first + number) for number in range(count)]
    _each(made, lambda one: one.open(target, port))
    return made


def ask(connections: Sequence[Connection]) -> list[Any]:
    """An answer to each; where there was none, the error (OSError, EOFError)."""

    async def one(connection: Connection) -> Any:
        try:
            return await connection.ask()
        except (OSError, EOFError) as error:
            return error

    return _each(connections, one)


def close(connections: Sequence[Connection]) -> None:
    for connection in connections:
        connection.socket.close()


def fetch(net: Lan, source: str, target: str, port: int, count: int, first: int = 0) -> list[dict[str, Any]]:
    """An answer to each of so many new connections; `first` as in `connect`."""
    made = connect(net, source, target, port, count, first)
    try:
        return ask(made)
    finally:
        close(made)


def _each(connections: Sequence[Connection], function: Callable[[Connection], Any]) -> list[Any]:
    async def all_of_them() -> list[Any]:
        room = asyncio.Semaphore(AT_ONCE)

        async def one(connection: Connection) -> Any:
            async with room:
                return await function(connection)

        return await asyncio.gather(*map(one, connections))

    return asyncio.run(all_of_them())
