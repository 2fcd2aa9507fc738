"""The methods of maps and of their entries, as programs call them, compiled.

Rule of this file: what is allowed, in words where it is not, and which operations it takes. `maps` has the same methods
in plain Python, with what they mean.
"""

# What numba compiles has no annotations.
# mypy: disable-error-code="no-untyped-def,no-untyped-call"
from __future__ import annotations

import operator
from functools import wraps
from typing import Any, NoReturn

import numpy as np
from numba import types
from numba.core import errors
from numba.core.typing.templates import AttributeTemplate
from numba.extending import infer_getattr, lower_getattr_generic, lower_setattr_generic, overload, overload_method

from lbcore.ebpf.layouts import countable
from lbcore.ebpf.layouts_numba import (
    EntryType,
    MapType,
    adding,
    address,
    all_of,
    alone,
    entry_at,
    get,
    packed_key,
    packed_record,
    packed_value,
    put,
    read,
    wanted,
    writing,
    zero,
)  # fmt: skip
from lbcore.ebpf.maps import ANY, NOEXIST
from lbcore.ebpf.maps_numba import append, find, jump, remove, send, store
from lbcore.wire import seam

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
        at = find(table, packed_key(table, key))
        if at == np.uint64(0):
            return False, zero(table)
        return True, read(table, at)

    return lookup


@_method("update")
def _update(table, key, value, flags=ANY):
    return lambda table, key, value, flags=ANY: store(table, packed_key(table, key), packed_value(table, value), flags)


@_method("delete")
def _delete(table, key):
    return lambda table, key: remove(table, packed_key(table, key))


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
        raise errors.TypingError(f"value of map {name!r} is {wanted(layout)}: add one, or name a field")
    if not isinstance(by, types.Integer | types.Boolean | types.Omitted | int):
        raise errors.TypingError(f"value of map {name!r}: one number is to be added, and this is {by}")
    return positions if countable(layout.fields[positions[0]]) else _uncountable(table, "this field")


def _uncountable(table: Any, what: str) -> NoReturn:
    raise errors.TypingError(f"value of map {table.map.name!r}: only U32 and U64 can be added to, not {what}")


@_method("add")
def _add_to(table, key, by, field=None):
    positions = _counted(table, by, field)
    increase = adding(positions)
    fresh = all_of if _absent(field) else alone(positions[0])

    def add(table, key, by, field=None):
        where = packed_key(table, key)
        at = find(table, where)
        if at == np.uint64(0):
            # If another CPU is quicker to make the entry, there is one now, and this adds to it.
            if store(table, where, packed_value(table, fresh(table, by)), NOEXIST) == 0:
                return True
            at = find(table, where)
            if at == np.uint64(0):
                return False
        increase(table, at, by)
        return True

    def add_where_all_entries_exist(table, key, by, field=None):
        at = find(table, packed_key(table, key))
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
    write = writing(_position(table, field))

    def set_field(table, key, field, value):
        at = find(table, packed_key(table, key))
        if at == np.uint64(0):
            return False
        write(table, at, value)
        return True

    return set_field


@_method("find")
def _find(table, key):
    return lambda table, key: entry_at(table, find(table, packed_key(table, key)))


@overload(bool)
def _there(entry):
    return (lambda entry: address(entry) != np.uint64(0)) if isinstance(entry, EntryType) else None


@overload(operator.not_)
def _not_there(entry):
    return (lambda entry: address(entry) == np.uint64(0)) if isinstance(entry, EntryType) else None


@overload_method(EntryType, "add", prefer_literal=True)
def _add_in_place(entry, field, by):
    increase = adding(_counted(entry, by, field))
    return lambda entry, field, by: increase(entry, address(entry), by)


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
    return get(b, layout, layout.names.index(name), value)


@lower_setattr_generic(EntryType)
def _set_entry_field(context, b, signature, values, name):
    entry, number = signature.args
    position = entry.map.value.names.index(name)
    put(context, b, entry.map.value, position, values[0], values[1], number)


@_method("redirect")
def _redirect(table, key, otherwise):
    return lambda table, key, otherwise: send(table, key, otherwise)


@_method("tail_call")
def _tail_call_of(table, context, index):
    return lambda table, context, index: jump(table, context, index)


@_method("output")
def _output(table, record):
    size = table.map.record.size
    return lambda table, record: append(table, packed_record(table, record), size)


@overload(seam.lookup)
def _seam_lookup(table, key):
    return (lambda table, key: table.lookup(key)) if isinstance(table, MapType) else None
