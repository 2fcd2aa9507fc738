"""Every parser over a packet, as one row of numbers: one source for plain Python, numba, and numba with checks.

A row holds what was read on the way, at fixed columns; a column nobody reached stays 0.
"""

from __future__ import annotations

import numpy as np

from lbcore.jit import kernel
from lbcore.wire import checksum, ethernet, icmp, ipv4, ipv6, options, tcp, udp
from lbcore.wire.portable import portable
from lbcore.wire.seam import advance, need, size_of, u8, u16, view
from lbcore.wire.seam_numba import checked_context, memory_context, new_cell, place
from lbcore.wire.verdict import BAD_TOTAL_LENGTH, OK

ETHERNET, IPV4, IPV6, TCP, UDP, ICMP, OPTION, QUOTED, SUM, COLUMNS = 0, 6, 20, 36, 46, 52, 59, 67, 73, 74


@portable
def put(row, at, header):
    for value in header:
        row[at] = value
        at += 1


@portable
def put_ipv6(row, at, h):
    """Its fields are of two kinds (address words wrap), which no loop can go over in numba."""
    row[at], row[at + 1], row[at + 2], row[at + 3] = h.verdict, h.header_length, h.traffic_class, h.flow_label
    row[at + 4], row[at + 5], row[at + 6] = h.total_length, h.next_header, h.hop_limit
    row[at + 7], row[at + 8] = h.source_high, h.source_low
    row[at + 9], row[at + 10] = h.destination_high, h.destination_low
    row[at + 11], row[at + 12], row[at + 13] = h.protocol, h.fragment_offset, h.more_fragments
    row[at + 14], row[at + 15] = h.identification, h.fragmented


@portable
def quote(p, row):
    """The addresses and ports of the packet that an ICMPv4 error quotes."""
    ip = ipv4.parse(p)
    row[QUOTED], row[QUOTED + 1], row[QUOTED + 2], row[QUOTED + 3] = ip.verdict, ip.source, ip.destination, ip.protocol
    if ip.verdict == OK or (ip.verdict == BAD_TOTAL_LENGTH and ip.header_length >= ipv4.LENGTH):
        p = advance(p, ip.header_length)
        if need(p, 4):
            row[QUOTED + 4], row[QUOTED + 5] = u16(p, 0), u16(p, 2)


@portable
def transport(p, protocol, length, pseudo_header, row):
    if protocol == ipv4.TCP:
        segment = tcp.parse(p)
        put(row, TCP, segment)
        if segment.verdict == OK:
            put(row, OPTION, options.find(advance(p, tcp.LENGTH), segment.header_length - tcp.LENGTH, 2))
    elif protocol == ipv4.UDP:
        put(row, UDP, udp.parse(p))
    elif protocol in (ipv4.ICMP, ipv6.ICMP):
        message = icmp.parse(p)
        put(row, ICMP, message)
        if message.verdict == OK and protocol == ipv4.ICMP:
            pseudo_header = 0
            if icmp.quotes_ipv4(message):
                quote(advance(p, icmp.LENGTH), row)
    row[SUM] = checksum.finish(pseudo_header + checksum.add(p, 0, length))


@portable
def walk(context, row):
    p = view(context)
    link = ethernet.parse(p)
    put(row, ETHERNET, link)
    if link.verdict:
        return
    p = advance(p, link.header_length)
    if link.ethertype == ethernet.IPV4:
        ip = ipv4.parse(p)
        put(row, IPV4, ip)
        if ip.verdict == OK:
            row[IPV4 + 13] = ipv4.checksum_ok(p, ip)
            put(row, OPTION + 4, options.find(advance(p, ipv4.LENGTH), ip.header_length - ipv4.LENGTH, 68))
            if ip.fragment_offset == 0:
                length = ip.total_length - ip.header_length
                transport(advance(p, ip.header_length), ip.protocol, length, ipv4.pseudo_header(ip), row)
    elif link.ethertype == ethernet.IPV6:
        ip6 = ipv6.parse(p)
        put_ipv6(row, IPV6, ip6)
        if ip6.verdict == OK and ip6.fragment_offset == 0:
            length = ip6.total_length - ip6.header_length
            transport(advance(p, ip6.header_length), ip6.protocol, length, ipv6.pseudo_header(ip6), row)


@kernel
def walk_many(buffer, starts, ends, rows):
    cell = new_cell()
    for i in range(starts.size):
        place(cell, buffer, starts[i], ends[i])
        walk(memory_context(cell), rows[i])


@kernel
def walk_many_checked(buffer, starts, ends, rows):
    cell = new_cell()
    for i in range(starts.size):
        place(cell, buffer, starts[i], ends[i])
        walk(checked_context(cell), rows[i])


@portable
def read_one_too_far(context):
    p = view(context)
    return u8(p, size_of(p))


@kernel
def too_far(buffer, start, end):
    cell = new_cell()
    place(cell, buffer, start, end)
    return read_one_too_far(memory_context(cell))


@kernel
def too_far_checked(buffer, start, end):
    cell = new_cell()
    place(cell, buffer, start, end)
    return read_one_too_far(checked_context(cell))


def plain(frames):
    """uint64[n, COLUMNS]: the rows by plain Python, in which an access outside the packet raises IndexError."""
    rows = np.zeros((len(frames), COLUMNS), np.uint64)
    for frame, row in zip(frames, rows, strict=True):
        walk(frame, row)
    return rows


def compiled(frames, *, checked):
    """The same by numba; `checked` as in `seam_numba.checked_context`."""
    ends = np.cumsum([len(frame) for frame in frames])
    starts = ends - [len(frame) for frame in frames]
    buffer = np.frombuffer(b"".join(frames) or b"\0", np.uint8).copy()
    rows = np.zeros((len(frames), COLUMNS), np.uint64)
    (walk_many_checked if checked else walk_many)(buffer, starts, ends, rows)
    return rows
