"""What a host does to itself when it joins a network. Every function here runs inside the host.

Rule of this file: settings and devices of the network namespace that calls, nothing kept.

Theory. A balancer's network differs from a laptop's in four settings, and each of them, forgotten, is a day lost:
- rp_filter: a backend in direct server return answers to where the packet did not come from; strict reverse path
  filtering drops such packets without a word (RFC 3704). The larger of `all` and the interface's own value counts.
- arp_ignore, arp_announce: a host answers ARP for any of its addresses on any interface, so a virtual address on a
  backend's loopback would be claimed by every backend. 1 and 2 stop it (Linux: ip-sysctl). IPv6 never did that.
- ip_forward: a host drops what is not for itself, unless told that it is a router.
- offloads: a veth leaves checksums and segmentation to a card that is not there, so captures show frames that no wire
  would carry: half-done checksums, and segments of 64 KiB.
"""

from __future__ import annotations

import fcntl
import socket
import struct
from ctypes import addressof, create_string_buffer
from pathlib import Path

from lbcore.testbed import rtnetlink

SIOCETHTOOL = 0x8946  # linux/sockios.h
OFFLOADS = {  # linux/ethtool.h: the commands that set them
    "receive checksum": 0x15, "transmit checksum": 0x17, "scatter-gather": 0x19, "TSO": 0x1F, "GSO": 0x24, "GRO": 0x2C
}  # fmt: skip
QUIET = {  # no packet that nobody asked for: link-local addresses, router solicitations, redirects
    "net/ipv6/conf/{}/accept_ra": 0,
    "net/ipv6/conf/{}/addr_gen_mode": 1,
    "net/ipv6/conf/{}/router_solicitations": 0,
    "net/ipv4/conf/{}/send_redirects": 0,
}
FITTING = {
    "net/ipv4/conf/{}/rp_filter": 0,
    "net/ipv4/conf/{}/arp_ignore": 1,
    "net/ipv4/conf/{}/arp_announce": 2,
    "net/ipv4/conf/{}/accept_local": 1,  # a packet from one of our own addresses is not an attack here
}


def sysctl(name: str, value: int | str | None = None) -> str:
    """A setting of this namespace, as text; set first if `value` is given. `name` with slashes, below /proc/sys."""
    path = Path("/proc/sys") / name
    if value is not None:
        path.write_text(str(value))
    return path.read_text().strip()


def prepare(forward: bool) -> None:
    """Bring up loopback and make the settings that later interfaces inherit."""
    for setting, value in {**QUIET, **FITTING}.items():
        for scope in ("all", "default"):
            if Path("/proc/sys", setting.format(scope)).exists():  # a kernel without IPv6 has no such setting
                sysctl(setting.format(scope), value)
    for setting in ("net/ipv4/ip_forward", "net/ipv6/conf/all/forwarding"):
        if Path("/proc/sys", setting).exists():
            sysctl(setting, int(forward))
    sysctl("net/ipv4/ping_group_range", "0 0")  # root may ping; here everyone is
    rtnetlink.set_up("lo")


def configure(name: str, addresses: tuple[rtnetlink.Interface, ...], offloads: bool) -> None:
    """Give an interface its addresses and bring it up."""
    if not offloads:
        no_offloads(name)
    for address in addresses:
        rtnetlink.add_address(name, address)
    rtnetlink.set_up(name)


def no_offloads(name: str) -> None:
    """Have this interface carry only frames that a wire could carry. OSError names what the device refused."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as control:
        for what, command in OFFLOADS.items():
            value = create_string_buffer(struct.pack("=II", command, 0), 8)
            request = struct.pack("=16sQ16x", name.encode(), addressof(value))  # struct ifreq
            try:
                fcntl.ioctl(control, SIOCETHTOOL, request)
            except OSError as error:
                raise OSError(error.errno, f"{what} of {name} cannot be switched off: {error.strerror}") from None


def packet_socket(name: str, kind: int = socket.SOCK_RAW, protocol: int = 0) -> socket.socket:
    """An AF_PACKET socket bound to an interface. protocol 0 receives nothing, 3 (ETH_P_ALL) everything."""
    packets = socket.socket(socket.AF_PACKET, kind)
    try:
        packets.bind((name, protocol))
    except BaseException:
        packets.close()
        raise
    return packets
