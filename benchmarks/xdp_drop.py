"""What a packet costs that nobody wants, by where it is dropped: in XDP, in nftables, at a socket.

Rule of this file: the same blast over cables that differ only in what waits at their far end.

Theory. The farther a packet gets before it is dropped, the more was done for nothing. To measure that, count all of the
processor's time, whoever it is charged to. A veth hands a packet to its other end on the sender's processor, in a soft
interrupt: that time is charged to the thread it interrupts, here the sender's own, or to ksoftirqd when there is much
of it. So the meter is the CPU time of the sending thread, which is pinned, and of that processor's ksoftirqd. What
sending alone costs is taken off within each round: that is the same blast into a cable, or an interface, that takes
nothing. The receiving socket is read by the same thread, batch by batch: no wake-up and no change of context, which is
the least that a socket can cost.

Two blasts, because a veth is no network card. *Frames* are pages without a socket buffer, 64 at a time, as a driver
has them: XDP's native mode drops them as they are, and everybody else first has the socket buffer built. *Packets of a
socket*, as a host of the test-bed sends them, have theirs already, so what native XDP saves elsewhere is spent; and
where a packet has less room in front than XDP wants (256 bytes), a veth copies it first.

Trap. Here each packet of a socket is a soft interrupt of its own. It is the order that a card would share, and the
frames' ratios more than the sockets'; no figure here is a card's speed.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import socket
import struct
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from ctypes import addressof, create_string_buffer
from functools import partial
from pathlib import Path
from statistics import median
from subprocess import CalledProcessError
from typing import Any, NamedTuple

from benchmarks.xdp_blast import BATCH, Batch, redirected, straight
from lbcore.ebpf import kernel, maps
from lbcore.ebpf.compiler import xdp
from lbcore.ebpf.contexts import XDP_DROP, XDP_PASS
from lbcore.ebpf.programs.redirect import redirect
from lbcore.measure import Table, facts_line
from lbcore.testbed.hosts import Host, Interface, Topology
from lbcore.wire import ethernet, ipv4, udp
from lbcore.wire.compose import udp_frame
from lbcore.wire.seam import advance, view

PORT = 9
"""RFC 863: who sends there wants it thrown away."""
TURN = 8192
"""Packets between two looks at the socket and the clock."""
SECONDS = 10.0
"""The longest that one blast may take."""
ROOM = 1 << 26
"""Bytes of packets that wait at the socket: more than a turn."""
SO_RCVBUFFORCE = 33
SIOCETHTOOL, SET_GRO = 0x8946, 0x2C
SINKS = ("dummy", "ifb")
FRAMES, PACKETS = "frames", "packets of a socket"
ALONE, NATIVE, SOCKET = "sending alone", "XDP, native", "a socket that discards"

dropped = maps.percpu_array("dropped", 1)


@xdp
def drop_port(context: Any) -> int:
    """What `udp dport 9 counter drop` is in nftables."""
    p = view(context)
    link = ethernet.parse(p)
    if link.verdict or link.ethertype != ethernet.IPV4:
        return XDP_PASS
    p = advance(p, link.header_length)
    ip = ipv4.parse(p)
    if ip.verdict or ip.protocol != ipv4.UDP or ip.fragment_offset:
        return XDP_PASS
    ports = udp.parse(advance(p, ip.header_length))
    if ports.verdict or ports.destination_port != PORT:
        return XDP_PASS
    dropped.increment(0)
    return XDP_DROP


# ------------------------------------------------------------------------------------------------ what waits over there
class End(NamedTuple):
    """counted: how many packets met their end here, up to now. drain: takes away what waits."""

    counted: Callable[[], int]
    drain: Callable[[], object] = lambda: None


def in_xdp(mode: str, stack: ExitStack, host: Host) -> End:
    program = stack.enter_context(kernel.load(drop_port.object))
    with host.inside():
        stack.enter_context(program.attach("eth0", mode))
    return End(lambda: int(program.maps["dropped"].as_array("<u8").sum()))


def in_nftables(family: str, hook: str, stack: ExitStack, host: Host) -> End:
    host.command("nft", f"add table {family} t")
    host.command("nft", f"add chain {family} t c {{ type filter hook {hook}; }}")
    host.command("nft", f"add rule {family} t c udp dport {PORT} counter drop")
    return End(lambda: nft_counter(host.command("nft", "-j", "list", "ruleset").stdout))


def nft_counter(ruleset: str) -> int:
    """Packets of the only counter in what `nft -j list ruleset` says."""
    rules = [one["rule"] for one in json.loads(ruleset)["nftables"] if "rule" in one]
    (count,) = (part["counter"]["packets"] for rule in rules for part in rule["expr"] if "counter" in part)
    return int(count)


def at_no_socket(stack: ExitStack, host: Host) -> End:
    return End(lambda: host.run(no_ports))


def no_ports() -> int:
    """Datagrams that found no socket in this host."""
    names, values = (line.split() for line in Path("/proc/net/snmp").read_text().splitlines() if line[:4] == "Udp:")
    return int(dict(zip(names, values, strict=True))["NoPorts"])


def at_a_socket(stack: ExitStack, host: Host) -> End:
    receiver = stack.enter_context(host.open_socket(socket.AF_INET, socket.SOCK_DGRAM))
    receiver.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, ROOM)
    receiver.bind(("0.0.0.0", PORT))
    into, received = Batch(bytes(64)), [0]

    def drain() -> None:
        while got := into.receive(receiver):
            received[0] += got

    return End(lambda: received[0], drain)


ENDS: dict[str, Callable[[ExitStack, Host], End]] = {
    NATIVE: partial(in_xdp, "native"),
    "XDP, generic": partial(in_xdp, "generic"),
    "nftables, ingress": partial(in_nftables, "netdev", 'ingress device "eth0" priority 0'),
    "nftables, prerouting": partial(in_nftables, "ip", "prerouting priority raw"),
    "no socket": at_no_socket,
    SOCKET: at_a_socket,
}


# ----------------------------------------------------------------------------------------------------------- the cables
class Way(NamedTuple):
    """send: takes how many packets, returns how many went out."""

    send: Callable[[int], int]
    end: End


Ways = dict[tuple[str, str], Way]
"""By blast (FRAMES or PACKETS) and by end."""


@contextlib.contextmanager
def ways() -> Iterator[Ways]:
    """Every way at once, each end with a cable of its own."""
    with Topology(rootless=False) as net, ExitStack() as stack:
        sender = net.host("sender")
        nothing, deaf = End(lambda: 0), net.link(sender, net.host("deaf"))
        made = {
            (FRAMES, ALONE): Way(by_redirect(stack, sender, *deaf), nothing),
            (PACKETS, ALONE): Way(into_a_sink(stack, sender), nothing),
        }
        for number, (name, prepare) in enumerate(ENDS.items(), 1):
            host = net.host(f"end{number}")
            ends = near, far = net.link(sender, host, f"10.0.{number}.1/24", f"10.0.{number}.2/24")
            host.run(receive_in_batches, far.name)
            end = prepare(stack, host)
            out, batch = straight(stack.enter_context(sender.packet_socket(near.name))), Batch(frame(*ends))
            made[FRAMES, name] = Way(by_redirect(stack, sender, *ends), end)
            made[PACKETS, name] = Way(partial(batch.send, out), end)
        yield made


def frame(near: Interface, far: Interface) -> bytes:
    """A datagram of 60 bytes from one end of a cable to the other."""
    source, destination = (f"{end.ip if end.addresses else '10.0.0.1'}:{PORT}" for end in (near, far))
    return udp_frame(
        source=source, destination=destination, source_mac=near.mac, destination_mac=far.mac, payload=bytes(18)
    )


def by_redirect(stack: ExitStack, sender: Host, near: Interface, far: Interface) -> Callable[[int], int]:
    """A sender of frames into a cable. Where nothing at the far end takes frames, they are refused at its entrance."""
    program = stack.enter_context(kernel.load(redirect.object))
    with sender.inside():
        program.maps["other_port"][bytes(4)] = socket.if_nametoindex(near.name).to_bytes(4, "little")

    def send(count: int) -> int:
        with sender.inside():
            return redirected(program, frame(near, far), count)

    return send


def into_a_sink(stack: ExitStack, sender: Host) -> Callable[[int], int]:
    """A sender of packets to an interface that throws everything away."""
    for kind in SINKS:
        with contextlib.suppress(CalledProcessError):
            sender.command("ip", "link", "add", "sink", "type", kind)
            break
    else:
        raise OSError(f"the kernel has no interface that throws packets away: tried {', '.join(SINKS)}")
    sender.command("ip", "link", "set", "sink", "up")
    near = Interface(sender, "sink", "02:00:00:00:00:fe", ())
    return partial(Batch(frame(near, near)).send, straight(stack.enter_context(sender.packet_socket("sink"))))


def receive_in_batches(name: str) -> None:
    """Switch GRO on: that, or an XDP program, is what makes a veth take frames."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as control:
        value = create_string_buffer(struct.pack("=II", SET_GRO, 1), 8)
        fcntl.ioctl(control, SIOCETHTOOL, struct.pack("=16sQ16x", name.encode(), addressof(value)))  # struct ifreq


