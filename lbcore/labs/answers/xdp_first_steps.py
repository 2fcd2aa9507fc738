"""Lab 04, rungs 1 and 2: answers that must pass, and mistakes with the key of the hint each must get."""

# mypy: ignore-errors

from lbcore.ebpf.compiler import xdp
from lbcore.ebpf.contexts import XDP_ABORTED, XDP_DROP, XDP_PASS, XDP_TX
from lbcore.ebpf.helpers import get_prandom_u32
from lbcore.labs.answers import Answers
from lbcore.wire import ethernet
from lbcore.wire.seam import grow_head, need, set8, size_of, u8, u16, view

ANSWERS = Answers()
right, wrong = ANSWERS.right, ANSWERS.wrong


# ---- 1: pass ----
@right("pass")
@xdp
def pass_plain(context):
    return XDP_PASS


@right("pass")
@xdp
def pass_by_length(context):
    return 2 if size_of(view(context)) > 0 else XDP_PASS


@wrong("pass", "drops")
@xdp
def pass_drops(context):
    return XDP_DROP


@wrong("pass", "aborts")
@xdp
def pass_zero(context):
    return 0


@wrong("pass", "sends_back")
@xdp
def pass_back(context):
    return XDP_TX


@wrong("pass", "no_verdict")
@xdp
def pass_nothing(context):
    XDP_PASS  # noqa: B018


@wrong("pass", "not_the_same_twice")
@xdp
def pass_sometimes(context):
    return XDP_PASS if get_prandom_u32() & 1 else XDP_DROP


@wrong("pass", "scribbles")
@xdp
def pass_scribbles(context):
    p = view(context)
    if need(p, 1):
        set8(p, 0, 0)
    return XDP_PASS


@wrong("pass", "not_compiled")
@xdp
def pass_with_a_float(context):
    return XDP_PASS if size_of(view(context)) / 2 >= 0 else XDP_DROP


@wrong("pass", "not_a_program")
def pass_unmarked(context):
    return XDP_PASS


# ---- 2: drop ----
@right("drop")
@xdp
def drop_plain(context):
    p = view(context)
    if need(p, 14) and u16(p, 12) == 0x86DD:
        return XDP_DROP
    return XDP_PASS


@right("drop")
@xdp
def drop_by_bytes(context):
    p = view(context)
    if not need(p, 14):
        return XDP_PASS
    return XDP_DROP if u8(p, 12) == 0x86 and u8(p, 13) == 0xDD else XDP_PASS


@right("drop")
@xdp
def drop_by_parser(context):
    link = ethernet.parse(view(context))
    six = link.verdict == 0 and link.header_length == 14 and link.ethertype == ethernet.IPV6
    return XDP_DROP if six else XDP_PASS


@wrong("drop", "unchecked")
@xdp
def drop_unchecked(context):
    return XDP_DROP if u16(view(context), 12) == 0x86DD else XDP_PASS


@wrong("drop", "unchecked")
@xdp
def drop_asks_too_little(context):
    p = view(context)
    return XDP_DROP if need(p, 12) and u16(p, 12) == 0x86DD else XDP_PASS


@wrong("drop", "rejected")
@xdp
def drop_by_size(context):
    p = view(context)
    return XDP_DROP if size_of(p) - 1 >= 13 and u16(p, 12) == 0x86DD else XDP_PASS


@wrong("drop", "rejected")
@xdp
def drop_of_a_stale_view(context):
    p = view(context)
    grow_head(context, 4)
    grow_head(context, -4)
    return XDP_DROP if need(p, 14) and u16(p, 12) == 0x86DD else XDP_PASS


@wrong("drop", "unchecked")
@xdp
def drop_one_short(context):
    p = view(context)
    return XDP_DROP if need(p, 13) and u16(p, 12) == 0x86DD else XDP_PASS


@wrong("drop", "asks_too_much")
@xdp
def drop_asks_for_ip(context):
    p = view(context)
    return XDP_DROP if need(p, 54) and u16(p, 12) == 0x86DD else XDP_PASS


@wrong("drop", "byte_order")
@xdp
def drop_byte_order(context):
    p = view(context)
    return XDP_DROP if need(p, 14) and u16(p, 12) == 0xDD86 else XDP_PASS


@wrong("drop", "inverted")
@xdp
def drop_inverted(context):
    p = view(context)
    return XDP_PASS if not need(p, 14) or u16(p, 12) == 0x86DD else XDP_DROP


@wrong("drop", "all_dropped")
@xdp
def drop_all(context):
    return XDP_DROP


@wrong("drop", "all_passed")
@xdp
def drop_none(context):
    p = view(context)
    return XDP_DROP if need(p, 15) and u8(p, 14) == 0x86 and u16(p, 12) == 0 else XDP_PASS


@wrong("drop", "offset")
@xdp
def drop_off_by_one(context):
    p = view(context)
    return XDP_DROP if need(p, 15) and u16(p, 13) == 0x86DD else XDP_PASS


@wrong("drop", "one_byte")
@xdp
def drop_one_byte(context):
    p = view(context)
    return XDP_DROP if need(p, 14) and u8(p, 12) == 0x86 else XDP_PASS


@wrong("drop", "vlan_too")
@xdp
def drop_behind_tags(context):
    return XDP_DROP if ethernet.parse(view(context)).ethertype == ethernet.IPV6 else XDP_PASS


@wrong("drop", "not_compiled")
@xdp
def drop_in_a_while(context):
    p, at = view(context), 12
    while at < 14:
        at += 1
    return XDP_DROP if need(p, 14) and u16(p, 12) == 0x86DD else XDP_PASS


@wrong("drop", "not_compiled")
@xdp
def drop_with_a_list(context):
    p = view(context)
    return XDP_DROP if need(p, 14) and [u8(p, 12), u8(p, 13)] == [0x86, 0xDD] else XDP_PASS


@wrong("drop", "endless")
@xdp
def drop_for_ever(context):
    while True:
        pass


@wrong("drop", "aborts")
@xdp
def drop_aborts(context):
    p = view(context)
    return XDP_ABORTED if need(p, 14) and u16(p, 12) == 0x86DD else XDP_PASS


@wrong("drop", "changed_length")
@xdp
def drop_and_grow(context):
    grow_head(context, 4)
    p = view(context)
    return XDP_DROP if need(p, 18) and u16(p, 16) == 0x86DD else XDP_PASS
