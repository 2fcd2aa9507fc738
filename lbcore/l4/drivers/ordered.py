"""Memory that somebody else writes: loads and stores with an order, and the system calls that go with them.

Rule of this file: single instructions and single calls for nopython code, nothing that knows rings or packets.

Theory. Compiler and processor may reorder plain accesses as long as one thread cannot tell. Who shares memory with the
kernel, or another thread, can tell: it must not see "entry 7 is there" before entry 7. So the one who writes stores
the entry, then the index with *release* (nothing before it moves behind it); the one who reads loads the index with
*acquire* (nothing behind it moves before it). On x86-64 these are plain instructions and only the compiler is held
back; on ARM they are instructions of their own.

Trap. numba keeps compiled code on disk only if it holds no address of this process. The C library's functions are
therefore declared by name, to be found again by the linker, not taken from ctypes.
"""

# What numba compiles has no annotations.
# mypy: disable-error-code="no-untyped-def,no-untyped-call"
from __future__ import annotations

import time
from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic, register_jitable

I64 = ir.IntType(64)


def _place(context: Any, b: Any, signature: Any, values: Any) -> Any:
    """The pointer to array[index]."""
    return b.gep(context.make_array(signature.args[0])(context, b, values[0]).data, [values[1]])


def _width(array: Any) -> int:
    return int(array.dtype.bitwidth) // 8


@intrinsic
def load_acquire(context, array, index):
    """array[index] (uint32[n] or uint64[n], C-contiguous), and what was written before it, as int64."""

    def codegen(context, b, signature, values):
        word = b.load_atomic(_place(context, b, signature, values), "acquire", _width(signature.args[0]))
        return b.zext(word, I64) if word.type.width < 64 else word

    return types.int64(array, types.int64), codegen


@intrinsic
def store_release(context, array, index, value):
    """array[index] = the value's low bits, after all that was written before."""

    def codegen(context, b, signature, values):
        place = _place(context, b, signature, values)
        word = b.trunc(values[2], place.type.pointee) if place.type.pointee.width < 64 else values[2]
        b.store_atomic(word, place, "release", _width(signature.args[0]))
        return context.get_dummy_value()

    return types.void(array, types.int64, types.int64), codegen


@intrinsic
def copy_bytes(context, target, source, size):
    """memcpy: `size` bytes from address to address (uint64, uint64, int64); they do not overlap."""

    def codegen(context, b, signature, values):
        byte = ir.IntType(8).as_pointer()
        cgutils.raw_memcpy(b, b.inttoptr(values[0], byte), b.inttoptr(values[1], byte), values[2], 1)
        return context.get_dummy_value()

    return types.void(types.uint64, types.uint64, types.int64), codegen


MSG_DONTWAIT = 0x40
POLLIN = 1
MONOTONIC = time.CLOCK_MONOTONIC

_word, _int = types.intp, types.int32
_sendto = types.ExternalFunction("sendto", _word(_int, _word, _word, _int, _word, _word))
_recvfrom = types.ExternalFunction("recvfrom", _word(_int, _word, _word, _int, _word, _word))
_poll = types.ExternalFunction("poll", _int(_word, types.uint64, _int))
_clock_gettime = types.ExternalFunction("clock_gettime", _int(_int, _word))


@register_jitable
def send_now(fd):
    """sendto(2) of nothing, which tells a socket with rings to look at them. Whether it had no complaint."""
    return _sendto(fd, 0, 0, MSG_DONTWAIT, 0, 0) >= 0


@register_jitable
def receive_now(fd):
    """recvfrom(2) of nothing: the same for what comes in."""
    return _recvfrom(fd, 0, 0, MSG_DONTWAIT, 0, 0) >= 0


@register_jitable
def wait_readable(polled, milliseconds):
    """poll(2) until there is something to read (-1: for ever). polled: int32[2], a struct pollfd (descriptor, POLLIN).

    A negative descriptor is nobody: then this only waits. A signal ends it early.
    """
    return _poll(polled.ctypes.data, np.uint64(1), milliseconds) > 0


@register_jitable
def monotonic_ns():
    """clock_gettime(2) of a clock that never goes back, in nanoseconds; Python's `time.monotonic_ns`."""
    now = np.zeros(2, np.int64)  # struct timespec
    _clock_gettime(MONOTONIC, now.ctypes.data)
    return now[0] * 1_000_000_000 + now[1]
