"""Links, addresses, routes and neighbours by rtnetlink: what `ip` says to the kernel, without `ip`.

Rule of this file: one message out, one acknowledgement back, for the network namespace of the thread that calls. It
makes and changes; it does not list.

Theory. A netlink message is a header, a fixed struct for its type, and attributes (length, type, payload), which may
hold attributes in turn. Everything is in the machine's byte order except addresses. A refusal comes back as a negative
errno, and with NETLINK_EXT_ACK the kernel adds a sentence of its own (rtnetlink(7), netlink(7)).
"""

from __future__ import annotations

import os
import socket
import struct
from contextlib import suppress
from ipaddress import IPv4Address, IPv4Interface, IPv4Network, IPv6Address, IPv6Interface, IPv6Network

from lbcore.testbed.namespace_probe import attribute

Address = IPv4Address | IPv6Address
Interface = IPv4Interface | IPv6Interface
Network = IPv4Network | IPv6Network

RTM_NEWLINK, RTM_NEWADDR, RTM_DELADDR, RTM_NEWROUTE, RTM_NEWNEIGH, RTM_DELNEIGH = 16, 20, 21, 24, 28, 29
"""linux/rtnetlink.h."""
NLMSG_ERROR, REQUEST_ACK, CREATE_EXCL = 2, 0x1 | 0x4, 0x400 | 0x200  # linux/netlink.h
ACK_TLVS, MESSAGE_IN_ACK = 0x200, 1
SOL_NETLINK, NETLINK_CAP_ACK, NETLINK_EXT_ACK = 270, 10, 11
NESTED = 0x8000

IFLA_ADDRESS, IFLA_IFNAME, IFLA_MTU, IFLA_MASTER, IFLA_LINKINFO, IFLA_NET_NS_FD, IFLA_XDP = 1, 3, 4, 10, 18, 28, 43
IFLA_INFO_KIND, IFLA_INFO_DATA, VETH_INFO_PEER = 1, 2, 1  # linux/if_link.h
IFLA_BR_AGEING_TIME, IFLA_BR_MCAST_SNOOPING = 4, 23
IFLA_XDP_FD, IFLA_XDP_FLAGS = 1, 3
IFF_UP, IFA_F_NODAD = 0x1, 0x02
IFA_ADDRESS, IFA_LOCAL = 1, 2
RTA_DST, RTA_OIF, RTA_GATEWAY, RTA_PREFSRC = 1, 4, 5, 7
RT_TABLE_MAIN, RTPROT_STATIC, RT_SCOPE_UNIVERSE, RT_SCOPE_LINK, RTN_UNICAST = 254, 4, 0, 253, 1
NDA_DST, NDA_LLADDR, NUD_PERMANENT = 1, 2, 0x80
FAMILY = {4: socket.AF_INET, 6: socket.AF_INET6}


def add_veth(name: str, mac: str, peer: str, peer_mac: str, peer_namespace: int, mtu: int) -> None:
    """A veth pair: `name` here, `peer` in the network namespace of that descriptor."""
    far = _link(0) + _text(IFLA_IFNAME, peer) + _mac(peer_mac) + _u32(IFLA_MTU, mtu)
    far += _u32(IFLA_NET_NS_FD, peer_namespace)
    info = attribute(IFLA_INFO_KIND, b"veth") + attribute(NESTED | IFLA_INFO_DATA, attribute(VETH_INFO_PEER, far))
    body = _link(0) + _text(IFLA_IFNAME, name) + _mac(mac) + _u32(IFLA_MTU, mtu)
    _send(RTM_NEWLINK, CREATE_EXCL, body + attribute(NESTED | IFLA_LINKINFO, info), f"veth {name}")


def add_bridge(name: str, mac: str) -> None:
    """A learning switch without spanning tree and without multicast snooping: it says nothing of its own.

    What it has learnt it keeps for a day, not five minutes: a host that is silent for long is no stranger.
    """
    data = attribute(IFLA_BR_MCAST_SNOOPING, b"\0") + _u32(IFLA_BR_AGEING_TIME, 24 * 60 * 60 * 100)  # 1/100 s
    info = attribute(IFLA_INFO_KIND, b"bridge") + attribute(NESTED | IFLA_INFO_DATA, data)
    body = _link(0) + _text(IFLA_IFNAME, name) + _mac(mac) + attribute(NESTED | IFLA_LINKINFO, info)
    _send(RTM_NEWLINK, CREATE_EXCL, body, f"bridge {name}")


def set_up(name: str, up: bool = True) -> None:
    """`ip link set NAME up`, or down."""
    index = socket.if_nametoindex(name)
    _send(RTM_NEWLINK, 0, struct.pack("=BxHiII", 0, 0, index, IFF_UP if up else 0, IFF_UP), f"{name} up={up}")


def set_master(name: str, master: str) -> None:
    """Make `name` a port of the bridge `master`."""
    body = _link(socket.if_nametoindex(name)) + _u32(IFLA_MASTER, socket.if_nametoindex(master))
    _send(RTM_NEWLINK, 0, body, f"{name} as a port of {master}")


def set_xdp(name: str, program: int, flags: int) -> None:
    """Attach the XDP program of that descriptor (-1 detaches). flags: XDP_FLAGS_* of linux/if_link.h."""
    xdp = attribute(IFLA_XDP_FD, struct.pack("=i", program)) + _u32(IFLA_XDP_FLAGS, flags)
    _send(RTM_NEWLINK, 0, _link(socket.if_nametoindex(name)) + attribute(NESTED | IFLA_XDP, xdp), f"XDP on {name}")


