"""What helpers do when a program in the machine calls them.

Rule of this file: one function for each helper, named as in the kernel. Arguments come as `signatures` says: maps as
Map, pointers to input as bytes, everything else as unsigned 64-bit numbers. The result is what becomes r0: a number,
or the negative of the kernel's error number; None counts as 0.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from errno import E2BIG, EINVAL, ENOENT
from random import Random
from typing import Any, Protocol

from lbcore.ebpf import memory, ring, signatures
from lbcore.ebpf.memory import Fault, Memory
from lbcore.ebpf.packet import Packet
from lbcore.ebpf.program import MAX_TAIL_CALLS, Program, TailCall
from lbcore.ebpf.storage import Map

XDP_ABORTED, XDP_REDIRECT = 0, 4


class Vm(Protocol):
    """What helpers need of the machine that calls them: `engine.Vm`, which has the meaning of each name."""

    memory: Memory
    maps: list[Map]
    numbers: dict[int, int]
    clock: Callable[[], int]
    random: Random
    printed: list[str]
    programs: dict[int, Program]
    tail_calls: int
    packet: Packet | None

    def handle(self, index: int) -> int: ...
    def value_address(self, map_: Map, slot: int) -> int: ...


# ---- maps ----


def map_lookup_elem(vm: Vm, map_: Map, key: bytes) -> int:
    slot = map_.slot(key, use=True)
    if slot < 0:
        return 0
    if map_.kind in ("array_of_maps", "hash_of_maps"):
        index = int.from_bytes(map_.table.values[slot, :4].tobytes(), "little")
        return vm.handle(vm.numbers[index]) if index in vm.numbers else 0
    return vm.value_address(map_, slot)


def map_update_elem(vm: Vm, map_: Map, key: bytes, value: bytes, flags: int) -> int:
    return _errno(lambda: _writable(map_).update_entry(key, value, min(flags, 3)))


def map_delete_elem(vm: Vm, map_: Map, key: bytes) -> int:
    try:
        return _errno(lambda: _writable(map_).__delitem__(key))
    except KeyError:
        return -ENOENT


def ringbuf_output(vm: Vm, map_: Map, data: bytes, flags: int) -> int:
    offset = _ring(map_, len(data))
    if offset < 0:
        return offset
    map_.table.values[0, offset : offset + len(data)] = bytearray(data)
    ring.commit(map_.table, offset, False)
    return 0


def ringbuf_reserve(vm: Vm, map_: Map, size: int, flags: int) -> int:
    offset = _ring(map_, size)
    return vm.value_address(map_, 0) + offset if offset >= 0 else 0


def ringbuf_submit(vm: Vm, record: int, flags: int) -> None:
    _finish(vm, record, discard=False)


def ringbuf_discard(vm: Vm, record: int, flags: int) -> None:
    _finish(vm, record, discard=True)


def perf_event_output(vm: Vm, context: int, map_: Map, flags: int, data: bytes) -> int:
    map_.events.append(data)
    return 0


# ---- the world ----


def ktime_get_ns(vm: Vm) -> int:
    return vm.clock()


def get_prandom_u32(vm: Vm) -> int:
    return vm.random.getrandbits(32)


def get_smp_processor_id(vm: Vm) -> int:
    return 0


def trace_printk(vm: Vm, template: bytes, *values: int) -> int:
    line = _printf(template.split(b"\0")[0].decode(errors="replace"), values)
    vm.printed.append(line)
    return len(line)


def tail_call(vm: Vm, context: int, map_: Map, index: int) -> int:
    """Does not come back if there is such a program; 33 times at most."""
    slot = map_.slot((index & 0xFFFFFFFF).to_bytes(4, "little"))
    number = int.from_bytes(map_.table.values[slot, :4].tobytes(), "little") if slot >= 0 else -1
    if number not in vm.programs or vm.tail_calls >= MAX_TAIL_CALLS:
        return -ENOENT
    vm.tail_calls += 1
    raise TailCall(vm.programs[number])


# ---- packets ----


def redirect(vm: Vm, interface: int, flags: int) -> int:
    if flags:
        return XDP_ABORTED
    _packet(vm).redirect = (None, interface & 0xFFFFFFFF)
    return _packet(vm).redirect_verdict


def redirect_peer(vm: Vm, interface: int, flags: int) -> int:
    """The other side of a veth is another network namespace, of which the machine has none: as `redirect`."""
    return redirect(vm, interface, flags)


def redirect_neigh(vm: Vm, interface: int, neighbour: bytes, flags: int) -> int:
    """Whatever the neighbour's hardware address is: as `redirect`."""
    return redirect(vm, interface, flags)


