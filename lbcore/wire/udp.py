"""UDP: two ports, a length, a checksum that IPv4 may leave out (RFC 768)."""

from __future__ import annotations

from typing import NamedTuple

from lbcore.wire import checksum
from lbcore.wire.portable import portable
from lbcore.wire.seam import View, need, set16, size_of, u16
from lbcore.wire.verdict import BAD_TOTAL_LENGTH, OK, TRUNCATED

LENGTH = 8


class Header(NamedTuple):
    """A UDP header. Lengths in bytes."""

    verdict: int = OK
    header_length: int = LENGTH
    source_port: int = 0
    destination_port: int = 0
    total_length: int = LENGTH
    """Header and data."""
    checksum: int = 0
    """0 means none was sent: allowed over IPv4; over IPv6 only inside some tunnels (RFC 6935)."""


@portable
def parse(p: View) -> Header:
    """The header at the start of a view. Verdicts: TRUNCATED, BAD_TOTAL_LENGTH.

    A length of 0, an IPv6 jumbogram (RFC 2675), is refused like any other that is below 8.
    """
    if not need(p, LENGTH):
        return Header(TRUNCATED, 0, 0, 0, 0, 0)
    total_length = u16(p, 4)
    verdict = BAD_TOTAL_LENGTH if total_length < LENGTH or total_length > size_of(p) else OK
    return Header(verdict, LENGTH, u16(p, 0), u16(p, 2), total_length, u16(p, 6))


@portable
def build(p: View, header: Header) -> None:
    """Write the 8 bytes, checksum as given (`finish` computes it when the data is in place)."""
    set16(p, 0, header.source_port)
    set16(p, 2, header.destination_port)
    set16(p, 4, header.total_length)
    set16(p, 6, header.checksum)


@portable
def finish(p: View, pseudo_header: int, length: int) -> None:
    """Write the checksum over `length` bytes and the IP layer's unfolded sum; a computed 0 is sent as 0xFFFF."""
    set16(p, 6, 0)
    value = checksum.finish(pseudo_header + checksum.add(p, 0, length))
    set16(p, 6, value if value else 0xFFFF)