def add_address(name: str, address: Interface) -> None:
    """An address with its prefix. IPv6: usable at once, without the second of duplicate detection (RFC 4862)."""
    _send(RTM_NEWADDR, CREATE_EXCL, _address(name, address), f"address {address} on {name}")


def delete_address(name: str, address: Interface) -> None:
    """The same address, taken away."""
    _send(RTM_DELADDR, 0, _address(name, address), f"address {address} off {name}")


def add_route(
    target: Network, via: Address | None = None, device: str | None = None, source: Address | None = None
) -> None:
    """A route through a gateway, a device or both; `source` is the address to speak from (`ip route ... src`)."""
    scope = RT_SCOPE_LINK if via is None and target.version == 4 else RT_SCOPE_UNIVERSE
    body = struct.pack(
        "=BBBBBBBBI",
        FAMILY[target.version], target.prefixlen, 0, 0, RT_TABLE_MAIN, RTPROT_STATIC, scope, RTN_UNICAST, 0,
    )  # fmt: skip
    body += attribute(RTA_DST, target.network_address.packed)
    body += attribute(RTA_GATEWAY, via.packed) if via else b""
    body += _u32(RTA_OIF, socket.if_nametoindex(device)) if device else b""
    body += attribute(RTA_PREFSRC, source.packed) if source else b""
    _send(RTM_NEWROUTE, CREATE_EXCL, body, f"route to {target} via {via or device}")


def add_neighbour(address: Address, mac: str, device: str) -> None:
    """A permanent ARP or neighbour-discovery entry."""
    body = _neighbour(address, device) + attribute(NDA_LLADDR, mac_bytes(mac))
    _send(RTM_NEWNEIGH, 0x400 | 0x100, body, f"neighbour {address} at {mac}")  # create or replace


def delete_neighbour(address: Address, device: str) -> None:
    """Forget an entry, learned or permanent, so that the next packet asks again."""
    _send(RTM_DELNEIGH, 0, _neighbour(address, device), f"neighbour {address} on {device} forgotten")


def mac_bytes(mac: str) -> bytes:
    """Six bytes of "02:00:00:00:00:01". ValueError names what is not a MAC address."""
    with suppress(ValueError):
        packed = bytes.fromhex(mac.replace(":", ""))
        if len(packed) == 6:
            return packed
    raise ValueError(f"MAC address is {mac!r}, wanted six bytes in hex such as 02:00:00:00:00:01")


def _link(index: int) -> bytes:
    """struct ifinfomsg that changes no flags."""
    return struct.pack("=BxHiII", 0, 0, index, 0, 0)


def _address(name: str, address: Interface) -> bytes:
    """struct ifaddrmsg and the address."""
    family, prefix, index = FAMILY[address.version], address.network.prefixlen, socket.if_nametoindex(name)
    head, packed = struct.pack("=BBBBI", family, prefix, IFA_F_NODAD, 0, index), address.ip.packed
    return head + attribute(IFA_LOCAL, packed) + attribute(IFA_ADDRESS, packed)


def _neighbour(address: Address, device: str) -> bytes:
    """struct ndmsg and the address."""
    family, index = FAMILY[address.version], socket.if_nametoindex(device)
    head = struct.pack("=BxxxiHBB", family, index, NUD_PERMANENT, 0, RTN_UNICAST)
    return head + attribute(NDA_DST, address.packed)


def _u32(kind: int, value: int) -> bytes:
    return attribute(kind, struct.pack("=I", value))


def _text(kind: int, text: str) -> bytes:
    return attribute(kind, text.encode() + b"\0")


def _mac(mac: str) -> bytes:
    return attribute(IFLA_ADDRESS, mac_bytes(mac))


def _send(kind: int, flags: int, body: bytes, what: str) -> None:
    """One request. OSError with the kernel's errno, its own words where it has some, and `what` was wanted."""
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, socket.NETLINK_ROUTE) as netlink:
        netlink.setsockopt(SOL_NETLINK, NETLINK_CAP_ACK, 1)
        netlink.setsockopt(SOL_NETLINK, NETLINK_EXT_ACK, 1)
        netlink.settimeout(10)
        netlink.send(struct.pack("=IHHII", 16 + len(body), kind, REQUEST_ACK | flags, 1, 0) + body)
        answer = netlink.recv(65536)
    length, answered, answer_flags = struct.unpack_from("=IHH", answer)
    if answered != NLMSG_ERROR:
        raise OSError(f"{what}: netlink answered with message type {answered}, wanted NLMSG_ERROR ({NLMSG_ERROR})")
    error = -struct.unpack_from("=i", answer, 16)[0]
    if error:
        words = _words(answer[36:length]) if answer_flags & ACK_TLVS else ""
        raise OSError(error, f"{what}: {os.strerror(error)}" + (f" (the kernel says: {words})" if words else ""))


def _words(attributes: bytes) -> str:
    """The kernel's sentence among the attributes of a refusal."""
    at = 0
    while at + 4 <= len(attributes):
        size, kind = struct.unpack_from("=HH", attributes, at)
        if size < 4:
            break
        if kind == MESSAGE_IN_ACK:
            return attributes[at + 4 : at + size].rstrip(b"\0").decode(errors="replace")
        at += (size + 3) & ~3
    return ""
