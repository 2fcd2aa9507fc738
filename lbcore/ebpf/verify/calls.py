"""Calls of helpers: who may call them, what they take, what they give.

Rule of this file: `signatures` says what an argument is; the tables here say what the kernel wants beyond that.

Theory. A helper is trusted code that believes its arguments. So the verifier proves for each pointer that the bytes
behind it are there and written, for each size that it fits, for each map that it is of the right kind. Then it forgets
r1 to r5, and every pointer into the packet if the helper may have moved it.
"""

from __future__ import annotations

from typing import NamedTuple

from lbcore.ebpf import signatures
from lbcore.ebpf.signatures import Signature
from lbcore.ebpf.verify import access, number, value
from lbcore.ebpf.verify.environment import Environment
from lbcore.ebpf.verify.maps import Facts
from lbcore.ebpf.verify.number import ZERO
from lbcore.ebpf.verify.pointers import FARTHEST
from lbcore.ebpf.verify.refusal import (
    ARGUMENT,
    HELPER,
    MAP,
    NULL,
    PACKET,
    READ_ONLY,
    REFERENCE,
    REGISTER,
    UNKNOWN,
    Refusal,
)
from lbcore.ebpf.verify.state import State
from lbcore.ebpf.verify.value import NOTHING, Value

ALL, XDP, BUFFERS = ("xdp", "tc", "socket"), ("xdp",), ("tc", "socket")
TC, FRAMES = ("tc",), ("xdp", "tc")


class Manner(NamedTuple):
    """kinds: of programs that may call it. packet: memory arguments may lie in the packet. empty: sizes may be zero.
    nullable: memory may be null. free: only for programs under the GPL. unread: from this argument on, none is read."""

    kinds: tuple[str, ...] = ALL
    packet: bool = False
    empty: bool = False
    nullable: bool = False
    free: bool = False
    unread: int = 5


MANNERS = {
    "map_lookup_elem": Manner(packet=True),
    "map_update_elem": Manner(packet=True),
    "map_delete_elem": Manner(packet=True),
    "trace_printk": Manner(free=True, unread=2),
    "skb_store_bytes": Manner(("tc",)),
    "l3_csum_replace": Manner(("tc",)),
    "l4_csum_replace": Manner(("tc",)),
    "redirect": Manner(("xdp", "tc")),
    "perf_event_output": Manner(free=True, empty=True),
    "skb_load_bytes": Manner(BUFFERS),
    "csum_diff": Manner(("xdp", "tc"), packet=True, empty=True, nullable=True),
    "xdp_adjust_head": Manner(XDP),
    "redirect_map": Manner(XDP),
    "xdp_adjust_meta": Manner(XDP),
    "xdp_adjust_tail": Manner(XDP),
    "ringbuf_output": Manner(empty=True),
    "xdp_load_bytes": Manner(XDP),
    "xdp_store_bytes": Manner(XDP),
    "xdp_get_buff_len": Manner(XDP),
    "fib_lookup": Manner(FRAMES, free=True),
    "check_mtu": Manner(FRAMES),
    "redirect_neigh": Manner(TC, empty=True, nullable=True),
    "skb_load_bytes_relative": Manner(BUFFERS),
    "get_socket_cookie": Manner(BUFFERS),
    **dict.fromkeys(
        (
            "clone_redirect", "redirect_peer", "skb_vlan_push", "skb_vlan_pop", "skb_change_proto", "skb_change_type",
            "skb_change_head", "skb_change_tail", "skb_pull_data", "skb_adjust_room", "csum_update", "csum_level",
            "get_hash_recalc", "set_hash_invalid",
        ),
        Manner(TC),
    ),
    **dict.fromkeys(
        (
            "tcp_raw_gen_syncookie_ipv4", "tcp_raw_gen_syncookie_ipv6",
            "tcp_raw_check_syncookie_ipv4", "tcp_raw_check_syncookie_ipv6",
        ),
        Manner(FRAMES, packet=True, empty=True, free=True),
    ),
}  # fmt: skip
"""By name; a helper that is not here has the usual manner."""

LOOKUP, CHANGES = "map_lookup_elem", ("map_update_elem", "map_delete_elem")
RING = ("ringbuf_output", "ringbuf_reserve")

TAKEN_BY = {
    "prog_array": ("tail_call",),
    "perf_event_array": ("perf_event_output",),
    "ringbuf": RING,
    "array_of_maps": (LOOKUP,),
    "hash_of_maps": (LOOKUP,),
    "devmap": (LOOKUP, "redirect_map"),
    "devmap_hash": (LOOKUP, "redirect_map"),
    "cpumap": ("redirect_map",),
    "xskmap": (LOOKUP, "redirect_map"),
}
TAKEN_BY |= dict.fromkeys(
    ("hash", "array", "percpu_hash", "percpu_array", "lru_hash", "lru_percpu_hash", "lpm_trie"), (LOOKUP, *CHANGES)
)
"""Which helpers take a map of this kind. Kinds that are not here are not modelled."""

