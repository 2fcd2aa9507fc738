"""What a program may read and write of its context.

Rule of this file: one table for each kind of program (net/core/filter.c: xdp_is_valid_access, bpf_skb_is_valid_access).

Theory. A context is no structure in memory: the kernel rewrites each access to one of its fields into loads from its
own structures, whose layout differs from kernel to kernel. That is why a field is accessed at its exact offset, through
a pointer that nobody has added anything to.
"""

from __future__ import annotations

from typing import NamedTuple

from lbcore.ebpf.verify import number, value
from lbcore.ebpf.verify.environment import Environment
from lbcore.ebpf.verify.refusal import CONTEXT, Refusal
from lbcore.ebpf.verify.value import Value

DEVMAP = 33
"""expected_attach_type of programs that run behind a devmap."""


class Field(NamedTuple):
    """`name` at bytes start to end - 1. least, most: sizes a read may have; written: sizes a write may have."""

    start: int
    end: int
    name: str
    least: int = 4
    most: int = 4
    written: tuple[int, ...] = ()
    gives: str = value.NUMBER


_ANY, _WORD = (1, 2, 4, 8), (4,)

XDP = (
    Field(0, 4, "data", gives=value.PACKET),
    Field(4, 8, "data_end", gives=value.END),
    Field(8, 12, "data_meta", gives=value.META),
    Field(12, 16, "ingress_ifindex"),
    Field(16, 20, "rx_queue_index"),
)
EGRESS = Field(20, 24, "egress_ifindex")

_READABLE = (
    Field(0, 4, "len", 1), Field(4, 8, "pkt_type", 1), Field(8, 12, "mark", 1), Field(12, 16, "queue_mapping", 1),
    Field(16, 20, "protocol", 1), Field(20, 24, "vlan_present", 1), Field(24, 28, "vlan_tci", 1),
    Field(28, 32, "vlan_proto", 1), Field(32, 36, "priority", 1), Field(36, 40, "ingress_ifindex", 1),
    Field(40, 44, "ifindex", 1), Field(44, 48, "tc_index", 1), Field(48, 68, "cb", 1, 8, _ANY),
    Field(68, 72, "hash", 1), Field(84, 88, "napi_id", 1), Field(164, 168, "gso_segs", 1),
    Field(176, 180, "gso_size", 1),
)  # fmt: skip
_TC_WRITABLE = ("mark", "queue_mapping", "priority", "tc_index")

SOCKET = _READABLE
TC = (
    *(field._replace(written=_WORD) if field.name in _TC_WRITABLE else field for field in _READABLE),
    Field(72, 76, "tc_classid", 1, 4, _WORD),
    Field(76, 80, "data", gives=value.PACKET),
    Field(80, 84, "data_end", gives=value.END),
    Field(140, 144, "data_meta", gives=value.META),
    Field(152, 160, "tstamp", 8, 8, (8,)),
    Field(160, 164, "wire_len", 1),
    Field(180, 181, "tstamp_type", 1, 1),
    Field(184, 192, "hwtstamp", 8, 8),
)

FIELDS = {"xdp": XDP, "tc": TC, "socket": SOCKET}


def read(env: Environment, pointer: Value, offset: int, size: int, *, signed: bool = False) -> Value:
    """What a load of `size` bytes at `offset` gives. Raises Refusal."""
    field = _field(env, pointer, offset, size)
    if not field.least <= size <= field.most:
        sizes = f"{field.most} bytes" if field.least == field.most else f"{field.least} to {field.most} bytes"
        raise Refusal(CONTEXT, f"reads {size} bytes of the context's {field.name}", f"it is read with {sizes}")
    if field.gives == value.NUMBER:
        return value.of(number.unsigned(8 * size))
    if signed:
        raise Refusal(CONTEXT, f"reads {field.name}, an address, as a signed number", "read it unsigned")
    return Value(field.gives)


def write(env: Environment, pointer: Value, offset: int, size: int) -> None:
    """Raises Refusal if `size` bytes at `offset` must not be written."""
    field = _field(env, pointer, offset, size)
    if size not in field.written:
        can = ", ".join(one.name for one in _fields(env) if one.written) or "none"
        raise Refusal(CONTEXT, f"writes {size} bytes of the context's {field.name}", f"writable here: {can}")


def _fields(env: Environment) -> tuple[Field, ...]:
    return (*XDP, EGRESS) if env.kind == "xdp" and env.attach == DEVMAP else FIELDS[env.kind]


def _field(env: Environment, pointer: Value, offset: int, size: int) -> Field:
    if pointer.offset or pointer.number != number.ZERO:
        raise Refusal(
            CONTEXT, f"uses {pointer} as the context", "use r1 as it came, with a constant in the instruction"
        )
    for field in _fields(env):
        if field.start <= offset and offset + size <= field.end and offset % size == 0:
            return field
    near = sorted(_fields(env), key=lambda one: abs(one.start - offset))[:6]
    fields = ", ".join(f"{one.name} at {one.start}" for one in sorted(near))
    raise Refusal(CONTEXT, f"accesses bytes {offset} to {offset + size - 1} of the context", f"near it are {fields}")
