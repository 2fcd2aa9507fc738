"""What the seam means to numba: the same names, compiled to loads and stores.

A compiled context is the address of a *cell*, uint64[7]: packet start, packet end, first usable byte, end of the
usable bytes; interface, queue, mark (`new_cell` makes one). A view is (at, end), two integers that live in registers.
A checked view carries the packet's first byte as a third, and an access outside it raises IndexError: slower, and for
tests. Views of four are the kernel's, for packets that are not in memory (`lbcore.ebpf.contexts`).

(numba wants the arguments of an overload and of its implementation spelled alike, so these have no annotations.)
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from llvmlite import ir
from numba import types
from numba.extending import intrinsic, models, overload, register_jitable, register_model

from lbcore.wire import seam
from lbcore.wire.words_numba import I64, as_int64, as_uint64


class Context(types.Type):  # type: ignore[misc]
    """The numba type of a packet's context; each target has a subclass."""

    def __init__(self) -> None:
        super().__init__(type(self).__name__)


class Memory(Context):
    """A packet in this process's memory."""


class CheckedMemory(Context):
    """The same with every access checked."""


class ContextModel(models.PrimitiveModel):  # type: ignore[misc]
    """In LLVM a context is one 64-bit integer: an address."""

    def __init__(self, manager: Any, kind: Any) -> None:
        super().__init__(manager, kind, be_type=I64)


register_model(Memory)(ContextModel)
register_model(CheckedMemory)(ContextModel)

CELL = 7
"""Words of a cell."""


@register_jitable
def new_cell(interface: int = 1, queue: int = 0, mark: int = 0) -> npt.NDArray[np.uint64]:
    """A cell without a packet (`place` puts one in): where packets come in, and their mark."""
    cell = np.zeros(CELL, np.uint64)
    cell[4], cell[5], cell[6] = interface, queue, mark
    return cell


def _enter(kind: Context) -> Any:
    def codegen(context: Any, b: Any, signature: Any, values: Any) -> Any:
        return b.ptrtoint(context.make_array(signature.args[0])(context, b, values[0]).data, I64)

    enter = intrinsic(lambda context, cell: (kind(cell), codegen))

    @register_jitable
    def context_of(cell):
        if cell.size < CELL:
            raise ValueError("the cell of a context has 7 words: make it with new_cell()")
        return enter(cell)

    return context_of


memory_context = _enter(Memory())
"""The context that lives in a cell (uint64[7]; the caller keeps cell and packet alive while it is used)."""

checked_context = _enter(CheckedMemory())
"""The same, with every access checked."""


@register_jitable
def place(cell: Any, buffer: Any, start: int, end: int) -> None:
    """Put buffer[start:end] (uint8[n], C-contiguous) into the cell as the packet; the rest of the buffer is room."""
    base = np.uint64(buffer.ctypes.data)
    cell[0] = base + np.uint64(start)
    cell[1] = base + np.uint64(end)
    cell[2] = base
    cell[3] = base + np.uint64(buffer.size)


@intrinsic
def address_of(context: Any, x: Any) -> Any:
    """The address behind a context, as uint64."""
    return types.uint64(x), lambda c, b, signature, values: values[0]


def _pointer(b: Any, address: Any, offset: Any, width: Any) -> Any:
    return b.bitcast(b.gep(b.inttoptr(address, ir.IntType(8).as_pointer()), [offset]), width.as_pointer())


def _alignment(context: Any, bits: int) -> int:
    """What LLVM may assume of an address: nothing, but for a target that cannot take words apart."""
    return bits // 8 if getattr(context, "natural_alignment", False) else 1


def load(bits: int, *, big_endian: bool = True) -> Any:
    """An intrinsic (address uint64, offset int64) -> the number there: int64, or uint64 for 64 bits. Unaligned."""
    number, width = types.uint64 if bits == 64 else types.int64, ir.IntType(bits)

    def codegen(context: Any, b: Any, signature: Any, values: Any) -> Any:
        word = b.load(_pointer(b, values[0], values[1], width), align=_alignment(context, bits))
        if big_endian and bits > 8:
            word = b.bswap(word)
        return word if bits == 64 else b.zext(word, I64)

    return intrinsic(lambda context, address, offset: (number(types.uint64, types.int64), codegen))


def store(bits: int, *, big_endian: bool = True) -> Any:
    """An intrinsic (address uint64, offset int64, value) that writes the value's low bits. Unaligned."""
    number, width = types.uint64 if bits == 64 else types.int64, ir.IntType(bits)

    def codegen(context: Any, b: Any, signature: Any, values: Any) -> Any:
        word = values[2] if bits == 64 else b.trunc(values[2], width)
        word = b.bswap(word) if big_endian and bits > 8 else word
        b.store(word, _pointer(b, values[0], values[1], width), align=_alignment(context, bits))
        return context.get_dummy_value()

    return intrinsic(lambda context, address, offset, value: (types.void(types.uint64, types.int64, number), codegen))


