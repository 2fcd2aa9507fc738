"""Drivers in tests: reading what has to come, and what an open one holds of the machine."""

from __future__ import annotations

import gc
import os
from pathlib import Path

from lbcore.l4.drivers.driver import Driver, read, wait
from tests.ebpf.wire import until


def take(driver: Driver, count: int) -> list[bytes]:
    """The next frames, waited for."""
    found: list[bytes] = []

    def all_here() -> bool:
        wait(driver.port, 20)
        found.extend(read(driver, count - len(found)))
        return len(found) >= count

    until(all_here)
    return found


def rings_mapped() -> int:
    """Mappings of sockets in this process."""
    return Path("/proc/self/maps").read_text().count("socket:[")


def descriptors() -> list[str]:
    """Kinds of what this process has open."""
    gc.collect()
    return sorted(target.partition("[")[0] for number in os.listdir("/proc/self/fd") if (target := _target(number)))


def _target(number: str) -> str:
    try:
        return os.readlink(f"/proc/self/fd/{number}")
    except FileNotFoundError:
        return ""  # the one that listed them
