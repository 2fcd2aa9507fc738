"""The kernel is the judge: generated programs give the same r0 under BPF_PROG_TEST_RUN and in the machine."""

from __future__ import annotations

import ctypes
import os
import platform
import struct
from random import Random

import pytest

from lbcore.ebpf import isa, signatures, vm
from lbcore.ebpf.assembler import assemble
from lbcore.ebpf.machine import Machine
from tests import needs
from tests.ebpf.programs import halves, straight

pytestmark = needs.tier(2)

MOVES = ("xdp_adjust_head", "xdp_adjust_meta", "xdp_adjust_tail")
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


@pytest.mark.parametrize("calls", [("xdp_adjust_head",), ("xdp_adjust_meta",), ("xdp_adjust_tail",), MOVES])
def test_packets_move_as_in_the_kernel(calls: tuple[str, ...]) -> None:
    """What a helper that moves the packet answers, and how long it is afterwards, for all kinds of distances."""
    random = Random(0)
    for _ in range(300):
        lines = ["r6 = r1", "r7 = 0"]
        for name in random.choices(calls, k=random.randrange(1, 4)):
            distance = random.choice(
                (random.randrange(-70, 70), random.randrange(-300, 300) & ~3, random.randrange(3800))
            )
            lines += ["r1 = r6", f"r2 = {distance}", f"call {signatures.BY_NAME[name].number}", "r7 *= 31", "r7 += r0"]
        lines += ["r1 = *(u32 *)(r6 +0)", "r2 = *(u32 *)(r6 +4)", "r2 -= r1"]
        lines += ["r7 *= 31", "r7 += r2", "r0 = r7", "exit"]
        code = assemble("\n".join(lines))
        assert Machine(code).run(bytes(64)).verdict == verdict(code), lines


def test_differences_of_checksums_are_the_kernels() -> None:
    """csum_diff: newer kernels fold the sum to 16 bits, older ones leave 32; both are the same checksum."""
    random = Random(0)
    for _ in range(200):
        lines = [f"*(u32 *)(r10 -{4 * n}) = {random.randrange(-(2**31), 2**31)}" for n in range(1, 17)]
        old, new = 4 * random.randrange(9), 4 * random.randrange(9)
        lines += ["r1 = r10", "r1 += -32", f"r2 = {old}", "r3 = r10", "r3 += -64", f"r4 = {new}"]
        lines += [f"w5 = {random.randrange(2**31)}", "call csum_diff#28", "exit"]
        code = assemble("\n".join(lines))
        theirs = verdict(code)
        assert theirs is not None
        assert fold(Machine(code).run(bytes(64)).verdict) == fold(theirs)


def fold(total: int) -> int:
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return total
