"""Sockets as a relay needs them: that listen, that dial, that speak from an address which is not this machine's.

Rule of this file: system calls. Every function gives an open, non-blocking socket or raises OSError and leaves nothing.

Theory of transparency (kernel: Documentation/networking/tproxy.rst). IP_TRANSPARENT lets a socket be bound to any
address. Bound to the client's, it dials a backend, and the backend sees the client. That is the easy half. The backend
answers to the client's address, so its routes must lead through this machine, and this machine must take in packets
that are not for it: a routing table whose one route calls everything local, chosen by a rule for the interface
where backends are (or by a firewall mark).

    ip rule add iif eth1 lookup 100
    ip route add local default dev lo table 100

So the backends must be behind this machine, as with NAT; the PROXY protocol needs nothing of the kind.
"""

from __future__ import annotations

import errno
import os
import resource
import socket
import struct
from collections.abc import Iterator
from contextlib import contextmanager

from lbcore.wire.proxy_protocol import Inet

EXHAUSTED = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)  # this machine's fault, not the other end's
TRANSPARENT = {socket.AF_INET: (socket.IPPROTO_IP, 19), socket.AF_INET6: (socket.IPPROTO_IPV6, 75)}  # linux/in.h, in6.h
RESERVE = 64  # descriptors for all that is no connection
DATAGRAM = 1 << 20  # bytes of a UDP socket's receive buffer that we ask for
NOW = struct.pack("ii", 1, 0)  # SO_LINGER: closing sends RST at once


def family_of(address: str) -> socket.AddressFamily:
    """AF_INET or AF_INET6, by the look of a numeric address."""
    return socket.AF_INET6 if ":" in address else socket.AF_INET


def connections_possible() -> int:
    """How many connections the limit on descriptors leaves room for; each takes two."""
    return max(1, (resource.getrlimit(resource.RLIMIT_NOFILE)[0] - RESERVE) // 2)


class Spare:
    """A descriptor kept until it is needed for something better."""

    def __init__(self) -> None:
        self._number: int | None = os.open(os.devnull, os.O_RDONLY)

    def give(self) -> None:
        """Let go of it: the next socket of this thread finds a place. It may be called again."""
        if self._number is not None:
            os.close(self._number)
            self._number = None


@contextmanager
def or_closed(sock: socket.socket) -> Iterator[socket.socket]:
    """The socket stays open if the block goes well."""
    try:
        yield sock
    except BaseException:
        sock.close()
        raise


def make_transparent(sock: socket.socket) -> None:
    """Let it be bound to any address. PermissionError without CAP_NET_ADMIN."""
    level, option = TRANSPARENT[socket.AddressFamily(sock.family)]
    sock.setsockopt(level, option, 1)


def listening(address: tuple[str, int], kind: socket.SocketKind, *, backlog: int, transparent: bool) -> socket.socket:
    """A socket that takes TCP connections or UDP datagrams; of IPv6, IPv6 only."""
    with or_closed(socket.socket(family_of(address[0]), kind)) as sock:
        sock.setblocking(False)
        if sock.family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        if transparent:
            make_transparent(sock)
        if kind == socket.SOCK_STREAM:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            sock.bind(address)
            sock.listen(backlog)
        else:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, DATAGRAM)
            sock.bind(address)
        return sock


def dialling(target: tuple[str, int], kind: socket.SocketKind, source: Inet | None = None) -> socket.socket:
    """A socket to connect to `target` with; `source`: from this address and port, whosesoever they are."""
    with or_closed(socket.socket(family_of(target[0]), kind)) as sock:
        sock.setblocking(False)
        if source:
            make_transparent(sock)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            sock.bind(tuple(source))
        return sock