RELEASING = ("ringbuf_submit", "ringbuf_discard")


def call(env: Environment, state: State, helper: int, slot: int) -> None:
    """Judge a call of helper number `helper` in slot `slot`, and do to the state what it does. Raises Refusal."""
    signature = signatures.HELPERS.get(helper)
    if signature is None:
        raise Refusal(UNKNOWN, f"calls helper {helper}, which this verifier does not know")
    manner = MANNERS.get(signature.name, Manner())
    _allowed(env, state, signature, manner)
    arguments = _Arguments(env, state, signature, manner)
    for position, kind in enumerate(signature.arguments[: manner.unread]):
        arguments.judge(position, kind)
    registers = state.registers
    given = registers[1:6]
    if signature.name in RELEASING:
        state.give_back(given[0].id)
    if signature.moves:
        state.forget_packet()
    registers[:6] = [NOTHING] * 6
    registers[0] = _result(env, state, signature, arguments.map, given, slot)


def _allowed(env: Environment, state: State, signature: Signature, manner: Manner) -> None:
    name = signature.name
    if env.kind not in manner.kinds:
        raise Refusal(HELPER, f"calls {name}", f"it is for {' and '.join(manner.kinds)} programs, this is {env.kind}")
    if manner.free and not env.free:
        raise Refusal(HELPER, f"calls {name}", "it is for programs under the GPL; the object's licence is another")
    if name == "tail_call":
        if state.owed:
            raise Refusal(REFERENCE, "a tail call while a record is held", "submit or discard it first")
        if len(state.frames) > 1:
            raise Refusal(UNKNOWN, "a tail call from within a local call", "make it from the outermost function")


def _result(
    env: Environment, state: State, signature: Signature, facts: Facts | None, given: list[Value], slot: int
) -> Value:
    if signature.name == "tail_call" or signature.result == signatures.NOTHING:
        return NOTHING
    if signature.result == signatures.NUMBER:
        return value.UNKNOWN
    id = env.fresh()
    if signature.result == signatures.RECORD_OR_NULL:
        state.owed[id] = slot
        return Value(value.RECORD, about=given[1].number.umax, null=True, id=id)
    assert facts is not None
    kind = {"xskmap": value.SOCKET, "array_of_maps": value.INNER, "hash_of_maps": value.INNER}.get(
        facts.kind, value.VALUE
    )
    return Value(kind, about=facts, null=True, id=id)


