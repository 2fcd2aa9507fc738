"""What the student looks with: a network to look at, packets counted at each hop, one capture, one host's readings.

Rule of this file: it shows; every number is in the evidence, where the student's code finds it too.
"""

from __future__ import annotations

from collections import Counter

from lbcore.labs.dsr.evidence import PLACES, Evidence, recorded
from lbcore.labs.dsr.plan import plan
from lbcore.measure.table import Table
from lbcore.testbed.capabilities import machine
from lbcore.wire import tcp
from lbcore.wire.dissect import dissect
from lbcore.wire.summary import summary

KINDS = ("SYN", "SYN-ACK", "ARP question", "ARP answer", "other")
WHERE = {
    "client": "client's cable",
    "router": "router, to the segment",
    "balancer": "balancer",
    "b1": "b1, on the segment",
    "b2": "b2, on the segment",
    "back": "router, from the backends",
}


def broken(seed: int) -> Evidence:
    """Evidence of the broken network of a seed: of hosts built for it where this machine can, else recorded."""
    if machine().tier >= 1:
        from lbcore.labs.dsr.network import Network

        with Network(plan(seed)) as net:
            return net.evidence()
    found = next((one.evidence for one in recorded() if one.plan.seed == seed), None)
    if found is None:
        seeds = [one.plan.seed for one in recorded()]
        raise ValueError(
            f"seed is {seed}: not recorded, and no network can be built here; 0 to {max(seeds)} are recorded"
        )
    return found


def kind(frame: bytes, vip: str) -> str:
    """One of `KINDS`."""
    layers = dissect(frame)
    last = next((layer for layer in reversed(layers) if layer.name in ("arp", "tcp")), None)
    if last is None:
        return "other"
    if last.name == "arp":
        asked = last.field("operation").value == 1
        about = last.field("target_address" if asked else "sender_address").text
        return ("ARP question" if asked else "ARP answer") if about == vip else "other"
    flags = int(last.field("flags").value or 0) & (tcp.SYN | tcp.ACK)
    return {tcp.SYN: "SYN", tcp.SYN | tcp.ACK: "SYN-ACK"}.get(flags, "other")


def hops(evidence: Evidence) -> Table:
    """How many packets of each kind were seen at each hop, coming in and going out, as its host sees it."""
    rows = []
    for place in PLACES:
        seen = Counter((kind(one.data, evidence.vip), one.way) for one in evidence.frames[place])
        cells = [
            ", ".join(f"{seen[what, way]} {way}" for way in ("in", "out") if seen[what, way]) for what in KINDS[:4]
        ]
        rows.append((WHERE[place], *cells))
    columns = ("at", *KINDS[:2], *[f"{what} for the VIP" for what in KINDS[2:4]])
    came = f"{sum(evidence.answered.values())} of {len(evidence.answered)} connections"
    told = ", ".join(f"{count} {reason}" for reason, count in evidence.reasons.items())
    return Table(columns, tuple(rows), f"{evidence.name}, {came}; the balancer counts {told}; {evidence.label}")


def capture(evidence: Evidence, place: str, most: int = 12) -> Table:
    """The first frames at a hop: whose Ethernet addresses, and what is inside."""
    owners = {mac: f"{name} {i}" for name, host in evidence.hosts.items() for i, mac in host.ethernet.items()}
    owners["ff:ff:ff:ff:ff:ff"] = "everybody"
    rows = []
    for way, data in evidence.frames[place][:most]:
        to, source = (owners.get(mac, f"{mac}, nobody's") for mac in (data[:6].hex(":"), data[6:12].hex(":")))
        rows.append((way, source, to, summary(data).partition(" / ")[2] or summary(data)))
    return Table(("", "from", "to", "inside"), tuple(rows), f"{evidence.name}, {WHERE[place]}; {evidence.label}")


def readings(evidence: Evidence, host: str) -> Table:
    """Addresses, neighbours, settings and counters of a host; for the balancer, its configuration."""
    one = evidence.hosts[host]
    rows: list[tuple[object, ...]] = []
    for interface, some in one.addresses.items():
        rows.append((f"ip addr, {interface}", ", ".join(some), one.ethernet.get(interface, "")))
    for interface, known in one.neighbours.items():
        rows += [(f"ip neigh, {interface}", address, mac) for address, mac in known.items()]
    for name in ("rp_filter", "arp_ignore", "arp_announce"):
        values = {key.partition(".")[0]: value for key, value in one.settings.items() if key.endswith(f".{name}")}
        rows.append(("sysctl net.ipv4.conf", name, ", ".join(f"{scope} {value}" for scope, value in values.items())))
    rows += [("nstat", name, f"{value:+}") for name, value in one.counters.items()]
    if host == "balancer":
        rows += [("configuration", address, mac) for address, mac in evidence.backends.items()]
    return Table(("reading", "", ""), tuple(rows), f"{evidence.name}, {host}; {evidence.label}")
