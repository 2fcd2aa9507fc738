"""What is done inside the hosts of the lab's network: a client's attempts, a host's readings, a command.

Rule of this file: every function runs in the network namespace of its process, and what it gives back can be pickled.
It needs no `ip` and no `sysctl`: addresses come from the kernel by ioctl, the rest from /proc.
"""

from __future__ import annotations

import asyncio
import fcntl
import json
import socket
import struct
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from ctypes import addressof, create_string_buffer
from ipaddress import ip_address, ip_interface
from pathlib import Path

from lbcore.labs.dsr.commands import Command
from lbcore.testbed import links, rtnetlink

CLIENT = "198.51.100.7"
NAMES = ("rp_filter", "arp_ignore", "arp_announce")
COUNTED = ("IpInReceives", "IpInAddrErrors", "TcpExtIPReversePathFilter", "TcpPassiveOpens")
"""What is read of each host, in the words of nstat."""
SIOCGIFCONF, IFREQ = 0x8912, 40  # linux/sockios.h; bytes of a struct ifreq


def knock(vip: str, ports: Sequence[int], patience: float) -> dict[int, bool]:
    """Connect from each port and hang up: which of them were answered."""

    async def one(port: int) -> bool:
        with socket.socket() as mouth:
            mouth.setblocking(False)
            mouth.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            mouth.bind((CLIENT, port))
            with suppress(OSError):  # TimeoutError is one
                await asyncio.wait_for(asyncio.get_running_loop().sock_connect(mouth, (vip, 80)), patience)
                return True
            return False

    async def all_of_them() -> list[bool]:
        return await asyncio.gather(*map(one, ports))

    return dict(zip(ports, asyncio.run(all_of_them()), strict=True))


def ask_all(vip: str, ports: Sequence[int], patience: float) -> dict[int, str]:
    """A request from each port: the name of who answered, or of the error."""

    async def one(port: int) -> str:
        try:
            async with asyncio.timeout(patience):
                reader, writer = await asyncio.open_connection(vip, 80, local_addr=(CLIENT, port))
                writer.write(b"GET / HTTP/1.1\r\nhost: lab\r\nconnection: close\r\n\r\n")
                said = (await reader.read()).partition(b"\r\n\r\n")[2]
                writer.transport.abort()
                return str(json.loads(said)["backend"])
        except (OSError, ValueError) as error:
            return type(error).__name__

    async def all_of_them() -> list[str]:
        return await asyncio.gather(*map(one, ports))

    return dict(zip(ports, asyncio.run(all_of_them()), strict=True))


def touch(address: str) -> None:
    """Have the kernel ask for an address by ARP; what becomes of the datagram does not matter."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as mouth:
        mouth.sendto(b"", (address, 9))
    deadline = time.monotonic() + 5
    while all(address not in known for known in neighbours().values()) and time.monotonic() < deadline:
        time.sleep(0.01)


def arp_question(mac: str, sender: str, target: str) -> bytes:
    """Who has `target`? A whole frame (RFC 826)."""
    source = bytes.fromhex(mac.replace(":", ""))
    head = b"\xff" * 6 + source + b"\x08\x06" + struct.pack("!HHBBH", 1, 0x0800, 6, 4, 1)
    return head + source + socket.inet_aton(sender) + bytes(6) + socket.inet_aton(target)


def read() -> tuple[dict[str, list[str]], dict[str, dict[str, str]], dict[str, int], dict[str, int]]:
    """This host's addresses, neighbours, settings and counters."""
    return addresses(), neighbours(), settings(), nstat()


def addresses() -> dict[str, list[str]]:
    """IPv4 addresses by interface (netdevice(7))."""
    room = create_string_buffer(64 * IFREQ)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as control:
        answer = fcntl.ioctl(control, SIOCGIFCONF, struct.pack("iPx", len(room), addressof(room)).ljust(16, b"\0"))
    found: dict[str, list[str]] = {}
    for at in range(0, struct.unpack_from("i", answer)[0], IFREQ):
        name = room.raw[at : at + 16].split(b"\0")[0].decode()
        found.setdefault(name, []).append(socket.inet_ntoa(room.raw[at + 20 : at + 24]))
    return found


def neighbours() -> dict[str, dict[str, str]]:
    """What is known by ARP, by interface; what was asked for in vain is left out."""
    found: dict[str, dict[str, str]] = {}
    for line in Path("/proc/net/arp").read_text().splitlines()[1:]:
        address, _, flags, mac, _, interface = line.split()
        if int(flags, 16):
            found.setdefault(interface, {})[address] = mac
    return found


def settings() -> dict[str, int]:
    """The three settings of this lab, for all and for each interface."""
    scopes = sorted(path.name for path in Path("/proc/sys/net/ipv4/conf").iterdir())
    return {
        f"{scope}.{name}": int(links.sysctl(f"net/ipv4/conf/{scope}/{name}"))
        for scope in scopes
        if scope == "all" or scope.startswith("eth")
        for name in NAMES
    }


def nstat() -> dict[str, int]:
    """The counters of `COUNTED`."""
    found = {}
    for file in ("/proc/net/snmp", "/proc/net/netstat"):
        lines = [line.split() for line in Path(file).read_text().splitlines()]
        for names, values in zip(lines[::2], lines[1::2], strict=True):
            found.update({names[0][:-1] + name: int(value) for name, value in zip(names[1:], values[1:], strict=True)})
    return {name: found[name] for name in COUNTED}


def set_all(values: Mapping[str, int]) -> None:
    """Settings as `Readings` has them, "all.rp_filter"."""
    for setting, value in values.items():
        links.sysctl(f"net/ipv4/conf/{setting.replace('.', '/')}", value)


def carry_out(command: Command) -> None:
    """One command, in its host."""
    kind, address, interface, _, name, value = command
    if kind == "set":
        links.sysctl(f"net/ipv4/conf/{interface}/{name}", value)
    elif kind == "add":
        rtnetlink.add_address(interface, ip_interface(address))
    else:
        rtnetlink.delete_neighbour(ip_address(address), interface)


def remove_address(interface: str, address: str) -> None:
    rtnetlink.delete_address(interface, ip_interface(address))