def clone_redirect(vm: Vm, context: int, interface: int, flags: int) -> int:
    packet = _packet(vm)
    packet.clones.append((interface & 0xFFFFFFFF, bytes(packet)))
    return 0


def redirect_map(vm: Vm, map_: Map, key: int, flags: int) -> int:
    """The verdict to return: the low bits of `flags` where the map has no such entry."""
    if map_.slot((key & 0xFFFFFFFF).to_bytes(4, "little")) < 0:
        return flags & 3
    _packet(vm).redirect = (map_, key & 0xFFFFFFFF)
    return XDP_REDIRECT


def xdp_adjust_head(vm: Vm, context: int, delta: int) -> int:
    return _packet(vm).move_head(_signed(delta))


def xdp_adjust_tail(vm: Vm, context: int, delta: int) -> int:
    return _packet(vm).move_tail(_signed(delta))


def xdp_adjust_meta(vm: Vm, context: int, delta: int) -> int:
    return _packet(vm).move_meta(_signed(delta))


def xdp_get_buff_len(vm: Vm, context: int) -> int:
    return len(bytes(_packet(vm)))


def skb_change_head(vm: Vm, context: int, size: int, flags: int) -> int:
    """Room of zeros in front of the packet."""
    packet, size = _packet(vm), size & 0xFFFFFFFF
    if flags or packet.move_head(-size):
        return -EINVAL
    packet.poke(0, bytes(size))
    return 0


def skb_change_tail(vm: Vm, context: int, length: int, flags: int) -> int:
    """Cut the packet off at `length`, or fill it up with zeros."""
    packet = _packet(vm)
    return -EINVAL if flags else packet.move_tail((length & 0xFFFFFFFF) - len(bytes(packet)))


def skb_pull_data(vm: Vm, context: int, size: int) -> int:
    """All of a packet is in one piece here, always."""
    return 0 if size & 0xFFFFFFFF <= len(bytes(_packet(vm))) else -EINVAL


def load_bytes(vm: Vm, context: int, offset: int, buffer: int, size: int) -> int:
    """skb_load_bytes and xdp_load_bytes. A failed load fills the buffer with zeros."""
    data = _packet(vm).peek(offset & 0xFFFFFFFF, size & 0xFFFFFFFF)
    size = min(size & 0xFFFFFFFF, memory.PACKET_START)
    vm.memory.write(buffer, bytes(size) if data is None else data)
    return -EINVAL if data is None else 0


def skb_store_bytes(vm: Vm, context: int, offset: int, data: bytes, flags: int) -> int:
    return 0 if _packet(vm).poke(offset & 0xFFFFFFFF, data) else -EINVAL


def xdp_store_bytes(vm: Vm, context: int, offset: int, data: bytes) -> int:
    return skb_store_bytes(vm, context, offset, data, 0)


def l3_csum_replace(vm: Vm, context: int, offset: int, old: int, new: int, flags: int) -> int:
    return _repair(_packet(vm), offset, old, new, flags & 15)


def l4_csum_replace(vm: Vm, context: int, offset: int, old: int, new: int, flags: int) -> int:
    """Flag 0x20: a UDP checksum, where 0 means there is none. Flag 0x10 (pseudo header) changes nothing here."""
    packet, absent = _packet(vm), bool(flags & 0x20)
    if absent and packet.peek(offset & 0xFFFFFFFF, 2) == b"\0\0":
        return 0
    result = _repair(packet, offset, old, new, flags & 15)
    if absent and result == 0 and packet.peek(offset & 0xFFFFFFFF, 2) == b"\0\0":
        packet.poke(offset & 0xFFFFFFFF, b"\xff\xff")
    return result


