"""The kernel's helpers that a program may call by name: in the kernel, and what they mean outside of it.

Rule of this file: scalars and contexts. Helpers that take a map are methods of the map (`maps`), those that move a
packet are behind the seam, those that only a kernel can answer are in `ask_kernel`. Numbers and names come from
`signatures`, without the prefix bpf_.

Theory. A call of helper N is a call of the address N: LLVM's BPF back end turns that into one instruction. Outside
of the kernel a helper is the nearest thing that Python has.
"""

# What numba compiles has no annotations.
# mypy: disable-error-code="no-untyped-def"
from __future__ import annotations

import random
import time
from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils, debuginfo
from numba.extending import intrinsic, overload

from lbcore.ebpf import signatures
from lbcore.wire.words_numba import I64, as_uint64

MONOTONIC = time.CLOCK_MONOTONIC
BOOT = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)


def ktime_get_ns() -> int:
    """Nanoseconds since the machine started, not counting sleep."""
    return time.monotonic_ns()


def ktime_get_boot_ns() -> int:
    """The same, counting sleep."""
    return time.clock_gettime_ns(BOOT)


def ktime_get_coarse_ns() -> int:
    """Nanoseconds since the machine started, as of its last tick (1 to 10 ms ago), which is cheaper to know."""
    return time.monotonic_ns()


def get_prandom_u32() -> int:
    """A random number of 32 bits; not for secrets."""
    return random.getrandbits(32)


def get_smp_processor_id() -> int:
    """The CPU that runs the program. Python has one."""
    return 0


def redirect(interface: int, flags: int) -> int:
    """Send the packet out of another interface: the verdict to return."""
    return 4


def redirect_peer(interface: int, flags: int) -> int:
    """tc: let the packet come in at the other side of this veth, in its namespace: the verdict to return."""
    return 7


def redirect_neigh(interface: int) -> int:
    """tc: send the packet out of an interface, with the hardware address of its next hop: the verdict to return."""
    return 7


def clone_redirect(context: Any, interface: int, flags: int) -> int:
    """tc: send a copy of the packet out of an interface (flags 1: let it come in there): 0, or negative.

    Views taken before are stale. In Python nothing is sent.
    """
    return 0


def printk(text: str, a: int = 0, b: int = 0, c: int = 0) -> None:
    """A line for whoever debugs: `text` is a literal with up to three of %d, %u, %x, %lld, %llu, %llx.

    It appears in /sys/kernel/tracing/trace_pipe, in the machine's `Result.printed`, and in Python on standard output;
    numba in user space drops it.
    """
    print(text.replace("ll", "") % (a, b, c)[: text.count("%")])


def stack(b: Any, kind: Any) -> Any:
    """A place on the stack, of this LLVM type, that holds nothing yet (numba's own would be filled with zeros)."""
    with debuginfo.suspend_emission(b), b.goto_entry_block():
        return b.alloca(kind)


def call(number: int, arguments: int) -> Any:
    """An intrinsic that calls a helper with so many numbers (int64 or uint64, addresses too) and returns an int64."""
    pointer = ir.FunctionType(I64, [I64] * arguments).as_pointer()

    def codegen(context: Any, b: Any, signature: Any, values: Any) -> Any:
        # An unsigned number of 64 bits and a signed one are the same bits.
        words = [
            context.cast(b, value, kind, types.int64) if isinstance(kind, types.Integer | types.Boolean) else value
            for value, kind in zip(values, signature.args, strict=True)
        ]
        return b.call(b.inttoptr(I64(number), pointer), words)

    if arguments == 0:
        return intrinsic(lambda context: (types.int64(), codegen))
    if arguments == 1:
        return intrinsic(lambda context, a: (types.int64(a), codegen))
    if arguments == 2:
        return intrinsic(lambda context, a, b: (types.int64(a, b), codegen))
    if arguments == 3:
        return intrinsic(lambda context, a, b, c: (types.int64(a, b, c), codegen))
    if arguments == 4:
        return intrinsic(lambda context, a, b, c, d: (types.int64(a, b, c, d), codegen))
    return intrinsic(lambda context, a, b, c, d, e: (types.int64(a, b, c, d, e), codegen))


def named(name: str) -> Any:
    """The same by the helper's name."""
    signature = signatures.BY_NAME[name]
    return call(signature.number, len(signature.arguments))


