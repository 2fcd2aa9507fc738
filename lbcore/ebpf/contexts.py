"""What a program is given: the kernel's contexts, and what the seam means for them.

Rule of this file: one entry in `KINDS` for each kind of program, and the seam's functions for the kernel.

Theory. The kernel hands a program the address of a small structure whose fields say where the packet is. The verifier
rewrites each access to a field into an access to something else, so a field is read as one whole word at a constant
offset, and what was read is a pointer into the packet. `data_end` bounds it: that is all that `need` compares with.
A helper that moves the packet makes both stale; the seam says so already.
"""

# What numba compiles has no annotations.
# mypy: disable-error-code="no-untyped-def,no-untyped-call"
from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils, errors
from numba.extending import intrinsic, overload, register_model

from lbcore.ebpf import helpers, signatures
from lbcore.ebpf.target import KERNEL
from lbcore.wire import seam, seam_numba
from lbcore.wire.seam_numba import address_of
from lbcore.wire.words_numba import I64, as_int64, as_uint64

XDP_ABORTED, XDP_DROP, XDP_PASS, XDP_TX, XDP_REDIRECT = range(5)
TC_ACT_UNSPEC, TC_ACT_OK, TC_ACT_SHOT, TC_ACT_REDIRECT = -1, 0, 2, 7


class XdpMd(seam_numba.Context):
    """struct xdp_md."""


class SkBuff(seam_numba.Context):
    """struct __sk_buff, as programs of tc see it: the packet can be read and written directly."""


class SocketBuff(seam_numba.Context):
    """struct __sk_buff, as socket filters see it: bytes are fetched by a helper, one number at a time, never written.

    Its views are (offset, length, context, 0); where the packet's offset 0 is, the socket says: at the Ethernet header
    for a raw packet socket, at the IP header for a datagram one.
    """


class Kind(NamedTuple):
    """context: its numba type; section: where the object file has such a program; default: the verdict of a program
    that ends where it should not (compiled code that would raise)."""

    context: Any
    section: str
    default: int


KINDS = {
    "xdp": Kind(XdpMd(), "xdp", XDP_ABORTED),
    "tc": Kind(SkBuff(), "tc", TC_ACT_SHOT),
    "socket": Kind(SocketBuff(), "socket", 0),
}

register_model(XdpMd)(seam_numba.ContextModel)
register_model(SkBuff)(seam_numba.ContextModel)
register_model(SocketBuff)(seam_numba.ContextModel)

_field = seam_numba.load(32, big_endian=False)


@overload(seam.view)
def _view(context):
    if isinstance(context, XdpMd):
        return lambda context: (np.uint64(_field(address_of(context), 0)), np.uint64(_field(address_of(context), 4)))
    if isinstance(context, SkBuff):
        return lambda context: (np.uint64(_field(address_of(context), 76)), np.uint64(_field(address_of(context), 80)))
    if isinstance(context, SocketBuff):
        return lambda context: (np.uint64(0), np.uint64(_field(address_of(context), 0)), context, 0)
    return None


class Place(NamedTuple):
    """Offsets of the fields of a context, 32 bits each; None: this kind of program is not told."""

    interface: int
    queue: int | None = None
    length: int | None = None
    mark: int | None = None


FIELDS = {XdpMd: Place(12, queue=16), SkBuff: Place(40, length=0, mark=8), SocketBuff: Place(40, length=0, mark=8)}
NOT_TOLD = {
    "queue": "queue_of: only XDP programs are told the receive queue; later layers have another number there",
    "mark": "mark: an XDP frame has none yet, the socket buffer made of it gets one; use @tc",
}
_set_field = seam_numba.store(32, big_endian=False)


def _told(read: Any, name: str) -> None:
    @overload(read)
    def _(context):
        if type(context) not in FIELDS:
            return None
        offset = getattr(FIELDS[type(context)], name)
        if offset is None:
            raise errors.TypingError(f"not told: {NOT_TOLD[name]}")
        return lambda context: _field(address_of(context), offset)


_told(seam.interface_of, "interface")
_told(seam.queue_of, "queue")
_told(seam.mark_of, "mark")


@overload(seam.length_of)
def _length_of(context):
    if isinstance(context, XdpMd):
        return lambda context: _field(address_of(context), 4) - _field(address_of(context), 0)
    if isinstance(context, SkBuff | SocketBuff):
        return lambda context: _field(address_of(context), 0)
    return None


@overload(seam.set_mark)
def _set_mark(context, mark):
    if isinstance(context, SkBuff):
        return lambda context, mark: _set_field(address_of(context), 8, mark)
    if isinstance(context, XdpMd):
        raise errors.TypingError(f"not told: {NOT_TOLD['mark']}")
    return None


def _fetch(size: int) -> Any:
    """An intrinsic (context, offset) -> the big-endian number of so many bytes there, by way of the stack."""
    number, width = types.uint64 if size == 8 else types.int64, ir.IntType(8 * size)
    helper = I64(signatures.BY_NAME["skb_load_bytes"].number)

    def codegen(context, b, signature, values):
        slot = cgutils.alloca_once(b, width, zfill=True)
        kind = ir.FunctionType(I64, [I64] * 4).as_pointer()
        b.call(b.inttoptr(helper, kind), [values[0], values[1], b.ptrtoint(slot, I64), I64(size)])
        word = b.load(slot)
        word = b.bswap(word) if size > 1 else word
        return word if size == 8 else b.zext(word, I64)

    return intrinsic(lambda typing, context, offset: (number(context, types.int64), codegen))


def _reader(size: int, read: Any) -> None:
    fetch = _fetch(size)

    @overload(read)
    def _(p, offset):
        return (lambda p, offset: fetch(p[2], as_int64(p[0]) + offset)) if len(p) == 4 else None


for _size, _read in ((1, seam.u8), (2, seam.u16), (4, seam.u32), (8, seam.u64)):
    _reader(_size, _read)


@overload(seam.advance)
def _advance(p, n):
    return (lambda p, n: (p[0] + as_uint64(n), p[1], p[2], 0)) if len(p) == 4 else None


@overload(seam.grow_head)
def _grow_head(context, n):
    if isinstance(context, XdpMd):
        return lambda context, n: helpers.xdp_adjust_head(context, -n) == 0
    if isinstance(context, SkBuff):  # the kernel has no way to cut here
        return lambda context, n: helpers.skb_change_head(context, n, 0) == 0 if n >= 0 else False
    return None


@overload(seam.grow_tail)
def _grow_tail(context, n):
    if isinstance(context, XdpMd):
        return lambda context, n: helpers.xdp_adjust_tail(context, n) == 0
    if isinstance(context, SkBuff):
        return lambda context, n: helpers.skb_change_tail(context, seam.length_of(context) + n, 0) == 0
    return None


@intrinsic
def _forget(context, n):
    """n turned around and back again, with nothing that LLVM sees between: the verifier does not follow that."""

    def codegen(context, b, signature, values):
        # Volatile, so that both turns stay where they are written: where the ways meet.
        def hidden(word):
            return b.asm(ir.FunctionType(I64, [I64]), "", "=r,0", [word], side_effect=True)

        return hidden(b.bswap(hidden(b.bswap(values[0]))))

    return types.int64(types.int64), codegen


overload(seam.settled, target=KERNEL)(lambda n, below: lambda n, below: _forget(n) & (below - 1))
