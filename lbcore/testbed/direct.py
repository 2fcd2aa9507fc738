"""What direct server return asks of real hosts: two experiments of chapter 04 (tier 1).

Rule of this file: it sets hosts up and asks them; each answer is samples that can be recorded.

Theory. A balancer in DSR mode changes the Ethernet destination of a frame and nothing else. A client's neighbour entry
does the same: so "the virtual address is at the backend's Ethernet address" makes any host its own balancer, and what
is left to test is the backend.
"""

from __future__ import annotations

from contextlib import ExitStack

from lbcore.testbed import backends, traffic
from lbcore.testbed.hosts import Topology
from lbcore.wire import ethernet
from lbcore.wire.dissect import Layer, dissect, find

VIP = "203.0.113.80"
Samples = dict[str, list[float]]
CASES = {
    "virtual address on lo, listens on 80": (True, 80),
    "virtual address on lo, listens on 8080": (True, 8080),
    "no virtual address, listens on 80": (False, 80),
}
OUTCOMES = {ConnectionRefusedError: "refused", TimeoutError: "silence"}


def who_answers() -> Samples:
    """Setting of `arp_ignore` on the backends -> ARP replies for the virtual address by balancer, b1, b2."""
    found = {}
    for value in (1, 0):
        with Topology() as net:
            router, *others = net.lan("router", "balancer", "b1", "b2")
            others[0].address(f"{VIP}/32", "eth0")
            for backend in others[1:]:
                backend.vip(VIP)
                backend.sysctl("net/ipv4/conf/all/arp_ignore", value)
                backend.sysctl("net/ipv4/conf/eth0/arp_ignore", value)
            router.route(f"{VIP}/32", interface="eth0")
            with router.capture("eth0") as ear:
                router.run(traffic.ping, VIP)
                replies = [f.frame for f in ear.frames() if f.frame[12:14] == ethernet.ARP.to_bytes(2, "big")]
            senders = [arp.field("sender_mac").text for arp in map(told, replies) if arp.field("operation").value == 2]
            found[f"arp_ignore = {value}"] = [float(senders.count(h.interfaces["eth0"].mac)) for h in others]
    return found


def told(frame: bytes) -> Layer:
    """The ARP layer of a frame."""
    return find(dissect(frame), "arp")


def backends_say() -> Samples:
    """Case and outcome, joined by a newline -> whether the backend saw the client's own address (1 or 0).

    Outcomes: "an answer", "refused", "silence".
    """
    found = {}
    for case, (has_vip, port) in CASES.items():
        with Topology() as net, ExitStack() as stack:
            client, backend = net.lan("client", "backend")
            if has_vip:
                backend.vip(VIP)
            stack.enter_context(backends.serve_http(backend, port))
            client.route(f"{VIP}/32", interface="eth0")
            client.neighbour(VIP, backend.interfaces["eth0"].mac, "eth0")
            try:
                answer = client.run(traffic.ask, VIP, 80, kind="http", timeout=1)
                outcome, seen = "an answer", answer["client"][0] == client.ip
            except (ConnectionRefusedError, TimeoutError) as error:
                outcome, seen = OUTCOMES[type(error)], False
            found[f"{case}\n{outcome}"] = [float(seen)]
    return found
