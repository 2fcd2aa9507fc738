"""Backends that say who they are and whom they saw: an HTTP server and a UDP echo.

Rule of this file: an answer tells the backend's name and the two addresses of the connection as the backend knows
them. That is all a test of a balancer needs: who was picked, whether the client's address got through, which address
it was sent to.

Theory. The listening socket is opened in the host before the server's process starts, and handed to it: a client may
connect as soon as `serve` has returned, for the kernel completes the handshake by itself.

Trap. A UDP server on 0.0.0.0 that answers with sendto speaks from the address of the interface, not from the virtual
address that it was asked at, and the client drops the answer. IP_PKTINFO tells the address and sets it (ip(7)).
"""

from __future__ import annotations

import asyncio
import json
import socket
from asyncio import StreamReader, StreamWriter
from contextlib import suppress
from typing import TYPE_CHECKING, NamedTuple

from lbcore.testbed.smallest import HEAD_LIMIT, Handler, Refused, body_size, close, parse_request, read_head

if TYPE_CHECKING:
    from lbcore.testbed.hosts import Host
    from lbcore.testbed.namespaces import Task

BACKLOG = 1024
LONGEST = 65535


class Note(NamedTuple):
    """The kernel's note beside a datagram (struct in_pktinfo, in6_pktinfo): how to ask for it, what lies where."""

    level: int
    ask: int
    kind: int
    address: slice  # the address of ours that it was sent to, and that an answer speaks from
    interface: slice  # the interface it came in at; zeroed in an answer, for routing decides that


PKTINFO = {  # ip(7), ipv6(7)
    socket.AF_INET: Note(socket.IPPROTO_IP, 8, 8, slice(4, 8), slice(0, 4)),
    socket.AF_INET6: Note(socket.IPPROTO_IPV6, 49, 50, slice(0, 16), slice(16, 20)),
}


def serve_http(host: Host, port: int = 80, address: str = "0.0.0.0", *, name: str = "") -> Task[None]:
    """An HTTP/1.1 backend in `host` until the task is stopped. A request's answer is JSON: see `answer`."""
    listener = host.run(_listen, address, port)
    with listener:
        return host.start(_http, listener, name or host.name)


def serve_udp(host: Host, port: int = 53, address: str = "0.0.0.0", *, name: str = "") -> Task[None]:
    """A UDP backend in `host` until the task is stopped. Each datagram is answered with JSON: see `answer`."""
    receiver = host.run(_bind, address, port)
    with receiver:
        return host.start(_udp, receiver, name or host.name)


def answer(name: str, client: tuple[str, int], server: tuple[str, int], **more: str) -> bytes:
    """{"backend": name, "client": [address, port], "server": [address, port], ...} and a line end."""
    return json.dumps({"backend": name, "client": client, "server": server, **more}).encode() + b"\n"


def http_handler(name: str) -> Handler:
    """What to do with an HTTP connection, for asyncio.start_server. Adds "method", "path" and "body" (text)."""

    async def handle(reader: StreamReader, writer: StreamWriter) -> None:
        client, server = (writer.get_extra_info(end)[:2] for end in ("peername", "sockname"))
        try:
            while head := await read_head(reader):
                request = parse_request(head)
                body = await reader.readexactly(body_size(request.headers))
                text = body.decode("latin-1")
                said = answer(name, client, server, method=request.method, path=request.path, body=text)
                last = request.headers.get("connection", "").lower() == "close"
                fields = b"content-type: application/json\r\ncontent-length: %d\r\n" % len(said)
                fields += b"connection: close\r\n" * last
                writer.write(b"HTTP/1.1 200 OK\r\n" + fields + b"\r\n" + said)
                await writer.drain()
                if last:
                    break
        except Refused as refusal:
            writer.write(refusal.answer())
        except (OSError, EOFError):  # the client went away: nobody to tell
            pass
        finally:
            with suppress(OSError):
                await close(writer)

    return handle


def _listen(address: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    return socket.create_server((address, port), family=family, backlog=BACKLOG)


def _http(listener: socket.socket, name: str) -> None:
    async def forever() -> None:
        server = await asyncio.start_server(http_handler(name), sock=listener, limit=HEAD_LIMIT, backlog=BACKLOG)
        await server.serve_forever()

    asyncio.run(forever())


def _bind(address: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    receiver = socket.socket(family, socket.SOCK_DGRAM)
    try:
        receiver.setsockopt(PKTINFO[family].level, PKTINFO[family].ask, 1)
        receiver.bind((address, port))
    except BaseException:
        receiver.close()
        raise
    return receiver


def _udp(receiver: socket.socket, name: str) -> None:
    want = PKTINFO[socket.AddressFamily(receiver.family)]
    port = receiver.getsockname()[1]
    while True:
        data, notes, _, client = receiver.recvmsg(LONGEST, 256)
        note = bytearray(next(note for level, kind, note in notes if (level, kind) == (want.level, want.kind)))
        server = socket.inet_ntop(receiver.family, note[want.address])
        note[want.interface] = bytes(4)
        said = answer(name, client[:2], (server, port), body=data.decode("latin-1"))
        with suppress(
            OSError
        ):  # no way back to that client, or an answer longer than a datagram: it is lost, as UDP is
            receiver.sendmsg([said], [(want.level, want.kind, note)], 0, client)
