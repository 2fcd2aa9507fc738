"""What the verifier knows of the content of a register: a number, or a pointer to something it may or may not touch.

Rule of this file: the kinds of content, how they are written for a reader, and when one stands for another.

Theory. The verifier is a type checker whose types depend on what the program has found out so far. A packet pointer is
`packet + n` with a *range*: how many bytes from there the program has compared with the packet's end. A pointer from a
look-up is `... or null` until it was compared with 0. Copies of a pointer share an `id`, so that what is found out
about one of them is known of all.

Trap. A pointer's place has a fixed part (`offset`) and a variable one (`number`). The range counts from the place that
the variable part leads to, so it survives adding constants, and is gone when something unknown is added.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from lbcore.ebpf.verify import number
from lbcore.ebpf.verify.number import ANY, ZERO, Number

NONE, NUMBER, CONTEXT, STACK, MAP, VALUE, RECORD, SOCKET, INNER = (
    "nothing", "number", "context", "stack", "map", "value", "record", "socket", "inner map",
)  # fmt: skip
PACKET, META, END = "packet", "metadata", "packet end"

PACKETS = (PACKET, META)


class Value(NamedTuple):
    """number: of a pointer, the variable part of its offset. offset: the fixed part. range: bytes behind the variable
    part that are in the packet. about: the map's facts, the stack's frame, or the record's size. null: it may be.
    note: for people: what it was before. made_of: of a number, bits for the places (`state.places`) whose numbers, at
    the last checkpoint, it was computed from."""

    kind: str
    number: Number = ZERO
    offset: int = 0
    id: int = 0
    range: int = 0
    about: Any = None
    null: bool = False
    note: str = ""
    made_of: int = 0

    @property
    def pointer(self) -> bool:
        return self.kind not in (NUMBER, NONE)

    def __str__(self) -> str:
        return _TEXTS[self.kind](self) + (" or null" if self.null else "")


NOTHING = Value(NONE)
UNKNOWN = Value(NUMBER, ANY)
CONTEXT_POINTER = Value(CONTEXT)


def constant(x: int) -> Value:
    return Value(NUMBER, number.constant(x))


def of(known: Number) -> Value:
    return Value(NUMBER, known)


class Ids(dict[int, int]):
    """Which id of an old state stands for which of a new one. Ids mean only that things are the same.

    shifts: for the ids of packet pointers, how many bytes more of the new pointers' offset are fixed.
    """

    def __init__(self) -> None:
        super().__init__({0: 0})
        self.shifts: dict[int, int] = {0: 0}

    def fits(self, old: int, new: int) -> bool:
        return self.setdefault(old, new) == new

    def fits_shifted(self, old: int, new: int, by: int) -> bool:
        return self.setdefault(old, new) == new and self.shifts.setdefault(old, by) == by


def includes(old: Value, new: Value, ids: Ids, *, matters: bool) -> bool:
    """Is whatever is safe with the old value safe with the new one? matters: which number it is, if it is one."""
    kind = old.kind
    if kind == NONE:
        return True
    if kind == NUMBER:
        if new.kind != NUMBER:
            return False
        if not matters:
            return True
        if not old.number.includes(new.number):
            return False
        return not old.id or ids.fits(old.id, new.id or -1)
    if kind in PACKETS and old.id:
        return _packet_includes(old, new, ids)
    if kind != new.kind or old.offset != new.offset or old.null != new.null or old.about != new.about:
        return False
    if kind in PACKETS and old.range > new.range:
        return False
    return ids.fits(old.id, new.id) and old.number.includes(new.number)


def _packet_includes(old: Value, new: Value, ids: Ids) -> bool:
    """Where a packet pointer's offset is cut into a fixed and a variable part is of no account, if it is cut alike in
    all that share the variable part. Of that only the upper end counts, unless the lower one is negative (`pointers`).
    """
    shift = new.offset - old.offset
    return (
        new.kind == old.kind
        and ids.fits_shifted(old.id, new.id, shift)
        and (not old.range or new.range >= old.range + shift)
        and new.number.umax + shift <= old.number.umax
        and new.number.smin + shift >= min(old.number.smin, 0)
    )


def _place(base: str, value: Value) -> str:
    text = base
    if value.number != ZERO:
        text += f"+({value.number})"
    return text + (f"{value.offset:+d}" if value.offset else "")


def _packet(value: Value) -> str:
    return f"{_place(value.kind, value)}, range {value.range}"


def _stack(value: Value) -> str:
    return _place("r10" if not value.about else f"frame {value.about}'s r10", value)


_TEXTS: dict[str, Callable[[Value], str]] = {
    NONE: lambda value: "nothing",
    NUMBER: lambda value: str(value.number),
    CONTEXT: lambda value: _place("context", value),
    PACKET: _packet,
    META: _packet,
    END: lambda value: "packet end",
    STACK: _stack,
    MAP: lambda value: f"map {value.about.name}",
    VALUE: lambda value: _place(f"value of {value.about.name}", value),
    INNER: lambda value: f"map from {value.about.name}",
    SOCKET: lambda value: _place(f"socket of {value.about.name}", value),
    RECORD: lambda value: _place(f"record of {value.about} bytes", value),
}
