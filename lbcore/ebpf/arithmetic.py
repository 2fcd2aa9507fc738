"""The harder arithmetic of sections 4.1 and 4.2 of RFC 9669, on 64-bit words, for the compiled machine.

Rule of this file: numbers in, a number out; all of them uint64. numba compiles these into the interpreter's loop.

Traps. Division by zero gives 0, and modulo by zero leaves the destination. The smallest number divided by -1 does not
fit: the RFC wants the smallest number again, and 0 as the remainder, where the processor would trap. Signed modulo
truncates as in C (-13 % 3 is -1); Python's does not.
"""

# What numba compiles has no annotations.
# mypy: disable-error-code="no-untyped-def"
from __future__ import annotations

import numpy as np
from numba.extending import register_jitable

U64, I64, I32, I16, I8 = np.uint64, np.int64, np.int32, np.int16, np.int8
ZERO, LOW32 = U64(0), U64(0xFFFFFFFF)
LOW_BYTES, LOW_PAIRS = U64(0x00FF00FF00FF00FF), U64(0x0000FFFF0000FFFF)


@register_jitable
def signed32(a):
    """The low 32 bits extended by their sign."""
    return U64(I64(I32(a)))


@register_jitable
def divide(a, b):
    return a // b if b != ZERO else ZERO


@register_jitable
def modulo(a, b):
    return a % b if b != ZERO else a


@register_jitable
def signed_divide(a, b):
    quotient = divide(magnitude(a), magnitude(b))
    return ZERO - quotient if I64(a ^ b) < 0 else quotient


@register_jitable
def signed_modulo(a, b):
    """The remainder has the sign of the dividend."""
    remainder = modulo(magnitude(a), magnitude(b))
    return ZERO - remainder if I64(a) < 0 else remainder


@register_jitable
def magnitude(a):
    """|a| of a signed word; the smallest has one too, since the result is unsigned."""
    return ZERO - a if I64(a) < 0 else a


@register_jitable
def shift_signed(a, n):
    return U64(I64(a) >> I64(n))


@register_jitable
def extend(width, a):
    """The low 8, 16 or 32 bits extended by their sign."""
    if width == 8:
        return U64(I64(I8(a)))
    if width == 16:
        return U64(I64(I16(a)))
    return signed32(a)


@register_jitable
def keep(width, a):
    """The low `width` (16, 32, 64) bits."""
    return a << (U64(64) - width) >> (U64(64) - width)


@register_jitable
def bswap(width, a):
    """The low `width` (16, 32, 64) bits with their bytes in the opposite order; the other bits are zero."""
    a = (a & LOW_BYTES) << U64(8) | (a >> U64(8)) & LOW_BYTES
    a = (a & LOW_PAIRS) << U64(16) | (a >> U64(16)) & LOW_PAIRS
    return (a << U64(32) | a >> U64(32)) >> (U64(64) - width)
