"""The kernel is the judge: generated programs give the same r0 under BPF_PROG_TEST_RUN and in the machine."""

from __future__ import annotations

import ctypes
import os
import platform
import struct
from random import Random

from lbcore.ebpf import isa, vm
from tests import needs
from tests.ebpf.programs import halves, straight

pytestmark = needs.tier(2)

PROG_LOAD, TEST_RUN, XDP = 5, 10, 6
SYSCALL = {"x86_64": 321, "aarch64": 280}[platform.machine()]
LIBC = ctypes.CDLL(None, use_errno=True)


def bpf(command: int, attributes: bytes) -> tuple[int, bytes]:
    """bpf(2): the result and the attributes as the kernel left them."""
    buffer = ctypes.create_string_buffer(attributes.ljust(144, b"\0"), 144)
    return LIBC.syscall(SYSCALL, command, buffer, 144), buffer.raw


def verdict(code: bytes) -> int | None:
    """The program's verdict in the kernel; None if the verifier refuses it."""
    program, licence = ctypes.create_string_buffer(code), ctypes.create_string_buffer(b"GPL")
    addresses = ctypes.addressof(program), ctypes.addressof(licence)
    fd, _ = bpf(PROG_LOAD, struct.pack("<IIQQ", XDP, len(code) // 8, *addresses))
    if fd < 0:
        return None
    try:
        packet = ctypes.create_string_buffer(64)
        result, out = bpf(TEST_RUN, struct.pack("<IIIIQQII", fd, 0, 64, 0, ctypes.addressof(packet), 0, 1, 0))
        assert result == 0, os.strerror(ctypes.get_errno())
        return int(struct.unpack_from("<I", out, 4)[0])
    finally:
        os.close(fd)


def test_generated_programs_mean_the_same_in_the_kernel() -> None:
    random = Random(0)
    accepted = 0
    for _ in range(3_000):
        code = isa.encode(halves(straight(random, random.randrange(1, 60))))
        theirs = verdict(code)
        if theirs is None:
            continue
        accepted += 1
        ours = vm.run(code) & 0xFFFFFFFF
        assert ours == theirs, "\n".join(map(str, isa.decode(code)))
    assert accepted > 2_000, f"the verifier took only {accepted} of 3,000 programs"
