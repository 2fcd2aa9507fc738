"""A program on a real cable: which frames it passes on, sends back or drops there.

Nothing here waits for a time. What happened is known from what was seen: the kernel counts the program's runs, and a
frame that arrives last shows that no other is still under way, since a cable keeps the order.
"""

from __future__ import annotations

import socket
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import NamedTuple

from lbcore.ebpf import kernel
from lbcore.testbed.capture import Capture
from lbcore.testbed.hosts import Host, Topology

PATIENCE = 60.0
"""Seconds until something that has to come counts as lost: only a failure takes so long."""
ROOM = 64
"""Frames under way at once; a veth's queue has 256 places."""
END = bytes(6) + b"\x02\0\0\0\0\xff" + b"\x88\xb5" + b"this is the last one" + bytes(26)
"""A frame that means nothing to anybody (IEEE 802 local experimental ethertype)."""


class Seen(NamedTuple):
    """What the network stack behind the program got, and what came back to the sender."""

    passed: list[bytes]
    returned: list[bytes]


class Wire:
    """Two hosts on a cable. They have no addresses, so nobody answers but a program at `server`."""

    def __init__(self, stack: ExitStack, client: Host, server: Host) -> None:
        self.client, self.server = client, server
        self._there = stack.enter_context(client.packet_socket())
        self._back = stack.enter_context(server.packet_socket())
        self._at_server = stack.enter_context(server.capture())
        self._at_client = stack.enter_context(client.capture())

    def seen_by(self, program: kernel.Program, frames: Sequence[bytes]) -> Seen:
        """What becomes of frames that the client sends while the program is attached; it is detached afterwards.

        Only inside `with kernel.statistics():`, for the kernel's count of runs is what tells that it is done.
        """
        before = program.statistics.runs
        at_server, at_client = len(arrived(self._at_server)), len(arrived(self._at_client))
        for start in range(0, len(frames), ROOM):
            for frame in frames[start : start + ROOM]:
                self._there.send(frame)
            until(lambda start=start: program.statistics.runs - before >= min(start + ROOM, len(frames)))  # type: ignore[misc]
        program.detach()
        self._there.send(END)
        self._back.send(END)
        return Seen(up_to_end(self._at_server, at_server), up_to_end(self._at_client, at_client))

    def send(self, frame: bytes) -> None:
        """From the client."""
        self._there.send(frame)

    def came_back(self, frames: Sequence[bytes]) -> bool:
        """Wait until these are the last that the client got."""
        until(lambda: arrived(self._at_client)[-len(frames) :] == list(frames))
        return True


@contextmanager
def wire() -> Iterator[Wire]:
    with Topology(rootless=False) as net, ExitStack() as stack:
        client, server = net.host("client"), net.host("server")
        net.link(client, server)
        server.xdp_ready()
        yield Wire(stack, client, server)


def until(condition: Callable[[], bool]) -> None:
    """Wait for what has to become true."""
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline, f"not so after {PATIENCE:g} s"
        time.sleep(0.002)


def arrived(ear: Capture) -> list[bytes]:
    return [one.frame for one in ear.frames() if one.way == "in"]


def up_to_end(ear: Capture, start: int = 0) -> list[bytes]:
    """What arrived since, before END, which is waited for."""
    seen: list[bytes] = []

    def ended() -> bool:
        seen[:] = arrived(ear)[start:]
        return END in seen

    until(ended)
    return seen[: seen.index(END)]


def udp_socket(host: Host, family: int = socket.AF_INET) -> socket.socket:
    asker = host.open_socket(family, socket.SOCK_DGRAM, 0)
    asker.settimeout(PATIENCE)
    return asker
