"""Attaching by messages to the kernel: the way that every kernel has, for XDP and tc.

Rule of this file: it makes the messages and undoes what they did. Which way is taken is `attach`'s to say.

Theory (RFC 3549; include/uapi/linux/rtnetlink.h, if_link.h, pkt_sched.h, pkt_cls.h). A message is a header, a struct
that says which interface, and attributes, which may hold attributes. XDP is an attribute of an interface. At tc a
program is a filter, and filters hang on a queueing discipline; the one called clsact queues nothing, and has two hooks,
for packets that come in and that go out. "Direct action" means that the program's result is the verdict.

Trap. A socket stays in the network namespace it was made in; so the undoing goes where the doing went. Others may have
hung their filters on the same clsact: it is taken away only if we made it, and nothing hangs there any more.
"""

from __future__ import annotations

import errno
import os
import socket
import struct
from collections.abc import Callable, Iterator

REQUEST, ACKNOWLEDGE, ECHO, DUMP, EXCLUSIVE, CREATE = 1, 4, 8, 0x300, 0x200, 0x400
SET_LINK, NEW_DISCIPLINE, DELETE_DISCIPLINE, NEW_FILTER, DELETE_FILTER, GET_FILTER = 19, 36, 37, 44, 45, 46
ERROR, DONE = 2, 3
HEADER, ERROR_HEADER = struct.Struct("=IHHII"), struct.Struct("=i16x")
NESTED = 1 << 15
SOL_NETLINK, EXTENDED_ACK, CAP_ACK, ERROR_TEXT = 270, 11, 10, 1

IFLA_XDP, XDP_FD, XDP_FLAGS, XDP_EXPECTED_FD = 43, 1, 3, 8
IF_NOBODY, IF_MINE = 1 << 0, 1 << 4
"""XDP_FLAGS_UPDATE_IF_NOEXIST, XDP_FLAGS_REPLACE."""

TRAFFIC = struct.Struct("=BxxxiIII")
"""struct tcmsg: family, interface, handle, parent, and priority << 16 | protocol."""
CLSACT, CLSACT_HANDLE = 0xFFFFFFF1, 0xFFFF0000
HOOKS = {"ingress": 0xFFFFFFF2, "egress": 0xFFFFFFF3}
KIND, OPTIONS, BPF_FD, BPF_NAME, BPF_FLAGS, DIRECT_ACTION = 1, 2, 6, 7, 8, 1
ALL_PROTOCOLS = socket.htons(3)

NOT_OURS = (errno.ENODEV, errno.EEXIST, errno.EBUSY)
"""Nothing to undo: the interface is gone, another program is there, another link is there."""
GONE = (errno.ENODEV, errno.ENOENT, errno.EINVAL)
"""Nothing to undo: the interface, the filter, or the discipline that it hung on is gone."""

Undo = Callable[[], None]


class Channel:
    """A socket to the kernel, and the interface that its messages are about."""

    def __init__(self, where: str) -> None:
        self.where = where
        self.socket = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, socket.NETLINK_ROUTE)
        self.socket.setsockopt(SOL_NETLINK, EXTENDED_ACK, 1)
        self.socket.setsockopt(SOL_NETLINK, CAP_ACK, 1)

    def ask(self, kind: int, flags: int, body: bytes) -> list[bytes]:
        """Send a message, and return the bodies of what comes back before the acknowledgement. Raises OSError."""
        self.socket.send(HEADER.pack(HEADER.size + len(body), kind, REQUEST | flags, 1, 0) + body)
        found: list[bytes] = []
        while True:
            for answer, told in _messages(self.socket.recv(1 << 16)):
                if answer == ERROR:
                    self._raise_if(told)
                if answer in (ERROR, DONE):
                    return found
                found.append(told)

    def _raise_if(self, told: bytes) -> None:
        (code,) = struct.unpack_from("=i", told)
        if code:
            text = _error_text(told)
            raise OSError(-code, f"attach to {self.where}: {os.strerror(-code)}" + (f" ({text})" if text else ""))

    def close(self) -> None:
        self.socket.close()


