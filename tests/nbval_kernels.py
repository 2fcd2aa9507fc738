"""nbval's kernels, reached through files instead of TCP ports (a pytest plugin: `-p tests.nbval_kernels`).

jupyter_client chooses five free ports and lets them go again before the kernel, a second or so later, takes them. In
between a cell of another notebook that makes connections by the thousand may be given one of them, and then the
kernel never answers. Files in a folder of our own have no such rival, and nobody else can reach them either. The
folder's name is short: a socket's path has at most 107 bytes.
"""

from __future__ import annotations

import itertools
import tempfile
from typing import Any

import nbval.kernel
from jupyter_client.manager import KernelManager

_folder = tempfile.TemporaryDirectory(prefix="nbval-")  # kept for as long as the process, then removed
_number = itertools.count()


def manager(**words: Any) -> KernelManager:
    """What nbval makes a KernelManager with."""
    name = f"{_folder.name}/{next(_number)}"
    return KernelManager(transport="ipc", ip=name, connection_file=f"{name}.json", **words)


nbval.kernel.KernelManager = manager
