"""Chapter 04's packet walks on real cables: the same frames, captured at four points (tier 1).

    walks = walked.walks(Site("nat"), Site("dsr"))
    walks.label, walks["nat"]

Rule of this file: who sends what, and where it is captured. What a walk consists of is `l4.walk`, which also computes
it; the two are equal byte for byte, and a test says so.

Theory. The router is the kernel's. The balancer is the data plane over AF_PACKET, compiled. Client and backend are
hosts without an address, which write on the wire what the walk has them say: a kernel would answer a segment of a
connection that it does not know with a reset. Ethernet addresses are the test-bed's, which counts them in the order in
which cables are made; `l4.walk` has the same.

What is not captured: the packet as a backend's stack sees it behind its tunnel ("backend, opened"). It is taken out of
the captured frame.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace

from lbcore.l4.walk import CLIENT, FAR, REPLY_DATA, VIP, Site, Stop, opened
from lbcore.measure.balanced import Balanced
from lbcore.testbed.capabilities import machine
from lbcore.testbed.capture import Capture, Captured
from lbcore.testbed.hosts import Host, Topology

LIVE = "captured on this machine, just now: at the client, on both sides of the balancer, and at the backend"
COMPUTED = "computed, for no network can be built here: the balancer's code is called on the client's frame"
IPV4 = b"\x08\x00"


@dataclass(frozen=True)
class Walks:
    """Walks by the mode of their site, and where their frames come from."""

    stops: Mapping[str, tuple[Stop, ...]]
    label: str

    def __getitem__(self, mode: str) -> tuple[Stop, ...]:
        return self.stops[mode]


def walks(*sites: Site) -> Walks:
    """Captured where this machine has networks, else computed."""
    if machine().tier < 1:
        return Walks({site.mode: site.walk() for site in sites}, COMPUTED)
    return Walks(captured(sites), LIVE)


def captured(sites: Sequence[Site], *, rootless: bool | None = None) -> dict[str, tuple[Stop, ...]]:
    """The walk of each site (backends with IPv4 addresses), one after the other in one network."""
    with Topology(rootless=rootless) as net:
        client, router, balancer, *backends = (
            net.host(name, forward=name == "router") for name in ("client", "router", "balancer", "b1", "b2")
        )
        net.link(client, router, (), "198.51.100.1/24")
        segment = net.switch("segment", (router, "10.0.0.1/24"))
        for host in (balancer, *backends):
            net.plug(segment, host)
        far = net.switch("far", (router, "10.9.0.1/24"))
        for host, address in zip(backends, FAR, strict=True):
            net.plug(far, host)
            router.neighbour(address, host.interfaces["eth1"].mac, "eth2")
        router.route(f"{VIP}/32", interface="eth1")
        router.neighbour(VIP, balancer.interfaces["eth0"].mac, "eth1")
        router.neighbour(CLIENT, client.interfaces["eth0"].mac, "eth0")
        found = {}
        for site in sites:
            with Balanced(balancer, lambda site=site: site.balancer.config, xdp=False):  # type: ignore[misc]
                found[site.mode] = _walked(site, client, segment, backends)
    return found


def _walked(site: Site, client: Host, segment: Host, backends: Sequence[Host]) -> tuple[Stop, ...]:
    """A client's frame, the backend's answer to what it got, and what passed each point meanwhile."""
    stops, way = site.walk(), "eth1" if site.tunnel else "eth0"
    with ExitStack() as stack:
        at_client = stack.enter_context(client.capture())
        at_balancer = stack.enter_context(segment.capture("balancer"))
        at_backends = [stack.enter_context(host.capture(way)) for host in backends]
        with client.packet_socket() as mouth:
            mouth.send(stops[0].frame)
        backend, ear, received = _taken(backends, at_backends, way)
        answer = site.answer(opened(received) if site.tunnel else received, REPLY_DATA)
        with backend.packet_socket(way) as mouth:
            mouth.send(answer)
        at_client.wait(lambda frames: any(_is(one, "in") for one in frames))
        seen = {  # the balancer is listened to at the switch's port: what is out there is in here
            ("client", "out"): _passed(at_client, "out"),
            ("client", "in"): _passed(at_client, "in"),
            ("balancer", "in"): _passed(at_balancer, "out"),
            ("balancer", "out"): _passed(at_balancer, "in"),
            ("backend", "in"): [received],
            ("backend", "opened"): [opened(received)] if site.tunnel else [],
            ("backend", "out"): _passed(ear, "out"),
        }
    return tuple(replace(stop, frame=seen[stop.place, stop.way].pop(0)) for stop in stops)


def _taken(backends: Sequence[Host], ears: Sequence[Capture], interface: str) -> tuple[Host, Capture, bytes]:
    """The backend whose Ethernet address is on a frame, and the frame. A switch shows others' frames to it, too, until
    it has learned where they are."""
    found: list[tuple[Host, Capture, bytes]] = []

    def looked(_: object) -> bool:
        for host, ear in zip(backends, ears, strict=True):
            mac = bytes.fromhex(host.interfaces[interface].mac.replace(":", ""))
            found.extend((host, ear, frame) for frame in _passed(ear, "in") if frame[:6] == mac)
        return bool(found)

    ears[0].wait(looked)
    return found[0]


def _is(one: Captured, way: str) -> bool:
    return one.way == way and one.frame[12:14] == IPV4


def _passed(ear: Capture, way: str) -> list[bytes]:
    """IPv4 frames, in order."""
    return [one.frame for one in ear.frames() if _is(one, way)]
