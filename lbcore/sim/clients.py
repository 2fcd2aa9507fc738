"""Clients of one service, as packets, and which backend the real data plane sends each to.

Rule of this file: no decision is made here. Frames go through `lbcore.l4.forwarder`, and the answer is read from them.

Theory. In DSR mode a balancer changes one thing in a packet, the Ethernet address it goes to. Backends that are
numbered there can be told apart by its last byte: nothing has to listen anywhere.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import numpy.typing as npt

from lbcore.l4.config import Backend, Service
from lbcore.l4.forwarder import HEADROOM, Forwarder, batch
from lbcore.wire.compose import tcp_frame

VIP = "203.0.113.80"
PER_ADDRESS = 250
Packets = tuple[Any, Any]


def backends(count: int) -> list[Backend]:
    """10.0.0.1 and so on, at most 250, each with its number as the last byte of its Ethernet address."""
    if not 1 <= count <= PER_ADDRESS:
        raise ValueError(f"count is {count}, wanted 1 to {PER_ADDRESS}: they are told apart by one byte")
    return [Backend(f"10.0.0.{i}", ethernet=f"02:00:00:00:00:{i:02x}") for i in range(1, count + 1)]


def web(count: int) -> Service:
    """The service of all clients here: TCP port 80 of VIP, in DSR mode, with `count` backends."""
    return Service(VIP, 80, "tcp", "dsr", backends(count))


def packets(clients: Iterable[int], flags: int) -> Packets:
    """A TCP packet with these flags from each client, numbered 0 to 63,999: frames uint8[n, 128], lengths int64[n]."""
    sources = (f"198.51.{i // PER_ADDRESS}.{i % PER_ADDRESS}:{1024 + i}" for i in clients)
    return batch([tcp_frame(source=source, destination=f"{VIP}:80", flags=flags) for source in sources], width=128)


def chosen(forwarder: Forwarder, packets: Packets) -> npt.NDArray[np.int64]:
    """Send packets through a balancer: the number of the backend that each goes to, int64[n]."""
    frames, lengths = packets[0].copy(), packets[1]
    forwarder.process(frames, lengths)
    return np.asarray(frames[:, HEADROOM + 5], np.int64)


def forget(forwarder: Forwarder) -> None:
    """Empty the flow tables, as a reboot does."""
    for table in (forwarder.balancer.tables.established, forwarder.balancer.tables.attempts):
        table.tags[:] = 0
