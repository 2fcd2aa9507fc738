"""What the kernel counts by itself, read from /proc (proc(5)); network counters are those of the host that reads.

Rule of this file: a file of /proc in, a number out.
"""

from __future__ import annotations

from pathlib import Path


def context_switches() -> int:
    """Of every process of this machine, since it started."""
    lines = Path("/proc/stat").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("ctxt "))


def driver_packets(interface: str = "eth0") -> int:
    """Packets that an interface has received, whatever became of them. ValueError names those there are."""
    lines = [line.split() for line in Path("/proc/net/dev").read_text().splitlines()[2:]]
    received = {line[0].rstrip(":"): int(line[2]) for line in lines}
    if interface not in received:
        raise ValueError(f"interface {interface!r}: not here; there are {', '.join(received)}")
    return received[interface]


def ip_packets() -> int:
    """IPv4 packets that reached the IP layer."""
    return _snmp()["Ip", "InReceives"]


def udp_datagrams() -> int:
    """Datagrams that reached a UDP socket: those that were read, and those that its filter or its buffer refused."""
    counted = _snmp()
    return counted["Udp", "InDatagrams"] + counted["Udp", "InErrors"]


def _snmp() -> dict[tuple[str, str], int]:
    """(protocol, counter) -> value: a line of names, then a line of numbers."""
    lines = [line.split() for line in Path("/proc/net/snmp").read_text().splitlines()]
    return {
        (names[0].rstrip(":"), name): int(number)
        for names, numbers in zip(lines[::2], lines[1::2], strict=True)
        for name, number in zip(names[1:], numbers[1:], strict=True)
    }