def csum_diff(vm: Vm, old: bytes, new: bytes, seed: int) -> int:
    """The unfolded 32-bit sum: seed + new - old, in ones' complement, of 32-bit words in memory order."""
    if len(old) % 4 or len(new) % 4:
        return -EINVAL
    if len(old) + len(new) > 512:
        return -E2BIG
    return _fold32((seed & 0xFFFFFFFF) + _sum32(new) + sum(w ^ 0xFFFFFFFF for w in _words32(old)))


HELPERS: dict[int, Callable[..., int | None]] = {
    signatures.BY_NAME[name].number: function
    for name, function in {
        **{name: value for name, value in globals().items() if name in signatures.BY_NAME},
        **dict.fromkeys(("ktime_get_boot_ns", "ktime_get_coarse_ns"), ktime_get_ns),
        "skb_load_bytes": load_bytes,
        "xdp_load_bytes": load_bytes,
    }.items()
}
"""By number."""


def _packet(vm: Vm) -> Packet:
    if vm.packet is None:
        raise Fault("this helper works on a packet, and there is none")
    return vm.packet


def _writable(map_: Map) -> Map:
    if map_.readonly:
        raise Fault(f"map {map_.name!r} is read-only to programs")
    return map_


def _signed(x: int) -> int:
    """The low 32 bits as a signed number."""
    return (x & 0xFFFFFFFF ^ 0x80000000) - 0x80000000


def _errno(action: Callable[[], Any]) -> int:
    """What the kernel returns where the map raises."""
    try:
        action()
    except OSError as error:
        return -(error.errno or EINVAL)
    return 0


def _ring(map_: Map, size: int) -> int:
    return int(ring.reserve(map_.table, min(size, map_.max_entries + 1)))


def _finish(vm: Vm, record: int, *, discard: bool) -> None:
    number = (record >> memory.OFFSET_BITS) - memory.FIRST_MAP
    map_ = vm.maps[number // 2] if 0 <= number < 2 * len(vm.maps) and number % 2 else None
    offset = record & memory.OFFSET_MASK
    if map_ is None or map_.kind != "ringbuf" or not ring.is_reserved(map_.table, offset):
        raise Fault(f"argument 1 (record): {record:#x} is no reserved record of a ring buffer")
    ring.commit(map_.table, offset, discard)


def _repair(packet: Packet, offset: int, old: int, new: int, size: int) -> int:
    """A 16-bit checksum in the packet, repaired for a field that changed from old to new (RFC 1624, equation 3)."""
    if size not in (0, 2, 4):
        return -EINVAL
    checksum = packet.peek(offset & 0xFFFFFFFF, 2)
    if checksum is None:
        return -EINVAL
    total = int.from_bytes(checksum, "little") ^ 0xFFFF
    mask = 0xFFFF if size == 2 else 0xFFFFFFFF
    if size:
        total += (old & mask) ^ 0xFFFFFFFF
    total = _fold32(total + (new & mask))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    packet.poke(offset & 0xFFFFFFFF, (total ^ 0xFFFF).to_bytes(2, "little"))
    return 0


def _words32(data: bytes) -> list[int]:
    return [int.from_bytes(data[i : i + 4], "little") for i in range(0, len(data), 4)]


def _sum32(data: bytes) -> int:
    return sum(_words32(data))


def _fold32(total: int) -> int:
    while total >> 32:
        total = (total & 0xFFFFFFFF) + (total >> 32)
    return total


def _printf(template: str, values: tuple[int, ...]) -> str:
    """The kernel's printf, as far as trace_printk allows it: d i u x p with l and ll, c, %%."""
    rest = iter(values)

    def one(match: re.Match[str]) -> str:
        if match["kind"] == "%":
            return "%"
        value = next(rest, 0)
        bits = 64 if match["long"] or match["kind"] == "p" else 32
        value &= (1 << bits) - 1
        if match["kind"] in "di" and value >> (bits - 1):
            value -= 1 << bits
        kind = {"d": "d", "i": "d", "u": "d", "c": "d", "p": "x"}.get(match["kind"], match["kind"])
        return format(value, f"{match['flags']}{kind}")

    return re.sub(r"%(?P<flags>0?\d{0,3})(?P<long>l{0,2})(?P<kind>[diuxXpc%])", one, template)
