"""One function for each thing a machine may or may not allow: it tries, cleans up, and says why not in words.

Rule of this file: a probe returns (available, why). It tries the thing itself rather than reading a setting that
promises it, because between the two stand seccomp filters, AppArmor, container runtimes and missing modules. It
leaves nothing behind: what it opens it closes, what it makes dies with the child process that made it. A probe may
raise OSError; `capabilities` turns that into words.
"""

from __future__ import annotations

import errno
import os
import platform
import shutil
import socket
import subprocess
import sys
from pathlib import Path

from lbcore.testbed import hardware, namespace_probe, xdp_stub

Finding = tuple[bool, str]

AF_XDP = 44  # linux/socket.h; the socket module does not name it before Python 3.13
TIMEOUT = 10.0  # seconds; a child that takes longer is killed and reported


def namespaces() -> Finding:
    """A network namespace and a veth pair, made in a child process. `why` begins with how: root or user."""
    done = subprocess.run(
        [sys.executable, "-I", "-S", namespace_probe.__file__],
        capture_output=True, text=True, timeout=TIMEOUT, check=False, stdin=subprocess.DEVNULL,
    )  # fmt: skip
    how, _, why = done.stdout.strip().partition(" ")
    if how == "root":
        return True, f"as root: {why}"
    if how == "user":
        return True, f"through a user namespace, without root: {why}"
    last = done.stderr.strip().splitlines()[-1:] or [f"the probe ended with status {done.returncode}"]
    return False, why or last[0]


def bpf() -> Finding:
    """Load a two-instruction XDP program (return XDP_PASS) through bpf(2), and close it."""
    try:
        os.close(xdp_stub.load())
    except OSError as error:
        reasons = {
            errno.EPERM: "refused: it wants CAP_BPF and CAP_NET_ADMIN (root outside containers has both)",
            errno.ENOSYS: "this kernel was built without bpf(2), or a seccomp filter hides it",
        }
        if platform.machine() not in xdp_stub.BPF_SYSCALL:
            return False, f"bpf(2) is not tried: {error.strerror}"
        return False, f"{reasons.get(error.errno or 0, 'bpf(2) failed')} ({errno.errorcode.get(error.errno or 0)})"
    return True, "an XDP program was verified and loaded by the kernel, and closed again"


def _socket(family: int, protocol: int, what: str) -> Finding:
    """Whether a raw socket of `family` can be opened; it is closed at once and bound to nothing."""
    try:
        socket.socket(family, socket.SOCK_RAW, protocol).close()
    except PermissionError:
        return False, f"{what} sockets want CAP_NET_RAW"
    except OSError as error:
        return False, f"this kernel opens no {what} socket ({error.strerror})"
    return True, f"an {what} socket was opened and closed"


def af_packet() -> Finding:
    """A raw AF_PACKET socket (protocol 0: it receives nothing)."""
    return _socket(socket.AF_PACKET, 0, "AF_PACKET")


def af_xdp() -> Finding:
    """An AF_XDP socket."""
    return _socket(AF_XDP, 0, "AF_XDP")


def btf() -> Finding:
    """The kernel's type information, which CO-RE programs need."""
    path = Path("/sys/kernel/btf/vmlinux")
    if os.access(path, os.R_OK):
        return True, f"the kernel publishes its types in {path}"
    return False, f"{path} is missing or not readable: the kernel was built without CONFIG_DEBUG_INFO_BTF"


def unprivileged_bpf() -> Finding:
    """kernel.unprivileged_bpf_disabled, in words. It never covers XDP, which always wants capabilities."""
    value = hardware.read("/proc/sys/kernel/unprivileged_bpf_disabled")
    words = {
        "0": "kernel.unprivileged_bpf_disabled is 0: anyone may load socket filters, though not XDP",
        "1": "kernel.unprivileged_bpf_disabled is 1: only CAP_BPF may use bpf(2), until the next boot",
        "2": "kernel.unprivileged_bpf_disabled is 2: only CAP_BPF may use bpf(2), unless an administrator changes it",
    }
    return value == "0", words.get(value or "", "kernel.unprivileged_bpf_disabled is not readable")


def loopback_range() -> Finding:
    """Whether 127.0.0.2 can be bound: labs give each backend a loopback address of its own."""
    try:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as trial:
            trial.bind(("127.0.0.2", 0))
    except OSError as error:
        return False, f"127.0.0.2 cannot be bound ({error.strerror}): only 127.0.0.1 is, and backends differ by port"
    return True, "the whole of 127.0.0.0/8 can be bound"


def program(name: str) -> Finding:
    """Whether a program is on PATH."""
    return (True, "on PATH") if shutil.which(name) else (False, "not on PATH")


def cpu() -> Finding:
    """Model and the features that matter here."""
    features = hardware.cpu_features()
    return True, f"{hardware.cpu_model()} ({', '.join(features) or 'features not reported'})"


def cores() -> Finding:
    """Cores this process may use, and the control group's share of them."""
    quota = hardware.cpu_quota()
    limit = f", of which the control group grants {quota:g} cores' worth of time" if quota is not None else ""
    return True, f"{hardware.cores()} usable{limit}"


def memory() -> Finding:
    """Memory of the machine and limit of the control group."""
    total, limit = hardware.memory_total(), hardware.memory_limit()
    words = f"{total / 2**30:.1f} GiB" if total else "size not reported"
    capped = limit is not None and (total is None or limit < total)
    return True, words + (f", of which the control group allows {limit / 2**30:.1f} GiB" if capped and limit else "")


def kernel() -> Finding:
    """System and version."""
    return True, f"{hardware.kernel()} on {platform.machine()}, {hardware.host_kind()}"
