"""Lab 04's drawings: what a student's program did to real packets.

Rule of this file: it draws what it was given, right or wrong. Where there is nothing to draw it gives back the reason
in words. Programs are run as Python, so that a program can be looked at long before it compiles.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from random import Random
from typing import Any

import numpy as np
from scapy.layers.inet import IP
from scapy.layers.l2 import Ether

from lbcore import show
from lbcore.ebpf.compiler import Source
from lbcore.ebpf.maps import Map
from lbcore.labs.drawing import cell, nothing
from lbcore.labs.judge import Verdict
from lbcore.labs.sandbox import run
from lbcore.labs.xdp import balancing, counting, forwarding, parsing
from lbcore.labs.xdp.ladder import NOT_MARKED
from lbcore.labs.xdp.packets import ASSORTED, Packet, Traffic, tcp, udp
from lbcore.labs.xdp.stage import InPython, Report
from lbcore.show.style import BLACK, BLUE, GREEN, ORANGE, PURPLE, SKY, VERMILION

COLOURS = {
    "XDP_ABORTED": BLACK, "XDP_DROP": VERMILION, "XDP_PASS": GREEN, "XDP_TX": BLUE, "XDP_REDIRECT": PURPLE,
}  # fmt: skip
BACKEND_COLOURS = dict(zip(balancing.BACKENDS, (BLUE, VERMILION, GREEN, ORANGE), strict=True))
Drawing = Any
"""A finished figure, or a `Verdict` that says why there is none."""


def attempt(
    program: Any, packets: Sequence[Packet], table: Any = None, entries: Mapping[int, int] | None = None
) -> Report | Verdict:
    """What the program makes of the packets, one after the other; or why there is nothing to draw."""
    if not isinstance(program, Source):
        return Verdict("not_a_program", NOT_MARKED)
    if table is not None and not isinstance(table, Map):
        return Verdict("not_a_map", "Nothing to draw: give the map too, the one made in the cell above.")
    outcomes = run(InPython(program, table, entries), [(Traffic(tuple(packets)),)])
    report: Report = outcomes[0].value
    return report if outcomes[0].kind == "answer" else nothing(program.__name__, outcomes)


def board(rows: Sequence[str], columns: Sequence[str], marks: Sequence[tuple[int, int, str, str]], **words: str) -> Any:
    """A grid of named rows and columns; a mark is (row, column, colour, text). `words`: xlabel, ylabel, title, alt."""
    fig, axes = show.figure(height=1.3 + 0.27 * len(rows))
    for row, column in np.ndindex(len(rows), len(columns)):
        cell(axes, column, row, "white", "", edge="#dddddd")
    for row, column, colour, text in marks:
        cell(axes, column, row, colour, text)
    axes.set(xlim=(-0.6, len(columns) - 0.4), ylim=(len(rows) - 0.4, -0.6))
    axes.set(xlabel=words["xlabel"], ylabel=words["ylabel"])
    axes.set_yticks(range(len(rows)), rows)
    axes.set_xticks(range(len(columns)), columns)
    axes.grid(visible=False)
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    return show.finish(fig, title=words["title"], alt=words["alt"])


def verdicts(packets: Sequence[Packet], made: Sequence[Any], title: str) -> Drawing:
    """Which packet got which verdict."""
    names = [*COLOURS]
    marks = [
        (row, names.index(verdict), COLOURS[verdict], verdict[4:])
        for row, (verdict, *_) in enumerate(made)
        if verdict in names
    ]
    told = "; ".join(f"{packet.name}: {verdict}" for packet, (verdict, *_) in zip(packets, made, strict=True))
    columns = [name[4:].lower() for name in names]
    rows = [packet.name for packet in packets]
    return board(rows, columns, marks, xlabel="verdict", ylabel="packet", title=title, alt=f"Verdicts. {told}.")


def show_pass(program: Any) -> Drawing:
    """The verdict on one packet of each kind."""
    report = attempt(program, ASSORTED)
    if isinstance(report, Verdict):
        return report
    count = Counter(verdict for verdict, *_ in report[0])
    return verdicts(ASSORTED, report[0], f"{count['XDP_PASS']} of {len(ASSORTED)} packets pass")


def show_drop(program: Any) -> Drawing:
    """The verdict on one packet of each kind."""
    report = attempt(program, ASSORTED)
    if isinstance(report, Verdict):
        return report
    count = Counter(verdict for verdict, *_ in report[0])
    return verdicts(ASSORTED, report[0], f"{count['XDP_DROP']} of {len(ASSORTED)} packets are dropped")


def bars(names: Sequence[str], came: Sequence[int], yours: Sequence[int], **words: str) -> Drawing:
    """What came, as lines, and what the program counted, as bars. `words`: xlabel, ylabel, title."""
    fig, axes = show.figure(height=1.2 + 0.3 * len(names))
    place = np.arange(len(names))
    axes.barh(place, yours, 0.7, color=SKY, label="counted")
    for at, value in zip(place, came, strict=True):
        axes.plot([value, value], [at - 0.42, at + 0.42], color=BLACK, linestyle="-", marker="")
    axes.set_yticks(place, names)
    axes.invert_yaxis()
    axes.xaxis.get_major_locator().set_params(integer=True)
    axes.set(xlabel=words["xlabel"], ylabel=words["ylabel"])
    told = "; ".join(f"{name}: {a} came, {b} counted" for name, a, b in zip(names, came, yours, strict=True))
    return show.finish(fig, title=words["title"], alt=f"Bars of what was counted, lines for what came. {told}.")


def entries_of(report: Report) -> dict[int, int]:
    """The map's changed entries."""
    return {int(key): int(value) for key, value in (one.split(": ") for one in report[1].split(", ") if one)}


