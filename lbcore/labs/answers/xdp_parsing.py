"""Lab 04, rung 4: answers that must pass, and mistakes with the key of the hint each must get."""

# mypy: ignore-errors

from lbcore.ebpf import maps
from lbcore.ebpf.compiler import xdp
from lbcore.ebpf.contexts import XDP_PASS
from lbcore.labs.answers import Answers
from lbcore.wire import ethernet, ipv4
from lbcore.wire.portable import portable
from lbcore.wire.seam import advance, need, u8, u16, view

ANSWERS = Answers()
right, wrong = ANSWERS.right, ANSWERS.wrong
ports = maps.hash_map("ports", 1024, key=maps.U16)
TABLES = {"parse": (ports,)}


@right("parse")
@xdp
def parse_with_parsers(context):
    p = view(context)
    link = ethernet.parse(p)
    if link.verdict or link.ethertype != ethernet.IPV4:
        return XDP_PASS
    p = advance(p, link.header_length)
    ip = ipv4.parse(p)
    if ip.verdict or ip.fragment_offset or ip.protocol not in (ipv4.TCP, ipv4.UDP):
        return XDP_PASS
    p = advance(p, ip.header_length)
    if need(p, 4):
        ports.increment(u16(p, 2))
    return XDP_PASS


@right("parse")
@xdp
def parse_raw(context):
    p = advance(view(context), 12)
    for _ in range(2):
        if need(p, 4) and (u16(p, 0) == 0x8100 or u16(p, 0) == 0x88A8):
            p = advance(p, 4)
    if not need(p, 2) or u16(p, 0) != 0x0800:
        return XDP_PASS
    p = advance(p, 2)
    if need(p, 20):
        follows = (u8(p, 9) == 6 or u8(p, 9) == 17) and u16(p, 6) & 0x1FFF == 0
        p = advance(p, (u8(p, 0) & 15) * 4)
        if follows and need(p, 4):
            ports.increment(u16(p, 2))
    return XDP_PASS


@portable
def count_port(p, tags, options, at, mask, least, most):
    """A parser made to have mistakes: how many tags, whether options, where the port is, what a fragment is."""
    kind = u16(p, 12)
    p = advance(p, 14)
    for n in range(2):
        if n < tags and need(p, 4) and (kind == 0x8100 or kind == 0x88A8):
            kind = u16(p, 2)
            p = advance(p, 4)
    if kind == 0x0800 and need(p, 20) and u16(p, 6) & mask == 0 and least <= u8(p, 9) <= most:
        p = advance(p, (u8(p, 0) & 15) * 4 if options else 20)
        if need(p, 5):
            ports.increment(u16(p, at))


def parser(name, tags=2, options=True, at=2, mask=0x1FFF, least=6, most=17):
    """A program with one of the mistakes."""

    def program(context):
        p = view(context)
        if need(p, 14):
            count_port(p, tags, options, at, mask, least, most)
        return XDP_PASS

    program.__name__ = name
    return xdp(program)


for key, flaw in {
    "vlan_ignored": {"tags": 0},
    "one_tag": {"tags": 1},
    "options_ignored": {"options": False},
    "source_port": {"at": 0},
    "off_by_one": {"at": 1},
    "fragments": {"mask": 0},
    "first_fragment": {"mask": 0x3FFF},
    "fragments_dont": {"mask": 0x5FFF},
    "any_protocol": {"least": 0, "most": 255},
    "tcp_only": {"most": 6},
    "udp_only": {"least": 17},
}.items():
    wrong("parse", key)(parser(f"parse_{key}", **flaw))


@wrong("parse", "byte_order")
@xdp
def parse_byte_order(context):
    p = view(context)
    link = ethernet.parse(p)
    p = advance(p, link.header_length)
    ip = ipv4.parse(p)
    if link.verdict or ip.verdict or ip.fragment_offset or ip.protocol not in (ipv4.TCP, ipv4.UDP):
        return XDP_PASS
    p = advance(p, ip.header_length)
    if link.ethertype == ethernet.IPV4 and need(p, 4):
        ports.increment(u8(p, 3) << 8 | u8(p, 2))
    return XDP_PASS


@wrong("parse", "unchecked")
@xdp
def parse_unchecked_port(context):
    p = view(context)
    link = ethernet.parse(p)
    if link.verdict or link.ethertype != ethernet.IPV4:
        return XDP_PASS
    p = advance(p, link.header_length)
    if not need(p, 20) or u16(p, 6) & 0x1FFF or u8(p, 9) not in (6, 17):
        return XDP_PASS
    ports.increment(u16(advance(p, (u8(p, 0) & 15) * 4), 2))
    return XDP_PASS


@wrong("parse", "unchecked")
@xdp
def parse_unchecked_tag(context):
    p = view(context)
    if not need(p, 14):
        return XDP_PASS
    kind = u16(p, 12)
    p = advance(p, 14)
    for _ in range(2):
        if kind == 0x8100 or kind == 0x88A8:
            kind = u16(p, 2)
            p = advance(p, 4)
    if kind != 0x0800 or not need(p, 20) or u16(p, 6) & 0x1FFF or u8(p, 9) not in (6, 17):
        return XDP_PASS
    p = advance(p, (u8(p, 0) & 15) * 4)
    if need(p, 4):
        ports.increment(u16(p, 2))
    return XDP_PASS