@register_jitable
def _check(p: Any, offset: int, size: int) -> None:
    at = as_int64(p[0]) + offset
    if at < as_int64(p[2]) or at + size > as_int64(p[1]):
        raise IndexError("access outside the packet: ask need() first")


def _accessors(size: int, read: Any, write: Any) -> None:
    get, put = load(8 * size), store(8 * size)

    @overload(read)
    def _(p, offset):
        if len(p) == 4:
            return None

        def checked(p, offset):
            _check(p, offset, size)
            return get(p[0], offset)

        return checked if len(p) == 3 else lambda p, offset: get(p[0], offset)

    @overload(write)
    def _(p, offset, value):
        if len(p) == 4:
            return None

        def checked(p, offset, value):
            _check(p, offset, size)
            put(p[0], offset, value)

        return checked if len(p) == 3 else lambda p, offset, value: put(p[0], offset, value)


_accessors(1, seam.u8, seam.set8)
_accessors(2, seam.u16, seam.set16)
_accessors(4, seam.u32, seam.set32)
_accessors(8, seam.u64, seam.set64)

# The cell's own words are in host order.
_get, _put = load(64, big_endian=False), store(64, big_endian=False)


@overload(seam.view)
def _view(context):
    if isinstance(context, Memory):
        return lambda context: (_get(address_of(context), 0), _get(address_of(context), 8))
    if isinstance(context, CheckedMemory):
        return lambda context: (
            _get(address_of(context), 0),
            _get(address_of(context), 8),
            _get(address_of(context), 0),
        )
    return None


@intrinsic
def _pin(context, address):
    """The address, in a register of its own that LLVM sees nothing of; it emits no instruction.

    Behind a computed distance the kernel's verifier knows only what was checked of that very register. Without this,
    LLVM checks one sum of start, distance and offset, and reads through another.
    """

    def codegen(context, b, signature, values):
        if not getattr(context, "natural_alignment", False):
            return values[0]
        return b.asm(ir.FunctionType(I64, [I64]), "", "=r,0", [values[0]], side_effect=False)

    return types.uint64(types.uint64), codegen


@overload(seam.need, prefer_literal=True)
def _need(p, n):
    if isinstance(n, types.IntegerLiteral) and n.literal_value > 1:
        return lambda p, n: p[0] + as_uint64(n) <= p[1]
    # LLVM turns "start + 1 <= end" into "start < end", from which the kernel's verifier learns nothing.
    return lambda p, n: _pin(p[0] + as_uint64(n)) <= p[1]


@overload(seam.advance, prefer_literal=True)
def _advance(p, n):
    if len(p) == 4:
        return None
    if isinstance(n, types.IntegerLiteral):
        if len(p) == 3:
            return lambda p, n: (p[0] + as_uint64(n), p[1], p[2])
        return lambda p, n: (p[0] + as_uint64(n), p[1])
    if len(p) == 3:
        return lambda p, n: (_pin(p[0] + as_uint64(n)), p[1], p[2])
    return lambda p, n: (_pin(p[0] + as_uint64(n)), p[1])


overload(seam.settled, target="cpu")(lambda n, below: lambda n, below: n)


@overload(seam.size_of)
def _size_of(p):
    return lambda p: as_int64(p[1]) - as_int64(p[0])


def _field(read: Any, offset: int) -> None:
    @overload(read)
    def _(context):
        if isinstance(context, Memory | CheckedMemory):
            return lambda context: as_int64(_get(address_of(context), offset))
        return None


_field(seam.interface_of, 32)
_field(seam.queue_of, 40)
_field(seam.mark_of, 48)


@overload(seam.length_of)
def _length_of(context):
    if isinstance(context, Memory | CheckedMemory):
        return lambda context: as_int64(_get(address_of(context), 8)) - as_int64(_get(address_of(context), 0))
    return None


@overload(seam.set_mark)
def _set_mark(context, mark):
    if isinstance(context, Memory | CheckedMemory):
        return lambda context, mark: _put(address_of(context), 48, as_uint64(mark & 0xFFFFFFFF))
    return None


@overload(seam.grow_head)
def _grow_head(context, n):
    def grow(context, n):
        cell = address_of(context)
        start = _get(cell, 0) - as_uint64(n)
        if start < _get(cell, 16) or start > _get(cell, 8):
            return False
        _put(cell, 0, start)
        return True

    return grow if isinstance(context, Memory | CheckedMemory) else None


@overload(seam.grow_tail)
def _grow_tail(context, n):
    def grow(context, n):
        cell = address_of(context)
        end = _get(cell, 8) + as_uint64(n)
        if end < _get(cell, 0) or end > _get(cell, 24):
            return False
        _put(cell, 8, end)
        return True

    return grow if isinstance(context, Memory | CheckedMemory) else None


@overload(seam.lookup)
def _lookup(table, key):
    if isinstance(table, types.Array):
        return lambda table, key: (True, as_int64(table[key])) if 0 <= key < table.size else (False, 0)
    return None