def xdp(program: int, index: int, flag: int, where: str) -> Undo:
    """Let an interface run the XDP program with this descriptor; what is returned takes it away."""
    channel = Channel(where)
    own = os.dup(program)  # to say which program is to go, even if the caller closed it meanwhile

    def change(*numbers: tuple[int, int]) -> None:
        inner = b"".join(_attribute(kind, struct.pack("=i", number)) for kind, number in numbers)
        interface = struct.pack("=BxHiII", socket.AF_UNSPEC, 0, index, 0, 0)
        channel.ask(SET_LINK, ACKNOWLEDGE, interface + _attribute(IFLA_XDP | NESTED, inner))

    def undo() -> None:
        try:
            _quietly(NOT_OURS, change, (XDP_FD, -1), (XDP_FLAGS, flag | IF_MINE), (XDP_EXPECTED_FD, own))
        finally:
            os.close(own)
            channel.close()

    try:
        change((XDP_FD, program), (XDP_FLAGS, flag | IF_NOBODY))
    except BaseException:
        os.close(own)
        channel.close()
        raise
    return undo


def tc(program: int, index: int, direction: str, where: str) -> Undo:
    """Hang the tc program with this descriptor on an interface's clsact; what is returned takes it away."""
    channel = Channel(where)
    clsact = TRAFFIC.pack(0, index, CLSACT_HANDLE, CLSACT, 0) + _attribute(KIND, b"clsact\0")
    made = False
    try:
        try:
            channel.ask(NEW_DISCIPLINE, ACKNOWLEDGE | CREATE | EXCLUSIVE, clsact)
            made = True
        except FileExistsError:
            pass
        filter_ = _hang(channel, program, index, HOOKS[direction])
    except BaseException:
        if made:
            channel.ask(DELETE_DISCIPLINE, ACKNOWLEDGE, clsact)
        channel.close()
        raise

    def undo() -> None:
        try:
            _quietly(GONE, channel.ask, DELETE_FILTER, ACKNOWLEDGE, filter_)
            if made and not any(_hangs(channel, index, hook) for hook in HOOKS.values()):
                _quietly(GONE, channel.ask, DELETE_DISCIPLINE, ACKNOWLEDGE, clsact)
        finally:
            channel.close()

    return undo


def _hang(channel: Channel, program: int, index: int, hook: int) -> bytes:
    """Make a filter of a program, and return the message that takes it away: priority and handle are its name."""
    word = struct.Struct("=I").pack
    options = _attribute(BPF_FD, word(program)) + _attribute(BPF_NAME, b"lbcore\0")
    options += _attribute(BPF_FLAGS, word(DIRECT_ACTION))
    body = TRAFFIC.pack(0, index, 0, hook, ALL_PROTOCOLS) + _attribute(KIND, b"bpf\0")
    body += _attribute(OPTIONS | NESTED, options)
    (told,) = channel.ask(NEW_FILTER, ACKNOWLEDGE | ECHO | CREATE | EXCLUSIVE, body)
    return told[: TRAFFIC.size] + _attribute(KIND, b"bpf\0")


def _hangs(channel: Channel, index: int, hook: int) -> bool:
    """Does any filter hang on this hook?"""
    return bool(_quietly(GONE, channel.ask, GET_FILTER, DUMP, TRAFFIC.pack(0, index, 0, hook, 0)))


def _quietly(expected: tuple[int, ...], ask: Callable[..., object], *arguments: object) -> object:
    """Ask for what may be done already: of these errors nothing is said."""
    try:
        return ask(*arguments)
    except OSError as error:
        if error.errno not in expected:
            raise
        return None


def _attribute(kind: int, content: bytes) -> bytes:
    return struct.pack("=HH", 4 + len(content), kind) + content + bytes(-len(content) % 4)


def _messages(data: bytes) -> Iterator[tuple[int, bytes]]:
    """Kind and body of each message in what was received."""
    at = 0
    while at + HEADER.size <= len(data):
        length, kind, *_ = HEADER.unpack_from(data, at)
        yield kind, data[at + HEADER.size : at + length]
        at += max(length + 3 & ~3, HEADER.size)


def _error_text(told: bytes) -> str:
    """The kernel's words behind an error: the first attribute after the error and the request's header."""
    at = ERROR_HEADER.size
    if len(told) < at + 4:
        return ""
    length, kind = struct.unpack_from("=HH", told, at)
    return told[at + 4 : at + length].split(b"\0")[0].decode(errors="replace") if kind == ERROR_TEXT else ""
