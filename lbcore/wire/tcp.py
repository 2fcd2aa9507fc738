"""TCP: which conversation on the host, and where in it (RFC 9293).

Theory. A balancer at layer 4 reads four bytes of this header, the ports, and on the first packet one more, the flags.
The sequence numbers belong to the two ends; who only forwards leaves them alone, who answers for a backend
(a SYN cookie, a proxy) must translate them for as long as the connection lives.
"""

from __future__ import annotations

from typing import NamedTuple

from lbcore.wire import checksum
from lbcore.wire.portable import portable
from lbcore.wire.seam import View, need, set8, set16, set32, u8, u16, u32
from lbcore.wire.verdict import BAD_HEADER_LENGTH, OK, TRUNCATED

LENGTH = 20
FIN, SYN, RST, PSH, ACK, URG, ECE, CWR = 1, 2, 4, 8, 16, 32, 64, 128
FLAG_NAMES = ("FIN", "SYN", "RST", "PSH", "ACK", "URG", "ECE", "CWR")


class Header(NamedTuple):
    """A TCP header. Ports, numbers and window in host order, lengths in bytes."""

    verdict: int = OK
    header_length: int = LENGTH
    source_port: int = 0
    destination_port: int = 0
    sequence: int = 0
    acknowledgment: int = 0
    flags: int = 0
    """The eight flags, FIN in the lowest bit."""
    window: int = 65535
    checksum: int = 0
    urgent: int = 0


@portable
def parse(p: View) -> Header:
    """The header at the start of a view. Verdicts: TRUNCATED, BAD_HEADER_LENGTH."""
    if not need(p, LENGTH):
        return Header(TRUNCATED, 0, 0, 0, 0, 0, 0, 0, 0, 0)
    header_length = (u8(p, 12) >> 4) * 4
    verdict = OK
    if header_length < LENGTH:
        verdict = BAD_HEADER_LENGTH
    elif not need(p, header_length):
        verdict = TRUNCATED
    return Header(
        verdict,
        header_length,
        u16(p, 0),
        u16(p, 2),
        u32(p, 4),
        u32(p, 8),
        u8(p, 13),
        u16(p, 14),
        u16(p, 16),
        u16(p, 18),
    )


@portable
def build(p: View, header: Header) -> None:
    """Write the fixed 20 bytes, checksum as given (`finish` computes it when header, options and data are in place)."""
    set16(p, 0, header.source_port)
    set16(p, 2, header.destination_port)
    set32(p, 4, header.sequence)
    set32(p, 8, header.acknowledgment)
    set8(p, 12, header.header_length << 2)
    set8(p, 13, header.flags)
    set16(p, 14, header.window)
    set16(p, 16, header.checksum)
    set16(p, 18, header.urgent)


@portable
def finish(p: View, pseudo_header: int, length: int) -> None:
    """Write the checksum over `length` bytes of header and data and the IP layer's unfolded `pseudo_header` sum."""
    set16(p, 16, 0)
    set16(p, 16, checksum.finish(pseudo_header + checksum.add(p, 0, length)))
