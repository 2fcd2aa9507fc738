"""What a map's methods mean to numba: helper calls in the kernel, `storage` in user space.

Rule of this file: addresses and layouts. A method packs its key on the stack, asks the target for the address of the
value, and reads it from there.

Theory. Both targets have the same three operations, on the addresses of key and value: find, store, remove. They are
the functions below that do nothing in Python; each target overloads them. In the kernel a map is a symbol that the
loader fills in; in user space it is constants: the addresses of its arrays, good for as long as the map lives, which
is why numba keeps such code in no cache.

Trap. The verifier refuses to read a stack slot that nobody wrote, so gaps in a key are written too.
"""

# What numba compiles has no annotations.
# mypy: disable-error-code="no-untyped-def,no-untyped-call"
from __future__ import annotations

from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils, errors
from numba.core.imputils import lower_constant
from numba.extending import intrinsic, models, overload, overload_method, register_model, typeof_impl
from numba.np.arrayobj import populate_array

from lbcore.ebpf import helpers, storage
from lbcore.ebpf.maps import ANY, NOEXIST, Layout, Map
from lbcore.wire import seam
from lbcore.wire.seam_numba import address_of
from lbcore.wire.words_numba import I64, as_uint64

I8 = ir.IntType(8)


class MapType(types.Type):  # type: ignore[misc]
    """Every map has a type of its own: compiled code knows which map it is, and nothing is passed around."""

    def __init__(self, map_: Map) -> None:
        self.map = map_
        super().__init__(f"Map({map_.name}.{id(map_)})")


register_model(MapType)(models.OpaqueModel)
typeof_impl.register(Map)(lambda value, context: MapType(value))
lower_constant(MapType)(lambda context, builder, kind, value: context.get_dummy_value())


def number_type(layout: Layout) -> Any:
    """The numba type of a key or value: uint64 for a word, int64 for less; a tuple of them."""
    kinds = [types.uint64 if field.size == 8 else types.int64 for field in layout.fields]
    return kinds[0] if layout.single else types.Tuple(kinds)


def _wanted(layout: Layout) -> str:
    return "a number" if layout.single else f"a tuple of {len(layout.fields)} numbers"


