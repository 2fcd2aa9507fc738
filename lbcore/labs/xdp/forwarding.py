"""Rung 6: a router between two hosts, one at each port.

Rule of this file: the specification, by scapy, and known mistakes, each as what it does to a frame.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from random import Random
from typing import Any

from scapy.layers.inet import IP
from scapy.layers.l2 import Ether

from lbcore.labs.judge import Mistake, Property, Verdict
from lbcore.labs.xdp import stage
from lbcore.labs.xdp.ladder import LENGTH, VERDICT, Ladder, check, report
from lbcore.labs.xdp.packets import ARP, Packet, Traffic, address, cuts, each, icmp, mac, mac_text, tcp, udp

CLIENT, CLIENT_MAC = address("10.0.1.2"), mac("02:00:00:00:00:0c")
SERVER, SERVER_MAC = address("10.0.2.2"), mac("02:00:00:00:00:05")
ROUTER_MAC = mac("02:00:00:00:00:01")

Routes = Mapping[int, tuple[int, int]]
ROUTES: Routes = {CLIENT: (0, CLIENT_MAC), SERVER: (1, SERVER_MAC)}
"""Address of a host: its port, its hardware address."""
PORTS = {0: 1, 1: 1}
"""What the device map holds: interface 1, which every kernel has."""


def routed(traffic: Traffic) -> stage.Report:
    """The specification."""
    made = []
    for packet in traffic.packets:
        ether = None if packet.cut else Ether(packet.frame)
        route = ROUTES.get(address(ether.payload.dst)) if ether and isinstance(ether.payload, IP) else None
        if ether is None or route is None:
            made.append(report("XDP_PASS", packet.frame))
            continue
        ether.src, ether.dst = ether.dst, mac_text(route[1])
        made.append(report("XDP_REDIRECT", bytes(ether), route[0]))
    return [made, ""]


def forwarding(
    routes: Routes = ROUTES,
    *,
    at: int = 30,
    any_type: bool = False,
    destination: bool = True,
    source: str = "router",
    verdict: str = "XDP_REDIRECT",
    silent: bool = False,
    rest: int | None = None,
) -> Callable[[Traffic], stage.Report]:
    """A router with a mistake.

    at: where it reads the address; destination, source: the hardware addresses it writes ("router", "kept", "sender");
    silent: gives the verdict without asking the map; rest: where it sends what is for nobody.
    """

    def one(packet: Packet) -> list[Any]:
        frame, kind = packet.frame, packet.frame[12:14]
        here = not packet.cut and (any_type or kind == b"\x08\x00")
        wanted = int.from_bytes(frame[at : at + 4], "big")
        route = routes.get(wanted, None if rest is None else routes[rest]) if here else None
        if route is None:
            return report("XDP_PASS", frame)
        to = route[1].to_bytes(6, "big") if destination else frame[6:12] if source == "sender" else frame[:6]
        by = frame[6:12] if source == "kept" else frame[:6]
        port = route[0] if verdict == "XDP_REDIRECT" and not silent else None
        return report(verdict, to + by + frame[12:], port)

    return lambda traffic: [[one(packet) for packet in traffic.packets], ""]


def only_addresses(answer: stage.Report, traffic: Traffic) -> str | None:
    """The twelve bytes of the hardware addresses, nothing else."""
    for made, packet in zip(answer[0], traffic.packets, strict=True):
        if made[1] and bytes.fromhex(made[1])[12:] != packet.frame[12:]:
            return (
                "You change more than the two hardware addresses. (A router also lowers the TTL. That was rung 5; "
                "here leave it.)"
            )
    return None


REDIRECT = Ladder(
    right=routed,
    entries=PORTS,
    praise="Right: requests and replies each leave by their port, under the right addresses ({cases} packets).",
    mistakes=(
        Mistake(
            "reply_forgotten",
            forwarding({SERVER: ROUTES[SERVER]}),
            "The way back is missing. The client's request reaches the server, the server's reply reaches nobody: "
            "packets for CLIENT have to leave by port 0.",
        ),
        Mistake(
            "request_forgotten",
            forwarding({CLIENT: ROUTES[CLIENT]}),
            "Only packets for CLIENT are forwarded. Those for SERVER have to leave by port 1.",
        ),
        Mistake("nothing_forwarded", forwarding({}), "Nothing is forwarded. The IPv4 destination stands at offset 30."),
        Mistake(
            "ports_swapped",
            forwarding({CLIENT: (1, CLIENT_MAC), SERVER: (0, SERVER_MAC)}),
            "The ports are exchanged: SERVER is at port 1, CLIENT at port 0.",
        ),
        *(
            Mistake(
                "one_port",
                forwarding({CLIENT: (port, CLIENT_MAC), SERVER: (port, SERVER_MAC)}),
                f"All leaves by port {port}. A reply would go back to where it came from.",
            )
            for port in (0, 1)
        ),
        Mistake(
            "macs_exchanged",
            forwarding({CLIENT: (0, SERVER_MAC), SERVER: (1, CLIENT_MAC)}),
            "Right port, wrong host: SERVER gets frames addressed to CLIENT_MAC, and its network card ignores them.",
        ),
        Mistake(
            "macs_kept",
            forwarding(destination=False, source="kept"),
            "The frame leaves as it came, addressed to the router. On the next cable nobody has that address: the "
            "host's card drops it. Write both hardware addresses.",
        ),
        Mistake(
            "source_mac",
            forwarding(source="kept"),
            "The frame leaves with the old sender's hardware address. On the new cable it comes from the router: "
            "bytes 6 to 11 become what bytes 0 to 5 were.",
        ),
        Mistake(
            "destination_mac",
            forwarding(destination=False),
            "The frame leaves addressed to the router itself. Bytes 0 to 5 become the host's hardware address.",
        ),
        Mistake(
            "sent_to_sender",
            forwarding(destination=False, source="sender"),
            "You exchange the two hardware addresses: right for an answer by XDP_TX, but this frame goes on to another "
            "host. Bytes 0 to 5 become that host's.",
        ),
        Mistake(
            "by_source",
            forwarding({CLIENT: ROUTES[SERVER], SERVER: ROUTES[CLIENT]}, at=26),
            "You decide by the source address (offset 26). Where a packet goes is told by its destination (offset 30).",
        ),
        Mistake(
            "by_source",
            forwarding(at=26),
            "You look up the source address (offset 26): packets go back to their sender. The destination is at 30.",
        ),
        Mistake(
            "sends_back",
            forwarding(verdict="XDP_TX"),
            "XDP_TX sends out of the port that the packet came in by. To another port: return doors.redirect(port, "
            "XDP_PASS).",
        ),
        Mistake(
            "not_sent",
            forwarding(verdict="XDP_PASS"),
            "The frame is rewritten, and then goes up to this machine. return doors.redirect(port, XDP_PASS).",
        ),
        Mistake(
            "no_target",
            forwarding(silent=True),
            "XDP_REDIRECT alone says that, not where to. doors.redirect(port, XDP_PASS) notes the port and gives the "
            "verdict.",
        ),
        Mistake(
            "any_frame",
            forwarding(any_type=True),
            "You take bytes 30 to 33 of every frame for an IPv4 address. Only if the type (offset 12) is 0x0800.",
        ),
        *(
            Mistake(
                "all_forwarded",
                forwarding(rest=host),
                "You forward packets that are for neither of the two. They pass.",
            )
            for host in (CLIENT, SERVER)
        ),
    ),
    properties=(VERDICT, LENGTH, Property("scribbles", only_addresses)),
)


def redirect_cases(seed: int) -> list[Traffic]:
    """Requests, replies, what is for others, what only looks so; stumps."""
    random = Random(seed)
    there = {"source_mac": mac_text(CLIENT_MAC), "destination_mac": mac_text(ROUTER_MAC)}
    back = {"source_mac": mac_text(SERVER_MAC), "destination_mac": mac_text(ROUTER_MAC)}
    third = {"source_mac": "02:00:00:00:00:77", "destination_mac": mac_text(ROUTER_MAC)}
    number = random.randrange(1024, 65536)
    request = tcp("TCP, client to server", source=f"10.0.1.2:{number}", destination="10.0.2.2:80", **there)
    reply = tcp("TCP, server to client", source="10.0.2.2:80", destination=f"10.0.1.2:{number}", **back)
    others = (
        icmp("ICMP, client to the router", source="10.0.1.2", destination="10.0.1.1", **there),
        udp("UDP, server to a third network", source="10.0.2.2:5", destination="10.0.3.2:53", **back),
        udp("UDP, a third network to server", source="10.0.3.2:5", destination="10.0.2.2:53", **third),
        udp("UDP, a third network to client", source="10.0.3.2:5", destination="10.0.1.2:53", **third),
        Packet("ARP, a question", ARP),
        Packet("an unknown type, 10.0.2.2 at byte 30", request.frame[:12] + b"\x88\xb5" + request.frame[14:]),
        Packet("an unknown type, 10.0.1.2 at byte 30", reply.frame[:12] + b"\x88\xb5" + reply.frame[14:]),
        udp("UDP in VLAN 5", source="10.0.1.2:5", destination="10.0.2.2:53", vlan=5, **there),
        icmp("ICMP, client to server", source="10.0.1.2", destination="10.0.2.2", **there),
        icmp("ICMP, server to client", source="10.0.2.2", destination="10.0.1.2", **back),
    )
    return [*each(request, reply, *others, *cuts(request, 34), *cuts(reply, 34))]


def check_redirect(program: Any, ports: Any, seed: int = 1) -> Verdict:
    """Rung 6: IPv4 between two hosts, each at its port of the device map."""
    return check(REDIRECT, program, redirect_cases(seed), ports, takes_map=True)
