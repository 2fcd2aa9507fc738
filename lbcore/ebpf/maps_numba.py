"""What a map's methods mean to numba: helper calls in the kernel, `storage` in user space.

Rule of this file: addresses and layouts. A method packs its key on the stack, asks the target for the address of the
value, and reads it from there.

Theory. Both targets have the same operations, on the addresses of key and value: find, store, remove. They are the
functions below that do nothing in Python; each target overloads them. In the kernel a map is a symbol that the
loader fills in; in user space it is constants: the addresses of its arrays, good for as long as the map lives, which
is why numba keeps such code in no cache.

Trap. The verifier refuses to read a stack slot that nobody wrote, so gaps in a key are written too.
"""

# What numba compiles has no annotations.
# mypy: disable-error-code="no-untyped-def,no-untyped-call"
from __future__ import annotations

import operator
from collections.abc import Sequence
from functools import wraps
from typing import Any, NoReturn

import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils, errors
from numba.core.imputils import lower_constant
from numba.core.typing.templates import AttributeTemplate
from numba.extending import (
    infer_getattr,
    intrinsic,
    lower_getattr_generic,
    lower_setattr_generic,
    models,
    overload,
    overload_method,
    register_model,
    typeof_impl,
)
from numba.np.arrayobj import populate_array

from lbcore.ebpf import helpers, storage
from lbcore.ebpf.kinds import PER_CPU
from lbcore.ebpf.maps import ANY, NOEXIST, Layout, Map, countable
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


class EntryType(types.Type):  # type: ignore[misc]
    """A value in a map: its address, or 0."""

    def __init__(self, map_: Map) -> None:
        self.map = map_
        super().__init__(f"Entry({map_.name}.{id(map_)})")


@register_model(EntryType)
class EntryModel(models.PrimitiveModel):  # type: ignore[misc]
    def __init__(self, manager: Any, kind: Any) -> None:
        super().__init__(manager, kind, be_type=I64)


@intrinsic
def _entry(context, table, address):
    return EntryType(table.map)(table, types.uint64), lambda c, b, signature, values: values[1]


@intrinsic
def _address(context, entry):
    return types.uint64(entry), lambda c, b, signature, values: values[0]


def number_type(layout: Layout) -> Any:
    """The numba type of a key or value: uint64 for a word, int64 for less; a tuple of them."""
    kinds = [types.uint64 if field.size == 8 else types.int64 for field in layout.fields]
    if layout.single:
        return kinds[0]
    if not layout.named:
        return types.Tuple(kinds)
    if len(set(kinds)) == 1:
        return types.NamedUniTuple(kinds[0], len(kinds), layout.type)
    return types.NamedTuple(kinds, layout.type)


def _wanted(layout: Layout) -> str:
    many = len(layout.fields)
    names = f" ({', '.join(layout.names)})" if layout.named else ""
    return "a number" if layout.single else f"a tuple of {many} number{'s' * (many != 1)}{names}"


