"""Attaching: from when on an interface's packets meet a program, and surely until when.

Rule of this file: descriptors and interfaces; it neither loads nor knows what a program does.

Theory. The older way tells the interface, over netlink, which program it is to run. The interface keeps it until it is
told otherwise, even after the process that told it has died. The newer way makes a link: a descriptor that *is* the
attachment, so that the kernel detaches when the last process that holds it ends, even by SIGKILL. So a link is taken
where the kernel has it (XDP since 5.9, tc since 6.6), and netlink elsewhere.

An XDP program runs in the driver ("native": before the kernel has spent anything on the packet), or behind it, once the
packet has a socket buffer ("generic": any interface, but most of the gain is gone), or on the card ("offload").

Trap. A netlink attachment is undone at close, on errors, at exit and on KeyboardInterrupt; SIGKILL leaves it, and
`ip link set dev X xdp off` takes it away. Undoing names the program that is to go, so that nobody else's is removed.
"""

from __future__ import annotations

import errno
import os
import socket
import struct
import weakref
from collections.abc import Callable
from types import TracebackType
from typing import Self

from lbcore.ebpf import system_call
from lbcore.ebpf.system_call import bpf

Target = str | int | socket.socket

MODES = {"generic": 1 << 1, "native": 1 << 2, "offload": 1 << 3}
"""XDP_FLAGS_*_MODE."""
IF_NOBODY, IF_MINE = 1 << 0, 1 << 4
"""XDP_FLAGS_UPDATE_IF_NOEXIST, XDP_FLAGS_REPLACE."""
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
    "ingress" or "egress" ("native" means ingress); "socket": to a socket. way: "link", "netlink" (XDP only), or "any":
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
        number = _flag("mode", direction, DIRECTIONS)
        return Attachment(str(to), direction, "link", _link(program, index, number, 0, str(to)))
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
    return Attachment(where, mode, "netlink", _netlink(program, index, flag, where))


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


# ---- by netlink (RFC 3549; include/uapi/linux/rtnetlink.h and if_link.h) ----

SET_LINK = 19
REQUEST, ACKNOWLEDGE, NESTED = 1, 4, 1 << 15
IFLA_XDP, XDP_FD, XDP_FLAGS, XDP_EXPECTED_FD = 43, 1, 3, 8
EXTENDED_ACK, CAP_ACK, ERROR_TEXT = 11, 10, 1
SOL_NETLINK = 270
NOT_OURS = (errno.ENODEV, errno.EEXIST, errno.EBUSY)
"""Nothing to undo: the interface is gone, another program is there, another link is there."""


def _netlink(program: int, index: int, flag: int, where: str) -> Callable[[], None]:
    # A socket stays in the network namespace it was made in; so the undoing goes where the doing went.
    channel = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, socket.NETLINK_ROUTE)
    own = os.dup(program)  # to say which program is to go, even if the caller closed it meanwhile
    try:
        channel.setsockopt(SOL_NETLINK, EXTENDED_ACK, 1)
        channel.setsockopt(SOL_NETLINK, CAP_ACK, 1)
        _request(channel, index, where, (XDP_FD, program), (XDP_FLAGS, flag | IF_NOBODY))
    except BaseException:
        os.close(own)
        channel.close()
        raise

    def undo() -> None:
        try:
            _request(channel, index, where, (XDP_FD, -1), (XDP_FLAGS, flag | IF_MINE), (XDP_EXPECTED_FD, own))
        except OSError as error:
            if error.errno not in NOT_OURS:
                raise
        finally:
            os.close(own)
            channel.close()

    return undo


def _request(channel: socket.socket, index: int, where: str, *attributes: tuple[int, int]) -> None:
    """Ask for a change of an interface's XDP program, and wait for the answer."""
    nested = b"".join(struct.pack("=HHi", 8, kind, value) for kind, value in attributes)
    body = struct.pack("=BxHiII", socket.AF_UNSPEC, 0, index, 0, 0)
    body += struct.pack("=HH", 4 + len(nested), IFLA_XDP | NESTED) + nested
    channel.send(struct.pack("=IHHII", 16 + len(body), SET_LINK, REQUEST | ACKNOWLEDGE, 1, 0) + body)
    answer = channel.recv(1 << 16)
    (code,) = struct.unpack_from("=i", answer, 16)
    if code:
        text = _error_text(answer)
        raise OSError(-code, f"attach to {where}: {os.strerror(-code)}" + (f" ({text})" if text else ""))


def _error_text(answer: bytes) -> str:
    """The kernel's words behind an error: the first attribute after the error and the request's header."""
    at = 16 + 4 + 16
    if len(answer) < at + 4:
        return ""
    length, kind = struct.unpack_from("=HH", answer, at)
    return answer[at + 4 : at + length].split(b"\0")[0].decode(errors="replace") if kind == ERROR_TEXT else ""


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
