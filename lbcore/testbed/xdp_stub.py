"""The smallest XDP program: let everything pass.

Rule of this file: two instructions, loaded through bpf(2) and no loader. The real loader is another floor's.

Theory. A veth has no wire: what one end sends by XDP_TX or XDP_REDIRECT is put straight into the other end's XDP queue,
and that queue exists only while the other end has an XDP program too. So the far end gets this one.
"""

from __future__ import annotations

import ctypes
import errno
import os
import platform
import struct

from lbcore.testbed import rtnetlink

BPF_SYSCALL = {"x86_64": 321, "aarch64": 280}  # asm/unistd.h; both are little-endian
BPF_PROG_LOAD, BPF_PROG_TYPE_XDP, XDP_PASS = 5, 6, 2  # linux/bpf.h
XDP_FLAGS_DRV_MODE = 4  # linux/if_link.h
CODE = struct.pack("<BBhiBBhi", 0xB7, 0, 0, XDP_PASS, 0x95, 0, 0, 0)  # r0 = 2; exit


def load() -> int:
    """A descriptor of the loaded program, for the caller to close. OSError; ENOSYS where bpf(2) is not known here."""
    number = BPF_SYSCALL.get(platform.machine())
    if number is None:
        known = ", ".join(BPF_SYSCALL)
        raise OSError(errno.ENOSYS, f"bpf(2)'s number is not known here for {platform.machine()} (known: {known})")
    code, licence = ctypes.create_string_buffer(CODE, len(CODE)), ctypes.create_string_buffer(b"GPL")
    fields = struct.pack("<IIQQ", BPF_PROG_TYPE_XDP, 2, ctypes.addressof(code), ctypes.addressof(licence))
    attributes = ctypes.create_string_buffer(fields, 128)
    libc = ctypes.CDLL(None, use_errno=True)
    libc.syscall.restype = ctypes.c_long
    descriptor: int = libc.syscall(
        ctypes.c_long(number), ctypes.c_long(BPF_PROG_LOAD), ctypes.byref(attributes), ctypes.c_ulong(128)
    )
    if descriptor < 0:
        error = ctypes.get_errno()
        raise OSError(error, f"bpf(2): {os.strerror(error)}")
    return descriptor


def attach(name: str) -> None:
    """Attach it to an interface of this namespace, in native mode; it stays as long as the interface."""
    program = load()
    try:
        rtnetlink.set_xdp(name, program, XDP_FLAGS_DRV_MODE)
    finally:
        os.close(program)