def _pack(context: Any, b: Any, layout: Layout, kind: Any, value: Any) -> Any:
    """The address of a stack slot that holds the number or tuple."""
    slot = helpers.stack(b, ir.ArrayType(I64, max(1, -(-layout.size // 8))))
    start = b.bitcast(slot, I8.as_pointer())
    used: set[int] = set()
    for field, offset, number, one in zip(layout.fields, layout.offsets, *_numbers(b, value, kind), strict=True):
        width = ir.IntType(8 * field.size)
        word = context.cast(b, number, one, types.uint64)
        word = word if field.size == 8 else b.trunc(word, width)
        word = b.bswap(word) if field.order == "big" else word
        b.store(word, b.bitcast(b.gep(start, [I64(offset)]), width.as_pointer()), align=field.align)
        used.update(range(offset, offset + field.size))
    for gap in set(range(layout.size)) - used:
        b.store(I8(0), b.gep(start, [I64(gap)]), align=1)
    return b.ptrtoint(slot, I64)


def _numbers(b: Any, value: Any, kind: Any) -> tuple[list[Any], list[Any]]:
    """The numbers of a tuple, or the one number, and their types."""
    if not isinstance(kind, types.BaseTuple):
        return [value], [kind]
    return cgutils.unpack_tuple(b, value, len(kind)), list(kind)


def _unpack(b: Any, layout: Layout, address: Any) -> list[Any]:
    """The numbers at an address, as 64-bit integers."""
    start = b.inttoptr(address, I8.as_pointer())
    values = []
    for field, offset in zip(layout.fields, layout.offsets, strict=True):
        width = ir.IntType(8 * field.size)
        word = b.load(b.bitcast(b.gep(start, [I64(offset)]), width.as_pointer()), align=field.align)
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


def _place(b: Any, layout: Layout, address: Any, position: int) -> tuple[Any, Any]:
    """A field of the value at an address: its width, and a pointer to it."""
    width = ir.IntType(8 * layout.fields[position].size)
    return width, b.inttoptr(b.add(address, I64(layout.offsets[position])), width.as_pointer())


def _add(positions: Sequence[int]) -> Any:
    """An intrinsic (map, address, number or tuple) that adds to these fields of the value there, each in one step."""

    def typing(context, table, address, by):
        layout = table.map.value

        def codegen(context, b, signature, values):
            for position, number, kind in zip(positions, *_numbers(b, values[2], signature.args[2]), strict=True):
                width, place = _place(b, layout, values[1], position)
                word = context.cast(b, number, kind, types.int64)
                word = word if width.width == 64 else b.trunc(word, width)
                if table.map.kind in PER_CPU and getattr(context, "natural_alignment", False):
                    # No other CPU has this copy, and nothing interrupts the program on this one.
                    b.store(b.add(b.load(place), word), place)
                else:
                    b.atomic_rmw("add", place, word, "monotonic")
            return context.get_dummy_value()

        return types.void(table, types.uint64, by), codegen

    return intrinsic(typing)


def _put(context: Any, b: Any, layout: Layout, position: int, address: Any, value: Any, kind: Any) -> None:
    """Writes one field of the value at an address."""
    width, place = _place(b, layout, address, position)
    word = context.cast(b, value, kind, types.uint64)
    word = word if width.width == 64 else b.trunc(word, width)
    field = layout.fields[position]
    b.store(b.bswap(word) if field.order == "big" else word, place, align=field.align)


def _write(position: int) -> Any:
    """An intrinsic (map, address, number) that writes one field of the value there."""

    def typing(context, table, address, number):
        def codegen(context, b, signature, values):
            _put(context, b, table.map.value, position, *values[1:], signature.args[2])
            return context.get_dummy_value()

        return types.void(table, types.uint64, number), codegen

    return intrinsic(typing)


@intrinsic
def _all_of(context, table, by):
    """A number or tuple, as it is."""
    return by(table, by), lambda context, b, signature, values: values[1]


def _alone(position: int) -> Any:
    """An intrinsic (map, number) -> a value that is zero but for one field."""

    def typing(context, table, number):
        layout = table.map.value
        kind = number_type(layout)

        def codegen(context, b, signature, values):
            word = context.cast(b, values[1], signature.args[1], types.int64)
            numbers = [word if i == position else I64(0) for i in range(len(layout.fields))]
            return word if layout.single else context.make_tuple(b, kind, numbers)

        return kind(table, number), codegen

    return intrinsic(typing)


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


@overload(jump, target="cpu")
def _jump_cpu(table, context, index):
    def jump(table, context, index):
        if storage.find(_table(table), _key(table, index)) >= 0:
            raise RuntimeError("tail_call: compiled for this process, a program cannot go on in another")

    return jump


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

ENTRIES = ("lookup", "find", "update", "delete", "add", "increment", "set_field")
METHODS = {
    **dict.fromkeys(("hash", "lru_hash", "percpu_hash", "lru_percpu_hash", "lpm_trie"), ENTRIES),
    **dict.fromkeys(("array", "percpu_array"), tuple(name for name in ENTRIES if name != "delete")),
    **dict.fromkeys(("devmap", "devmap_hash", "cpumap", "xskmap"), ("redirect",)),
    "prog_array": ("tail_call",),
    "ringbuf": ("output",),
}
"""What a program may do with a map of each kind."""


def _method(name: str) -> Any:
    """As numba's overload_method, for maps that have it."""

    def decorate(implementation: Any) -> Any:
        @wraps(implementation)
        def judged(table, *arguments, **options):
            can = METHODS[table.map.kind]
            if name not in can:
                raise errors.TypingError(
                    f"map {table.map.name!r} is of kind {table.map.kind}: a program has {', '.join(can)} for it, "
                    f"and not {name}"
                )
            return implementation(table, *arguments, **options)

        return overload_method(MapType, name, prefer_literal=True)(judged)

    return decorate


@_method("lookup")
def _lookup(table, key):
    def lookup(table, key):
        at = find(table, _key(table, key))
        if at == np.uint64(0):
            return False, _zero(table)
        return True, _read(table, at)

    return lookup


@_method("update")
def _update(table, key, value, flags=ANY):
    return lambda table, key, value, flags=ANY: store(table, _key(table, key), _value(table, value), flags)


@_method("delete")
def _delete(table, key):
    return lambda table, key: remove(table, _key(table, key))


def _position(table: Any, field: Any) -> int:
    """Which field a literal means. Raises TypingError."""
    chosen = field.literal_value if isinstance(field, types.Literal) else None
    try:
        return int(table.map.value.position(chosen))
    except ValueError as error:
        raise errors.TypingError(f"value of map {table.map.name!r}: {error}, wanted as a constant") from None


def _absent(kind: Any) -> bool:
    return kind is None or isinstance(kind, types.Omitted | types.NoneType)


def _counted(table: Any, by: Any, field: Any) -> list[int]:
    """Which fields are to be added to. Raises TypingError."""
    layout, name = table.map.value, table.map.name
    if not _absent(field):
        positions = [_position(table, field)]
    elif layout.single:
        positions = [0]
    elif isinstance(by, types.BaseTuple) and len(by) == len(layout.fields):
        return [*range(len(by))] if all(map(countable, layout.fields)) else _uncountable(table, "all of this")
    else:
        raise errors.TypingError(f"value of map {name!r} is {_wanted(layout)}: add one, or name a field")
    if not isinstance(by, types.Integer | types.Boolean | types.Omitted | int):
        raise errors.TypingError(f"value of map {name!r}: one number is to be added, and this is {by}")
    return positions if countable(layout.fields[positions[0]]) else _uncountable(table, "this field")


def _uncountable(table: Any, what: str) -> NoReturn:
    raise errors.TypingError(f"value of map {table.map.name!r}: only U32 and U64 can be added to, not {what}")


@_method("add")
def _add_to(table, key, by, field=None):
    positions = _counted(table, by, field)
    increase = _add(positions)
    fresh = _all_of if _absent(field) else _alone(positions[0])

    def add(table, key, by, field=None):
        where = _key(table, key)
        at = find(table, where)
        if at == np.uint64(0):
            # If another CPU is quicker to make the entry, there is one now, and this adds to it.
            if store(table, where, _value(table, fresh(table, by)), NOEXIST) == 0:
                return True
            at = find(table, where)
            if at == np.uint64(0):
                return False
        increase(table, at, by)
        return True

    def add_where_all_entries_exist(table, key, by, field=None):
        at = find(table, _key(table, key))
        if at == np.uint64(0):
            return False
        increase(table, at, by)
        return True

    return add_where_all_entries_exist if table.map.kind in ("array", "percpu_array") else add


@_method("increment")
def _increment(table, key, by=1):
    _counted(table, by, None)
    return lambda table, key, by=1: table.add(key, by)


@_method("set_field")
def _set_field(table, key, field, value):
    write = _write(_position(table, field))

    def set_field(table, key, field, value):
        at = find(table, _key(table, key))
        if at == np.uint64(0):
            return False
        write(table, at, value)
        return True

    return set_field


@_method("find")
def _find(table, key):
    return lambda table, key: _entry(table, find(table, _key(table, key)))


@overload(bool)
def _there(entry):
    return (lambda entry: _address(entry) != np.uint64(0)) if isinstance(entry, EntryType) else None


@overload(operator.not_)
def _not_there(entry):
    return (lambda entry: _address(entry) == np.uint64(0)) if isinstance(entry, EntryType) else None


@overload_method(EntryType, "add", prefer_literal=True)
def _add_in_place(entry, field, by):
    increase = _add(_counted(entry, by, field))
    return lambda entry, field, by: increase(entry, _address(entry), by)


@infer_getattr
class EntryFields(AttributeTemplate):  # type: ignore[misc]
    """The fields of an entry, as numbers."""

    key = EntryType

    def generic_resolve(self, entry: EntryType, name: str) -> Any:
        layout = entry.map.value
        if name in layout.names:
            return types.uint64 if layout.fields[layout.names.index(name)].size == 8 else types.int64
        if name == "add":
            return None
        raise errors.TypingError(
            f"value of map {entry.map.name!r} has no field {name!r}, but {', '.join(layout.names)}"
        )


@lower_getattr_generic(EntryType)
def _get_field(context, b, kind, value, name):
    layout = kind.map.value
    position = layout.names.index(name)
    width, place = _place(b, layout, value, position)
    field = layout.fields[position]
    word = b.load(place, align=field.align)
    word = b.bswap(word) if field.order == "big" else word
    return word if field.size == 8 else b.zext(word, I64)


@lower_setattr_generic(EntryType)
def _set_entry_field(context, b, signature, values, name):
    entry, number = signature.args
    position = entry.map.value.names.index(name)
    _put(context, b, entry.map.value, position, *values, number)


@_method("redirect")
def _redirect(table, key, otherwise):
    return lambda table, key, otherwise: send(table, key, otherwise)


@_method("tail_call")
def _tail_call_of(table, context, index):
    return lambda table, context, index: jump(table, context, index)


@_method("output")
def _output(table, record):
    size = table.map.record.size
    return lambda table, record: append(table, _record(table, record), size)


@overload(seam.lookup)
def _seam_lookup(table, key):
    return (lambda table, key: table.lookup(key)) if isinstance(table, MapType) else None
