"""What a map's operations mean to numba: helper calls in the kernel, `storage` in user space.

Rule of this file: the operations that each target has its own way to do. What programs call is in `methods_numba`.

Theory. Both targets have the same operations, on the addresses of key and value: find, store, remove. They are the
functions below that do nothing in Python; each target overloads them. In the kernel a map is a symbol that the
loader fills in; in user space it is constants: the addresses of its arrays, good for as long as the map lives, which
is why numba keeps such code in no cache.
"""

# What numba compiles has no annotations.
# mypy: disable-error-code="no-untyped-def,no-untyped-call"
from __future__ import annotations

from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic, overload, typeof_impl
from numba.np.arrayobj import populate_array

from lbcore.ebpf import helpers, storage
from lbcore.ebpf.layouts_numba import packed_key
from lbcore.wire.seam_numba import address_of
from lbcore.wire.words_numba import I64, as_uint64

I8 = ir.IntType(8)


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
        if storage.find(_table(table), packed_key(table, index)) >= 0:
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
    return lambda table, key, otherwise: (
        4 if storage.find(_table(table), packed_key(table, key)) >= 0 else otherwise & 3
    )


@overload(append, target="cpu")
def _append_cpu(table, record, size):
    return lambda table, record, size: storage.output(_table(table), record, size)
