"""What a test-bed could leave on a machine, listed: processes, namespaces, interfaces, descriptors, threads."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

MARK = "LBCORE_TEST_OF_LEFTOVERS"  # in the environment of a process under test, and so in that of all it starts


def marked(mark: str) -> list[int]:
    """Processes whose environment holds the mark."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            if f"{MARK}={mark}".encode() in (folder / "environ").read_bytes().split(b"\0"):
                found.append(int(folder.name))
        except OSError:
            continue  # it has ended, or is not ours
    return found


def holders(inodes: set[int]) -> list[str]:
    """What on this machine refers to one of these namespaces: a process in it, or a descriptor of it."""
    names = {f"{kind}:[{inode}]" for inode in inodes for kind in ("net", "user")}
    found = []
    for pattern in ("[0-9]*/ns/*", "[0-9]*/fd/*"):
        for link in Path("/proc").glob(pattern):
            try:
                if os.readlink(link) in names:
                    found.append(str(link))
            except OSError:
                continue
    return found


def our_interfaces() -> list[str]:
    """Interfaces of this namespace with a MAC address as hosts.py gives them."""
    macs = {path.parent.name: path.read_text() for path in Path("/sys/class/net").glob("*/address")}
    return [name for name, mac in macs.items() if mac.startswith("02:00:00:00:")]


def named_namespaces() -> list[str]:
    folder = Path("/run/netns")
    return sorted(os.listdir(folder)) if folder.exists() else []


def of_this_process() -> dict[str, Any]:
    """What it holds that a topology may have opened."""
    descriptors = [target for number in os.listdir("/proc/self/fd") if (target := _target(number))]
    return {
        "threads": sorted(thread.name for thread in threading.enumerate()),
        "descriptors": sorted(target.partition("[")[0] for target in descriptors),
        "children": _children(),
        "interfaces": our_interfaces(),
        "named namespaces": named_namespaces(),
        "namespace": os.readlink("/proc/thread-self/ns/net"),
    }


def _target(number: str) -> str:
    try:
        return os.readlink(f"/proc/self/fd/{number}")
    except FileNotFoundError:
        return ""  # the one that listed them


def _children() -> list[str]:
    return " ".join(_read(path) for path in Path("/proc/self/task").glob("*/children")).split()


def _read(path: Path) -> str:
    try:
        return path.read_text()
    except FileNotFoundError:
        return ""  # the thread has ended meanwhile


def until(fine: Callable[[], object], timeout: float = 10.0) -> bool:
    """Whether `fine` becomes true; what the kernel takes down it takes down a moment later."""
    deadline = time.monotonic() + timeout
    while not fine():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True
