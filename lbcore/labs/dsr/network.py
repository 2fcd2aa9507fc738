"""The lab's network on real hosts, sound or with one mistake, with a real balancer in it (tier 1).

    with Network(plan(7)) as net:
        evidence = net.evidence()
        net.do([("b1", "ip addr add 203.0.113.80/32 dev lo")])
        net.fetch()

Rule of this file: it builds, breaks, listens, and does what it is told. It judges nothing.

Theory. The segment carries requests: router, balancer and backends are on it. Answers leave the backends by a second
interface, straight to the router. So the way back to a client is not the way that its packets came, which is what a
strict reverse path filter objects to. Where the kernel takes BPF programs, the balancer is one (XDP); elsewhere it is
the same code over AF_PACKET.

Traps
- AF_PACKET sees a copy, and the stack has the packet too: the balancer has the virtual address, to answer ARP for it,
  and would refuse the connection. It has no route to the client, so nobody hears it.
- Below a capture XDP has handled the packet already: the balancer is listened to at its port of the switch.
- Who is not known to a switch yet gets everything flooded. So the router pings all of them, before anybody listens.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from contextlib import ExitStack
from typing import Self

from lbcore.l4 import core
from lbcore.l4.config import Backend, Balancer, Config, Service
from lbcore.labs.dsr import inside
from lbcore.labs.dsr.commands import check_place, parse
from lbcore.labs.dsr.evidence import LIVE, PLACES, Evidence, Frame, Readings
from lbcore.labs.dsr.inside import CLIENT
from lbcore.labs.dsr.plan import STOCK, Plan
from lbcore.measure.balanced import balanced
from lbcore.testbed import backends, traffic
from lbcore.testbed.capture import Capture
from lbcore.testbed.hosts import Host, Topology
from lbcore.wire import compose
from lbcore.wire.seam import Frame as Packet

ADDRESSES = {"balancer": "10.0.0.2", "b1": "10.0.0.11", "b2": "10.0.0.12"}
BACKENDS = ("b1", "b2")
EACH = 3
"""Connections to each backend."""
PATIENCE, LONGER = 0.7, 3.0
"""Seconds that a client waits: less than TCP's first repetition of a SYN; and for a network that should work."""


