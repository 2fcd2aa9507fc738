"""Ports for servers that are told on which one to listen: nginx, Redis, JupyterLab.

Rule of this file: it looks, it keeps nothing. Who can be handed a socket, or take port 0, should; it is surer.

Theory. The usual way is to bind port 0, see what the system has given, and let it go again for the server to take. But
the system gives ports of the same range to every client that connects, and on a busy machine one of them is faster.
Ports below that range go to nobody who has not asked for them by number.
"""

from __future__ import annotations

import contextlib
import socket
from pathlib import Path
from random import SystemRandom

LOWEST, FEWEST = 10_000, 1000
RANGE = Path("/proc/sys/net/ipv4/ip_local_port_range")  # what clients are given (Linux)


def free_ports(count: int) -> list[int]:
    """So many TCP ports, all different, on which nobody listens at 127.0.0.1 now. OSError: there are not as many."""
    below = int(RANGE.read_text().split()[0]) if RANGE.exists() else 49152  # RFC 6335, 6
    if below < LOWEST + FEWEST:
        raise OSError(f"{RANGE}: clients are given ports from {below} on; below are too few for servers")
    found: list[int] = []
    for port in SystemRandom().sample(range(LOWEST, below), FEWEST):
        with contextlib.suppress(OSError), socket.create_server(("127.0.0.1", port)):
            found.append(port)
        if len(found) == count:
            return found
    raise OSError(f"of {FEWEST} ports below {below} only {len(found)} are free, and {count} were wanted")
