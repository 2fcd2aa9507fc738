"""Hosts and cables: a network on one machine, built in a few lines and gone at the end of the block.

    with Topology() as net:
        client, balancer, backend = net.lan("client", "balancer", "backend")     # 10.0.0.1, .2 and .3 on a switch
        backend.vip("203.0.113.80")
        with balancer.capture() as seen:
            client.command("ping", "-c1", "10.0.0.2")
        seen.frames()

Rule of this file: who is connected to whom. Settings are `links`, namespaces and processes are `namespaces`.

Theory. A host is a network namespace; a cable is a veth pair with one end in each; a switch is a host with a bridge.
With root they are made as root. Without, all of them belong to one user namespace, where this user is root over them
and over nothing else; the same programs run there, except what wants rights on the machine itself, such as BPF.

Traps
- Only networks are separate: files, users and the clock are the machine's. /sys still shows the machine's interfaces.
- MAC addresses are counted from 02:00:00:00:00:01 (locally administered, IEEE 802): the same in each run.
"""

from __future__ import annotations

import io
import socket
import subprocess
from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass, field
from ipaddress import ip_address, ip_interface, ip_network
from typing import ParamSpec, TypeVar

from lbcore.testbed import capabilities, capture, links, namespaces, rtnetlink, xdp_stub
from lbcore.testbed.namespaces import Launcher, Space, Task

P = ParamSpec("P")
T = TypeVar("T")

LONGEST_NAME = 15  # bytes of an interface's name: IFNAMSIZ less its zero byte


class Unavailable(RuntimeError):
    """This machine allows no network namespaces; the message says why."""


@dataclass(frozen=True)
class Interface:
    """One end of a cable. addresses: as given, "10.0.0.1/24"."""

    host: Host = field(repr=False)
    name: str
    mac: str
    addresses: tuple[str, ...]
    peer: Interface | None = field(default=None, repr=False)

    @property
    def ip(self) -> str:
        """The first address, without its prefix."""
        return self.addresses[0].partition("/")[0]


