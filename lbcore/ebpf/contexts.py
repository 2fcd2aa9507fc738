"""What a program is given: the kernel's contexts, and what the seam means for them.

Rule of this file: one entry in `KINDS` for each kind of program, and the seam's functions for the kernel.

Theory. The kernel hands a program the address of a small structure whose fields say where the packet is. The verifier
rewrites each access to a field into an access to something else, so a field is read as one whole word at a constant
offset, and what was read is a pointer into the packet. `data_end` bounds it: that is all that `need` compares with.
A helper that moves the packet makes both stale; the seam says so already.
"""

# What numba compiles has no annotations.
# mypy: disable-error-code="no-untyped-def"
from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numba.extending import overload, register_model

from lbcore.ebpf import helpers
from lbcore.wire import seam, seam_numba
from lbcore.wire.seam_numba import address_of

XDP_ABORTED, XDP_DROP, XDP_PASS, XDP_TX, XDP_REDIRECT = range(5)
TC_ACT_UNSPEC, TC_ACT_OK, TC_ACT_SHOT, TC_ACT_REDIRECT = -1, 0, 2, 7


class XdpMd(seam_numba.Context):
    """struct xdp_md."""


class SkBuff(seam_numba.Context):
    """struct __sk_buff, as programs of tc see it: the packet can be read and written directly."""


class Kind(NamedTuple):
    """context: its numba type; section: where the object file has such a program; default: the verdict of a program
    that ends where it should not (compiled code that would raise)."""

    context: Any
    section: str
    default: int


KINDS = {"xdp": Kind(XdpMd(), "xdp", XDP_ABORTED), "tc": Kind(SkBuff(), "tc", TC_ACT_SHOT)}

register_model(XdpMd)(seam_numba.ContextModel)
register_model(SkBuff)(seam_numba.ContextModel)

_field = seam_numba.load(32, big_endian=False)


@overload(seam.view)
def _view(context):
    if isinstance(context, XdpMd):
        return lambda context: (np.uint64(_field(address_of(context), 0)), np.uint64(_field(address_of(context), 4)))
    if isinstance(context, SkBuff):
        return lambda context: (np.uint64(_field(address_of(context), 76)), np.uint64(_field(address_of(context), 80)))
    return None


@overload(seam.grow_head)
def _grow_head(context, n):
    if isinstance(context, XdpMd):
        return lambda context, n: helpers.xdp_adjust_head(context, -n) == 0
    return None


@overload(seam.grow_tail)
def _grow_tail(context, n):
    if isinstance(context, XdpMd):
        return lambda context, n: helpers.xdp_adjust_tail(context, n) == 0
    return None
