"""Rung 7: a first balancer. Hash, look up, readdress, send.

Rule of this file: what every right balancer has, as properties; the hash is the student's choice.

Theory. Direct server return: the balancer changes hardware addresses and nothing else, so backends see the client's
packet as it was sent, addressed to the VIP that they all have on `lo`, and answer the client without the balancer. So
no checksum changes, and replies cost the balancer nothing. What remains to get right is the choice: the same for
every packet of a connection, at every balancer, whatever came before.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass
from functools import cache
from random import Random
from typing import Any
from zlib import crc32

from scapy.layers.inet import IP, TCP, UDP
from scapy.layers.l2 import Ether

from lbcore.balance.maglev import Maglev
from lbcore.labs.judge import Case, Property, Verdict
from lbcore.labs.sandbox import Outcome
from lbcore.labs.xdp import stage
from lbcore.labs.xdp.ladder import LENGTH, VERDICT, Ladder, check, report
from lbcore.labs.xdp.packets import ARP, OPTIONS, Packet, Traffic, cuts, each, icmp, mac, tcp, udp
from lbcore.wire.compose import ip_frame

VIP = "203.0.113.80"
SLOTS = 251
BALANCER = "02:00:00:00:00:ba"
BACKENDS = tuple(f"06:00:00:00:00:b{n}" for n in (1, 2, 3, 4))
SPREAD = 0.5
"""How far from its fair share a backend may be, as a part of that share: over five deviations of 600 fair choices."""

MACS = {"source_mac": "02:00:00:00:00:c1", "destination_mac": BALANCER}
Flow = tuple[str, int, str, int, int]
"""Source and its port, destination and its port, protocol."""


def maglev(macs: tuple[str, ...] = BACKENDS) -> dict[int, int]:
    """What the map `slots` holds: for each slot of lab 01's table, the hardware address of its backend."""
    table = Maglev(sorted(macs), size=SLOTS)
    return {slot: mac(table.backends[owner]) for slot, owner in enumerate(table.table.tolist())}


@cache
def flow_of(packet: Packet) -> Flow | None:
    """The connection of a packet that is to be balanced, as scapy reads it."""
    if packet.cut:
        return None
    ip = Ether(packet.frame).payload
    if not isinstance(ip, IP) or ip.dst != VIP or ip.frag or ip.flags.MF or not isinstance(ip.payload, TCP | UDP):
        return None
    return ip.src, int(ip.payload.sport), ip.dst, int(ip.payload.dport), int(ip.proto)


def balanced(traffic: Traffic) -> stage.Report:
    """One right answer of many: a table of Python's, by a hash of Python's."""
    made = []
    for packet in traffic.packets:
        flow, frame = flow_of(packet), packet.frame
        to = mac(BACKENDS[crc32(repr(flow).encode()) % 4]).to_bytes(6, "big")
        made.append(report("XDP_TX", to + frame[:6] + frame[12:]) if flow else report("XDP_PASS", frame))
    return [made, ""]


Fates = list[tuple[Packet, Flow | None, str, bytes]]


def fates(answer: stage.Report, traffic: Traffic) -> Fates:
    """Each packet, its connection, verdict, and bytes afterwards."""
    pairs = zip(traffic.packets, answer[0], strict=True)
    return [(packet, flow_of(packet), made[0], bytes.fromhex(made[1])) for packet, made in pairs]


# ---- one packet ----
def left_alone(answer: stage.Report, traffic: Traffic) -> str | None:
    """What is not for the VIP."""
    for packet, flow, verdict, after in fates(answer, traffic):
        if flow is None and (verdict, after) != ("XDP_PASS", packet.frame):
            return (
                f"{packet.name}: this is to go on untouched, XDP_PASS. To be balanced are IPv4 packets to the VIP that "
                "carry TCP or UDP and are no fragments (of those, all but the first have no ports)."
            )
    return None


def passed(answer: stage.Report, traffic: Traffic) -> str | None:
    """What is for the VIP is sent on."""
    for packet, flow, verdict, after in fates(answer, traffic):
        if flow and verdict == "XDP_PASS" and after != packet.frame:
            return "The frame is readdressed, and then goes up to this machine. XDP_TX sends it out again."
        if flow and verdict != "XDP_TX":
            return (
                f"{packet.name}, to the VIP, gets {verdict}. It is to go to a backend: XDP_TX. (Ports stand behind the "
                "IPv4 header, which may be longer than 20 bytes; slots.lookup finds slots 0 to 250.)"
            )
    return None


