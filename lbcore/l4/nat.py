"""Network address translation: other addresses and ports in the same packet, and checksums that stay right.

Rule of this file: it rewrites; which ends a flow gets, `core` has decided. RFC 3022, RFC 1624; for errors RFC 5508.

Theory. The checksums of TCP and UDP cover the addresses too, so whoever writes an address repairs two checksums. None
of them needs the data: old words out, new words in (`wire.checksum`). A translator is a router as well, so it counts
down the hops.

An ICMP error quotes a packet of the flow, on its way in the other direction. To whoever receives it, the quote must
look like what he once sent: so the quoted addresses, ports and checksums are translated as well, and the ICMP checksum
repaired for all of it.

Traps. UDP over IPv4 may come without a checksum; then it leaves without. What is computed as 0 is sent as 0xFFFF
(RFC 768). In a quote, TCP's checksum may lie beyond the end.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from lbcore.l4.flow import QUOTED, TCP, UDP, Flow
from lbcore.l4.link import readdress
from lbcore.l4.reasons import FORWARDED, TRUNCATED, TTL
from lbcore.wire import checksum, icmp, ipv4, ipv6, tcp
from lbcore.wire.portable import portable
from lbcore.wire.seam import View, advance, need, set8, set16, set32, set64, u8, u16, u32, u64, view
from lbcore.wire.words import int64, word64

MASK64 = 0xFFFFFFFFFFFFFFFF


class Ends(NamedTuple):
    """The two ends of a flow; `ports`: the source's << 16 | the destination's."""

    source_high: int
    source_low: int
    destination_high: int
    destination_low: int
    ports: int


@portable
def translate(context: Any, flow: Flow, new: Ends, ethernet: int) -> int:
    """Give a packet of a flow new ends and send it to an Ethernet address. Reasons: FORWARDED, TRUNCATED, TTL."""
    if flow.ttl <= 1:
        return TTL
    p = view(context)
    q, r = advance(p, flow.link), advance(p, flow.transport)
    if not need(p, 14) or not need(q, ipv4.LENGTH if flow.version == 4 else ipv6.LENGTH) or not need(r, 8):
        return TRUNCATED
    old = Ends(
        flow.source_high,
        flow.source_low,
        flow.destination_high,
        flow.destination_low,
        flow.source_port << 16 | flow.destination_port,
    )
    if flow.flags & QUOTED:
        return _translate_error(p, q, r, flow, old, new, ethernet)
    moved = difference(old.source_high, old.source_low, new.source_high, new.source_low)
    moved += difference(old.destination_high, old.destination_low, new.destination_high, new.destination_low)
    set_ports(r, flow.protocol, old.ports, new.ports, moved)
    set_source(q, flow.version, new.source_high, new.source_low)
    set_destination(q, flow.version, new.destination_high, new.destination_low)
    hop(q, flow.version, moved)
    readdress(p, ethernet)
    return FORWARDED


@portable
def _translate_error(p: View, q: View, r: View, flow: Flow, old: Ends, new: Ends, ethernet: int) -> int:
    """An ICMP error about a flow: `q` is at its IP header, `r` at its ICMP header."""
    size = ipv4.LENGTH if flow.version == 4 else ipv6.LENGTH
    quote = advance(r, icmp.LENGTH)
    quoted = advance(quote, size)
    if not need(quote, size) or not need(quoted, 4):
        return TRUNCATED
    # Outside: whoever reports keeps his address, unless he is the flow's own source.
    high, low = source(q, flow.version)
    own = high == old.source_high and low == old.source_low
    moved = difference(old.destination_high, old.destination_low, new.destination_high, new.destination_low)
    if own:
        moved += difference(old.source_high, old.source_low, new.source_high, new.source_low)
        set_source(q, flow.version, new.source_high, new.source_low)
    set_destination(q, flow.version, new.destination_high, new.destination_low)
    hop(q, flow.version, moved)
    # Inside: the packet that went the other way.
    inner = difference(old.source_high, old.source_low, new.source_high, new.source_low)
    inner += difference(old.destination_high, old.destination_low, new.destination_high, new.destination_low)
    changed = inner
    set_source(quote, flow.version, new.destination_high, new.destination_low)
    set_destination(quote, flow.version, new.source_high, new.source_low)
    if flow.version == 4:
        before = u16(quote, 10)
        set16(quote, 10, checksum.finish((before ^ 0xFFFF) + inner))
        changed += (before ^ 0xFFFF) + u16(quote, 10)
    before_ports, after_ports = _turned(old.ports), _turned(new.ports)
    set32(quoted, 0, after_ports)
    changed += ports_difference(before_ports, after_ports)
    at = 16 if flow.protocol == TCP else 6
    if flow.protocol in (TCP, UDP):
        mark = advance(quoted, at)
        if need(mark, 2):
            before = u16(mark, 0)
            if before or flow.protocol == TCP:
                set16(mark, 0, checksum.finish((before ^ 0xFFFF) + inner + ports_difference(before_ports, after_ports)))
                changed += (before ^ 0xFFFF) + u16(mark, 0)
    if flow.version == 6:
        changed += moved
    set16(r, 2, checksum.finish((u16(r, 2) ^ 0xFFFF) + changed))
    readdress(p, ethernet)
    return FORWARDED


@portable
def _turned(ports: int) -> int:
    return (ports & 0xFFFF) << 16 | ports >> 16


@portable
def difference(old_high: int, old_low: int, new_high: int, new_low: int) -> int:
    """What a checksum's sum changes by when one address becomes another (RFC 1624: ~old + new), unfolded."""
    gone = checksum.words64(old_high ^ word64(MASK64)) + checksum.words64(old_low ^ word64(MASK64))
    return gone + checksum.words64(new_high) + checksum.words64(new_low)