class Network:
    """Client, router, balancer and two backends.

    prepared: False leaves the backends as they came, and the place of the balancer empty. rootless: as for `Topology`.
    """

    def __init__(self, plan: Plan, *, prepared: bool = True, rootless: bool | None = None) -> None:
        self.plan, self.prepared, self.rootless = plan, prepared, rootless
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        try:
            self.net = self._stack.enter_context(Topology(rootless=self.rootless))
            self._build()
            if self.prepared:
                self._prepare()
                self._break()
            else:
                self._as_they_came()
        except BaseException:
            self._stack.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    # ---- building
    def _build(self) -> None:
        net, vip = self.net, self.plan.vip
        self.client, self.router = net.host("client"), net.host("router", forward=True)
        net.link(self.client, self.router, f"{CLIENT}/24", "198.51.100.1/24")
        self.balancer, self.b1, self.b2 = (net.host(name) for name in ADDRESSES)
        self.hosts = {h.name: h for h in (self.client, self.router, self.balancer, self.b1, self.b2)}
        here = [(self.hosts[name], f"{address}/24") for name, address in ADDRESSES.items()]
        self.switch = net.switch("segment", (self.router, "10.0.0.1/24"), *here)
        net.switch(
            "back",
            (self.router, "10.1.0.1/24"),
            *[(self.hosts[b], f"10.1.0.{n}/24") for n, b in enumerate(BACKENDS, 11)],
        )
        self.client.route("default", via="198.51.100.1")
        self.router.route(f"{vip}/32", interface="eth1")
        for name in BACKENDS:
            self.hosts[name].route("default", via="10.1.0.1")
            self._stack.enter_context(backends.serve_http(self.hosts[name], 80))
        self.balancer.address(f"{vip}/32", "eth0")
        self.configured = {ADDRESSES[name]: self.hosts[name].interfaces["eth0"].mac for name in BACKENDS}

    def _prepare(self) -> None:
        """The backends as they should be (the test-bed's hosts keep silent by themselves), and the balancer running."""
        for name in BACKENDS:
            self.hosts[name].vip(self.plan.vip)
        self.running = self._stack.enter_context(balanced(self.balancer, lambda: self.config))

    def _as_they_came(self) -> None:
        for name in BACKENDS:
            self._set(name, STOCK)

    def _break(self) -> None:
        plan = self.plan
        for host, setting, value in plan.decoys:
            self._set(host, {setting: value})
        for address in ADDRESSES.values():
            self.router.run(traffic.ping, address)
        if plan.fault == "rp_filter":
            self._set(plan.host, {f"{plan.scope}.rp_filter": 1})
        elif plan.fault == "no_vip":
            self.hosts[plan.host].run(inside.remove_address, "lo", plan.vip)
            if plan.typo:
                self.hosts[plan.host].vip(plan.typo)
        elif plan.fault == "arp":  # while the balancer is away, somebody else answers
            self._set(plan.host, {"all.arp_ignore": 0, "eth0.arp_ignore": 0})
            self._set("balancer", {"all.arp_ignore": 8})
            self.router.run(inside.touch, plan.vip)
            self._set("balancer", {"all.arp_ignore": 1})
        elif plan.fault == "wrong_mac":
            self.configured[ADDRESSES[plan.victim]] = plan.mac
            self.running.restart()

    def _set(self, host: str, values: dict[str, int]) -> None:
        self.hosts[host].run(inside.set_all, values)

    @property
    def config(self) -> Config:
        """The balancer's."""
        pool = [Backend(address, ethernet=mac) for address, mac in self.configured.items()]
        return Config([Service(self.plan.vip, 80, "tcp", "dsr", pool)], ring_size=251, flows=1024)

    # ---- looking
    def evidence(self) -> Evidence:
        """The client tries to connect, and everything is written down."""
        with ExitStack() as stack:
            ears = {place: stack.enter_context(self._ear(place)) for place in PLACES}
            before = {name: host.run(inside.nstat) for name, host in self.hosts.items()}
            answered = self.client.run(inside.knock, self.plan.vip, self._ports(30000), PATIENCE)
            time.sleep(0.05)
            frames = {place: _flipped(ear, place == "balancer") for place, ear in ears.items()}
        return Evidence(
            name=f"network {self.plan.seed}",
            vip=self.plan.vip,
            hosts={name: self._readings(host, before[name]) for name, host in self.hosts.items()},
            backends=dict(self.configured),
            reasons=self.running.reasons(),
            frames=frames,
            answered=answered,
            label=LIVE,
        )

    def _ear(self, place: str) -> Capture:
        if place == "balancer":
            return self.switch.capture("balancer")
        interface = {"router": "eth1", "back": "eth2"}.get(place, "eth0")
        return self.hosts["router" if place == "back" else place].capture(interface)

    def _readings(self, host: Host, before: dict[str, int]) -> Readings:
        addresses, neighbours, settings, counters = host.run(inside.read)
        return Readings(
            ethernet={name: one.mac for name, one in host.interfaces.items()},
            addresses=addresses,
            neighbours=neighbours,
            settings=settings,
            counters={name: value - before[name] for name, value in counters.items()},
        )

    def _ports(self, first: int) -> list[int]:
        """Ports of the client whose connections go to each backend in turn."""
        found: dict[int, list[int]] = {}
        trial = Balancer(self.config)
        trial.tables.clock[0] = 1
        for port in range(first, first + 1000):
            packet = Packet(compose.tcp_frame(source=f"{CLIENT}:{port}", destination=f"{self.plan.vip}:80"))
            core.handle(packet, trial.tables, core.ALL_MODES)
            found.setdefault(int.from_bytes(bytes(packet)[:6], "big"), []).append(port)
            if len(found) == len(BACKENDS) and min(map(len, found.values())) >= EACH:
                break
        return sorted(port for ports in found.values() for port in ports[:EACH])

    def claims(self, name: str) -> bool:
        """Does a backend answer on the segment, when the router asks for the virtual address by ARP?"""
        port = self.router.interfaces["eth1"]
        question = inside.arp_question(port.mac, port.ip, self.plan.vip)
        with self.router.packet_socket("eth1") as mouth, self._ear(name) as ear:
            mouth.send(question)
            ear.wait(lambda frames: any(question == one.frame for one in frames))
            time.sleep(0.02)
            return any(one.way == "out" and one.frame[20:22] == b"\0\2" for one in ear.frames())

    # ---- mending
    def do(self, steps: Iterable[tuple[str, str]]) -> None:
        """Carry out (host, line) steps, as `commands` reads them. ValueError, or OSError with the kernel's words."""
        for host, line in steps:
            command = parse(line)
            check_place(host, command, self.hosts, self.configured)
            if command.kind == "ethernet":
                self.configured[command.address] = command.mac
                self.running.restart()
            else:
                self.hosts[host].run(inside.carry_out, command)

    def fetch(self, ports: Sequence[int] = ()) -> dict[int, str]:
        """Who answers each of a few HTTP requests, by the client's port: a backend's name or what went wrong."""
        return self.client.run(inside.ask_all, self.plan.vip, ports or self._ports(40000), LONGER)

    def flows(self) -> bool:
        """Do all requests reach a backend, both backends some, and by way of the balancer?"""
        before = self.running.reasons().get("forwarded", 0)
        answers = self.fetch()
        handled = self.running.reasons().get("forwarded", 0) - before
        return set(answers.values()) == set(BACKENDS) and handled >= 2 * len(answers)


def _flipped(ear: Capture, flip: bool) -> list[Frame]:
    """IPv4 and ARP frames of a capture; from the cable's other end, in is out."""
    other = {"in": "out", "out": "in"}
    return [
        Frame(other[one.way] if flip else one.way, one.frame)
        for one in ear.frames()
        if one.frame[12:14] in (b"\x08\x00", b"\x08\x06")
    ]