def readdressed(answer: stage.Report, traffic: Traffic) -> str | None:
    """To a backend, from the balancer."""
    for packet, flow, _, after in fates(answer, traffic):
        if flow is None:
            continue
        before, to, by = packet.frame, after[:6].hex(":"), after[6:12]
        if after[:12] == before[:12]:
            return (
                "XDP_TX sends the frame out where it came in, and it is still addressed to you: nobody takes it. Write "
                "both hardware addresses: to the backend's, from your own (bytes 0 to 5 as it came)."
            )
        if to not in BACKENDS:
            return (
                f"The frame goes to {to}, which is no backend. slots.lookup gives a hardware address of 48 bits: the "
                "upper 16 to offset 0, the lower 32 to offset 2."
            )
        if by != before[:6]:
            return (
                "The frame leaves with a source address that is not yours. The switch learns from sources: it would "
                "send the client's packets to your port. Bytes 6 to 11 become what bytes 0 to 5 were."
            )
    return None


def kept(answer: stage.Report, traffic: Traffic) -> str | None:
    """Nothing above the hardware addresses."""
    for packet, flow, _, after in fates(answer, traffic):
        if flow and after[26:34] != packet.frame[26:34]:
            return (
                "You change an IP address. With direct server return the packet keeps the VIP: backends have it on lo, "
                "and no checksum has to be mended."
            )
        if flow and after[12:] != packet.frame[12:]:
            return "You change more than the hardware addresses. TTL, ports and checksums stay as they came."
    return None


# ---- many packets ----
def choices(answer: stage.Report, traffic: Traffic) -> dict[Flow, set[str]]:
    """The backends of each connection."""
    made: dict[Flow, set[str]] = defaultdict(set)
    for _, flow, _, after in fates(answer, traffic):
        if flow:
            made[flow].add(after[:6].hex(":"))
    return made


def one_backend(answer: stage.Report, traffic: Traffic) -> str | None:
    """A connection stays where it is."""
    for flow, backends in choices(answer, traffic).items():
        if len(backends) > 1:
            return (
                f"One connection ({flow[0]}:{flow[1]}) is sprayed over {len(backends)} backends: you choose for each "
                "packet. A backend that has not seen the SYN answers the rest with RST. Hash what all packets of a "
                "connection share, and only that: both addresses, both ports, the protocol."
            )
    return None


def all_count(answer: stage.Report, traffic: Traffic) -> str | None:
    """Ports and clients both matter."""
    made = choices(answer, traffic)
    for what, place, other in (("source port", 1, 0), ("client's address", 0, 1)):
        same = Counter(flow[other] for flow in made)
        some, count = max(same.items(), key=lambda one: one[1], default=(0, 0))
        met = {backend for flow, backends in made.items() if flow[other] == some for backend in backends}
        if count >= 40 and len(met) <= 2:
            return (
                f"{count} connections that differ in the {what} reach {len(met)} of 4 backends. The {what} has to "
                f"count in the hash{', or one office behind NAT is one backend' if place else ''}."
            )
    return None


def even(answer: stage.Report, traffic: Traffic) -> str | None:
    """Each backend has about its share."""
    made = [backend for backends in choices(answer, traffic).values() for backend in backends]
    fair = len(made) / len(BACKENDS)
    shares = {one: made.count(one) for one in BACKENDS}
    bad = [one for one, count in shares.items() if abs(count - fair) > SPREAD * fair]
    if fair < 100 or not bad:
        return None
    told = ", ".join(f"{one[-2:]} has {count}" for one, count in shares.items())
    return (
        f"Of {len(made)} connections, backend {told}. A fair share is {fair:.0f}. Is every slot reached (remainder by "
        "251), and does your hash mix well? A plain sum or XOR of fields does not: use a hash of lbcore.balance.hashes."
    )


@dataclass(frozen=True, kw_only=True)
class Balancing(Ladder):
    """A rung with many right answers: what breaks no property is right."""

    def meets(self, got: Outcome, wanted: Outcome, arguments: tuple[Any, ...]) -> bool:
        return got.kind == "answer" and self.flaw(got.value, arguments) is None

    def accepts(self, got: stage.Report, right: stage.Report, traffic: Traffic) -> bool:
        return self.flaw(got, (traffic,)) is None

    def evidence(self, case: Case, wanted: Outcome, got: Outcome) -> str:
        (traffic,) = case.arguments
        if got.kind != "answer" or len(traffic.packets) == 1:
            return super().evidence(case, wanted, got)
        return "\n".join(f"yours:  {one}" for one in told(got.value, traffic)[:6])


