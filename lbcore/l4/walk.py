"""A request and its reply on the way through a balancer: the frames, as they are at each place.

Rule of this file: the network around the balancer, played in memory. What the balancer does is `core`'s business: its
plain Python is called on real frames, and nothing is told to it that a network would not tell.

Theory. A client behind a router, a balancer with one interface, backends. In the modes that rewrite Ethernet addresses
or translate, backends stand on the balancer's own segment; in the tunnel modes they stand behind the router, which is
what tunnels are for. A router counts down the hops and writes its own Ethernet addresses, and nothing else.

Trap. A backend is played as a host that takes every address and port for its own. Real ones must be told, and what they
must be told depends on the mode.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from lbcore.l4 import core, flags, tables
from lbcore.l4.config import Backend, Balancer, Config, Service, ethernet_of
from lbcore.l4.nat import hop
from lbcore.l4.reasons import FORWARDED, REPLY, Reason
from lbcore.wire import compose, ethernet, icmp, ipv4, tcp
from lbcore.wire.difference import ENDS, IP, labelled
from lbcore.wire.dissect import dissect, find
from lbcore.wire.seam import Frame, advance, view

CLIENT, VIP, BALANCER, CLIENTS_ROUTER = "198.51.100.7", "203.0.113.80", "10.0.0.2", "192.0.2.1"
NEAR, FAR, FAR6 = ("10.0.0.11", "10.0.0.12"), ("10.9.0.11", "10.9.0.12"), ("2001:db8:9::11", "2001:db8:9::12")
BALANCER6 = "2001:db8::2"
CLIENT_MAC, OUTSIDE_MAC, INSIDE_MAC, BALANCER_MAC, FAR_MAC = (f"02:00:00:00:00:0{n}" for n in "1246d")
BACKEND_MACS, FAR_MACS = ("02:00:00:00:00:08", "02:00:00:00:00:0a"), ("02:00:00:00:00:0f", "02:00:00:00:00:11")
"""Ethernet addresses as the test-bed gives them to these hosts and their switches, in `measure.walked`."""
NAMES = {
    CLIENT_MAC: "client",
    **dict.fromkeys((OUTSIDE_MAC, INSIDE_MAC, FAR_MAC), "router"),
    BALANCER_MAC: "balancer",
    **dict(zip(BACKEND_MACS + FAR_MACS, ("backend 1", "backend 2") * 2, strict=True)),
}
"""Whose Ethernet addresses these are."""
REQUEST = b"GET /logo.png HTTP/1.1\r\nHost: shop.example\r\n\r\n"
REPLY_DATA = b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\n\x89PNG"


@dataclass(frozen=True)
class Stop:
    """A place, the way the frame goes there ("in" or "out"), the frame, and whether a new packet starts here."""

    place: str
    way: str
    frame: bytes
    words: str
    new: bool = False

    @property
    def name(self) -> str:
        return f"{self.place}, {self.way}"


class Site:
    """A virtual address, port 80, behind a balancer in one of `flags.NAMES`.

    backend_port: where the backends listen, for the modes that can translate; 0: the client's choice. far6: tunnel
    backends have IPv6 addresses. max_frame: as the balancer's configuration has it.
    """

    def __init__(self, mode: str, *, backend_port: int = 0, far6: bool = False, max_frame: int = 1514) -> None:
        self.mode, self.tunnel = mode, mode in flags.NAMES[flags.IPIP :]
        addresses = (FAR6 if far6 else FAR) if self.tunnel else NEAR
        macs = ("", "") if self.tunnel else BACKEND_MACS
        self.backends = tuple(Backend(a, port=backend_port, ethernet=m) for a, m in zip(addresses, macs, strict=True))
        self.balancer = Balancer(
            Config(
                services=[Service(VIP, 80, "tcp", mode, self.backends)],
                gateway=INSIDE_MAC,
                source4=BALANCER,
                source6=BALANCER6,
                max_frame=max_frame,
                ring_size=251,
                flows=1024,
            )
        )
        self.balancer.tables.clock[0] = 1

    @property
    def both_ways(self) -> bool:
        """Do replies come through the balancer?"""
        return self.mode in ("nat", "full_nat")

    def forward(self, frame: bytes) -> tuple[Reason, bytes]:
        """What the balancer does with a frame."""
        packet = Frame(frame)
        reason = core.handle(packet, self.balancer.tables, core.ALL_MODES)
        tables.count_reason(self.balancer.tables, reason)
        return Reason(reason), bytes(packet)

    def walk(self, *, port: int = 40000, request: bytes = REQUEST, reply: bytes = REPLY_DATA) -> tuple[Stop, ...]:
        """One request and its reply. ValueError if the balancer does not forward one of them."""
        sent = from_client(port=port, payload=request)
        arrived = routed(sent, INSIDE_MAC, BALANCER_MAC)
        stops = [
            Stop("client", "out", sent, "The client sends to the virtual address, by its router."),
            Stop("balancer", "in", arrived, "The router counted a hop; the virtual address leads to the balancer."),
        ]
        left = self._forwarded(arrived, FORWARDED)
        stops.append(Stop("balancer", "out", left, OUT[self.mode]))
        received = self._at_backend(left)
        between = "The router saw the outer header alone." if self.tunnel else "The same cable, the same bytes."
        stops.append(Stop("backend", "in", received, between))
        if self.tunnel:
            received = opened(received)
            stops.append(Stop("backend", "opened", received, "Outer headers off: the client's packet, as it arrived."))
        answer = self.answer(received, reply)
        stops.append(Stop("backend", "out", answer, ANSWER[self.mode], new=True))
        if self.both_ways:
            stops.append(Stop("balancer", "in", answer, "The same cable, the same bytes."))
            answer = self._forwarded(answer, REPLY)
            stops.append(Stop("balancer", "out", answer, "The way back: the backend's end becomes the virtual one."))
        came = routed(answer, OUTSIDE_MAC, CLIENT_MAC)
        stops.append(Stop("client", "in", came, "The client sees an answer from the address that it asked."))
        return tuple(stops)

    def answer(self, received: bytes, payload: bytes = b"", options: bytes = b"") -> bytes:
        """The backend's reply to a packet as its stack sees it, addressed to where the backend's routes lead."""
        layers = dissect(received)
        ip, segment = find(layers, "ipv4"), find(layers, "tcp")
        taken = layers[-1].length if layers[-1].name == "payload" else 0
        return compose.tcp_frame(
            source=f"{ip.field('destination').text}:{segment.field('destination_port').value}",
            destination=f"{ip.field('source').text}:{segment.field('source_port').value}",
            source_mac=find(layers, "ethernet").field("destination").text,
            destination_mac=BALANCER_MAC if self.both_ways else FAR_MAC if self.tunnel else INSIDE_MAC,
            payload=payload,
            sequence=segment.field("acknowledgment").value,
            acknowledgment=(segment.field("sequence").value + taken) & 0xFFFFFFFF,
            flags=tcp.ACK | tcp.PSH,
            options=options,
        )

    def carry(self, segments: Iterable[tuple[bool, int, int]], *, port: int = 40000) -> tuple[int, int]:
        """A whole conversation: (packets, bytes of frames) that the balancer sends on.

        segments: (from the client, bytes of TCP options, bytes of data) each; the client begins.
        """
        seen, sizes = b"", []
        for inbound, options, data in segments:
            if inbound:
                sent = arriving(port=port, payload=bytes(data), options=bytes(options))
                left = self._forwarded(sent, FORWARDED)
                seen = seen or left
                sizes.append(len(left))
            elif self.both_ways:
                sizes.append(len(self._forwarded(self.answer(seen, bytes(data), bytes(options)), REPLY)))
        return len(sizes), sum(sizes)

    def _at_backend(self, left: bytes) -> bytes:
        """What the balancer sent, as it arrives."""
        if not self.tunnel:
            return left
        target = find(labelled(left), "outer ipv4").field("destination").text
        return routed(left, FAR_MAC, FAR_MACS[FAR.index(target)])

    def _forwarded(self, frame: bytes, wanted: int) -> bytes:
        reason, out = self.forward(frame)
        if reason != wanted:
            raise ValueError(f"the balancer says {reason.name.lower()}, wanted {Reason(wanted).name.lower()}")
        return out


OUT = {
    "nat": "A backend's address and port over the virtual ones; two checksums repaired; a hop counted.",
    "full_nat": "The client's end is replaced too, by the balancer's address and a port of its own.",
    "dsr": "Only the Ethernet addresses are new. The packet is untouched.",
    "ipip": "The whole packet has become the data of another one, addressed to the backend.",
    "gre": "As IPIP, with a GRE header in between that says what is inside.",
    "gue": "As IPIP, with a UDP header in between, whose source port stands for the flow.",
}
"""What the balancer does on the way in."""
DIRECT = "The reply leaves from the virtual address, past the balancer, by the backend's own router."
ANSWER = {
    "nat": "The reply is for the client, and the backend's default route leads to the balancer.",
    "full_nat": "The reply is for the balancer: no route to the client is needed.",
    **dict.fromkeys(("dsr", "ipip", "gre", "gue"), DIRECT),
}
"""What the backend does."""


def from_client(*, port: int = 40000, payload: bytes = b"", options: bytes = b"") -> bytes:
    """A segment from the client to the virtual address, as it leaves the client."""
    return compose.tcp_frame(
        source=f"{CLIENT}:{port}",
        destination=f"{VIP}:80",
        source_mac=CLIENT_MAC,
        destination_mac=OUTSIDE_MAC,
        flags=tcp.ACK | tcp.PSH,
        sequence=1000,
        acknowledgment=7000,
        payload=payload,
        options=options,
    )


def arriving(*, port: int = 40000, payload: bytes = b"", options: bytes = b"") -> bytes:
    """The same as it arrives at the balancer."""
    return routed(from_client(port=port, payload=payload, options=options), INSIDE_MAC, BALANCER_MAC)


def icmp_too_big(*, port: int = 40000, mtu: int = 1400) -> bytes:
    """A router's error about a reply to the client's port, as it arrives: it quotes the IP header and 8 bytes more."""
    reply = compose.tcp_frame(source=f"{VIP}:80", destination=f"{CLIENT}:{port}")[ethernet.LENGTH :]
    return compose.icmp_frame(
        source=CLIENTS_ROUTER,
        destination=VIP,
        type=icmp.UNREACHABLE,
        code=4,
        sequence=mtu,
        payload=reply[: ipv4.LENGTH + 8],
        source_mac=INSIDE_MAC,
        destination_mac=BALANCER_MAC,
    )


def size_outside(mode: str, data: int, *, far6: bool = False) -> int:
    """Bytes of the IP packet that a balancer sends on for a client's segment with so many bytes of data."""
    return len(Site(mode, far6=far6).forward(arriving(payload=bytes(data)))[1]) - ethernet.LENGTH


