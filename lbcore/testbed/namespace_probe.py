"""Run as a program: try to make a network namespace and a veth pair in it, print what worked, and end.

Rule of this file: it runs in a process of its own and everything it makes dies with that process. Standard library
only, so that it starts at once and needs nothing of the parent.

Theory. unshare(2) moves the calling process into a fresh network namespace. Root may ask for that directly; others
ask for a user namespace in the same call, in which they hold every capability (user_namespaces(7)). Some systems
let the call pass and then deny the capabilities (AppArmor on Ubuntu), so only a device that was really made, through
RTM_NEWLINK (rtnetlink(7)), proves anything.

Output: one word (root, user, none), then the reason.
"""

import ctypes
import os
import socket
import struct

CLONE_NEWNET, CLONE_NEWUSER = 0x40000000, 0x10000000  # linux/sched.h
RTM_NEWLINK, NLMSG_ERROR = 16, 2
NLM_F_REQUEST_ACK_CREATE_EXCL = 0x1 | 0x4 | 0x400 | 0x200
IFLA_LINKINFO, IFLA_INFO_KIND = 18, 1


def attribute(kind: int, payload: bytes) -> bytes:
    """One netlink attribute: length, type, payload padded to four bytes (native byte order)."""
    return struct.pack("=HH", 4 + len(payload), kind) + payload + b"\0" * (-len(payload) % 4)


def unshare(flags: int) -> int:
    """errno of unshare(flags), 0 on success."""
    libc = ctypes.CDLL(None, use_errno=True)
    return 0 if libc.unshare(flags) == 0 else ctypes.get_errno()


def make_veth() -> int:
    """errno of making a veth pair in the current namespace, 0 on success. The kernel chooses the names."""
    body = struct.pack("=BxHiII", 0, 0, 0, 0, 0xFFFFFFFF) + attribute(IFLA_LINKINFO, attribute(IFLA_INFO_KIND, b"veth"))
    header = struct.pack("=IHHII", 16 + len(body), RTM_NEWLINK, NLM_F_REQUEST_ACK_CREATE_EXCL, 1, 0)
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, socket.NETLINK_ROUTE) as netlink:
        netlink.settimeout(3)
        netlink.send(header + body)
        answer = netlink.recv(65536)
    _, kind = struct.unpack_from("=IH", answer)
    if kind != NLMSG_ERROR:
        raise OSError(f"netlink answered with message type {kind}, wanted NLMSG_ERROR ({NLMSG_ERROR})")
    return -int(struct.unpack_from("=i", answer, 16)[0])


def main() -> str:
    """The verdict line."""
    refused = unshare(CLONE_NEWNET)
    how = "root"
    if refused:
        how = "user"
        refused = unshare(CLONE_NEWUSER | CLONE_NEWNET)
    if refused:
        return f"none unshare(2) of a network namespace was refused: {os.strerror(refused)}"
    refused = make_veth()
    if refused:
        return f"none a network namespace could be made but no veth pair in it: {os.strerror(refused)}"
    return f"{how} a network namespace with a veth pair was made and removed"


if __name__ == "__main__":
    print(main())
