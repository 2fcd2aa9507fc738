"""Ethernet frames of one TCP connection: caught on the loopback interface, or rebuilt around its payload.

Rule of this file: it watches and rebuilds; it never sends.

Theory. An AF_PACKET socket on `lo` sees every frame of every connection, so the tap keeps what belongs to one pair of
addresses (IPv4 and TCP only). Whether something was lost is not guessed: the payload is put together again from the
sequence numbers and must equal what the relay wrote down.

Traps
- On `lo` each frame passes twice, out and in again: the outgoing copy is dropped here.
- The kernel leaves the TCP checksum of a frame on `lo` half done: the field holds the pseudo-header's sum (RFC 9293
  section 3.1), for a network card to finish that is not there. That is no fault of the capture.
- A captured frame may be larger than any network's MTU (segmentation, too, is left to the card): up to 64 KiB.
"""

from __future__ import annotations

import os
import socket
import struct
import time
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal, TypeAlias

Address: TypeAlias = tuple[str, int]
Direction: TypeAlias = Literal["client to server", "server to client"]
TO_SERVER: Direction = "client to server"
TO_CLIENT: Direction = "server to client"

CAPTURED = "captured on lo"
REBUILT = "headers rebuilt around captured payload"
FIN, SYN, RST, PSH, ACK = 0x01, 0x02, 0x04, 0x08, 0x10  # RFC 9293 section 3.1
PATIENCE = 1.0  # seconds to wait for the last ACK once both ends are closed; on lo it is there at once


@dataclass(frozen=True)
class Segment:
    """What one side wrote until the other side wrote. when: seconds from the connection's start to its first byte."""

    direction: Direction
    payload: bytes
    when: float


@dataclass(frozen=True)
class TcpFrame:
    """The fields of a frame that the tap needs. Addresses as text and host-order port; seq and ack as sent."""

    source: Address
    target: Address
    seq: int
    ack: int
    flags: int
    payload: bytes


def read_frame(frame: bytes) -> TcpFrame | None:
    """An Ethernet frame as TCP over IPv4, or None if it is something else (or cut)."""
    if len(frame) < 54 or frame[12:14] != b"\x08\x00" or frame[14] >> 4 != 4 or frame[23] != socket.IPPROTO_TCP:
        return None
    tcp = 14 + 4 * (frame[14] & 15)
    end = 14 + int.from_bytes(frame[16:18], "big")
    if not tcp + 20 <= end <= len(frame):
        return None
    sport, dport, seq, ack, offset, flags = struct.unpack_from("!HHIIBB", frame, tcp)
    source, target = socket.inet_ntoa(frame[26:30]), socket.inet_ntoa(frame[30:34])
    return TcpFrame((source, sport), (target, dport), seq, ack, flags, frame[tcp + 4 * (offset >> 4) : end])


class Tap:
    """An open ear on `lo`. Raises OSError (PermissionError without CAP_NET_RAW) where it cannot be opened."""

    def __init__(self) -> None:
        if os.environ.get("LBCORE_TIER") == "0":
            raise PermissionError("LBCORE_TIER=0 asks for a machine without privileges")
        if not hasattr(socket, "AF_PACKET"):
            raise OSError("this system has no AF_PACKET sockets (they are Linux's)")
        self._socket = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)  # protocol 0: deaf until bound
        try:
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 24)  # the kernel cuts it to rmem_max
            self._socket.bind(("lo", 3))  # 3: every protocol (ETH_P_ALL)
        except BaseException:
            self._socket.close()
            raise

    def close(self) -> None:
        """Stop listening."""
        self._socket.close()

    def collect(self, client: Address, server: Address) -> tuple[bytes, ...]:
        """The frames between the two since the tap was opened, up to the connection's last ACK, in order."""
        kept: list[bytes] = []
        closing: dict[Address, int] = {}  # who has sent FIN, and which ACK answers it
        deadline = time.monotonic() + PATIENCE
        while (left := deadline - time.monotonic()) > 0:
            self._socket.settimeout(left)
            try:
                frame, (_, _, kind, *_) = self._socket.recvfrom(1 << 17)
            except TimeoutError:
                break
            tcp = None if kind == socket.PACKET_OUTGOING else read_frame(frame)
            if tcp is None or {tcp.source, tcp.target} != {client, server}:
                continue
            kept.append(frame)
            if tcp.flags & FIN:
                closing[tcp.source] = (tcp.seq + len(tcp.payload) + 1) % 2**32
            answered = closing.get(tcp.target) == tcp.ack
            if tcp.flags & RST or (len(closing) == 2 and answered and not tcp.flags & FIN):
                break
        return tuple(kept)