class _Arguments:
    """The arguments of one call, judged one after another."""

    def __init__(self, env: Environment, state: State, signature: Signature, manner: Manner) -> None:
        self.env, self.state, self.signature, self.manner = env, state, signature, manner
        self.map: Facts | None = None

    def judge(self, position: int, kind: str) -> None:
        held = self.state.registers[position + 1]
        name = f"argument {position + 1} of {self.signature.name} (r{position + 1})"
        if held.kind == value.NONE:
            raise Refusal(REGISTER, f"{name} has no value", f"put a {kind} there")
        match kind:
            case signatures.CONTEXT:
                if held != value.CONTEXT_POINTER:
                    raise Refusal(ARGUMENT, f"{name} is {held}", "the context is wanted, as r1 came")
            case signatures.MAP:
                self._map(name, held)
            case signatures.KEY | signatures.VALUE:
                assert self.map is not None
                size = self.map.key_size if kind == signatures.KEY else self.map.value_size
                self._memory(name, held, size, size, writing=False)
            case signatures.MEMORY | signatures.BUFFER:
                self._sized(name, held, position, writing=kind == signatures.BUFFER)
            case signatures.UPDATED:
                self._sized(name, held, position, writing=False)
                self._sized(name, held, position, writing=True)
            case signatures.WORD | signatures.HEADER4 | signatures.HEADER6:
                size = signatures.FIXED[kind]
                self._memory(name, held, size, size, writing=False)
                if kind == signatures.WORD:
                    self._memory(name, held, size, size, writing=True)
            case signatures.SOCKET:
                raise Refusal(UNKNOWN, f"{name} is a socket, which this verifier does not know")
            case signatures.RECORD:
                if held.kind != value.RECORD or held.null or held.offset or held.number != ZERO:
                    raise Refusal(
                        NULL if held.null else ARGUMENT, f"{name} is {held}", "the record is wanted, as it was reserved"
                    )
            case _:
                self._number(name, held, position)

    def _number(self, name: str, held: Value, position: int) -> None:
        if self.signature.name != "ringbuf_reserve" or position != 1:
            return
        self.env.decisive |= held.made_of
        if held.kind != value.NUMBER or not held.number.constant:
            raise Refusal(ARGUMENT, f"{name} is {held}", "a record's size is a constant")

    def _map(self, name: str, held: Value) -> None:
        if held.kind != value.MAP or held.null:
            raise Refusal(NULL if held.null else ARGUMENT, f"{name} is {held}", "a map is wanted")
        facts: Facts = held.about
        helper = self.signature.name
        if facts.kind not in TAKEN_BY:
            raise Refusal(UNKNOWN, f"{name} is a {facts.kind}, which this verifier does not know")
        if helper not in TAKEN_BY[facts.kind]:
            raise Refusal(MAP, f"{name} is a {facts.kind}", f"{facts.kind} goes with {', '.join(TAKEN_BY[facts.kind])}")
        if facts.readonly and helper in CHANGES:
            raise Refusal(READ_ONLY, f"{helper} of {facts.name}", "programs may only read this map")
        if facts.kind.endswith("of_maps") and facts.inner is None:
            raise Refusal(UNKNOWN, f"{name}: nobody said what {facts.name} holds", "give a MapSpec with its inner map")
        self.map = facts

    def _sized(self, name: str, held: Value, position: int, *, writing: bool) -> None:
        size = self.state.registers[position + 2]
        what = f"argument {position + 2} of {self.signature.name} (r{position + 2})"
        if size.kind != value.NUMBER:
            raise Refusal(REGISTER if size.kind == value.NONE else ARGUMENT, f"{what} is {size}", "a size is wanted")
        least = 0 if self.manner.empty else 1
        known = size.number
        self.env.decisive |= size.made_of
        if known.smin < 0 or known.umax >= FARTHEST:
            raise Refusal(ARGUMENT, f"{what} is {known}", "bound it on both sides: a size is at least 0")
        if known.umin < least:
            raise Refusal(ARGUMENT, f"{what} is {known}", "it must not be 0")
        self._memory(name, held, known.umin, known.umax, writing=writing)

    def _memory(self, name: str, held: Value, least: int, most: int, *, writing: bool) -> None:
        """least, most: how many bytes from there the helper reads, or fills."""
        if held.kind == value.NUMBER and held.number == ZERO and self.manner.nullable:
            self.env.decisive |= held.made_of
            if most:
                raise Refusal(ARGUMENT, f"{name} is null, its size up to {most}", "null goes with size 0")
            return
        if held.null:
            raise Refusal(NULL, f"{name} is {held}", "compare it with 0 first")
        if held.kind in value.PACKETS and not self.manner.packet:
            raise Refusal(
                PACKET, f"{name} is {held}", "this helper takes no pointer into the packet: copy to the stack"
            )
        if held.kind == value.STACK:
            self._stack(name, held, least, most, writing=writing)
        elif held.kind in (*value.PACKETS, value.VALUE, value.RECORD):
            access.reach(self.env, name, held, 0, most, writing=writing)
        else:
            raise Refusal(ARGUMENT, f"{name} is {held}", "a pointer to stack, packet, map value or record is wanted")

    def _stack(self, name: str, held: Value, least: int, most: int, *, writing: bool) -> None:
        low, high = access.stack_bounds(self.env, self.state, name, held, 0, most)
        stack = access.stack_of(self.env, self.state, held)
        exactly = held.number.constant and least == most
        if not writing or not exactly:
            stack.check(low, high, trusting=self.env.trusting)
        if writing:
            stack.blur(low, high, surely=True)


def packet_load(env: Environment, state: State, indirect: Value | None) -> None:
    """A packet load of old (RFC 9669, section 5.5): r6 is the context; a load out of the packet ends the program."""
    if env.kind not in BUFFERS:
        raise Refusal(HELPER, "a packet load of old", f"these are for tc and socket programs, this is {env.kind}")
    if len(state.frames) > 1:
        raise Refusal(UNKNOWN, "a packet load of old within a local call", "make it in the outermost function")
    if state.owed:
        raise Refusal(
            REFERENCE, "a packet load of old, which may end the program, while a record is held", "give it back"
        )
    if state.registers[6] != value.CONTEXT_POINTER:
        raise Refusal(ARGUMENT, f"r6 is {state.registers[6]}", "packet loads of old want the context in r6")
    if indirect is not None and indirect.kind == value.NONE:
        raise Refusal(REGISTER, "the register of the packet load has no value")
    state.registers[:6] = [value.of(number.ANY), *[NOTHING] * 5]