# ------------------------------------------------------------------------------------------------------------ the blast
class Drop(NamedTuple):
    """One blast: packets sent and counted at their end, nanoseconds of CPU time for a packet."""

    sent: int
    counted: int
    nanoseconds: float


Drops = dict[tuple[str, str], list[Drop]]


@contextlib.contextmanager
def pinned() -> Iterator[int]:
    """This thread stays on one of its processors; which."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {max(before)})
    try:
        yield max(before)
    finally:
        os.sched_setaffinity(0, before)


def ksoftirqd(cpu: int) -> Callable[[], int]:
    """A reader of the CPU time, in nanoseconds, of that processor's thread for soft interrupts.

    In a container it may be out of sight; then it reads 0, and only the sender's own time counts.
    """
    for task in Path("/proc").glob("[0-9]*/comm"):
        with contextlib.suppress(OSError):  # it ended meanwhile
            if task.read_text().strip() == f"ksoftirqd/{cpu}":
                times = task.parent / "schedstat"
                return lambda: int(times.read_text().split()[0])
    return lambda: 0


def blast(way: Way, packets: int, aside: Callable[[], int]) -> Drop:
    """Send so many packets, or for SECONDS, and say what that cost this processor."""
    counted, sent = way.end.counted(), 0
    start, other, began = time.thread_time_ns(), aside(), time.perf_counter()
    while sent < packets and time.perf_counter() - began < SECONDS:
        turn = min(TURN, packets - sent)
        while turn > 0:
            gone = way.send(turn)
            turn, sent = turn - max(gone, 1), sent + gone
        way.end.drain()
    time.sleep(0.005)  # ksoftirqd may have some left
    way.end.drain()
    spent = time.thread_time_ns() - start + aside() - other
    return Drop(sent, way.end.counted() - counted, spent / max(sent, 1))


def measure(rounds: int, packets: int) -> Drops:
    """Every way, round by round, in alternating order."""
    with pinned() as cpu, ways() as made:
        aside = ksoftirqd(cpu)
        for way in made.values():
            blast(way, 10 * BATCH, aside)
        drops: Drops = {name: [] for name in made}
        for number in range(rounds):
            for name in made if number % 2 == 0 else reversed(made):
                drops[name].append(blast(made[name], packets, aside))
    return drops


# ----------------------------------------------------------------------------------------------------------- the result
def beyond(drops: Drops, what: str, name: str) -> list[float]:
    """Nanoseconds of a packet beyond sending it, round by round."""
    pairs = zip(drops[what, name], drops[what, ALONE], strict=True)
    return [one.nanoseconds - alone.nanoseconds for one, alone in pairs]


def tables(drops: Drops) -> list[Table]:
    """Cost by place, and the evidence that the packets came to their end there."""

    def line(what: str, name: str) -> tuple[object, ...]:
        of = drops[what, name]
        sent, counted = sum(one.sent for one in of), sum(one.counted for one in of)
        cost = median(one.nanoseconds for one in of)
        common = f"{sent:,}", f"{1e6 / cost:,.0f}", f"{cost:,.0f}"
        if name == ALONE:
            return name, common[0], "0", *common[1:], "0", "0"
        extra, least = beyond(drops, what, name), beyond(drops, what, NATIVE)
        times = median(one / other for one, other in zip(extra, least, strict=True))
        return name, common[0], f"{counted:,}", *common[1:], f"{median(extra):,.0f}", f"{times:.2f}"

    columns = ("dropped by", "sent", "counted", "1000 a second of CPU", "CPU ns", "beyond sending", f"times {NATIVE}")
    return [
        Table(columns, tuple(line(what, name) for of, name in drops if of == what), f"{what}, {facts_line()}")
        for what in (FRAMES, PACKETS)
    ]


def samples(drops: Drops) -> dict[str, list[float]]:
    """Series "drop, frames, way, CPU" in nanoseconds a packet, "sent" and "counted" in packets."""
    found: dict[str, list[float]] = {}
    for (what, name), of in drops.items():
        series = f"drop, {what}, {name}"
        found[f"{series}, CPU"] = [round(one.nanoseconds, 2) for one in of]
        found[f"{series}, sent"] = [one.sent for one in of]
        found[f"{series}, counted"] = [one.counted for one in of]
    return found
