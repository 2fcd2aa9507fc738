"""A proxy takes connections, in one call: for whoever needs one address and nothing more.

Rule of this file: it opens; the proxy closes what was opened here. All that a configuration can ask of a listener
(PROXY headers, passing on by name, reloads) is in `listening`.
"""

from __future__ import annotations

import asyncio
import ssl
from typing import TYPE_CHECKING

from lbcore.l7.config.options import ListenOptions
from lbcore.l7.front.arrivals import Arrival
from lbcore.l7.front.listening import BACKLOG, Listener, opened
from lbcore.l7.front.tls import Terminator

if TYPE_CHECKING:
    from lbcore.l7.engine.proxy import Proxy


async def listen(
    proxy: Proxy, host: str, port: int = 0, tls: ssl.SSLContext | Terminator | None = None
) -> tuple[str, int]:
    """Have it take connections, until it is closed; the address they come to. OSError: it is taken, or not ours.

    port: 0 for any. tls: a Terminator can be reloaded while it serves, and offers HTTP/2.
    """
    if isinstance(tls, Terminator):
        options = ListenOptions(address=host, port=port)
        listener = Listener(proxy, options, opened(options), tls)
        proxy.doors.append(listener)
        await listener.start()
        name = listener.sock.getsockname()
        return name[0], name[1]
    server = await asyncio.get_running_loop().create_server(
        lambda: _Refused() if proxy.crowded else Arrival(proxy),
        host,
        port,
        ssl=tls,
        backlog=BACKLOG,
        ssl_handshake_timeout=proxy.limits.head_time if tls else None,
    )
    proxy.doors.append(server)
    name = server.sockets[0].getsockname()
    return name[0], name[1]


class _Refused(asyncio.Protocol):
    """A connection too many."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        transport.close()
