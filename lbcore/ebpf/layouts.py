"""How the numbers of a key or value lie in memory: as in a C struct.

Rule of this file: fields and bytes; maps are others' business.

Theory. To the kernel, keys and values are bytes. Here they are numbers, or tuples of numbers laid out as C lays out a
struct: each field at a multiple of its size, gaps zero (the kernel compares keys byte by byte, so a gap of garbage
would be another key). A field of 64 bits is a word (`words.word64`), a smaller one a plain integer. Fields with names
(a dictionary) make named tuples.
"""

from __future__ import annotations

from collections import namedtuple
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

Number = int | tuple[int, ...]


@dataclass(frozen=True)
class Field:
    """An unsigned number of `size` bytes; `order`: "little", as processors have it, or "big", as on the wire.

    It lies at a multiple of `align` bytes; of its size, unless said otherwise.
    """

    size: int
    order: Any = "little"
    align: int = 0

    def __post_init__(self) -> None:
        object.__setattr__(self, "align", self.align or self.size)


Fields = Field | tuple["Fields", ...] | Mapping[str, "Fields"]
"""A number, a tuple of fields, or fields with names; nested ones are as many numbers in a row as there are."""

U8, U16, U32, U64 = Field(1), Field(2), Field(4), Field(8)
B16, B32, B64 = Field(2, "big"), Field(4, "big"), Field(8, "big")
B128: Fields = {"high": Field(8, "big", 4), "low": Field(8, "big", 4)}
"""An IPv6 address as two words, laid out as struct in6_addr: `ipv6.parse` gives it so."""


def _flat(fields: Fields, name: str = "") -> Iterator[tuple[str, Field]]:
    """Every number among the fields, under the names that lead to it."""
    if isinstance(fields, Field):
        yield name, fields
        return
    named = fields.items() if isinstance(fields, Mapping) else ((f"f{i}", one) for i, one in enumerate(fields))
    for inner, one in named:
        yield from _flat(one, f"{name}_{inner}" if name else inner)


class Layout:
    """Where each field of a key or value is, as in a C struct.

    single: it is a number, not a tuple of numbers; type: that of the tuple, a named one if `named`.
    """

    def __init__(self, fields: Fields, name: str = "fields") -> None:
        self.single, self.named = isinstance(fields, Field), isinstance(fields, Mapping)
        flat = list(_flat(fields))
        self.names = tuple(name or "value" for name, _ in flat)
        self.fields = tuple(field for _, field in flat)
        self.type: Any = namedtuple(name, self.names) if self.named else tuple
        self.offsets: list[int] = []
        end = 0
        for field in self.fields:
            start = -(-end // field.align) * field.align
            self.offsets.append(start)
            end = start + field.size
        widest = max((field.align for field in self.fields), default=1)
        self.size = -(-end // widest) * widest

    def position(self, field: int | str | None) -> int:
        """Which number a field is, by name or by position. Raises ValueError."""
        if isinstance(field, str) and field in self.names:
            return self.names.index(field)
        if isinstance(field, int) and 0 <= field < len(self.fields):
            return field
        have = "is one number" if self.single else f"has {', '.join(self.names)}"
        raise ValueError(f"field {field!r}: this {have}")

    def pack(self, value: Number) -> bytes:
        """The bytes of a number or tuple; of each number the low bits of its field."""
        values = value if isinstance(value, tuple) else (value,)
        if len(values) != len(self.fields):
            raise ValueError(f"{value!r}: {len(self.fields)} numbers were expected")
        data = bytearray(self.size)
        for field, offset, number in zip(self.fields, self.offsets, values, strict=True):
            low = int(number) & ((1 << 8 * field.size) - 1)
            data[offset : offset + field.size] = low.to_bytes(field.size, field.order)
        return bytes(data)

    def unpack(self, data: bytes) -> Any:
        """The number or tuple in these bytes."""
        places = zip(self.fields, self.offsets, strict=True)
        values = tuple(int.from_bytes(data[at : at + field.size], field.order) for field, at in places)
        if self.single:
            return values[0]
        return self.type(*values) if self.named else values


def countable(field: Field) -> bool:
    """Can processors add to it in one step?"""
    return field.size in (4, 8) and field.order == "little"
