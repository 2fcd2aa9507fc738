"""Which version of HTTP a new connection speaks.

Rule of this file: it looks once, and hands over.

Theory. With TLS the handshake has settled it (ALPN, RFC 7301). In the clear a client of HTTP/2 has to know beforehand
that we speak it (RFC 9113 section 3.3) and begins with a preface that is no request of HTTP/1.1: no method is "PRI".
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, cast

from lbcore.l7.http1.client import ClientConnection as Http1
from lbcore.l7.http2.client import ClientConnection as Http2

if TYPE_CHECKING:
    from lbcore.l7.engine.proxy import Proxy


class Arrival(asyncio.Protocol):
    """A connection of which nothing is known yet."""

    transport = cast("asyncio.Transport", None)

    def __init__(self, proxy: Proxy) -> None:
        self.proxy = proxy
        self.deadline = 0.0
        self._data = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)
        tls: Any = transport.get_extra_info("ssl_object")
        if tls is not None:
            self._become(Http2(self.proxy) if tls.selected_alpn_protocol() == "h2" else Http1(self.proxy))
            return
        self.deadline = self.proxy.now + self.proxy.limits.head_time
        self.proxy.clients.add(self)

    def data_received(self, data: bytes) -> None:
        data = self._data = self._data + data
        if data[:3] != b"PRI"[: len(data)]:
            self._become(Http1(self.proxy), data)
        elif len(data) >= 3:
            self._become(Http2(self.proxy), data)

    def connection_lost(self, error: Exception | None) -> None:
        self.proxy.clients.discard(self)

    def expired(self) -> None:
        self.transport.close()

    def finish(self) -> None:
        self.transport.close()

    def _become(self, protocol: Http1 | Http2, data: bytes = b"") -> None:
        self.proxy.clients.discard(self)
        self.transport.set_protocol(protocol)
        protocol.connection_made(self.transport)
        if data:
            protocol.data_received(data)
