"""What the functions of `words` mean to numba: one machine instruction each."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from llvmlite import ir
from numba import types
from numba.extending import intrinsic, overload

from lbcore.wire import words

I32, I64 = ir.IntType(32), ir.IntType(64)


def operation(result: Any, emit: Callable[..., Any], arguments: int) -> Any:
    """A numba intrinsic: `arguments` numbers of type `result` in, one out, by what `emit(builder, ...)` emits."""

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
# Not the portable form: from 64-bit words LLVM finds three of jhash's seven rotations, from 32-bit ones all.
_rotl32 = operation(types.int64, in32(lambda b, x, n: b.or_(b.shl(x, n), b.lshr(x, b.sub(I32(32), n)))), 2)
_bswap32 = operation(types.int64, in32(lambda b, x: b.bswap(x)), 1)
_bswap64 = operation(types.uint64, lambda b, x: b.bswap(x), 1)
_le32, _le64 = _load(32, types.int64), _load(64, types.uint64)

overload(words.word64)(lambda x: lambda x: as_uint64(x))
overload(words.int64)(lambda x: lambda x: as_int64(x))
overload(words.add32)(lambda a, b: lambda a, b: _add32(a, b))
overload(words.sub32)(lambda a, b: lambda a, b: _sub32(a, b))
overload(words.mul32)(lambda a, b: lambda a, b: _mul32(a, b))
overload(words.add64)(lambda a, b: lambda a, b: _add64(a, b))
overload(words.mul64)(lambda a, b: lambda a, b: _mul64(a, b))
overload(words.mod64)(lambda a, n: lambda a, n: as_int64(_urem64(a, as_uint64(n))))
overload(words.rotl32)(lambda x, n: lambda x, n: _rotl32(x, n))
overload(words.bswap32)(lambda x: lambda x: _bswap32(x))
overload(words.bswap64)(lambda x: lambda x: _bswap64(x))
overload(words.le32)(lambda data, i: lambda data, i: _le32(data, i))
overload(words.le64)(lambda data, i: lambda data, i: _le64(data, i))
