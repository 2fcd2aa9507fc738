"""Floods, as arrays: one packet many times over, each time with another sender written into it.

Rule of this file: it makes frames, for tests and chapters; it sends nothing anywhere.

Theory. A forger writes any source address into a packet, and a checksum that fits: receivers cannot tell. What they can
tell is that nobody answers. The frames differ in 32 + 16 bits only, so their checksums are repaired, all at once, as a
NAT would (RFC 1624 equation 3), instead of being computed.
"""

from __future__ import annotations

import ipaddress
from typing import Any

import numpy as np
import numpy.typing as npt

from lbcore.wire import ipv4

SOURCE, IP_CHECKSUM, TRANSPORT = 14 + 12, 14 + 10, 14 + 20
"""Where they are in an untagged Ethernet frame with an IPv4 packet without options."""
TRANSPORT_CHECKSUM = {ipv4.TCP: TRANSPORT + 16, ipv4.UDP: TRANSPORT + 6}


def senders(network: str, count: int, random: np.random.Generator) -> npt.NDArray[np.uint32]:
    """uint32[count]: IPv4 addresses of a network such as "198.18.0.0/15", drawn at random, as host integers."""
    net = ipaddress.IPv4Network(network)
    return random.integers(int(net.network_address), int(net.broadcast_address) + 1, count).astype(np.uint32)


def forged(
    frame: bytes, sources: npt.NDArray[np.uint32], ports: npt.NDArray[np.uint16], *, headroom: int = 0
) -> npt.NDArray[np.uint8]:
    """uint8[n, headroom + len(frame)]: the frame n times, from each of the sources (IPv4, host integers) and ports.

    Checksums are right if the frame's are. ValueError unless it is TCP or UDP over IPv4, untagged, without options.
    """
    if frame[12:15] != b"\x08\x00\x45" or frame[23] not in TRANSPORT_CHECKSUM or len(frame) < TRANSPORT + 8:
        raise ValueError(f"frame {frame[:34].hex()}: wanted TCP or UDP over IPv4, without VLAN tag and IP options")
    block = np.zeros((len(sources), headroom + len(frame)), np.uint8)
    block[:, headroom:] = np.frombuffer(frame, np.uint8)
    rows = block[:, headroom:]
    addresses = [(SOURCE, np.asarray(sources) >> 16), (SOURCE + 2, np.asarray(sources) & 0xFFFF)]
    _repair(rows, IP_CHECKSUM, addresses)
    at = TRANSPORT_CHECKSUM[frame[23]]
    if frame[at : at + 2] != b"\0\0":  # UDP may have none
        _repair(rows, at, [*addresses, (TRANSPORT, np.asarray(ports))])
    for where, words in (*addresses, (TRANSPORT, np.asarray(ports))):
        _write(rows, where, words)
    return block


def _repair(rows: npt.NDArray[np.uint8], at: int, changes: list[tuple[int, Any]]) -> None:
    """Make a checksum fit words that are about to be written."""
    total = _read(rows, at) ^ 0xFFFF
    for where, words in changes:
        total = total + (_read(rows, where) ^ 0xFFFF) + words.astype(np.int64)
    while (total >> 16).any():
        total = (total & 0xFFFF) + (total >> 16)
    _write(rows, at, total ^ 0xFFFF)


def _read(rows: npt.NDArray[np.uint8], at: int) -> Any:
    return rows[:, at].astype(np.int64) << 8 | rows[:, at + 1]


def _write(rows: npt.NDArray[np.uint8], at: int, words: Any) -> None:
    rows[:, at], rows[:, at + 1] = words >> 8, words & 0xFF
