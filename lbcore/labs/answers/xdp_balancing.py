"""Lab 04, rung 7: answers that must pass, and mistakes with the key of the hint each must get."""

# mypy: ignore-errors

from lbcore.balance.hashes.fnv import fnv1a_64_word
from lbcore.balance.hashes.jhash import jhash_3words, jhash_4words
from lbcore.balance.hashes.siphash import siphash24_2words
from lbcore.ebpf import maps
from lbcore.ebpf.compiler import xdp
from lbcore.ebpf.contexts import XDP_DROP, XDP_PASS, XDP_TX
from lbcore.ebpf.helpers import get_prandom_u32
from lbcore.labs.answers import Answers
from lbcore.wire import ethernet, ipv4
from lbcore.wire.portable import portable
from lbcore.wire.seam import advance, need, set8, set16, set32, u8, u16, u32, view
from lbcore.wire.words import mod64, word64

ANSWERS = Answers()
right, wrong = ANSWERS.right, ANSWERS.wrong
VIP = 0xCB007150
slots = maps.array("slots", 251)
turn = maps.array("turn", 1)
flows = maps.lru_hash("flows", 4096, key=(maps.B32, maps.B32, maps.B32))
TABLES = {"balance": (slots,)}


@right("balance")
@xdp
def balance_plain(context):
    frame = view(context)
    link = ethernet.parse(frame)
    packet = advance(frame, link.header_length)
    ip = ipv4.parse(packet)
    if link.verdict or link.ethertype != ethernet.IPV4 or ip.verdict or ipv4.is_fragment(ip):
        return XDP_PASS
    segment = advance(packet, ip.header_length)
    if ip.destination != VIP or ip.protocol not in (ipv4.TCP, ipv4.UDP) or not need(segment, 4):
        return XDP_PASS
    slot = jhash_4words(ip.source, ip.destination, u32(segment, 0), ip.protocol, 0) % 251
    found, mac = slots.lookup(slot)
    if not found:
        return XDP_PASS
    set16(frame, 6, u16(frame, 0))
    set32(frame, 8, u32(frame, 2))
    set16(frame, 0, mac >> 32)
    set32(frame, 2, mac)
    return XDP_TX


@portable
def to_backend(frame, packet):
    """Is it a packet to balance, as far as the fixed part of the headers tells?"""
    if not need(frame, 34) or u16(frame, 12) != 0x0800 or u32(packet, 16) != VIP or u16(packet, 6) & 0x3FFF:
        return False
    return u8(packet, 9) == 6 or u8(packet, 9) == 17


@portable
def send(frame, slot):
    """To the backend of a slot."""
    found, mac = slots.lookup(slot)
    if not found:
        return XDP_PASS
    set16(frame, 6, u16(frame, 0))
    set32(frame, 8, u32(frame, 2))
    set16(frame, 0, mac >> 32)
    set32(frame, 2, mac)
    return XDP_TX


@right("balance")
@xdp
def balance_raw_siphash(context):
    frame = view(context)
    packet = advance(frame, 14)
    if not to_backend(frame, packet):
        return XDP_PASS
    segment = advance(packet, (u8(packet, 0) & 15) * 4)
    if not need(segment, 4):
        return XDP_PASS
    addresses = word64(u32(packet, 12)) << word64(32) | word64(u32(packet, 16))
    rest = word64(u32(segment, 0)) << word64(8) | word64(u8(packet, 9))
    return send(frame, mod64(siphash24_2words(addresses, rest, word64(1), word64(2)), 251))


def balancer(name, hash_of):
    """A program with another choice: `hash_of(packet, segment)`."""
    hash_of = portable(hash_of)

    def program(context):
        frame = view(context)
        packet = advance(frame, 14)
        if not to_backend(frame, packet):
            return XDP_PASS
        segment = advance(packet, (u8(packet, 0) & 15) * 4)
        if not need(segment, 4):
            return XDP_PASS
        return send(frame, hash_of(packet, segment) % 251)

    program.__name__ = name
    return xdp(program)


right("balance")(
    balancer("balance_jhash_of_three", lambda p, s: jhash_3words(u32(p, 12) ^ u8(p, 9), u32(s, 0), VIP, 77))
)


@right("balance")
@xdp
def balance_remembers(context):
    frame = view(context)
    packet = advance(frame, 14)
    if not to_backend(frame, packet):
        return XDP_PASS
    segment = advance(packet, (u8(packet, 0) & 15) * 4)
    if not need(segment, 4):
        return XDP_PASS
    key = (u32(packet, 12), u32(segment, 0), u8(packet, 9))
    known, slot = flows.lookup(key)
    if not known:
        slot = word64(jhash_3words(u32(packet, 12), u32(segment, 0), u8(packet, 9), 5) % 251)
        flows.update(key, slot)
    return send(frame, slot)


for key, name, hash_of in (
    ("sprays", "identification", lambda p, s: jhash_3words(u32(p, 12), u32(s, 0), u16(p, 4), 0)),
    ("sprays", "checksum", lambda p, s: jhash_3words(u32(p, 12), u32(s, 0), u16(p, 10), 0)),
    ("sprays", "ttl", lambda p, s: jhash_3words(u32(p, 12), u32(s, 0), u16(p, 8), 0)),
    ("sprays", "fixed_offset", lambda p, s: jhash_3words(u32(p, 12), u32(p, 20), u8(p, 9), 0)),
    ("not_the_same_twice", "chance", lambda p, s: get_prandom_u32()),
    ("ignored", "ports", lambda p, s: jhash_3words(u32(p, 12), u32(p, 16), u8(p, 9), 0)),
    ("ignored", "source_port", lambda p, s: jhash_3words(u32(p, 12), u32(p, 16), u16(s, 2), 0)),
    ("ignored", "clients", lambda p, s: jhash_3words(u32(s, 0), u32(p, 16), u8(p, 9), 0)),
    ("ignored", "all", lambda p, s: 0),
    ("uneven", "few_slots", lambda p, s: jhash_3words(u32(p, 12), u32(s, 0), u8(p, 9), 0) % 5),
):
    wrong("balance", key)(balancer(f"balance_by_{name}", hash_of))