xdp_adjust_head, xdp_adjust_tail = named("xdp_adjust_head"), named("xdp_adjust_tail")
_print = named("trace_printk")
_ktime_get_ns, _get_prandom_u32 = named("ktime_get_ns"), named("get_prandom_u32")
_get_smp_processor_id, _redirect = named("get_smp_processor_id"), named("redirect")
_ktime_get_boot_ns, _ktime_get_coarse_ns = named("ktime_get_boot_ns"), named("ktime_get_coarse_ns")
_redirect_peer, _redirect_neigh, _clone = named("redirect_peer"), named("redirect_neigh"), named("clone_redirect")
skb_change_head, skb_change_tail = named("skb_change_head"), named("skb_change_tail")

overload(ktime_get_ns, target="bpf")(lambda: lambda: as_uint64(_ktime_get_ns()))
overload(ktime_get_boot_ns, target="bpf")(lambda: lambda: as_uint64(_ktime_get_boot_ns()))
overload(ktime_get_coarse_ns, target="bpf")(lambda: lambda: as_uint64(_ktime_get_coarse_ns()))
overload(get_prandom_u32, target="bpf")(lambda: lambda: _get_prandom_u32() & 0xFFFFFFFF)
overload(get_smp_processor_id, target="bpf")(lambda: lambda: _get_smp_processor_id() & 0xFFFFFFFF)
overload(redirect, target="bpf")(lambda interface, flags: lambda interface, flags: _redirect(interface, flags))


@overload(redirect_peer, target="bpf")
def _redirect_peer_bpf(interface, flags):
    return lambda interface, flags: _redirect_peer(interface, flags)


@overload(redirect_neigh, target="bpf")
def _redirect_neigh_bpf(interface):
    return lambda interface: _redirect_neigh(interface, 0, 0, 0)


@overload(clone_redirect, target="bpf")
def _clone_redirect_bpf(context, interface, flags):
    return lambda context, interface, flags: _clone(context, interface, flags)


overload(ktime_get_ns, target="cpu")(lambda: lambda: _clock(MONOTONIC))
overload(ktime_get_boot_ns, target="cpu")(lambda: lambda: _clock(BOOT))
overload(ktime_get_coarse_ns, target="cpu")(lambda: lambda: _clock(MONOTONIC))
overload(redirect_peer, target="cpu")(lambda interface, flags: lambda interface, flags: 7)
overload(redirect_neigh, target="cpu")(lambda interface: lambda interface: 7)
overload(clone_redirect, target="cpu")(lambda context, interface, flags: lambda context, interface, flags: 0)
overload(get_prandom_u32, target="cpu")(lambda: lambda: np.random.randint(0, 1 << 32))
overload(get_smp_processor_id, target="cpu")(lambda: lambda: 0)
overload(redirect, target="cpu")(lambda interface, flags: lambda interface, flags: 4)


@intrinsic
def _clock(context, number):
    """clock_gettime of the C library, which every process has."""

    def codegen(context, b, signature, values):
        kind = ir.FunctionType(ir.IntType(32), [ir.IntType(32), I64.as_pointer()])
        function = cgutils.get_or_insert_function(b.module, kind, "clock_gettime")
        answer = cgutils.alloca_once(b, I64, 2)
        b.call(function, [b.trunc(values[0], ir.IntType(32)), answer])
        return b.add(b.mul(b.load(answer), I64(10**9)), b.load(b.gep(answer, [I64(1)])))

    return types.uint64(types.int64), codegen


@intrinsic(prefer_literal=True)
def _text(context, text):
    """The address of a literal's bytes on the stack, where the verifier lets every helper read them."""
    if not isinstance(text, types.StringLiteral):
        return None
    data = text.literal_value.encode() + b"\0"
    words = [int.from_bytes(data[at : at + 8].ljust(8, b"\0"), "little") for at in range(0, len(data), 8)]

    def codegen(context, b, signature, values):
        slot = stack(b, ir.ArrayType(I64, len(words)))
        for index, word in enumerate(words):
            b.store(I64(word), b.gep(slot, [I64(0), I64(index)]))
        return b.ptrtoint(slot, I64)

    return types.uint64(text), codegen


@overload(printk, target="bpf", prefer_literal=True)
def _printk_bpf(text, a=0, b=0, c=0):
    if not isinstance(text, types.StringLiteral):
        return None
    size = len(text.literal_value.encode()) + 1

    def printk(text, a=0, b=0, c=0):
        _print(_text(text), size, a, b, c)

    return printk


@overload(printk, target="cpu")
def _printk_cpu(text, a=0, b=0, c=0):
    return lambda text, a=0, b=0, c=0: None