def _pack(context: Any, b: Any, layout: Layout, kind: Any, value: Any) -> Any:
    """The address of a stack slot that holds the number or tuple."""
    slot = cgutils.alloca_once(b, ir.ArrayType(I64, max(1, -(-layout.size // 8))))
    start = b.bitcast(slot, I8.as_pointer())
    kinds = list(kind) if isinstance(kind, types.BaseTuple) else [kind]
    values = cgutils.unpack_tuple(b, value, len(kinds)) if isinstance(kind, types.BaseTuple) else [value]
    used: set[int] = set()
    for field, offset, one, number in zip(layout.fields, layout.offsets, kinds, values, strict=True):
        width = ir.IntType(8 * field.size)
        word = context.cast(b, number, one, types.uint64)
        word = word if field.size == 8 else b.trunc(word, width)
        word = b.bswap(word) if field.order == "big" else word
        b.store(word, b.bitcast(b.gep(start, [I64(offset)]), width.as_pointer()), align=field.size)
        used.update(range(offset, offset + field.size))
    for gap in set(range(layout.size)) - used:
        b.store(I8(0), b.gep(start, [I64(gap)]), align=1)
    return b.ptrtoint(slot, I64)


def _unpack(b: Any, layout: Layout, address: Any) -> list[Any]:
    """The numbers at an address, as 64-bit integers."""
    start = b.inttoptr(address, I8.as_pointer())
    values = []
    for field, offset in zip(layout.fields, layout.offsets, strict=True):
        width = ir.IntType(8 * field.size)
        word = b.load(b.bitcast(b.gep(start, [I64(offset)]), width.as_pointer()), align=field.size)
        word = b.bswap(word) if field.order == "big" else word
        values.append(word if field.size == 8 else b.zext(word, I64))
    return values


def _packs(which: str) -> Any:
    """An intrinsic (map, number or tuple) -> uint64, the address of its bytes on the stack."""

    def typing(context, table, value):
        layout: Layout = getattr(table.map, which)
        many = len(value) if isinstance(value, types.BaseTuple) else 1
        numbers = list(value) if isinstance(value, types.BaseTuple) else [value]
        right = many == len(layout.fields) and isinstance(value, types.BaseTuple) != layout.single
        if not right or not all(isinstance(one, types.Integer | types.Boolean) for one in numbers):
            raise errors.TypingError(f"{which} of map {table.map.name!r} is {_wanted(layout)}; given was {value}")

        def codegen(context, b, signature, values):
            return _pack(context, b, layout, signature.args[1], values[1])

        return types.uint64(table, value), codegen

    return intrinsic(typing)


_key, _value, _record = _packs("key"), _packs("value"), _packs("record")


@intrinsic
def _read(context, table, address):
    """The value at an address."""
    layout = table.map.value
    kind = number_type(layout)

    def codegen(context, b, signature, values):
        numbers = _unpack(b, layout, values[1])
        return numbers[0] if layout.single else context.make_tuple(b, kind, numbers)

    return kind(table, types.uint64), codegen


@intrinsic
def _zero(context, table):
    kind = number_type(table.map.value)
    return kind(table), lambda context, b, signature, values: context.get_constant_null(kind)


@intrinsic
def _add(context, table, address, by):
    """One atomic addition to the number at an address."""
    width = ir.IntType(8 * table.map.value.fields[0].size)

    def codegen(context, b, signature, values):
        word = context.cast(b, values[2], signature.args[2], types.int64)
        word = word if width.width == 64 else b.trunc(word, width)
        b.atomic_rmw("add", b.inttoptr(values[1], width.as_pointer()), word, "monotonic")
        return context.get_dummy_value()

    return types.void(table, types.uint64, by), codegen


# ---- the operations that each target has its own way to do ----


def find(table: Any, key: Any) -> Any:
    """The address of the value for the key at an address, or 0."""


def store(table: Any, key: Any, value: Any, flags: Any) -> Any:
    """0 or a negative error number."""


def remove(table: Any, key: Any) -> Any:
    """0 or a negative error number."""


def send(table: Any, key: Any, otherwise: Any) -> Any:
    """The verdict that redirects to an entry."""


def append(table: Any, record: Any, size: Any) -> Any:
    """0, or negative if a ring has no room."""


def jump(table: Any, context: Any, index: Any) -> Any:
    """Does not come back where there is a program."""


@intrinsic
def _handle(context, table):
    """In the kernel: the map itself, an address that the loader fills in."""
    map_ = table.map

    def codegen(context, b, signature, values):
        symbol = f"{map_.name}.{id(map_)}"
        context.maps[symbol] = map_
        there = b.module.globals.get(symbol)
        if there is None:
            there = ir.GlobalVariable(b.module, I8, symbol)
        return b.ptrtoint(there, I64)

    return types.uint64(table), codegen


_lookup_elem, _update_elem = helpers.named("map_lookup_elem"), helpers.named("map_update_elem")
_delete_elem, _redirect_map = helpers.named("map_delete_elem"), helpers.named("redirect_map")
_ringbuf_output, _tail_call = helpers.named("ringbuf_output"), helpers.named("tail_call")

overload(find, target="bpf")(lambda table, key: lambda table, key: as_uint64(_lookup_elem(_handle(table), key)))
overload(remove, target="bpf")(lambda table, key: lambda table, key: _delete_elem(_handle(table), key))


@overload(store, target="bpf")
def _store_bpf(table, key, value, flags):
    return lambda table, key, value, flags: _update_elem(_handle(table), key, value, flags)


@overload(send, target="bpf")
def _send_bpf(table, key, otherwise):
    return lambda table, key, otherwise: _redirect_map(_handle(table), key, otherwise)


@overload(jump, target="bpf")
def _jump_bpf(table, context, index):
    def jump(table, context, index):
        _tail_call(address_of(context), _handle(table), index)

    return jump


overload(jump, target="cpu")(lambda table, context, index: lambda table, context, index: None)


@overload(append, target="bpf")
def _append_bpf(table, record, size):
    return lambda table, record, size: _ringbuf_output(_handle(table), record, size, 0)


@intrinsic
def _table(context, table):
    """In user space: the map's `tables.Table`, arrays at constant addresses."""
    map_ = table.map
    kind = typeof_impl(map_.storage.table, None)

    def codegen(context, b, signature, values):
        arrays = [_array(context, b, one, array) for one, array in zip(kind.types, map_.storage.table, strict=True)]
        return context.make_tuple(b, kind, arrays)

    return kind(table), codegen


def _array(context: Any, b: Any, kind: Any, array: Any) -> Any:
    made = context.make_array(kind)(context, b)
    data = context.add_dynamic_addr(b, array.ctypes.data, info="map")
    populate_array(
        made,
        data=b.bitcast(data, made.data.type),
        shape=cgutils.pack_array(b, [I64(n) for n in array.shape]),
        strides=cgutils.pack_array(b, [I64(n) for n in array.strides]),
        itemsize=I64(array.itemsize),
        meminfo=None,
    )
    return made._getvalue()


@overload(find, target="cpu")
def _find_cpu(table, key):
    def find(table, key):
        arrays = _table(table)
        slot = storage.lookup(arrays, key)
        return storage.value_address(arrays, slot) if slot >= 0 else np.uint64(0)

    return find


overload(remove, target="cpu")(lambda table, key: lambda table, key: storage.delete(_table(table), key))


@overload(store, target="cpu")
def _store_cpu(table, key, value, flags):
    return lambda table, key, value, flags: storage.update(_table(table), key, value, flags)


@overload(send, target="cpu")
def _send_cpu(table, key, otherwise):
    return lambda table, key, otherwise: 4 if storage.find(_table(table), _key(table, key)) >= 0 else otherwise & 3


@overload(append, target="cpu")
def _append_cpu(table, record, size):
    return lambda table, record, size: storage.output(_table(table), record, size)


# ---- the methods ----


@overload_method(MapType, "lookup")
def _lookup(table, key):
    def lookup(table, key):
        at = find(table, _key(table, key))
        if at == np.uint64(0):
            return False, _zero(table)
        return True, _read(table, at)

    return lookup


@overload_method(MapType, "update")
def _update(table, key, value, flags=ANY):
    return lambda table, key, value, flags=ANY: store(table, _key(table, key), _value(table, value), flags)


@overload_method(MapType, "delete")
def _delete(table, key):
    return lambda table, key: remove(table, _key(table, key))


@overload_method(MapType, "increment")
def _increment(table, key, by=1):
    if table.map.value.fields[0].size not in (4, 8) or not table.map.value.single:
        return None

    def increment(table, key, by=1):
        where = _key(table, key)
        at = find(table, where)
        if at == np.uint64(0):
            # If another CPU is quicker to make the entry, there is one now, and this adds to it.
            if store(table, where, _value(table, by), NOEXIST) == 0:
                return True
            at = find(table, where)
            if at == np.uint64(0):
                return False
        _add(table, at, by)
        return True

    return increment


@overload_method(MapType, "redirect")
def _redirect(table, key, otherwise):
    return lambda table, key, otherwise: send(table, key, otherwise)


@overload_method(MapType, "tail_call")
def _tail_call_of(table, context, index):
    return lambda table, context, index: jump(table, context, index)


@overload_method(MapType, "output")
def _output(table, record):
    size = table.map.record.size
    return lambda table, record: append(table, _record(table, record), size)


@overload(seam.lookup)
def _seam_lookup(table, key):
    return (lambda table, key: table.lookup(key)) if isinstance(table, MapType) else None