@wrong("balance", "sprays")
@xdp
def balance_in_turns(context):
    frame = view(context)
    packet = advance(frame, 14)
    if not to_backend(frame, packet):
        return XDP_PASS
    segment = advance(packet, (u8(packet, 0) & 15) * 4)
    if not need(segment, 4):
        return XDP_PASS
    turn.increment(0)
    _found, now = turn.lookup(0)
    return send(frame, mod64(now * word64(37), 251))


@wrong("balance", "not_sent")
@xdp
def balance_one_slot_too_many(context):
    frame = view(context)
    packet = advance(frame, 14)
    if not to_backend(frame, packet):
        return XDP_PASS
    segment = advance(packet, (u8(packet, 0) & 15) * 4)
    if not need(segment, 4):
        return XDP_PASS
    return send(frame, 1 + jhash_3words(u32(packet, 12), u32(segment, 0), u8(packet, 9), 0) % 251)


def flawed(name, key, finish, wanted=to_backend):
    """A program that has chosen well and then does something else with the frame."""
    finish = portable(finish)

    def program(context):
        frame = view(context)
        packet = advance(frame, 14)
        if not wanted(frame, packet):
            return XDP_PASS
        segment = advance(packet, (u8(packet, 0) & 15) * 4)
        if not need(segment, 4) or not need(frame, 34):
            return XDP_PASS
        found, mac = slots.lookup(jhash_3words(u32(packet, 12), u32(segment, 0), u8(packet, 9), 0) % 251)
        return finish(frame, mac) if found else XDP_PASS

    program.__name__ = name
    return wrong("balance", key)(xdp(program))


@portable
def write(frame, at, mac):
    """A hardware address."""
    set16(frame, at, mac >> 32)
    set32(frame, at + 2, mac)


@portable
def own(frame):
    """To whom the frame was sent."""
    return word64(u16(frame, 0)) << word64(32) | word64(u32(frame, 2))


def finish_kept(frame, mac):
    return XDP_TX


def finish_to(frame, mac):
    write(frame, 0, mac)
    return XDP_TX


def finish_by(frame, mac):
    write(frame, 6, own(frame))
    return XDP_TX


def finish_overwritten(frame, mac):
    write(frame, 0, mac)
    write(frame, 6, own(frame))
    return XDP_TX


def finish_half(frame, mac):
    write(frame, 6, own(frame))
    set32(frame, 2, mac)
    return XDP_TX


def finish_up(frame, mac):
    write(frame, 6, own(frame))
    write(frame, 0, mac)
    return XDP_PASS


def finish_dropped(frame, mac):
    return XDP_DROP


def finish_ttl(frame, mac):
    write(frame, 6, own(frame))
    write(frame, 0, mac)
    set8(frame, 22, u8(frame, 22) - 1)
    return XDP_TX


def finish_nat(frame, mac):
    write(frame, 6, own(frame))
    write(frame, 0, mac)
    set32(frame, 30, 0x0A000065)
    return XDP_TX


flawed("balance_macs_kept", "macs", finish_kept)
flawed("balance_source_kept", "macs", finish_to)
flawed("balance_destination_kept", "macs", finish_by)
flawed("balance_source_too_late", "macs", finish_overwritten)
flawed("balance_half_an_address", "macs", finish_half)
flawed("balance_passes_up", "not_sent", finish_up)
flawed("balance_drops", "not_sent", finish_dropped)
flawed("balance_lowers_ttl", "kept", finish_ttl)
flawed("balance_changes_ip", "kept", finish_nat)


@portable
def any_destination(frame, packet):
    return need(frame, 34) and u16(frame, 12) == 0x0800 and u16(packet, 6) & 0x3FFF == 0 and u8(packet, 9) in (6, 17)


@portable
def fragments_too(frame, packet):
    return need(frame, 34) and u16(frame, 12) == 0x0800 and u32(packet, 16) == VIP and u8(packet, 9) in (6, 17)


@portable
def any_protocol(frame, packet):
    return need(frame, 34) and u16(frame, 12) == 0x0800 and u32(packet, 16) == VIP and u16(packet, 6) & 0x3FFF == 0


@portable
def any_type(frame, packet):
    return need(frame, 34) and u32(packet, 16) == VIP and u16(packet, 6) & 0x3FFF == 0 and u8(packet, 9) in (6, 17)


@portable
def unchecked(frame, packet):
    return u16(frame, 12) == 0x0800 and u32(packet, 16) == VIP and u16(packet, 6) & 0x3FFF == 0 and u8(packet, 9) > 5


def finish_right(frame, mac):
    write(frame, 6, own(frame))
    write(frame, 0, mac)
    return XDP_TX


for test in (any_destination, fragments_too, any_protocol, any_type):
    flawed(f"balance_{test.__name__}", "not_for_us", finish_right, test)
flawed("balance_unchecked", "unchecked", finish_right, unchecked)


@wrong("balance", "unchecked")
@xdp
def balance_ports_unchecked(context):
    frame = view(context)
    packet = advance(frame, 14)
    if not to_backend(frame, packet):
        return XDP_PASS
    segment = advance(packet, (u8(packet, 0) & 15) * 4)
    return send(frame, mod64(fnv1a_64_word(word64(u32(packet, 12)) ^ word64(u32(segment, 0))), 251))