def told(answer: stage.Report, traffic: Traffic) -> list[str]:
    """What became of each packet, in a line; only of the telling ones, if there are such."""
    several = [flow for flow, backends in choices(answer, traffic).items() if len(backends) > 1]
    every = fates(answer, traffic)
    lost = [one for one in every if one[1] and one[2] != "XDP_TX"]
    telling = lost or [one for one in every if one[1] in several[:1]] or every
    return [
        f"{packet.name} → {verdict}{f' to …{after[5]:02x}' if verdict == 'XDP_TX' else ''}"
        for packet, _, verdict, after in telling
    ]


BALANCE = Balancing(
    right=balanced,
    entries=maglev(),
    praise="Right: {cases} streams. Connections stay with a backend, at every balancer, and backends get their shares.",
    mistakes=(),
    properties=(
        VERDICT,
        LENGTH,
        Property("not_for_us", left_alone),
        Property("not_sent", passed),
        Property("kept", kept),
        Property("macs", readdressed),
        Property("sprays", one_backend),
        Property("ignored", all_count),
        Property("uneven", even),
    ),
)


def request(client: str, port: int, what: str = "SYN", **fields: Any) -> Packet:
    """A segment of a connection to the VIP."""
    return tcp(f"{what} of {client}:{port}", source=f"{client}:{port}", destination=f"{VIP}:80", **MACS, **fields)


def conversation(client: str, port: int) -> list[Packet]:
    """Packets of one connection, which have little in common but their connection."""
    return [
        request(client, port, identification=1, sequence=7),
        request(client, port, "ACK", flags=16, identification=2, sequence=8),
        request(client, port, "GET", flags=24, ttl=61, identification=3, sequence=8, payload=b"GET / HTTP/1.1\r\n"),
        request(client, port, "ACK, smaller window,", flags=16, identification=40, sequence=900, window=77),
        request(client, port, "data", flags=24, identification=41, sequence=901, payload=b"more", tos=8),
        request(client, port, "FIN, IPv4 options,", flags=17, identification=6, sequence=950, ip_options=OPTIONS),
    ]


def balance_cases(seed: int) -> list[Traffic]:
    """Single packets; connections, alone and mixed; every packet at another balancer; offices, crowds; stumps."""
    random = Random(seed)
    clients = [f"198.51.{random.randrange(100, 200)}.{n}" for n in range(1, 251)]
    to_vip = {"destination": f"{VIP}:53", **MACS}
    query = udp("UDP to the VIP", **to_vip)
    single = (
        request(clients[0], 40000),
        query,
        udp("UDP behind IPv4 options, to the VIP", ip_options=OPTIONS, **to_vip),
        icmp("ICMP to the VIP", destination=VIP, **MACS),
        tcp("TCP to another host", destination="203.0.113.81:80", **MACS),
        udp("first fragment of UDP to the VIP", more_fragments=True, dont_fragment=False, **to_vip),
        Packet("second fragment of UDP to the VIP",
               ip_frame(protocol=17, destination=VIP, fragment_offset=16, payload=b"half a letter" * 2, **MACS)),
        Packet("ARP, a question", ARP),
        tcp("TCP over IPv6", source="[2001:db8::1]:40000", destination="[2001:db8::9]:443"),
        Packet("an unknown type, the VIP at byte 30", query.frame[:12] + b"\x88\xb5" + query.frame[14:]),
    )  # fmt: skip
    talks = [conversation(client, random.randrange(1024, 65536)) for client in clients[:6]]
    mixed = [packet for packets in zip(*talks, strict=True) for packet in packets]
    crowd = [request(random.choice(clients), random.randrange(1024, 65536)) for _ in range(600)]
    return [
        *each(*single),
        Traffic(tuple(talks[0])),
        Traffic(tuple(mixed)),
        Traffic((*talks[1], *talks[2]), apart=True),
        Traffic(tuple(request(clients[9], port) for port in range(40000, 40060))),
        Traffic(tuple(request(client, 40000) for client in clients[:60])),
        Traffic(tuple(crowd)),
        *each(*cuts(query, 14 + 20 + 4)),
    ]


def check_balance(program: Any, slots: Any, seed: int = 1) -> Verdict:
    """Rung 7: connections to the VIP go to backends, each to one, all to about as many."""
    return check(BALANCE, program, balance_cases(seed), slots, takes_map=True)
