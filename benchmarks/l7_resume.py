"""One request a connection over TLS 1.3, each connection resuming the session of the one before: URL SECONDS.

Says what wrk says, so that it is read the same way.
"""

from __future__ import annotations

import socket
import ssl
import sys
import time
from urllib.parse import urlsplit


def main(url: str, seconds: float) -> None:
    parts, count, resumed = urlsplit(url), 0, 0
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    ask = f"GET {parts.path} HTTP/1.1\r\nHost: {parts.netloc}\r\nConnection: close\r\n\r\n".encode()
    session, until = None, time.monotonic() + seconds
    while time.monotonic() < until:
        with (
            socket.create_connection((parts.hostname or "", parts.port or 443)) as plain,
            context.wrap_socket(plain, server_hostname=parts.hostname, session=session) as tls,
        ):
            tls.sendall(ask)
            answer = b""
            while piece := tls.recv(65536):
                answer += piece
            assert answer.startswith(b"HTTP/1.1 200"), answer[:60]
            session, resumed, count = tls.session, resumed + bool(tls.session_reused), count + 1
    assert resumed >= count - 1, f"only {resumed} of {count} handshakes were resumed"
    print(f"{count} requests in {seconds:g}s, {resumed} resumed")


if __name__ == "__main__":
    main(sys.argv[1], float(sys.argv[2]))
