"""Lab 05, exercise 8: programs that must pass, and ones that are not mended, with the key of the hint each must get.

Rule of this file: every program is whole, as a student would hand it in.
"""

# mypy: ignore-errors

from lbcore.ebpf import maps
from lbcore.ebpf.compiler import tc, xdp
from lbcore.ebpf.contexts import XDP_DROP, XDP_PASS
from lbcore.labs.answers import Answers
from lbcore.labs.loader.broken import count_ports
from lbcore.wire import ethernet, ipv4
from lbcore.wire.seam import advance, need, size_of, u16, view

ANSWERS = Answers()
RIGHT, WRONG, right, wrong = ANSWERS.RIGHT, ANSWERS.WRONG, ANSWERS.right, ANSWERS.wrong

ports = maps.array("ports", 1 << 16)
elsewhere = maps.array("elsewhere", 1 << 16)


@right("mended")
@xdp
def asks(context):
    p = view(context)
    link = ethernet.parse(p)
    if link.verdict or link.ethertype != ethernet.IPV4:
        return XDP_PASS
    p = advance(p, link.header_length)
    ip = ipv4.parse(p)
    if ip.verdict or ip.protocol != ipv4.UDP or ip.fragment_offset:
        return XDP_PASS
    p = advance(p, ip.header_length)
    if need(p, 4):
        ports.increment(u16(p, 2))
    return XDP_PASS


@right("mended")
@xdp
def leaves_early(context):
    p = view(context)
    link = ethernet.parse(p)
    if link.verdict == 0 and link.ethertype == ethernet.IPV4:
        q = advance(p, link.header_length)
        ip = ipv4.parse(q)
        if ip.verdict == 0 and ip.fragment_offset == 0 and ip.protocol == 17:
            udp = advance(q, ip.header_length)
            if not need(udp, 8):
                return XDP_PASS
            ports.increment(u16(udp, 2))
    return XDP_PASS


wrong("mended", "refused")(count_ports)


@wrong("mended", "refused")
@xdp
def asks_for_too_little(context):
    p = view(context)
    link = ethernet.parse(p)
    if link.verdict or link.ethertype != ethernet.IPV4:
        return XDP_PASS
    p = advance(p, link.header_length)
    ip = ipv4.parse(p)
    if ip.verdict or ip.protocol != ipv4.UDP or ip.fragment_offset:
        return XDP_PASS
    p = advance(p, ip.header_length)
    if need(p, 2):
        ports.increment(u16(p, 2))
    return XDP_PASS


@wrong("mended", "refused")
@xdp
def compares_sizes(context):
    p = view(context)
    link = ethernet.parse(p)
    if link.verdict or link.ethertype != ethernet.IPV4:
        return XDP_PASS
    p = advance(p, link.header_length)
    ip = ipv4.parse(p)
    if ip.verdict or ip.protocol != ipv4.UDP or ip.fragment_offset:
        return XDP_PASS
    p = advance(p, ip.header_length)
    if size_of(p) >= 4:
        ports.increment(u16(p, 2))
    return XDP_PASS


@wrong("mended", "refused")
@xdp
def asks_before_it_advances(context):
    p = view(context)
    link = ethernet.parse(p)
    if link.verdict or link.ethertype != ethernet.IPV4:
        return XDP_PASS
    p = advance(p, link.header_length)
    ip = ipv4.parse(p)
    if ip.verdict or ip.protocol != ipv4.UDP or ip.fragment_offset or not need(p, 24):
        return XDP_PASS
    p = advance(p, ip.header_length)
    ports.increment(u16(p, 2))
    return XDP_PASS


@wrong("mended", "not_passed")
@xdp
def drops_what_is_short(context):
    p = view(context)
    link = ethernet.parse(p)
    if link.verdict or link.ethertype != ethernet.IPV4:
        return XDP_PASS
    p = advance(p, link.header_length)
    ip = ipv4.parse(p)
    if ip.verdict or ip.protocol != ipv4.UDP or ip.fragment_offset:
        return XDP_PASS
    p = advance(p, ip.header_length)
    if not need(p, 4):
        return XDP_DROP
    ports.increment(u16(p, 2))
    return XDP_PASS


@wrong("mended", "other_port")
@xdp
def counts_sources(context):
    p = view(context)
    link = ethernet.parse(p)
    if link.verdict or link.ethertype != ethernet.IPV4:
        return XDP_PASS
    p = advance(p, link.header_length)
    ip = ipv4.parse(p)
    if ip.verdict or ip.protocol != ipv4.UDP or ip.fragment_offset:
        return XDP_PASS
    p = advance(p, ip.header_length)
    if need(p, 4):
        ports.increment(u16(p, 0))
    return XDP_PASS


@wrong("mended", "not_counted")
@xdp
def takes_headers_to_be_short(context):
    p = view(context)
    if need(p, 38) and u16(p, 12) == ethernet.IPV4 and u16(p, 14) >> 8 == 0x45 and u16(p, 22) & 255 == 17:
        ports.increment(u16(p, 36))
    return XDP_PASS


@wrong("mended", "counted_too_much")
@xdp
def counts_what_was_short_as_port_0(context):
    p = view(context)
    link = ethernet.parse(p)
    if link.verdict or link.ethertype != ethernet.IPV4:
        return XDP_PASS
    p = advance(p, link.header_length)
    ip = ipv4.parse(p)
    if ip.verdict or ip.protocol != ipv4.UDP or ip.fragment_offset:
        return XDP_PASS
    p = advance(p, ip.header_length)
    port = 0
    if need(p, 4):
        port = u16(p, 2)
    ports.increment(port)
    return XDP_PASS


@wrong("mended", "no_map")
@xdp
def lets_everything_pass(context):
    return XDP_PASS


@wrong("mended", "no_map")
@xdp
def counts_elsewhere(context):
    elsewhere.increment(0)
    return XDP_PASS


@wrong("mended", "not_compiled")
@xdp
def divides(context):
    p = view(context)
    if need(p, 38):
        ports.increment(u16(p, 36) / 1)
    return XDP_PASS


@wrong("mended", "not_compiled")
@xdp
def never_ends(context):
    p = view(context)
    while not need(p, 4):
        p = advance(p, 1)
    ports.increment(u16(p, 2))
    return XDP_PASS


@wrong("mended", "stub")
@xdp
def is_not_written(context):
    raise NotImplementedError("about 12 lines")


@wrong("mended", "another_kind")
@tc
def is_of_another_kind(context):
    p = view(context)
    if need(p, 38):
        ports.increment(u16(p, 36))
    return XDP_PASS


@wrong("mended", "not_a_program")
def has_no_decorator(context):
    return XDP_PASS
