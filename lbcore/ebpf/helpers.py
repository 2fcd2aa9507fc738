"""The kernel's helpers that a program may call by name: in the kernel, and what they mean outside of it.

Rule of this file: scalars and contexts. Helpers that take a map are methods of the map (`maps`). Numbers and names
come from `signatures`, without the prefix bpf_.

Theory. A call of helper N is a call of the address N: LLVM's BPF back end turns that into one instruction. Outside
of the kernel a helper is the nearest thing that Python has.
"""

# What numba compiles has no annotations.
# mypy: disable-error-code="no-untyped-def"
from __future__ import annotations

import random
import time
from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic, overload

from lbcore.ebpf import signatures
from lbcore.wire.words_numba import I64


def ktime_get_ns() -> int:
    """Nanoseconds since the machine started, not counting sleep."""
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


def printk(text: str, *numbers: int) -> None:
    """A line for whoever debugs: `text` is a literal with up to three of %d, %u, %x, %lld, %llu, %llx.

    It appears in /sys/kernel/tracing/trace_pipe, in the machine's `Result.printed`, and in Python on standard output.
    """
    print(text.replace("ll", "") % numbers)


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
