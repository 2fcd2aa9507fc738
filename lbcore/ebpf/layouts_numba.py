"""Keys and values of maps, compiled: numbers to bytes and back.

Rule of this file: layouts and addresses. Whose addresses they are is `maps_numba`'s to know.

Theory. A key or value is a tuple of 64-bit numbers in registers and a C struct in memory. It is packed on the stack,
for helpers take pointers, and read or changed where a map keeps it. Each map has a numba type of its own, which knows
the layout, so all of this is settled when the program is compiled.

Trap. The verifier refuses to read a stack slot that nobody wrote, so gaps in a key are written too.
"""

# What numba compiles has no annotations.
# mypy: disable-error-code="no-untyped-def,no-untyped-call"
from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils, errors
from numba.core.imputils import lower_constant
from numba.extending import intrinsic, models, register_model, typeof_impl

from lbcore.ebpf import helpers
from lbcore.ebpf.kinds import PER_CPU
from lbcore.ebpf.layouts import Layout
from lbcore.ebpf.maps import Map
from lbcore.wire.words_numba import I64

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
def entry_at(context, table, address):
    return EntryType(table.map)(table, types.uint64), lambda c, b, signature, values: values[1]


@intrinsic
def address(context, entry):
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


def wanted(layout: Layout) -> str:
    many = len(layout.fields)
    names = f" ({', '.join(layout.names)})" if layout.named else ""
    return "a number" if layout.single else f"a tuple of {many} number{'s' * (many != 1)}{names}"


def _pack(context: Any, b: Any, layout: Layout, kind: Any, value: Any) -> Any:
    """The address of a stack slot that holds the number or tuple."""
    slot = helpers.stack(b, ir.ArrayType(I64, max(1, -(-layout.size // 8))))
    start, address = b.bitcast(slot, I8.as_pointer()), b.ptrtoint(slot, I64)
    gaps = set(range(layout.size))
    for position, (number, one) in enumerate(zip(*_numbers(b, value, kind), strict=True)):
        put(context, b, layout, position, address, number, one)
        offset = layout.offsets[position]
        gaps -= {*range(offset, offset + layout.fields[position].size)}
    for gap in gaps:
        b.store(I8(0), b.gep(start, [I64(gap)]), align=1)
    return address


def _numbers(b: Any, value: Any, kind: Any) -> tuple[list[Any], list[Any]]:
    """The numbers of a tuple, or the one number, and their types."""
    if not isinstance(kind, types.BaseTuple):
        return [value], [kind]
    return cgutils.unpack_tuple(b, value, len(kind)), list(kind)


def _packs(which: str) -> Any:
    """An intrinsic (map, number or tuple) -> uint64, the address of its bytes on the stack."""

    def typing(context, table, value):
        layout: Layout = getattr(table.map, which)
        many = len(value) if isinstance(value, types.BaseTuple) else 1
        numbers = list(value) if isinstance(value, types.BaseTuple) else [value]
        right = many == len(layout.fields) and isinstance(value, types.BaseTuple) != layout.single
        if not right or not all(isinstance(one, types.Integer | types.Boolean) for one in numbers):
            raise errors.TypingError(f"{which} of map {table.map.name!r} is {wanted(layout)}; given was {value}")

        def codegen(context, b, signature, values):
            return _pack(context, b, layout, signature.args[1], values[1])

        return types.uint64(table, value), codegen

    return intrinsic(typing)


packed_key, packed_value, packed_record = _packs("key"), _packs("value"), _packs("record")


@intrinsic
def read(context, table, address):
    """The value at an address."""
    layout = table.map.value
    kind = number_type(layout)

    def codegen(context, b, signature, values):
        numbers = [get(b, layout, position, values[1]) for position in range(len(layout.fields))]
        return numbers[0] if layout.single else context.make_tuple(b, kind, numbers)

    return kind(table, types.uint64), codegen


@intrinsic
def zero(context, table):
    kind = number_type(table.map.value)
    return kind(table), lambda context, b, signature, values: context.get_constant_null(kind)


def field_at(b: Any, layout: Layout, address: Any, position: int) -> tuple[Any, Any]:
    """A field of what is at an address: its width, and a pointer to it."""
    width = ir.IntType(8 * layout.fields[position].size)
    start = b.inttoptr(address, I8.as_pointer())
    return width, b.bitcast(b.gep(start, [I64(layout.offsets[position])]), width.as_pointer())


def get(b: Any, layout: Layout, position: int, address: Any) -> Any:
    """The number in one field of what is at an address, as a 64-bit integer."""
    field, (_, place) = layout.fields[position], field_at(b, layout, address, position)
    word = b.load(place, align=field.align)
    word = b.bswap(word) if field.order == "big" else word
    return word if field.size == 8 else b.zext(word, I64)


def adding(positions: Sequence[int]) -> Any:
    """An intrinsic (map, address, number or tuple) that adds to these fields of the value there, each in one step."""

    def typing(context, table, address, by):
        layout = table.map.value

        def codegen(context, b, signature, values):
            for position, number, kind in zip(positions, *_numbers(b, values[2], signature.args[2]), strict=True):
                width, place = field_at(b, layout, values[1], position)
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


def put(context: Any, b: Any, layout: Layout, position: int, address: Any, value: Any, kind: Any) -> None:
    """Write a number of this type to one field of what is at an address."""
    field, (width, place) = layout.fields[position], field_at(b, layout, address, position)
    word = context.cast(b, value, kind, types.uint64)
    word = word if field.size == 8 else b.trunc(word, width)
    b.store(b.bswap(word) if field.order == "big" else word, place, align=field.align)


def writing(position: int) -> Any:
    """An intrinsic (map, address, number) that writes one field of the value there."""

    def typing(context, table, address, number):
        def codegen(context, b, signature, values):
            put(context, b, table.map.value, position, values[1], values[2], signature.args[2])
            return context.get_dummy_value()

        return types.void(table, types.uint64, number), codegen

    return intrinsic(typing)


@intrinsic
def all_of(context, table, by):
    """A number or tuple, as it is."""
    return by(table, by), lambda context, b, signature, values: values[1]


def alone(position: int) -> Any:
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
