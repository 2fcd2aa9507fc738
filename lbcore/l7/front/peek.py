"""What a connection begins with, looked at while it still lies in the kernel.

Rule of this file: it waits and looks; of what is not its own (all but a PROXY header) no byte is taken.

Theory. With MSG_PEEK bytes are read and stay: whoever gets the connection then, our TLS or a backend that has the key,
reads it from its first byte. Of the ways to give asyncio's TLS bytes that were read already, none is in its interface
(start_tls takes a transport that has read nothing), and feeding an SSLObject by hand would give up uvloop's TLS for the
whole connection.

Traps
- Looking again finds the same bytes at once; SO_RCVLOWAT makes the kernel wait for more of them.
- A client that has sent half of it and its end is readable for ever: no more bytes than before is the end.
- With Encrypted Client Hello the name seen here is the outer one.
"""

from __future__ import annotations

import asyncio
import socket
from typing import Final

from lbcore.wire import proxy_protocol, tls_hello
from lbcore.wire.errors import Incomplete
from lbcore.wire.proxy_protocol import Header
from lbcore.wire.tls_hello import ClientHello

HEADER: Final = 1 << 16
"""Bytes looked at for a PROXY header; its parser has a limit of its own."""


async def header_of(sock: socket.socket) -> Header:
    """The PROXY header, taken off; what follows it stays. Malformed; ConnectionError: it has ended."""
    wanted = 1
    while True:
        data = await _look(sock, wanted, HEADER)
        try:
            header, size = proxy_protocol.parse(data)
        except Incomplete as short:
            wanted = len(data) + short.needed
            continue
        sock.recv(size)
        return header


async def hello_of(sock: socket.socket, limit: int) -> ClientHello:
    """The ClientHello, which stays where it is. Malformed; ConnectionError: it has ended."""
    wanted = 1
    while True:
        data = await _look(sock, wanted, limit)
        try:
            return tls_hello.parse(data, limit=limit)
        except Incomplete as short:
            wanted = len(data) + short.needed


async def _look(sock: socket.socket, wanted: int, limit: int) -> bytes:
    """At least so many bytes. ConnectionError: there will not be as many."""
    loop, ready = asyncio.get_running_loop(), asyncio.Event()
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT, wanted)
    loop.add_reader(sock, ready.set)
    try:
        await ready.wait()
    finally:
        loop.remove_reader(sock)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT, 1)
    data = sock.recv(limit, socket.MSG_PEEK)
    if len(data) < wanted:
        raise ConnectionResetError("the client left before it said who it is, or whom it wants")
    return data