def show_count(program: Any, protocols: Any) -> Drawing:
    """Sixty packets of a working day, and what the map says of them."""
    packets = Random(3).choices(ASSORTED, (12, 20, 4, 3, 5, 8, 3, 2, 3), k=60)
    report = attempt(program, packets, protocols)
    if isinstance(report, Verdict):
        return report
    yours, came = entries_of(report), Counter(filter(None, map(counting.protocol, packets)))
    known = {1: "1, ICMP", 6: "6, TCP", 17: "17, UDP"}
    keys = sorted({*known, *came, *[*yours][:12]})
    title = f"{sum(came.values())} of 60 packets are IPv4; the map has counted {sum(yours.values())}"
    return bars(
        [known.get(key, str(key)) for key in keys], [came[key] for key in keys], [yours.get(key, 0) for key in keys],
        xlabel="packets (bar: counted, line: came)", ylabel="protocol", title=title,
    )  # fmt: skip


def show_parse(program: Any, ports: Any) -> Drawing:
    """Packets of each kind to a port of their own: how many of each were found."""
    kinds = {8001 + n: (name, fields) for n, (name, fields) in enumerate(KINDS.items())}
    packets = [udp(name, destination=f"10.0.0.9:{port}", **f) for port, (name, f) in kinds.items() for _ in range(10)]
    report = attempt(program, packets, ports)
    if isinstance(report, Verdict):
        return report
    yours, came = entries_of(report), Counter(filter(None, map(parsing.port, packets)))
    strange = sum(value for key, value in yours.items() if key not in kinds)
    names = [*(name for name, _ in kinds.values()), "ports nobody sent to"]
    found = [yours.get(port, 0) for port in kinds]
    return bars(
        names, [*(came[port] for port in kinds), 0], [*found, strange],
        xlabel="packets (bar: counted, line: to be counted)", ylabel="kind of packet",
        title=f"{sum(found)} of {sum(came.values())} ports found, {strange} counted that are none",
    )  # fmt: skip


KINDS: dict[str, dict[str, Any]] = {
    "plain": {},
    "one VLAN tag": {"vlan": 5},
    "two VLAN tags": {"vlan": (7, 5)},
    "IPv4 options": {"ip_options": bytes([1] * 8)},
    "tag and options": {"vlan": 5, "ip_options": bytes([1] * 12)},
    "first fragment": {"more_fragments": True, "dont_fragment": False},
    "later fragment": {"fragment_offset": 64, "dont_fragment": False},
}


def show_rewrite(program: Any) -> Drawing:
    """The IPv4 header of three packets, before and after, byte by byte."""
    packets = [tcp("TTL 64", ttl=64), tcp("TTL 2", ttl=2), tcp("TTL 1", ttl=1)]
    report = attempt(program, packets)
    if isinstance(report, Verdict):
        return report
    rows: list[str] = []
    marks: list[tuple[int, int, str, str]] = []
    states = []
    for packet, (verdict, after, _) in zip(packets, report[0], strict=True):
        old, new = packet.frame[14:34], bytes.fromhex(after)[14:34]
        states.append(checksum_state(verdict, bytes.fromhex(after)))
        for name, data in ((f"{packet.name}, came", old), (f"{packet.name}: {states[-1]}", new)):
            marks += [(len(rows), at, ORANGE if b != old[at] else "white", f"{b:02x}") for at, b in enumerate(data)]
            rows.append(name)
    right = sum(one == "checksum right" for one in states)
    told = "; ".join(f"{packet.name}: {one}" for packet, one in zip(packets, states, strict=True))
    return board(
        rows, [str(at) for at in range(20)], marks, xlabel="byte of the IPv4 header (8: TTL, 10 and 11: checksum)",
        ylabel="packet", title=f"{right} of {len(packets)} packets go on with a right checksum (orange: changed)",
        alt=f"Three IPv4 headers before and after, in hex, changed bytes coloured. {told}.",
    )  # fmt: skip


