"""Arithmetic on fixed-width words, the same in Python, in numba and in the kernel.

Rule of this file: it knows numbers, not packets.

Theory. A Python integer never overflows; a machine word does, and hashes and checksums count on it. So code that is
to run on every target keeps to two kinds of number. *Header fields, ports, lengths and addresses* are below 2**63:
plain integers, the ordinary operators, no surprises (numba calls them int64). *64-bit words*, as hashes make them, wrap:
they come from `word64` or a function of this file and meet only `^`, `&`, `|`, `>>` and the functions here
(numba calls them uint64). Where an algorithm wants to wrap, it says so by name: `add32`, `mul64`, `rotl32`.

Trap. Mixing the two kinds in one `+`, `*` or `%` makes numba choose a signed type and the top bit goes wrong, silently.
`word64` and `int64` are the two doors.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from llvmlite import ir
from numba import types
from numba.extending import intrinsic, overload, register_jitable

MASK32 = 0xFFFFFFFF
MASK64 = 0xFFFFFFFFFFFFFFFF


def word64(x: int) -> int:
    """`x` as a 64-bit word that wraps: modulo 2**64."""
    return x & MASK64


def int64(x: int) -> int:
    """A 64-bit word known to be below 2**63, as a plain integer again."""
    return x


def add32(a: int, b: int) -> int:
    """(a + b) mod 2**32."""
    return (a + b) & MASK32


def sub32(a: int, b: int) -> int:
    """(a - b) mod 2**32."""
    return (a - b) & MASK32


def mul32(a: int, b: int) -> int:
    """(a * b) mod 2**32."""
    return (a * b) & MASK32


def add64(a: int, b: int) -> int:
    """(a + b) mod 2**64."""
    return (a + b) & MASK64


def mul64(a: int, b: int) -> int:
    """(a * b) mod 2**64."""
    return (a * b) & MASK64


def mod64(a: int, n: int) -> int:
    """The remainder of the 64-bit word `a` by n (1 <= n < 2**63), as a plain integer."""
    return a % n


def bswap32(x: int) -> int:
    """The four bytes of a 32-bit word in the opposite order."""
    return int.from_bytes(x.to_bytes(4, "little"), "big")


def bswap64(x: int) -> int:
    """The eight bytes of a 64-bit word in the opposite order."""
    return int.from_bytes(x.to_bytes(8, "little"), "big")


def le32(data: Any, i: int) -> int:
    """The little-endian 32-bit word at data[i:i+4] (bytes, or uint8[n] under numba). The caller has checked the range."""
    return int.from_bytes(bytes(data[i : i + 4]), "little")


def le64(data: Any, i: int) -> int:
    """The little-endian 64-bit word at data[i:i+8] (bytes, or uint8[n] under numba). The caller has checked the range."""
    return int.from_bytes(bytes(data[i : i + 8]), "little")


@register_jitable
def rotl32(x: int, n: int) -> int:
    """A 32-bit word rotated left by n bits (0 < n < 32)."""
    return ((x << n) & MASK32) | (x >> (32 - n))


@register_jitable
def rotl64(x: int, n: int) -> int:
    """A 64-bit word rotated left by n bits (0 < n < 64)."""
    return word64(x << n) | (x >> (64 - n))


# ------------------------------------------------------------------------------------------------ the compiled twins
I32, I64 = ir.IntType(32), ir.IntType(64)


def operation(result: Any, emit: Callable[..., Any], arguments: int) -> Any:
    """A numba intrinsic: takes `arguments` numbers of type `result`, gives one, and is what `emit(builder, ...)` emits."""

    def codegen(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        return emit(builder, *values)

    if arguments == 1:
        return intrinsic(lambda context, a: (result(result), codegen))
    return intrinsic(lambda context, a, b: (result(result, result), codegen))


def in32(emit: Callable[..., Any]) -> Callable[..., Any]:
    """`emit` done on 32-bit words that arrive and leave as 64-bit ones (LLVM removes the conversions in between)."""
    return lambda b, *values: b.zext(emit(b, *(b.trunc(value, I32) for value in values)), I64)


@intrinsic
def as_uint64(context: Any, x: Any) -> Any:
    """Any integer as uint64; a negative one wraps."""
    return types.uint64(x), lambda c, b, signature, values: c.cast(b, values[0], signature.args[0], types.uint64)


@intrinsic
def as_int64(context: Any, x: Any) -> Any:
    """Any integer as int64."""
    return types.int64(x), lambda c, b, signature, values: c.cast(b, values[0], signature.args[0], types.int64)


def _load(bits: int, result: Any) -> Any:
    """An unaligned little-endian load from a contiguous uint8 array (numba's CPU targets are all little-endian)."""

    @intrinsic
    def load(context: Any, data: Any, i: Any) -> Any:
        def codegen(context: Any, b: Any, signature: Any, values: Any) -> Any:
            start = context.make_array(signature.args[0])(context, b, values[0]).data
            word = b.load(b.bitcast(b.gep(start, [values[1]]), ir.IntType(bits).as_pointer()), align=1)
            return word if bits == 64 else b.zext(word, I64)

        return result(data, types.int64), codegen

    return load


_add32 = operation(types.int64, in32(lambda b, x, y: b.add(x, y)), 2)
_sub32 = operation(types.int64, in32(lambda b, x, y: b.sub(x, y)), 2)
_mul32 = operation(types.int64, in32(lambda b, x, y: b.mul(x, y)), 2)
_add64 = operation(types.uint64, lambda b, x, y: b.add(x, y), 2)
_mul64 = operation(types.uint64, lambda b, x, y: b.mul(x, y), 2)
_urem64 = operation(types.uint64, lambda b, x, y: b.urem(x, y), 2)
_bswap32 = operation(types.int64, in32(lambda b, x: b.bswap(x)), 1)
_bswap64 = operation(types.uint64, lambda b, x: b.bswap(x), 1)
_le32, _le64 = _load(32, types.int64), _load(64, types.uint64)

overload(word64)(lambda x: lambda x: as_uint64(x))
overload(int64)(lambda x: lambda x: as_int64(x))
overload(add32)(lambda a, b: lambda a, b: _add32(a, b))
overload(sub32)(lambda a, b: lambda a, b: _sub32(a, b))
overload(mul32)(lambda a, b: lambda a, b: _mul32(a, b))
overload(add64)(lambda a, b: lambda a, b: _add64(a, b))
overload(mul64)(lambda a, b: lambda a, b: _mul64(a, b))
overload(mod64)(lambda a, n: lambda a, n: as_int64(_urem64(a, as_uint64(n))))
overload(bswap32)(lambda x: lambda x: _bswap32(x))
overload(bswap64)(lambda x: lambda x: _bswap64(x))
overload(le32)(lambda data, i: lambda data, i: _le32(data, i))
overload(le64)(lambda data, i: lambda data, i: _le64(data, i))
