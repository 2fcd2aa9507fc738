"""Attaching: from when on an interface's packets meet a program, and surely until when.

Rule of this file: descriptors and interfaces; it neither loads nor knows what a program does.

Theory. The older way tells the interface, over netlink, which program it is to run (`attach_netlink`). The interface
keeps it until it is told otherwise, even after the process that told it has died. The newer way makes a link: a
descriptor that *is* the attachment, so that the kernel detaches when the last process that holds it ends, even by
SIGKILL. So a link is taken where the kernel has it (XDP since 5.9, tc since 6.6), and netlink elsewhere.

An XDP program runs in the driver ("native": before the kernel has spent anything on the packet), or behind it, once the
packet has a socket buffer ("generic": any interface, but most of the gain is gone), or on the card ("offload").

Trap. A netlink attachment is undone at close, on errors, at exit and on KeyboardInterrupt; SIGKILL leaves it, and
`ip link set dev X xdp off`, or `tc qdisc del dev X clsact`, takes it away. Undoing names the program that is to go, so
that nobody else's is removed.
"""

from __future__ import annotations

import errno
import os
import socket
import weakref
from collections.abc import Callable
from types import TracebackType
from typing import Self

from lbcore.ebpf import attach_netlink, system_call
from lbcore.ebpf.system_call import bpf

Target = str | int | socket.socket

MODES = {"generic": 1 << 1, "native": 1 << 2, "offload": 1 << 3}
"""XDP_FLAGS_*_MODE."""
XDP = 37
DIRECTIONS = {"ingress": 46, "egress": 47}
"""BPF_XDP, BPF_TCX_*: kinds of attachment for a link."""
ATTACH_BPF, DETACH_FILTER = 50, 27
"""SO_ATTACH_BPF, SO_DETACH_FILTER."""
WAYS = ("any", "link", "netlink")


class Attachment:
    """A program at its place until `detach`, the end of a `with`, or the end of the process."""

    def __init__(self, where: str, mode: str, way: str, undo: Callable[[], None]) -> None:
        self.where, self.mode, self.way = where, mode, way
        self._undo = weakref.finalize(self, undo)

    def __repr__(self) -> str:
        return f"<{'attached to' if self.attached else 'detached from'} {self.where}, {self.mode}, by {self.way}>"

    @property
    def attached(self) -> bool:
        return self._undo.alive

    def detach(self) -> None:
        """Take the program away; nothing happens the second time."""
        self._undo()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.detach()


def attach(program: int, kind: str, to: Target, mode: str = "native", way: str = "any") -> Attachment:
    """Attach the program with this descriptor.

    kind "xdp": to an interface (name or index), mode "native", "generic" or "offload"; "tc": to an interface, mode
    "ingress" or "egress" ("native" means ingress); "socket": to a socket. way: "link", "netlink", or "any":
    a link where the kernel has them. Raises OSError (EBUSY: another program is there; EOPNOTSUPP: not in this mode).
    """
    if way not in WAYS:
        raise ValueError(f"way is {way!r}; there are: {', '.join(WAYS)}")
    if kind == "socket":
        return _to_socket(program, to)
    if isinstance(to, socket.socket):
        raise ValueError(f"a {kind} program is attached to an interface, by name or index; given was a socket")
    index = _index(to)
    if kind == "xdp":
        return _xdp(program, index, str(to), _flag("mode", mode, MODES), mode, way)
    if kind == "tc":
        direction = "ingress" if mode == "native" else mode
        return _tc(program, index, str(to), _flag("mode", direction, DIRECTIONS), direction, way)
    raise ValueError(f"programs of kind {kind!r} are attached by other means; known here are xdp, tc and socket")


def _flag(what: str, value: str, table: dict[str, int]) -> int:
    if value not in table:
        raise ValueError(f"{what} is {value!r}; there are: {', '.join(table)}")
    return table[value]


def _index(interface: str | int) -> int:
    if isinstance(interface, int):
        return interface
    try:
        return socket.if_nametoindex(interface)
    except OSError:
        there = ", ".join(name for _, name in socket.if_nameindex())
        raise OSError(errno.ENODEV, f"interface {interface!r}: not here; there are: {there}") from None


def _xdp(program: int, index: int, where: str, flag: int, mode: str, way: str) -> Attachment:
    if way != "netlink":
        try:
            return Attachment(where, mode, "link", _link(program, index, XDP, flag, where))
        except OSError as error:
            # EINVAL is how a kernel without links answers, and EOPNOTSUPP how its driver does; netlink will tell.
            if way == "link" or error.errno not in (errno.EINVAL, errno.EOPNOTSUPP):
                raise
    return Attachment(where, mode, "netlink", attach_netlink.xdp(program, index, flag, where))


def _tc(program: int, index: int, where: str, number: int, direction: str, way: str) -> Attachment:
    if way != "netlink":
        try:
            return Attachment(where, direction, "link", _link(program, index, number, 0, where))
        except OSError as error:
            if way == "link" or error.errno != errno.EINVAL:
                raise
    return Attachment(where, direction, "netlink", attach_netlink.tc(program, index, direction, where))


# ---- by a link ----


def _link(program: int, index: int, kind: int, flags: int, where: str) -> Callable[[], None]:
    try:
        link = bpf(system_call.LinkCreate(prog_fd=program, target_ifindex=index, attach_type=kind, flags=flags))
    except OSError as error:
        raise OSError(error.errno, f"attach to {where}: {error.strerror}") from error

    def undo() -> None:
        try:  # closing would do, were it not for children that inherited the descriptor
            bpf(system_call.LinkDetach(link_fd=link))
        finally:
            os.close(link)

    return undo


# ---- to a socket ----


def _to_socket(program: int, to: Target) -> Attachment:
    if not isinstance(to, socket.socket):
        raise ValueError(f"a socket filter is attached to a socket; given was {to!r}")
    to.setsockopt(socket.SOL_SOCKET, ATTACH_BPF, program)
    held = weakref.ref(to)

    def undo() -> None:
        there = held()
        if there is not None and there.fileno() >= 0:
            there.setsockopt(socket.SOL_SOCKET, DETACH_FILTER, 0)

    return Attachment(f"socket {to.fileno()}", "filter", "socket", undo)
