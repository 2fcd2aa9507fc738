"""What the machine is made of: processor, cores, memory, kernel, each as one plain value.

Rule of this file: it reads and never probes; no privilege, nothing created, nothing raised. What a system does not
tell is None or "unknown", in that word.

Trap. Inside a container the visible processor and memory are the host's; what the process may use is written in
its control group (cgroup v2: one tree; v1: one tree for each controller) and in its CPU affinity.
"""

from __future__ import annotations

import os
import platform
import re
import subprocess
import sys
from pathlib import Path

CGROUP = Path("/sys/fs/cgroup")
NO_LIMIT = 1 << 60  # cgroup v1 writes "no limit" as a number near 2**63
FEATURES = ("sse4_2", "avx2", "avx512f", "bmi2", "aes", "pclmulqdq", "sha_ni", "asimd", "crc32", "pmull", "sve")


def read(path: str | Path) -> str | None:
    """The stripped text of a small system file, or None where it is absent or closed to us."""
    try:
        return Path(path).read_text(errors="replace").strip()
    except OSError:
        return None


def _sysctl(name: str) -> str | None:
    """One macOS sysctl value, or None."""
    try:
        done = subprocess.run(["sysctl", "-n", name], capture_output=True, text=True, timeout=5, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() or None


def _cpuinfo(key: str) -> str | None:
    """The first value of `key` in /proc/cpuinfo."""
    found = re.search(rf"^{key}\s*:\s*(.+)$", read("/proc/cpuinfo") or "", re.MULTILINE)
    return found.group(1).strip() if found else None


def cpu_model() -> str:
    """The processor's own name, e.g. "AMD EPYC 7B13"; the architecture where it has none to tell."""
    named = _sysctl("machdep.cpu.brand_string") if sys.platform == "darwin" else _cpuinfo("model name")
    return named or platform.machine() or "unknown"


def cpu_features() -> list[str]:
    """Those instruction-set features that matter to hashing, checksums and TLS and that the processor reports."""
    flags = set((_cpuinfo("flags") or _cpuinfo("Features") or "").split())
    return [name for name in FEATURES if name in flags]


def cores() -> int:
    """Cores this process may run on: its affinity, or all of them where the system has no such thing (macOS)."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _cgroup_folders(controller: str) -> list[Path]:
    """This process's control group and its parents, v2 and then v1, as folders that may hold a limit."""
    folders: list[Path] = []
    for line in (read("/proc/self/cgroup") or "").splitlines():
        _, names, path = line.split(":", 2)
        if names == "" or controller in names.split(","):
            root = CGROUP / names if names else CGROUP
            own = root / path.lstrip("/")
            folders += [folder for folder in (own, *own.parents) if folder == root or root in folder.parents]
    return folders


def cpu_quota() -> float | None:
    """Cores' worth of CPU time the control group allows (1.5 = one and a half), None where it sets no limit."""
    quotas = []
    for folder in _cgroup_folders("cpu"):
        limit = (read(folder / "cpu.max") or "").split()  # v2: "QUOTA PERIOD" in microseconds, or "max PERIOD"
        if not limit:
            limit = [read(folder / f"cpu.cfs_{part}_us") or "" for part in ("quota", "period")]
        if len(limit) == 2 and all(re.fullmatch(r"[1-9]\d*", part) for part in limit):
            quotas.append(int(limit[0]) / int(limit[1]))
    return min(quotas, default=None)


def memory_total() -> int | None:
    """Bytes of memory in the machine."""
    if sys.platform == "darwin":
        return int(_sysctl("hw.memsize") or 0) or None
    found = re.search(r"^MemTotal:\s*(\d+) kB", read("/proc/meminfo") or "", re.MULTILINE)
    return int(found.group(1)) * 1024 if found else None


def memory_limit() -> int | None:
    """Bytes this process's control group may use, None where it sets no limit."""
    files = [folder / name for folder in _cgroup_folders("memory") for name in ("memory.max", "memory.limit_in_bytes")]
    limits = [int(text) for text in map(read, files) if text and text.isdigit()]
    return min((limit for limit in limits if limit < NO_LIMIT), default=None)


def kernel() -> str:
    """System and numeric kernel version, e.g. "Linux 6.8.0"; the builder's suffix says nothing to a reader."""
    release = re.match(r"[\d.]+\d", platform.release())
    return f"{platform.system()} {release.group() if release else platform.release()}".strip() or "unknown"


def host_kind() -> str:
    """ "container", "virtual machine" or "physical machine" as far as the machine tells, else "machine"."""
    if Path("/.dockerenv").exists() or Path("/run/.containerenv").exists() or "KUBERNETES_SERVICE_HOST" in os.environ:
        return "container"
    flags = _cpuinfo("flags")
    if flags is None:
        return "machine"
    return "virtual machine" if "hypervisor" in flags.split() else "physical machine"