def ends(frame: bytes) -> tuple[str, str]:
    """Source and destination of the packet's own IP and TCP headers: ("198.51.100.7:40000", "203.0.113.80:80")."""
    layers = labelled(frame)
    ip, segment = (next(layer for layer in layers if layer.name in names) for names in (IP, ("tcp",)))
    source, destination = (
        f"{ip.field(end).text}:{segment.field(f'{end}_port').value}" for end in ("source", "destination")
    )
    return source, destination


def outer_ends(frame: bytes) -> tuple[str, ...]:
    """What a router sees of a tunnelled frame: the outer addresses, and ports if there is a UDP header."""
    outer = [layer for layer in labelled(frame) if layer.name.startswith("outer ")]
    return tuple(field.text for layer in outer for field in layer.fields if field.name in ENDS)


def received(stops: Iterable[Stop]) -> bytes:
    """What the backend's stack sees of a walk's request: the last frame before its answer."""
    frame = b""
    for stop in stops:
        if stop.name == "backend, out":
            break
        frame = stop.frame
    return frame


def next_hop(frame: bytes) -> str:
    """Whose Ethernet address a frame is sent to."""
    address = find(dissect(frame), "ethernet").field("destination").text
    return NAMES[address]


def routed(frame: bytes, source: str, destination: str) -> bytes:
    """The frame behind a router: one hop less, and the router's and the next host's Ethernet addresses."""
    packet = Frame(frame)
    p = view(packet)
    header = ethernet.parse(p)
    hop(advance(p, ethernet.LENGTH), 4 if header.ethertype == ethernet.IPV4 else 6, 0)
    ends = ethernet.Header(destination=ethernet_of(destination), source=ethernet_of(source), ethertype=header.ethertype)
    ethernet.build(p, ends)
    return bytes(packet)


def opened(frame: bytes) -> bytes:
    """A tunnelled frame without its outer headers: what the backend's stack sees behind its tunnel device."""
    inner = next(layer for layer in reversed(labelled(frame)) if layer.name in IP)
    kind = ethernet.IPV4 if inner.name == "ipv4" else ethernet.IPV6
    return frame[:12] + kind.to_bytes(2, "big") + frame[inner.offset :]
