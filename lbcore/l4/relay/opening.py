"""What a connection says before anybody is picked: a PROXY header if one is due, a ClientHello if it decides.

Rule of this file: bytes in, facts out. Nobody waits here and nothing is sent.

Theory. Both come in pieces of any size. The header is taken off; the hello is only looked at, so what is `pending` for
the backend begins with it, byte for byte as the client sent it: a relay without the key must not change a bit of it.

Traps
- What is not wanted is not looked at: without routes the first byte already belongs to the backend, and a protocol in
  which the server speaks first never sends one.
- Memory is bounded by the two parsers' limits and one chunk: each refuses a length that leads beyond.
"""

from __future__ import annotations

from lbcore.wire import proxy_protocol
from lbcore.wire.errors import Incomplete
from lbcore.wire.proxy_protocol import Header
from lbcore.wire.tls_hello import ClientHello, Peek


class Opening:
    """Feed it until `done`. header: if one was due. hello: if it was wanted. pending: what the backend is to get."""

    def __init__(self, *, proxy: bool, hello: bool) -> None:
        self.header: Header | None = None
        self.hello: ClientHello | None = None
        self.pending = bytearray()
        self._proxy, self._peek = proxy, Peek() if hello else None

    @property
    def done(self) -> bool:
        """Whether everything is known that was asked for."""
        return not self.missing

    @property
    def missing(self) -> str:
        """What has not come yet: "PROXY header", "ClientHello" or ""."""
        if self._proxy:
            return "PROXY header"
        return "ClientHello" if self._peek and not self.hello else ""

    def feed(self, data: bytes) -> bool:
        """Take what has arrived; says whether it is `done`. Raises Malformed: there is no going on."""
        self.pending += data
        if self._proxy:
            try:
                self.header, size = proxy_protocol.parse(self.pending)
            except Incomplete:
                return False
            del self.pending[:size]
            self._proxy = False
            data = bytes(self.pending)
        if self._peek and not self.hello:
            try:
                self.hello = self._peek.feed(data)
            except Incomplete:
                return False
        return True
