"""The helpers of the kernel that this book knows: number, name, and what each takes and gives.

Rule of this file: one table, for all who need to agree on it: the machine reads arguments by it (`vm`, `calls`), a
verifier judges them, a compiler types them. Numbers and names are the kernel's (include/uapi/linux/bpf.h).

Kinds of arguments: `context` the program's own r1; `map` a map; `key` and `value` pointers to as many bytes as the
map's keys or values have; `memory` and then `size`: a pointer to initialised bytes and their number, null if the size
is zero; `buffer` and then `size`: the same, to be filled; `updated` and then `size`: initialised, and written too;
`20 bytes` and the like (`FIXED`): a pointer to so many initialised bytes; `record`: what ringbuf_reserve returned;
`socket` a socket of the kernel's; `scalar` a number.

Missing: helpers that take callbacks (loop, for_each_map_elem, timers), look up sockets, or use dynamic pointers.
"""

from __future__ import annotations

from typing import NamedTuple

CONTEXT, MAP, KEY, VALUE, MEMORY, BUFFER, UPDATED, SIZE, RECORD, SOCKET, SCALAR = (
    "context", "map", "key", "value", "memory", "buffer", "updated", "size", "record", "socket", "scalar",
)  # fmt: skip
WORD, HEADER4, HEADER6 = "4 bytes, updated", "20 bytes", "40 bytes"
FIXED = {WORD: 4, HEADER4: 20, HEADER6: 40}
"""Pointers to memory whose size is the helper's: a 32-bit number; an IPv4 or TCP header; an IPv6 header."""

NUMBER, NOTHING, MAP_VALUE_OR_NULL, RECORD_OR_NULL = "number", "nothing", "map value or null", "record or null"


class Signature(NamedTuple):
    """`result`: number, nothing, `map value or null` (a pointer to be checked), `record or null`.

    `moves`: it may move the packet, so that all pointers into it are stale. `maps`: kinds of map it takes; none named:
    any that has keys.
    """

    number: int
    name: str
    result: str
    arguments: tuple[str, ...]
    moves: bool = False
    maps: tuple[str, ...] = ()


REDIRECTING = ("devmap", "devmap_hash", "cpumap", "xskmap")

