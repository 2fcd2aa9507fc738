"""Where JWK sets come from: a file or a URL.

Rule of this file: at the edge. Bytes, within limits of size and time; what they mean is `keys`.

Traps
- Whoever can change what this brings can sign tokens: https, certificates checked, no redirects, no proxy from the
  environment. http only to this machine itself.
- A server that sends a byte a second holds nobody up but its own thread, and that for `PATIENCE` seconds.
"""

from __future__ import annotations

import asyncio
import time
import urllib.request
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

from lbcore.l7.secrets.keys import LARGEST

PATIENCE: Final = 5.0
"""Seconds for the whole of it."""
OURSELVES: Final = ("127.0.0.1", "::1", "localhost")


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *_: Any) -> None:
        return None  # becomes HTTPError, an OSError


def check(url: str, where: str) -> None:
    """ValueError unless it is https, or http to this machine."""
    try:
        parts = urlsplit(url)
        right = parts.scheme == "https" or (parts.scheme == "http" and parts.hostname in OURSELVES)
        right = right and bool(parts.hostname) and parts.port != 0
    except ValueError:  # brackets that stay open, a port that is no number
        right = False
    if not right:
        raise ValueError(f"{where} is {url!r}; must begin with https:// (http:// only to this machine)")


def from_file(path: str) -> Callable[[], Awaitable[bytes]]:
    """Reads the file, at each call. OSError."""

    def read() -> bytes:
        with Path(path).open("rb") as file:
            return file.read(LARGEST + 1)

    return lambda: asyncio.to_thread(read)


def from_url(url: str) -> Callable[[], Awaitable[bytes]]:
    """Asks the server, at each call. OSError, TimeoutError."""
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}), _NoRedirect())

    def read() -> bytes:
        until, data = time.monotonic() + PATIENCE, b""
        with opener.open(urllib.request.Request(url, headers={"accept": "application/json"}), timeout=2.0) as answer:
            while len(data) <= LARGEST and (piece := answer.read1(16384)):
                data += piece
                if time.monotonic() > until:
                    raise TimeoutError(f"{url} takes longer than {PATIENCE:g} s")
        return data

    return lambda: asyncio.to_thread(read)
