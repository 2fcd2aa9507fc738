"""proxy.py as a reverse proxy that passes everything on, for `benchmarks.l7`: its plugin, run in an environment of its
own. BACKEND in the environment: the backend's port.

Trap. Left to itself it (2.4.10) connects to the backend for each request, and fails at the second one of a connection
that is kept. So a client's connection has one of its own with the backend here, and keeps it, which is faster too.
"""

from __future__ import annotations

import os
import re

from proxy.core.connection import TcpServerConnection
from proxy.http.parser import HttpParser
from proxy.http.server import ReverseProxyBasePlugin


class Everything(ReverseProxyBasePlugin):
    """One route. There is one of this for each connection with a client."""

    _backend: TcpServerConnection | None = None

    def routes(self) -> list[str]:
        return ["/"]

    def handle_route(self, request: HttpParser, pattern: re.Pattern[str]) -> TcpServerConnection:
        if self._backend is None:
            self._backend = TcpServerConnection("127.0.0.1", int(os.environ["BACKEND"]))
            self._backend.connect()
        self._backend.queue(memoryview(request.build()))
        return self._backend
