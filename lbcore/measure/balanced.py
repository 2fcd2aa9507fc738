"""A real balancer on a host of the test-bed: in the kernel, or in a process of that host.

    with balanced(host, lambda: config) as lb:
        lb.reasons()

Rule of this file: it ties a host to a balancer, which do not know of each other, and to one way of running it on any
machine that has hosts.

Theory. Loading an XDP program takes the machine's root; AF_PACKET works in a user namespace, too. There the balancer is
a process inside, and what it has counted is asked for through a socket.
"""

from __future__ import annotations

import json
import socket
from collections.abc import Callable
from contextlib import ExitStack
from typing import Protocol, Self

from lbcore.l4.config import Config
from lbcore.l4.data_plane import DataPlane
from lbcore.l4.drivers.af_packet import AfPacket
from lbcore.l4.xdp import InKernel
from lbcore.testbed.capabilities import machine
from lbcore.testbed.hosts import Host

COMPILING = 240.0
"""Seconds until a balancer must be running; compiled code is kept on disk, so this is for the first time."""


class Running(Protocol):
    """What counts what it did with packets."""

    def reasons(self) -> dict[str, int]: ...


class Balanced:
    """A balancer on `host`'s eth0, for the length of a `with` block. config: asked at each start."""

    def __init__(self, host: Host, config: Callable[[], Config], *, xdp: bool) -> None:
        self.host, self.config, self.xdp = host, config, xdp
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        self._running = self._in_kernel() if self.xdp else self._in_process()
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def restart(self) -> None:
        """With the configuration as it is now."""
        self._stack.close()
        self.__enter__()

    def reasons(self) -> dict[str, int]:
        """How many packets met their end for which reason, since the last start."""
        return self._running.reasons()

    def _in_kernel(self) -> Running:
        with self.host.inside():
            lb = self._stack.enter_context(InKernel(self.config()))
            self._stack.enter_context(lb.attach("eth0"))
        return lb

    def _in_process(self) -> Running:
        here, there = socket.socketpair()
        self._stack.callback(here.close)
        with there:
            task = self._stack.enter_context(self.host.start(_balance, self.config(), there))
        here.settimeout(COMPILING)
        if not here.recv(1):
            task.result()
        return _Asked(here)


class _Asked:
    """The counters of a balancer in another process."""

    def __init__(self, talk: socket.socket) -> None:
        self._talk = talk

    def reasons(self) -> dict[str, int]:
        self._talk.send(b"?")
        counted: dict[str, int] = json.loads(self._talk.recv(1 << 16))
        return counted


def balanced(host: Host, config: Callable[[], Config]) -> Balanced:
    """In the kernel where that is allowed, else over AF_PACKET."""
    in_kernel = machine().tier >= 2 and _enters(host)
    if in_kernel:
        host.xdp_ready()
    return Balanced(host, config, xdp=in_kernel)


def _enters(host: Host) -> bool:
    try:
        with host.inside():
            return True
    except PermissionError:
        return False


def _balance(config: Config, talk: socket.socket) -> None:
    """In the balancer's host: balance until stopped, and tell counters to whoever asks."""
    with AfPacket("eth0") as driver, DataPlane(config, driver) as lb:
        talk.send(b"!")
        while talk.recv(1):
            talk.send(json.dumps(lb.reasons()).encode())
