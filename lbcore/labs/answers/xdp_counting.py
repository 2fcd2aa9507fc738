"""Lab 04, rung 3: answers that must pass, and mistakes with the key of the hint each must get."""

# mypy: ignore-errors

from lbcore.ebpf import maps
from lbcore.ebpf.compiler import xdp
from lbcore.ebpf.contexts import XDP_DROP, XDP_PASS
from lbcore.labs.answers import Answers
from lbcore.wire import ethernet, ipv4
from lbcore.wire.seam import advance, need, u8, u16, view

ANSWERS = Answers()
right, wrong = ANSWERS.right, ANSWERS.wrong
protocols = maps.array("protocols", 256)
seen_before = maps.hash_map("seen_before", 256, key=maps.U8)
TABLES = {"count": (protocols,)}


@right("count")
@xdp
def count_plain(context):
    p = view(context)
    if need(p, 24) and u16(p, 12) == 0x0800:
        protocols.increment(u8(p, 23))
    return XDP_PASS


@right("count")
@xdp
def count_by_parser(context):
    p = view(context)
    link = ethernet.parse(p)
    if link.verdict or link.header_length != 14 or link.ethertype != ethernet.IPV4:
        return XDP_PASS
    ip = ipv4.parse(advance(p, 14))
    if ip.verdict == 0:
        protocols.increment(ip.protocol, 1)
    return XDP_PASS


@right("count")
@xdp
def count_by_hand(context):
    p = view(context)
    if not need(p, 34) or u16(p, 12) != ethernet.IPV4:
        return XDP_PASS
    key = u8(p, 23)
    _found, count = protocols.lookup(key)
    protocols.update(key, count + 1)
    return XDP_PASS


@wrong("count", "unchecked")
@xdp
def count_unchecked(context):
    p = view(context)
    if u16(p, 12) == 0x0800:
        protocols.increment(u8(p, 23))
    return XDP_PASS


@wrong("count", "unchecked")
@xdp
def count_one_short(context):
    p = view(context)
    if need(p, 23) and u16(p, 12) == 0x0800:
        protocols.increment(u8(p, 23))
    return XDP_PASS


@wrong("count", "any_frame")
@xdp
def count_any(context):
    p = view(context)
    if need(p, 24):
        protocols.increment(u8(p, 23))
    return XDP_PASS


@wrong("count", "vlan_too")
@xdp
def count_tagged(context):
    p = view(context)
    link = ethernet.parse(p)
    q = advance(p, link.header_length)
    if link.verdict == 0 and link.ethertype == ethernet.IPV4 and need(q, 10):
        protocols.increment(u8(q, 9))
    return XDP_PASS


@wrong("count", "offset")
@xdp
def count_ttl(context):
    p = view(context)
    if need(p, 24) and u16(p, 12) == 0x0800:
        protocols.increment(u8(p, 22))
    return XDP_PASS


@wrong("count", "offset")
@xdp
def count_from_the_frame(context):
    p = view(context)
    if need(p, 24) and u16(p, 12) == 0x0800:
        protocols.increment(u8(p, 9))
    return XDP_PASS


@wrong("count", "set_not_added")
@xdp
def count_sets(context):
    p = view(context)
    if need(p, 24) and u16(p, 12) == 0x0800:
        protocols.update(u8(p, 23), 1)
    return XDP_PASS


@wrong("count", "first_not_counted")
@xdp
def count_from_zero(context):
    p = view(context)
    if need(p, 24) and u16(p, 12) == 0x0800:
        key = u8(p, 23)
        mark = key ^ 255  # seen before?
        found, before = seen_before.lookup(mark)
        if found:
            protocols.increment(key)
        seen_before.update(mark, before + 1)
    return XDP_PASS


@wrong("count", "counted_twice")
@xdp
def count_twice(context):
    p = view(context)
    if need(p, 24) and u16(p, 12) == 0x0800:
        protocols.increment(u8(p, 23))
        protocols.increment(u8(p, 23))
    return XDP_PASS


@wrong("count", "one_counter")
@xdp
def count_all(context):
    p = view(context)
    if need(p, 24) and u16(p, 12) == 0x0800:
        protocols.increment(0)
    return XDP_PASS


@wrong("count", "not_passed")
@xdp
def count_and_drop(context):
    p = view(context)
    if need(p, 24) and u16(p, 12) == 0x0800:
        protocols.increment(u8(p, 23))
        return XDP_DROP
    return XDP_PASS


@wrong("count", "nothing_counted")
@xdp
def count_byte_order(context):
    p = view(context)
    if need(p, 24) and u16(p, 12) == 0x0008:
        protocols.increment(u8(p, 23))
    return XDP_PASS


seen = {}


@wrong("count", "nothing_counted")
@xdp
def count_in_a_dictionary(context):
    p = view(context)
    if need(p, 24) and u16(p, 12) == 0x0800:
        seen[u8(p, 23)] = seen.get(u8(p, 23), 0) + 1
    return XDP_PASS
