"""The balancer in C, twice, as the Python one is: over this process's memory, and over the kernel's maps.

Rule of this file: it builds the twins and gives them the faces of `Forwarder` and `InKernel`.

Theory. A twin is worth comparing with if it is what somebody would write in C, and if it does the same.
`c/l4/core.h` is the balancer, once; `memory.c` and `xdp.c` bring tables and packets. The tables are the very arrays
that the Python balancer has, or maps of the same kinds and layouts. `tests/l4/test_twin.py` finds them equal packet by
packet.
"""

from __future__ import annotations

import ctypes
import shutil
import subprocess
import tempfile
import time
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from lbcore.ebpf import elf, kernel
from lbcore.ebpf.object import Object
from lbcore.l4 import ahead, xdp
from lbcore.l4.config import Balancer, Config
from lbcore.l4.forwarder import HEADROOM
from lbcore.l4.xdp import FAMILIES, family_of

FOLDER = Path(__file__).parent / "c" / "l4"
TO_MEMORY = ("-O3", "-Wall", "-Werror", "-shared", "-fPIC")
TO_BPF = ("clang", "-O2", "-g", "-Wall", "-Werror", "-target", "bpf", "-mcpu=v3")


def compiler() -> str | None:
    """The C compiler, if there is one."""
    return shutil.which("gcc") or shutil.which("cc")


@cache
def library() -> ctypes.CDLL:
    """The twin in memory. Raises FileNotFoundError without a compiler, CalledProcessError where it refuses."""
    name = compiler()
    if name is None:
        raise FileNotFoundError("neither gcc nor cc is on PATH (Debian: apt install gcc)")
    with tempfile.TemporaryDirectory() as folder:
        made = Path(folder) / "twin.so"
        subprocess.run([name, *TO_MEMORY, "memory.c", "-o", made], cwd=FOLDER, check=True)
        return ctypes.CDLL(str(made))


@cache
def program(family: str) -> Object:
    """The twin for the kernel, for one of `xdp.FAMILIES`. Raises CalledProcessError; its stderr says what is wrong."""
    command = [*TO_BPF, f"-DMODES={FAMILIES[family]}", "-c", "xdp.c", "-o", "-"]
    return elf.read(subprocess.run(command, cwd=FOLDER, check=True, capture_output=True).stdout)


def words_of(balancer: Balancer, settings: Any) -> list[int]:
    """`struct tables` of memory.c: addresses and sizes. settings: uint64[13]."""
    t = balancer.tables
    tables = [settings, t.vip_keys, t.vip_values, len(t.vip_keys), t.rings, t.rings.shape[1], t.backends]
    tables += [len(t.backends), t.server_ids, len(t.server_ids)]
    for table in (t.established, t.attempts, t.returns):
        tables += [table.rows, table.tags, table.counts, table.tags.size]
    tables += [t.ways, t.clock, t.vip_counters, t.backend_counters, t.reason_counters]
    return [x.ctypes.data if isinstance(x, np.ndarray) else x for x in tables]


class ForwarderInC:
    """What `Forwarder` is, by the twin: over the tables of a balancer of its own, or of one that is given.

    looks_ahead: where `Forwarder` does; False: never.
    """

    def __init__(self, config: Config | Balancer, *, looks_ahead: bool = True) -> None:
        self.balancer = config if isinstance(config, Balancer) else Balancer(config)
        self._lead = ctypes.c_int64(ahead.lead_for(self.balancer.tables) if looks_ahead else 0)
        self._settings = np.array(self.balancer.tables.settings, np.uint64)
        self._tables = np.array(words_of(self.balancer, self._settings), np.uint64)
        self._run = library().forward_batch

    def forward_batch(self, frames: Any, starts: Any, lengths: Any, verdicts: Any) -> None:
        """As `forwarder.forward_batch`, over these tables."""
        n, width = (ctypes.c_int64(x) for x in frames.shape)
        arrays = [ctypes.c_void_p(x.ctypes.data) for x in (starts, lengths, verdicts, self._tables)]
        self._run(ctypes.c_void_p(frames.ctypes.data), width, n, *arrays, self._lead)

    def process(self, frames: Any, lengths: Any, *, headroom: int = HEADROOM, now: int | None = None) -> Any:
        """As `Forwarder.process`, of arguments that are right."""
        self.balancer.tables.clock[0] = time.monotonic_ns() if now is None else now
        lengths, starts = np.array(lengths, np.int64), np.full(len(frames), headroom, np.int64)
        verdicts = np.zeros(len(frames), np.uint8)
        self.forward_batch(frames, starts, lengths, verdicts)
        return verdicts, starts, lengths


class InKernelInC(xdp.InKernel):
    """What `InKernel` is, by the twin."""

    def __init__(self, config: Config | Balancer) -> None:
        self.balancer = config if isinstance(config, Balancer) else Balancer(config)
        self.program = kernel.load(program(family_of(self.balancer.config)))
        try:
            xdp.fill(self.program.maps, self.balancer)
        except BaseException:
            self.program.close()
            raise