class Host:
    """One host. Made by Topology.host."""

    def __init__(self, net: Topology, name: str, space: Space) -> None:
        self.name = name
        self.interfaces: dict[str, Interface] = {}
        self._net = net
        self._space = space

    def __repr__(self) -> str:
        return f"<host {self.name}: {', '.join(f'{i.name} {i.addresses}' for i in self.interfaces.values())}>"

    @property
    def ip(self) -> str:
        """The first address of the first interface."""
        return next(iter(self.interfaces.values())).ip

    # ---- doing things there
    def run(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Call `function` in this host, in a process of its own; what it returns (pickled) or raises comes back.

        A socket that it returns is handed over open. TimeoutError after 30 seconds; see `start` for more.
        """
        return self._net.launcher.run(self._space, f"{_name(function)} in {self.name}", function, *args, **kwargs)

    def start(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> Task[T]:
        """The same in the background: .result(timeout), .running(), .stop(); the topology stops it at the latest."""
        return self._net.launcher.start(self._space, f"{_name(function)} in {self.name}", function, *args, **kwargs)

    def command(self, *command: str, timeout: float = 30.0, check: bool = True) -> subprocess.CompletedProcess[str]:
        """Run a program to its end: .stdout and .stderr are text. CalledProcessError where it fails and `check`."""
        with self.start(
            subprocess.run, list(command), capture_output=True, text=True, check=check, timeout=timeout
        ) as task:
            done: subprocess.CompletedProcess[str] = task.result(timeout + 10)
            return done

    def open_socket(
        self, family: int = socket.AF_INET, kind: int = socket.SOCK_STREAM, protocol: int = 0
    ) -> socket.socket:
        """A socket of this host, for use here: whoever holds it, it speaks from there."""
        return self.run(socket.socket, family, kind, protocol)

    def packet_socket(self, interface: str = "eth0") -> socket.socket:
        """An AF_PACKET socket that sends whole frames out of an interface and receives none."""
        return self.run(links.packet_socket, interface)

    def capture(self, interface: str = "eth0") -> capture.Capture:
        """Listen to every frame of an interface from now on."""
        ear = self.run(capture.open_ear, interface)
        self._net.stack.callback(ear.close)
        return capture.Capture(f"{self.name} {interface}", ear)

    def inside(self) -> AbstractContextManager[None]:
        """`with host.inside():` puts this thread into the host: what takes an interface's name finds the host's.

        With root only (PermissionError): for BPF, which wants root anyway. Do not await in the block.
        """
        assert self._space.net is not None
        if self._space.user:
            raise PermissionError(
                f"a thread can enter {self.name} with root only: use run, start, command or open_socket"
            )
        return namespaces.inside(self._space.net)

    # ---- changing it
    def address(self, address: str, interface: str = "eth0") -> None:
        """One more address with its prefix, "10.0.0.9/24", that the host answers for."""
        self.run(rtnetlink.add_address, interface, ip_interface(address))

    def vip(self, address: str) -> None:
        """A virtual address on loopback: packets for it are taken, ARP requests for it are not answered."""
        self.address(str(ip_interface(address)), "lo")

    def route(self, target: str, via: str | None = None, *, interface: str | None = None) -> None:
        """Send what goes to `target` ("10.1.0.0/16", or "default") by way of `via`, or straight out of `interface`."""
        if via is None and interface is None:
            raise ValueError(f"a route to {target} needs via= (a gateway's address) or interface=")
        gateway = ip_address(via) if via else None
        default = "::/0" if gateway and gateway.version == 6 else "0.0.0.0/0"
        network = ip_network(default if target == "default" else target)
        self.run(rtnetlink.add_route, network, gateway, interface)

    def neighbour(self, address: str, mac: str, interface: str = "eth0") -> None:
        """A MAC address that need not be asked for."""
        self.run(rtnetlink.add_neighbour, ip_address(address), mac, interface)

    def sysctl(self, name: str, value: int | str | None = None) -> str:
        """A setting of this host below /proc/sys, "net/ipv4/ip_forward"; set if `value` is given."""
        return self.run(links.sysctl, name, value)

    def xdp_ready(self) -> None:
        """Let this host's XDP programs send: a stub at the far end of each cable, which a veth asks for (tier 2)."""
        for interface in self.interfaces.values():
            if interface.peer:
                interface.peer.host.run(xdp_stub.attach, interface.peer.name)


class Topology:
    """A network, for the length of a `with` block.

    rootless: True for a user namespace, False for root's way, None for whichever this machine allows.
    """

    def __init__(self, *, rootless: bool | None = None) -> None:
        self.hosts: dict[str, Host] = {}
        self.rootless = rootless
        self.stack = ExitStack()
        self.launcher = Launcher()
        self._interfaces = 0

    def __enter__(self) -> Topology:
        machine = capabilities.machine()
        if machine.tier < 1:
            raise Unavailable(f"this is tier {machine.tier}; network namespaces: {machine['network namespaces'].why}")
        try:
            self.stack.callback(self.launcher.close)
            self._user = self._owner()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End every process, then let go of every namespace."""
        try:
            self.stack.close()
        except BaseException:
            self.launcher.close()
            self.stack.close()  # an interrupt may come between two steps: the rest of them still has to be done
            raise

    def host(self, name: str, *, forward: bool = False) -> Host:
        """A new host without any interface but loopback. forward: it is a router."""
        if name in self.hosts:
            raise ValueError(f"there is a host {name!r} already")
        if not name or len(name.encode()) > LONGEST_NAME or set(name) & set("/ :%"):
            raise ValueError(f"name is {name!r}, wanted 1 to {LONGEST_NAME} bytes without / : % and space")
        net = self.stack.enter_context(self.launcher.new_net_namespace(self._user))
        host = Host(self, name, Space(self._user, net))
        host.run(links.prepare, forward)
        self.hosts[name] = host
        return host

    def link(
        self, left: Host, right: Host,
        left_address: str | tuple[str, ...] = (), right_address: str | tuple[str, ...] = (),
        *, mtu: int = 1500, offloads: bool = False,
    ) -> tuple[Interface, Interface]:  # fmt: skip
        """A cable between two hosts; addresses with their prefixes, one or more or none for each end."""
        return self._cable(
            left, right, _free(left), _free(right), _many(left_address), _many(right_address), mtu, offloads
        )

    def switch(self, name: str, *ports: tuple[Host, str], mtu: int = 1500, offloads: bool = False) -> Host:
        """A switch, and a cable from it to each host, which gets that address ("10.0.0.1/24").

        The switch is a host of its own; its ports are called after the hosts, so that one can listen there.
        """
        switch = self.host(name)
        switch.run(rtnetlink.add_bridge, "bridge", self._mac())
        switch.run(rtnetlink.set_up, "bridge")
        for host, address in ports:
            self.plug(switch, host, address, mtu=mtu, offloads=offloads)
        return switch

    def plug(
        self, switch: Host, host: Host, *addresses: str, mtu: int = 1500, offloads: bool = False
    ) -> tuple[Interface, Interface]:
        """A cable from a switch to one more host. Returns the host's end and the port."""
        ends = self._cable(host, switch, _free(host), host.name, addresses, (), mtu, offloads)
        switch.run(rtnetlink.set_master, host.name, "bridge")
        return ends

    def lan(self, *names: str, network: str = "10.0.0.0/24", switch: str = "switch") -> list[Host]:
        """New hosts on a new switch, with the network's addresses in order: the first has .1."""
        subnet = ip_network(network)
        if len(names) > subnet.num_addresses - 2:
            raise ValueError(f"network is {network}: too small for {len(names)} hosts")
        hosts = [self.host(name) for name in names]
        addresses = (f"{subnet[1 + at]}/{subnet.prefixlen}" for at in range(len(hosts)))
        self.switch(switch, *zip(hosts, addresses, strict=True))
        return hosts

    # ---- within
    def _owner(self) -> io.FileIO | None:
        """The user namespace that the hosts belong to; None for this process's own."""
        if self.rootless is not True:
            try:
                self.launcher.new_net_namespace(None).close()
                return None
            except PermissionError as error:
                if self.rootless is False:
                    raise Unavailable(f"network namespaces as root: {error}") from None
        return self.stack.enter_context(self.launcher.new_user_namespace())

    def _mac(self) -> str:
        self._interfaces += 1
        return (0x020000000000 + self._interfaces).to_bytes(6, "big").hex(":")

    def _cable(
        self, left: Host, right: Host, left_name: str, right_name: str,
        left_addresses: tuple[str, ...], right_addresses: tuple[str, ...], mtu: int, offloads: bool,
    ) -> tuple[Interface, Interface]:  # fmt: skip
        assert right._space.net is not None
        near = Interface(left, left_name, self._mac(), left_addresses)
        far = Interface(right, right_name, self._mac(), right_addresses, near)
        object.__setattr__(near, "peer", far)  # each knows the other: one of them has to be told later
        left.run(rtnetlink.add_veth, near.name, near.mac, far.name, far.mac, right._space.net.fileno(), mtu)
        for end in (near, far):
            end.host.run(links.configure, end.name, tuple(map(ip_interface, end.addresses)), offloads)
            end.host.interfaces[end.name] = end
        return near, far


def _free(host: Host) -> str:
    """The next interface's name."""
    return f"eth{len(host.interfaces)}"


def _many(addresses: str | tuple[str, ...]) -> tuple[str, ...]:
    return (addresses,) if isinstance(addresses, str) else tuple(addresses)


def _name(function: object) -> str:
    return getattr(function, "__name__", repr(function))