HELPERS = {
    signature.number: signature
    for signature in (
        Signature(1, "map_lookup_elem", MAP_VALUE_OR_NULL, (MAP, KEY)),
        Signature(2, "map_update_elem", NUMBER, (MAP, KEY, VALUE, SCALAR)),
        Signature(3, "map_delete_elem", NUMBER, (MAP, KEY)),
        Signature(5, "ktime_get_ns", NUMBER, ()),
        Signature(6, "trace_printk", NUMBER, (MEMORY, SIZE, SCALAR, SCALAR, SCALAR)),
        Signature(7, "get_prandom_u32", NUMBER, ()),
        Signature(8, "get_smp_processor_id", NUMBER, ()),
        Signature(9, "skb_store_bytes", NUMBER, (CONTEXT, SCALAR, MEMORY, SIZE, SCALAR), moves=True),
        Signature(10, "l3_csum_replace", NUMBER, (CONTEXT, SCALAR, SCALAR, SCALAR, SCALAR), moves=True),
        Signature(11, "l4_csum_replace", NUMBER, (CONTEXT, SCALAR, SCALAR, SCALAR, SCALAR), moves=True),
        Signature(12, "tail_call", NUMBER, (CONTEXT, MAP, SCALAR), maps=("prog_array",)),
        Signature(13, "clone_redirect", NUMBER, (CONTEXT, SCALAR, SCALAR), moves=True),
        Signature(18, "skb_vlan_push", NUMBER, (CONTEXT, SCALAR, SCALAR), moves=True),
        Signature(19, "skb_vlan_pop", NUMBER, (CONTEXT,), moves=True),
        Signature(23, "redirect", NUMBER, (SCALAR, SCALAR)),
        Signature(25, "perf_event_output", NUMBER, (CONTEXT, MAP, SCALAR, MEMORY, SIZE), maps=("perf_event_array",)),
        Signature(26, "skb_load_bytes", NUMBER, (CONTEXT, SCALAR, BUFFER, SIZE)),
        Signature(28, "csum_diff", NUMBER, (MEMORY, SIZE, MEMORY, SIZE, SCALAR)),
        Signature(31, "skb_change_proto", NUMBER, (CONTEXT, SCALAR, SCALAR), moves=True),
        Signature(32, "skb_change_type", NUMBER, (CONTEXT, SCALAR)),
        Signature(34, "get_hash_recalc", NUMBER, (CONTEXT,)),
        Signature(38, "skb_change_tail", NUMBER, (CONTEXT, SCALAR, SCALAR), moves=True),
        Signature(39, "skb_pull_data", NUMBER, (CONTEXT, SCALAR), moves=True),
        Signature(40, "csum_update", NUMBER, (CONTEXT, SCALAR)),
        Signature(41, "set_hash_invalid", NOTHING, (CONTEXT,)),
        Signature(43, "skb_change_head", NUMBER, (CONTEXT, SCALAR, SCALAR), moves=True),
        Signature(44, "xdp_adjust_head", NUMBER, (CONTEXT, SCALAR), moves=True),
        Signature(46, "get_socket_cookie", NUMBER, (CONTEXT,)),
        Signature(50, "skb_adjust_room", NUMBER, (CONTEXT, SCALAR, SCALAR, SCALAR), moves=True),
        Signature(51, "redirect_map", NUMBER, (MAP, SCALAR, SCALAR), maps=REDIRECTING),
        Signature(54, "xdp_adjust_meta", NUMBER, (CONTEXT, SCALAR), moves=True),
        Signature(65, "xdp_adjust_tail", NUMBER, (CONTEXT, SCALAR), moves=True),
        Signature(68, "skb_load_bytes_relative", NUMBER, (CONTEXT, SCALAR, BUFFER, SIZE, SCALAR)),
        Signature(69, "fib_lookup", NUMBER, (CONTEXT, UPDATED, SIZE, SCALAR)),
        Signature(100, "tcp_check_syncookie", NUMBER, (SOCKET, MEMORY, SIZE, MEMORY, SIZE)),
        Signature(110, "tcp_gen_syncookie", NUMBER, (SOCKET, MEMORY, SIZE, MEMORY, SIZE)),
        Signature(118, "jiffies64", NUMBER, ()),
        Signature(125, "ktime_get_boot_ns", NUMBER, ()),
        Signature(130, "ringbuf_output", NUMBER, (MAP, MEMORY, SIZE, SCALAR), maps=("ringbuf",)),
        Signature(131, "ringbuf_reserve", RECORD_OR_NULL, (MAP, SCALAR, SCALAR), maps=("ringbuf",)),
        Signature(132, "ringbuf_submit", NOTHING, (RECORD, SCALAR)),
        Signature(133, "ringbuf_discard", NOTHING, (RECORD, SCALAR)),
        Signature(135, "csum_level", NUMBER, (CONTEXT, SCALAR)),
        Signature(152, "redirect_neigh", NUMBER, (SCALAR, MEMORY, SIZE, SCALAR)),
        Signature(155, "redirect_peer", NUMBER, (SCALAR, SCALAR)),
        Signature(160, "ktime_get_coarse_ns", NUMBER, ()),
        Signature(163, "check_mtu", NUMBER, (CONTEXT, SCALAR, WORD, SCALAR, SCALAR)),
        Signature(188, "xdp_get_buff_len", NUMBER, (CONTEXT,)),
        Signature(189, "xdp_load_bytes", NUMBER, (CONTEXT, SCALAR, BUFFER, SIZE)),
        Signature(190, "xdp_store_bytes", NUMBER, (CONTEXT, SCALAR, MEMORY, SIZE)),
        Signature(204, "tcp_raw_gen_syncookie_ipv4", NUMBER, (HEADER4, MEMORY, SIZE)),
        Signature(205, "tcp_raw_gen_syncookie_ipv6", NUMBER, (HEADER6, MEMORY, SIZE)),
        Signature(206, "tcp_raw_check_syncookie_ipv4", NUMBER, (HEADER4, HEADER4)),
        Signature(207, "tcp_raw_check_syncookie_ipv6", NUMBER, (HEADER6, HEADER4)),
        Signature(208, "ktime_get_tai_ns", NUMBER, ()),
    )
}
"""By number."""

BY_NAME = {signature.name: signature for signature in HELPERS.values()}