@portable
def ports_difference(old: int, new: int) -> int:
    """The same for two ports in one 32-bit word."""
    gone = old ^ 0xFFFFFFFF
    return (gone >> 16) + (gone & 0xFFFF) + (new >> 16) + (new & 0xFFFF)


@portable
def set_ports(p: View, protocol: int, old: int, new: int, moved: int) -> None:
    """New ports in the TCP or UDP header of a view, its checksum repaired for them and for `moved`, the addresses' sum.

    8 bytes have been asked for. TCP wants 20, as every parsed TCP header has.
    """
    change = moved + ports_difference(old, new)
    set32(p, 0, new)
    if protocol == TCP:
        if need(p, tcp.LENGTH):
            set16(p, 16, checksum.finish((u16(p, 16) ^ 0xFFFF) + change))
    else:
        before = u16(p, 6)
        if before:
            value = checksum.finish((before ^ 0xFFFF) + change)
            set16(p, 6, value if value else 0xFFFF)


@portable
def source(p: View, version: int) -> tuple[int, int]:
    """The source address of the IP header at a view, as two words."""
    if version == 4:
        return word64(0), word64(0xFFFF_0000_0000 | u32(p, 12))
    return u64(p, 8), u64(p, 16)


@portable
def set_source(p: View, version: int, high: int, low: int) -> None:
    """Write the source address; checksums are the caller's."""
    if version == 4:
        set32(p, 12, int64(low & 0xFFFFFFFF))
    else:
        set64(p, 8, high)
        set64(p, 16, low)


@portable
def set_destination(p: View, version: int, high: int, low: int) -> None:
    """Write the destination address; checksums are the caller's."""
    if version == 4:
        set32(p, 16, int64(low & 0xFFFFFFFF))
    else:
        set64(p, 24, high)
        set64(p, 32, low)


@portable
def hop(p: View, version: int, moved: int) -> None:
    """Count the hop, and repair the header's checksum for that and for `moved`, what its addresses changed by."""
    if version == 4:
        before = u16(p, 8)
        set8(p, 8, (before >> 8) - 1)
        set16(p, 10, checksum.finish((u16(p, 10) ^ 0xFFFF) + moved + (before ^ 0xFFFF) + u16(p, 8)))
    else:
        set8(p, 7, u8(p, 7) - 1)