def checksum_state(verdict: str, after: bytes) -> str:
    """What the next router would find."""
    if verdict != "XDP_PASS":
        return verdict
    ip = Ether(after).getlayer(IP)
    if ip is None:
        return "no IPv4 any more"
    fresh = ip.copy()
    del fresh.chksum
    return "checksum right" if IP(bytes(fresh)).chksum == ip.chksum else "checksum wrong"


def show_redirect(program: Any, ports: Any) -> Drawing:
    """Where packets between two hosts, and others, leave, and to whom."""
    packets = [traffic.packets[0] for traffic in forwarding.redirect_cases(1)[:7]]
    report = attempt(program, packets, ports, forwarding.PORTS)
    if isinstance(report, Verdict):
        return report
    columns = ["port 0\n(client)", "port 1\n(server)", "up", "back", "nowhere"]
    marks, told = [], []
    for row, (verdict, after, port) in enumerate(report[0]):
        names = {"XDP_PASS": 2, "XDP_TX": 3, "XDP_REDIRECT": port if port in (0, 1) else 4}
        column, to = names.get(verdict, 4), bytes.fromhex(after)[:6]
        marks.append((row, column, COLOURS.get(verdict, BLACK), f"to …{to[4:].hex(':')}" if to else ""))
        told.append(f"{packets[row].name}: {columns[column].split()[0]} {port if column < 2 else ''}".strip())
    gone = sum(column < 2 for _, column, *_ in marks)
    return board(
        [packet.name for packet in packets], columns, marks, xlabel="leaves by", ylabel="packet",
        title=f"{gone} of {len(packets)} packets leave by a port of the router",
        alt=f"Where packets leave. {'; '.join(told)}.",
    )  # fmt: skip


def show_balance(program: Any, slots: Any) -> Drawing:
    """Six connections of six packets, each with its backend; and how many of 400 connections each backend has."""
    talks = [balancing.conversation(f"198.51.100.{n}", 40000 + 6 * n) for n in range(1, 7)]
    random = Random(5)
    crowd = [balancing.request(f"198.51.{random.randrange(256)}.9", random.randrange(1024, 65536)) for _ in range(400)]
    report = attempt(program, [*(one for talk in talks for one in talk), *crowd], slots, balancing.maglev())
    if isinstance(report, Verdict):
        return report
    backends = [bytes.fromhex(after)[:6].hex(":") if verdict == "XDP_TX" else "" for verdict, after, _ in report[0]]
    fig, (above, below) = show.figure(2, 1, height=4.6, height_ratios=[6, 4])
    met = [backends[6 * row : 6 * row + 6] for row in range(6)]
    for row, column in np.ndindex(6, 6):
        backend = met[row][column]
        cell(above, column, row, BACKEND_COLOURS.get(backend, "white"), backend[-2:] or "?", edge="#dddddd")
    above.set(xlim=(-0.6, 5.6), ylim=(5.6, -0.6), xlabel="packet of the connection", ylabel="connection")
    above.set_yticks(range(6), [talk[0].name.removeprefix("SYN of ") for talk in talks])
    above.set_xticks(range(6), ["SYN", "ACK", "GET", "ACK", "data", "FIN"])
    above.grid(visible=False)
    counts = [backends[36:].count(one) for one in balancing.BACKENDS]
    below.bar([one[-2:] for one in balancing.BACKENDS], counts, 0.6, color=[*BACKEND_COLOURS.values()])
    below.axhline(len(crowd) / 4, color=BLACK, linestyle="-", marker="")
    below.set(xlabel="backend (line: fair share)", ylabel="connections")
    whole = sum(len(set(row)) == 1 and row[0] in BACKEND_COLOURS for row in met)
    told = ", ".join(f"{one[-2:]} {count}" for one, count in zip(balancing.BACKENDS, counts, strict=True))
    return show.finish(
        fig, title=f"{whole} of 6 connections keep their backend; of 400, backends have {told}",
        alt=f"Six connections by six packets, coloured by backend: {whole} rows have one colour. Bars: {told}.",
    )  # fmt: skip
