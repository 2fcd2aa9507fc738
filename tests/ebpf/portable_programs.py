"""Packet functions in one source, for every target: what they do is of no use, but touches all there is to touch."""

from __future__ import annotations

from lbcore.ebpf import maps
from lbcore.ebpf.contexts import XDP_DROP, XDP_PASS, XDP_TX
from lbcore.ebpf.maps import B16, B32, U32, U64
from lbcore.wire import checksum, ethernet, ipv4, ipv6, tcp, udp
from lbcore.wire.portable import portable
from lbcore.wire.seam import advance, grow_head, lookup, need, set16, set32, set64, size_of, u8, u16, u32, u64, view
from lbcore.wire.words import add32, int64, mul32, word64

protocols = maps.array("protocols", 256)
ports = maps.percpu_array("ports", 16, value=U32)
sources = maps.hash_map("sources", 64, key=(B32, B16), value=U64)
recent = maps.lru_hash("recent", 100_000, key=(U32, B16, B32), value=(U32, U64, B16))
services = maps.hash_map("services", 16, key=B32, value=(B32, B16))
prefixes = maps.lpm_trie("prefixes", 16)
log = maps.ringbuf("log", 1 << 20, record=(B32, B16))


@portable
def mix(h, x):
    """32 bits that depend on all bits of both."""
    return add32(mul32(h ^ (x & 0xFFFFFFFF), 0x9E3779B1), x >> 32 & 0xFFFFFFFF)


@portable
def transport(p, protocol, h):
    if protocol == ipv4.TCP:
        t = tcp.parse(p)
        h = mix(mix(h, t.verdict), t.source_port << 16 | t.destination_port)
        return mix(mix(mix(h, t.sequence), t.acknowledgment), t.flags << 16 | t.window)
    if protocol == ipv4.UDP:
        u = udp.parse(p)
        return mix(mix(h, u.verdict), u.source_port << 32 | u.destination_port << 16 | u.total_length)
    return mix(h, protocol)


def parse(context):
    """Ethernet, VLAN tags, IPv4, IPv6 with extension headers, TCP, UDP: every field read, as a hash."""
    p = view(context)
    link = ethernet.parse(p)
    h = mix(1, link.ethertype << 8 | link.verdict)
    if link.verdict:
        return h
    p = advance(p, link.header_length)
    if link.ethertype == ethernet.IPV4:
        ip = ipv4.parse(p)
        h = mix(mix(mix(h, ip.verdict), ip.source), ip.destination)
        h = mix(h, ip.total_length << 16 | ip.fragment_offset)
        if ip.verdict:
            return h
        return transport(advance(p, ip.header_length), ip.protocol, h)
    if link.ethertype == ethernet.IPV6:
        six = ipv6.parse(p)
        h = mix(mix(h, six.verdict), six.header_length << 16 | six.protocol)
        h = mix(mix(h, int64(six.source_low >> 1)), int64(six.destination_high >> 1))
        if six.verdict:
            return h
        return transport(advance(p, six.header_length), six.protocol, h)
    return h


def nat(context):
    """A new destination for IPv4 TCP and UDP, found in a map; checksums repaired, never computed anew."""
    p = view(context)
    link = ethernet.parse(p)
    if link.verdict or link.ethertype != ethernet.IPV4:
        return XDP_PASS
    p = advance(p, link.header_length)
    ip = ipv4.parse(p)
    if ip.verdict or ipv4.is_fragment(ip):
        return XDP_PASS
    found, (address, port) = services.lookup(ip.destination)
    if not found:
        return XDP_PASS
    q = advance(p, ip.header_length)
    at = 6 if ip.protocol == ipv4.UDP else 16
    if ip.protocol == ipv4.TCP:
        if not need(q, tcp.LENGTH):
            return XDP_DROP
        summed = checksum.update32(u16(q, 16), ip.destination, address)
        set16(q, 16, checksum.update16(summed, u16(q, 2), port))
    elif ip.protocol == ipv4.UDP:
        if not need(q, udp.LENGTH):
            return XDP_DROP
        if u16(q, 6):
            summed = checksum.update32(u16(q, 6), ip.destination, address)
            summed = checksum.update16(summed, u16(q, 2), port)
            set16(q, 6, summed if summed else 0xFFFF)
    else:
        return XDP_DROP + at
    set16(q, 2, port)
    set16(p, 10, checksum.update32(ip.checksum, ip.destination, address))
    set32(p, 16, address)
    return XDP_TX


def encapsulate(context):
    """IPv4 in IPv4: the packet grows by a header in front, and the Ethernet header moves."""
    p = view(context)
    if not need(p, 34) or u16(p, 12) != ethernet.IPV4:
        return XDP_PASS
    length = size_of(p) - ethernet.LENGTH + ipv4.LENGTH
    addresses, source = u64(p, 0), u32(p, 26)
    rest = u32(p, 8)
    if not grow_head(context, ipv4.LENGTH):
        return XDP_DROP
    p = view(context)
    if not need(p, 34):
        return XDP_DROP
    set64(p, 0, addresses)
    set32(p, 8, rest)
    set16(p, 12, ethernet.IPV4)
    q = advance(p, 14)
    ipv4.build(q, ipv4.Header(0, 20, 0, length, 0, 1, 0, 0, 64, ipv4.IPIP, 0, source, 0x0A000063))
    return XDP_TX


def count(context):
    """Every kind of map: counters, a table of sources that fills up, a table of recent ones, prefixes, a log."""
    p = view(context)
    link = ethernet.parse(p)
    if link.verdict or link.ethertype != ethernet.IPV4:
        return XDP_PASS
    p = advance(p, link.header_length)
    ip = ipv4.parse(p)
    if ip.verdict:
        protocols.increment(255)
        return XDP_PASS
    protocols.increment(ip.protocol)
    q = advance(p, ip.header_length)
    if not need(q, 4):
        return XDP_DROP
    ports.increment(u16(q, 2) & 15, 3)
    known = sources.increment((ip.source, u16(q, 0)))
    found, before = recent.lookup((ip.protocol, u16(q, 0), ip.source))
    times = before[0] + 1 if found else 1
    recent.update((ip.protocol, u16(q, 0), ip.source), (times, word64(size_of(p)), u16(q, 2)))
    if times == 3:
        recent.delete((ip.protocol, u16(q, 0), ip.source))
    inside, prefix = prefixes.lookup((32, ip.destination))
    _, here = lookup(ports, 3)
    if not known:
        log.output((ip.source, u16(q, 2)))
    return (times << 24) + (prefix << 16 if inside else 0) + (here & 0xFFF) + (0x8000 if known else 0)


def network_layer(context):
    """IPv4 or IPv6 and what it carries, from its first byte: every field read, as a hash."""
    p = view(context)
    if not need(p, 1):
        return 0
    if u8(p, 0) >> 4 == 6:
        six = ipv6.parse(p)
        h = mix(mix(2, six.verdict), six.header_length << 16 | six.protocol)
        return h if six.verdict else transport(advance(p, six.header_length), six.protocol, h)
    ip = ipv4.parse(p)
    h = mix(mix(mix(3, ip.verdict), ip.source), ip.destination)
    return h if ip.verdict else transport(advance(p, ip.header_length), ip.protocol, h)
