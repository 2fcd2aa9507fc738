"""Lab 04, rung 5: answers that must pass, and mistakes with the key of the hint each must get."""

# mypy: ignore-errors

from lbcore.ebpf.compiler import xdp
from lbcore.ebpf.contexts import XDP_DROP, XDP_PASS
from lbcore.labs.answers import Answers
from lbcore.wire import checksum, ethernet, ipv4
from lbcore.wire.portable import portable
from lbcore.wire.seam import advance, need, set8, set16, u8, u16, view

ANSWERS = Answers()
right, wrong = ANSWERS.right, ANSWERS.wrong


@right("rewrite")
@xdp
def rewrite_update(context):
    p = view(context)
    if not need(p, 34) or u16(p, 12) != 0x0800:
        return XDP_PASS
    if u8(p, 22) <= 1:
        return XDP_DROP
    old = u16(p, 22)
    set8(p, 22, u8(p, 22) - 1)
    set16(p, 24, checksum.update16(u16(p, 24), old, u16(p, 22)))
    return XDP_PASS


@right("rewrite")
@xdp
def rewrite_by_hand(context):
    p = view(context)
    if need(p, 26) and u16(p, 12) == 0x0800:
        ttl = u8(p, 22)
        if ttl < 2:
            return XDP_DROP
        total = u16(p, 24) + 0x0100
        total = (total & 0xFFFF) + (total >> 16)
        set8(p, 22, ttl - 1)
        set16(p, 24, 0 if total == 0xFFFF else total)
    return XDP_PASS


@right("rewrite")
@xdp
def rewrite_afresh(context):
    p = view(context)
    link = ethernet.parse(p)
    p = advance(p, 14)
    ip = ipv4.parse(p)
    if link.verdict or link.ethertype != ethernet.IPV4 or link.header_length != 14 or ip.verdict:
        return XDP_PASS
    if ip.ttl == 0 or ip.ttl == 1:
        return XDP_DROP
    if not need(p, 20):
        return XDP_PASS
    set8(p, 8, ip.ttl - 1)
    set16(p, 10, 0)
    total = 0
    for at in range(0, 60, 2):
        q = advance(p, at)
        if at < ip.header_length and need(q, 2):
            total += u16(q, 0)
    set16(p, 10, checksum.finish(total))
    return XDP_PASS


@portable
def lower(p, total, least):
    """Write a TTL of one less and a checksum."""
    if u8(p, 22) < least:
        return XDP_DROP
    set8(p, 22, u8(p, 22) - 1)
    set16(p, 24, total)
    return XDP_PASS


def router(name, sum_of, least=2):
    """A program with another checksum, or that drops at another TTL."""
    sum_of = portable(sum_of)

    def program(context):
        p = view(context)
        if not need(p, 34) or u16(p, 12) != 0x0800:
            return XDP_PASS
        return lower(p, sum_of(u16(p, 24), u16(p, 22)), least)

    program.__name__ = name
    return xdp(program)


def right_sum(old, word):
    return checksum.update16(old, word, word - 0x0100)


for key, sum_of, least in (
    ("checksum_kept", lambda old, word: old, 2),
    ("checksum_zero", lambda old, word: 0, 2),
    ("wrong_direction", lambda old, word: old - 0x0100, 2),
    ("wrong_direction", lambda old, word: checksum.update16(old, word - 0x0100, word), 2),
    ("byte_order", lambda old, word: checksum.update16(old, word, word - 1), 2),
    ("carry_lost", lambda old, word: old + 0x0100, 2),
    ("other_zero", lambda old, word: checksum.fold(old + 0x0100), 2),
    ("ttl_wraps", right_sum, 0),
    ("off_by_one", right_sum, 1),
    ("off_by_one", right_sum, 3),
):
    wrong("rewrite", key)(router(f"rewrite_{key}", sum_of, least))


@wrong("rewrite", "ttl_kept")
@xdp
def rewrite_nothing(context):
    p = view(context)
    if need(p, 34) and u16(p, 12) == 0x0800 and u8(p, 22) <= 1:
        return XDP_DROP
    return XDP_PASS


@wrong("rewrite", "late_passed")
@xdp
def rewrite_keeps_late(context):
    p = view(context)
    if need(p, 34) and u16(p, 12) == 0x0800 and u8(p, 22) > 1:
        return lower(p, right_sum_of(p), 2)
    return XDP_PASS


@portable
def right_sum_of(p):
    """The right checksum."""
    return checksum.update16(u16(p, 24), u16(p, 22), u16(p, 22) - 0x0100)


@wrong("rewrite", "unchecked")
@xdp
def rewrite_unchecked(context):
    p = view(context)
    return lower(p, right_sum_of(p), 2) if need(p, 14) and u16(p, 12) == 0x0800 else XDP_PASS


@wrong("rewrite", "unchecked")
@xdp
def rewrite_one_short(context):
    p = view(context)
    return lower(p, right_sum_of(p), 2) if need(p, 25) and u16(p, 12) == 0x0800 else XDP_PASS


@wrong("rewrite", "vlan_too")
@xdp
def rewrite_tagged(context):
    p = view(context)
    link = ethernet.parse(p)
    p = advance(p, link.header_length)
    if link.verdict or link.ethertype != ethernet.IPV4 or not need(p, 20):
        return XDP_PASS
    if u8(p, 8) <= 1:
        return XDP_DROP
    old = u16(p, 8)
    set8(p, 8, u8(p, 8) - 1)
    set16(p, 10, checksum.update16(u16(p, 10), old, old - 0x0100))
    return XDP_PASS


@wrong("rewrite", "scribbles")
@xdp
def rewrite_elsewhere(context):
    p = view(context)
    if need(p, 34) and u16(p, 12) == 0x0800:
        set8(p, 23, u8(p, 23) - 1)
    return XDP_PASS