def payload_of(frames: Iterable[bytes], source: Address) -> bytes:
    """What `source` sent, put together by sequence number; shorter than the truth where frames are missing."""
    sent: dict[int, bytes] = {}
    start = None
    for tcp in filter(None, map(read_frame, frames)):
        if tcp.source == source:
            if tcp.flags & SYN:
                start = (tcp.seq + 1) % 2**32
            elif start is not None:
                offset = (tcp.seq - start) % 2**32
                sent[offset] = max(sent.get(offset, b""), tcp.payload, key=len)
    data = bytearray()
    for offset in sorted(sent):
        if offset > len(data):
            break
        data[offset : offset + len(sent[offset])] = sent[offset]  # a retransmission is cut where it likes
    return bytes(data)


def rebuild_frames(
    segments: Iterable[Segment],
    client: Address,
    server: Address,
    *,
    mss: int = 1460,
    macs: tuple[str, str] = ("00:00:00:00:00:00", "00:00:00:00:00:00"),
    first_seq: tuple[int, int] = (1000, 5000),
) -> tuple[bytes, ...]:
    """Frames as a plain TCP would send this payload between these addresses (IPv4; pairs are client's, server's).

    Handshake, data in pieces of `mss` bytes (PSH on the last), one ACK from the other side after each segment, and the
    server closes first. No options but the MSS, no losses, checksums right. The same arguments give the same bytes.
    """
    from scapy.layers.inet import IP, TCP
    from scapy.layers.l2 import Ether

    ends, macs_of = {TO_SERVER: client, TO_CLIENT: server}, dict(zip((TO_SERVER, TO_CLIENT), macs, strict=True))
    seq = dict(zip((TO_SERVER, TO_CLIENT), first_seq, strict=True))
    opposite = {TO_SERVER: TO_CLIENT, TO_CLIENT: TO_SERVER}
    frames: list[bytes] = []

    def send(way: Direction, flags: int, payload: bytes = b"") -> None:
        back = opposite[way]
        (source, sport), (target, dport) = ends[way], ends[back]
        tcp = TCP(
            sport=sport, dport=dport, seq=seq[way], ack=seq[back] if flags & ACK else 0, flags=flags, window=64240
        )
        if flags & SYN:
            tcp.options = [("MSS", mss)]
        ip = IP(src=source, dst=target, flags="DF", id=0)  # RFC 6864: what cannot be fragmented needs no id
        frames.append(bytes(Ether(src=macs_of[way], dst=macs_of[back]) / ip / tcp / payload))
        seq[way] = (seq[way] + len(payload) + bool(flags & (SYN | FIN))) % 2**32

    send(TO_SERVER, SYN)
    send(TO_CLIENT, SYN | ACK)
    send(TO_SERVER, ACK)
    for segment in segments:
        for at in range(0, len(segment.payload), mss):
            last = at + mss >= len(segment.payload)
            send(segment.direction, ACK | PSH * last, segment.payload[at : at + mss])
        send(opposite[segment.direction], ACK)
    for way in (TO_CLIENT, TO_SERVER):
        send(way, FIN | ACK)
        send(opposite[way], ACK)
    return tuple(frames)
