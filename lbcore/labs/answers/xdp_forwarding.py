"""Lab 04, rung 6: answers that must pass, and mistakes with the key of the hint each must get."""

# mypy: ignore-errors

from lbcore.ebpf import maps
from lbcore.ebpf.compiler import xdp
from lbcore.ebpf.contexts import XDP_PASS, XDP_REDIRECT, XDP_TX
from lbcore.labs.answers import Answers
from lbcore.wire import ethernet, ipv4
from lbcore.wire.portable import portable
from lbcore.wire.seam import advance, need, set8, set16, set32, u8, u16, u32, view

ANSWERS = Answers()
right, wrong = ANSWERS.right, ANSWERS.wrong
CLIENT, CLIENT_MAC = 0x0A000102, 0x02000000000C
SERVER, SERVER_MAC = 0x0A000202, 0x020000000005
ports = maps.devmap("ports", 2)
TABLES = {"redirect": (ports,)}


@right("redirect")
@xdp
def redirect_plain(context):
    p = view(context)
    if not need(p, 34) or u16(p, 12) != 0x0800:
        return XDP_PASS
    if u32(p, 30) == CLIENT:
        port, mac = 0, CLIENT_MAC
    elif u32(p, 30) == SERVER:
        port, mac = 1, SERVER_MAC
    else:
        return XDP_PASS
    set16(p, 6, u16(p, 0))
    set32(p, 8, u32(p, 2))
    set16(p, 0, mac >> 32)
    set32(p, 2, mac)
    return ports.redirect(port, XDP_PASS)


@right("redirect")
@xdp
def redirect_by_parser(context):
    p = view(context)
    link = ethernet.parse(p)
    ip = ipv4.parse(advance(p, 14))
    known = ip.destination == CLIENT or ip.destination == SERVER
    if link.verdict or link.header_length != 14 or link.ethertype != ethernet.IPV4 or ip.verdict or not known:
        return XDP_PASS
    back = ip.destination == CLIENT
    target = CLIENT_MAC if back else SERVER_MAC
    ethernet.build(p, ethernet.Header(0, 14, target, link.destination, link.ethertype, 0))
    return ports.redirect(0 if back else 1, XDP_PASS)


@portable
def addressed(p, to, by):
    """Write both hardware addresses."""
    set16(p, 0, to >> 32)
    set32(p, 2, to)
    set16(p, 6, by >> 32)
    set32(p, 8, by)


@portable
def mac_at(p, at):
    """A hardware address."""
    return u16(p, at) << 32 | u32(p, at + 2)


def router(name, client=True, server=True, swap=0, to="host", by="router", at=30, verdict=XDP_REDIRECT, kind=0x0800):
    """A program with one of the mistakes."""
    host, sender = to == "host", to == "sender"
    kept, tells = by == "kept", verdict == XDP_REDIRECT
    first = CLIENT if client else 1
    second = SERVER if server else 1

    def program(context):
        p = view(context)
        if not need(p, 34) or (kind and u16(p, 12) != kind):
            return XDP_PASS
        wanted = u32(p, at)
        if wanted != first and wanted != second:
            return XDP_PASS
        port = 0 if wanted == CLIENT else 1
        mac = CLIENT_MAC if wanted == CLIENT else SERVER_MAC
        target = mac if host else (mac_at(p, 6) if sender else mac_at(p, 0))
        addressed(p, target, mac_at(p, 6) if kept else mac_at(p, 0))
        return ports.redirect(port ^ swap, XDP_PASS) if tells else verdict

    program.__name__ = name
    return xdp(program)


for key, flaw in {
    "reply_forgotten": {"client": False},
    "request_forgotten": {"server": False},
    "ports_swapped": {"swap": 1},
    "macs_kept": {"to": "kept", "by": "kept"},
    "source_mac": {"by": "kept"},
    "destination_mac": {"to": "kept"},
    "sent_to_sender": {"to": "sender"},
    "by_source": {"at": 26},
    "sends_back": {"verdict": XDP_TX},
    "not_sent": {"verdict": XDP_PASS},
    "any_frame": {"kind": 0},
}.items():
    wrong("redirect", key)(router(f"redirect_{key}", **flaw))


@wrong("redirect", "nothing_forwarded")
@xdp
def redirect_byte_order(context):
    p = view(context)
    if need(p, 34) and u16(p, 12) == 0x0800 and u32(p, 30) == 0x0202000A:
        return ports.redirect(1, XDP_PASS)
    return XDP_PASS


@wrong("redirect", "no_target")
@xdp
def redirect_without_a_map(context):
    p = view(context)
    if not need(p, 34) or u16(p, 12) != 0x0800 or (u32(p, 30) != CLIENT and u32(p, 30) != SERVER):
        return XDP_PASS
    addressed(p, CLIENT_MAC if u32(p, 30) == CLIENT else SERVER_MAC, mac_at(p, 0))
    return XDP_REDIRECT


@wrong("redirect", "one_port")
@xdp
def redirect_to_port_1(context):
    p = view(context)
    if not need(p, 34) or u16(p, 12) != 0x0800 or (u32(p, 30) != CLIENT and u32(p, 30) != SERVER):
        return XDP_PASS
    addressed(p, CLIENT_MAC if u32(p, 30) == CLIENT else SERVER_MAC, mac_at(p, 0))
    return ports.redirect(1, XDP_PASS)


@wrong("redirect", "all_forwarded")
@xdp
def redirect_all(context):
    p = view(context)
    if not need(p, 34) or u16(p, 12) != 0x0800:
        return XDP_PASS
    back = u32(p, 30) == CLIENT
    addressed(p, CLIENT_MAC if back else SERVER_MAC, mac_at(p, 0))
    return ports.redirect(0 if back else 1, XDP_PASS)


@wrong("redirect", "unchecked")
@xdp
def redirect_unchecked(context):
    p = view(context)
    if not need(p, 14) or u16(p, 12) != 0x0800 or (u32(p, 30) != CLIENT and u32(p, 30) != SERVER):
        return XDP_PASS
    addressed(p, CLIENT_MAC if u32(p, 30) == CLIENT else SERVER_MAC, mac_at(p, 0))
    return ports.redirect(0 if u32(p, 30) == CLIENT else 1, XDP_PASS)


@wrong("redirect", "scribbles")
@xdp
def redirect_with_ttl(context):
    p = view(context)
    if not need(p, 34) or u16(p, 12) != 0x0800 or (u32(p, 30) != CLIENT and u32(p, 30) != SERVER):
        return XDP_PASS
    addressed(p, CLIENT_MAC if u32(p, 30) == CLIENT else SERVER_MAC, mac_at(p, 0))
    set8(p, 22, u8(p, 22) - 1)
    return ports.redirect(0 if u32(p, 30) == CLIENT else 1, XDP_PASS)


@wrong("redirect", "not_compiled")
@xdp
def redirect_with_keywords(context):
    p = view(context)
    if not need(p, 34) or u16(p, 12) != 0x0800 or (u32(p, 30) != CLIENT and u32(p, 30) != SERVER):
        return XDP_PASS
    to = CLIENT_MAC if u32(p, 30) == CLIENT else SERVER_MAC
    ethernet.build(p, ethernet.Header(destination=to, source=mac_at(p, 0)))
    return ports.redirect(0 if u32(p, 30) == CLIENT else 1, XDP_PASS)
