"""Programs that a student would write, each with one mistake, at the line marked `here`; and words of the answer.

They are never run, only compiled; what is wrong with them is the point.
"""

# ruff: noqa: C416, F821, F841, RET503, RUF059, SIM, UP031, PIE790, B007
# mypy: ignore-errors
from __future__ import annotations

import random
import struct

import numpy as np

from lbcore.ebpf import maps
from lbcore.ebpf.contexts import XDP_DROP, XDP_PASS
from lbcore.ebpf.helpers import printk
from lbcore.ebpf.maps import B32, U16, U64
from lbcore.wire.seam import advance, need, set_mark, size_of, u8, u16, u32, view

hits = maps.array("hits", 256)
flows = maps.hash_map("flows", 64, key=(B32, U16), value={"packets": U64, "state": U16})
ports = maps.devmap("ports", 4)
blocked = {6: True}
names = ["tcp", "udp"]
total = 0
table = np.zeros(8, np.uint32)


def a_string(context):
    return "drop"  # here


def a_string_compared(context):
    name = "tcp"  # here
    return XDP_DROP if name == "udp" else XDP_PASS


def an_f_string(context):
    printk(f"{size_of(view(context))} bytes")  # here
    return XDP_PASS


def a_print(context):
    print("a packet")  # here
    return XDP_PASS


def a_float(context):
    return size_of(view(context)) * 1.5 > 90  # here


def a_quotient(context):
    return size_of(view(context)) / 2  # here


def a_list(context):
    seen = [1, 2]  # here
    return seen[0]


def a_list_that_grows(context):
    seen = []  # here
    seen.append(1)
    return XDP_PASS


def a_dictionary(context):
    seen = {1: 2}  # here
    return seen[1]


def a_set(context):
    return XDP_PASS if 6 in {6, 17} else XDP_DROP  # here


def a_global_dictionary(context):
    return blocked[6]  # here


def a_global_list(context):
    return len(names)  # here


def a_numpy_array(context):
    return table[3]  # here


def a_comprehension(context):
    return sum([i for i in range(3)])  # here


def a_while_loop(context):
    n = 0
    while n < size_of(view(context)):  # here
        n += 1
    return n


def a_loop_over_the_packet(context):
    s, p = 0, view(context)
    for i in range(size_of(p)):
        s += u8(advance(p, i), 0)  # here
    return s


def a_recursion(context):
    return factorial(5)  # here


def factorial(n):
    return n * factorial(n - 1) if n else 1


def a_recursion_of_its_own(context):
    return XDP_PASS if need(view(context), 14) else a_recursion_of_its_own(context)  # here


def a_try(context):
    try:  # here
        return u8(view(context), 0)
    except IndexError:
        return XDP_DROP


def a_raise(context):
    if not need(view(context), 14):
        raise ValueError("short")  # here
    return XDP_PASS


def an_assertion(context):
    assert need(view(context), 14)  # here
    return XDP_PASS


def a_global_written(context):
    global total  # here
    total += 1
    return XDP_PASS


def no_return(context):  # here
    hits.increment(0)


def none_returned(context):  # here
    return None


def none_at_one_end(context):  # here
    if need(view(context), 14):
        return XDP_PASS


def a_tuple_returned(context):  # here
    return XDP_PASS, 0


def a_key_that_is_a_number(context):
    flows.lookup(7)  # here
    return XDP_PASS


def a_key_too_long(context):
    flows.add((1, 2, 3), 1, 0)  # here
    return XDP_PASS


def a_key_that_is_a_string(context):
    flows.lookup(("10.0.0.1", 80))  # here
    return XDP_PASS


def a_value_that_is_a_number(context):
    flows.update((1, 2), 3)  # here
    return XDP_PASS


def a_map_indexed(context):
    hits[6] += 1  # here
    return XDP_PASS


def a_map_asked_with_in(context):
    return XDP_DROP if (1, 2) in flows else XDP_PASS  # here


def a_dictionary_method(context):
    return hits.get(6)  # here


def an_unknown_field(context):
    flow = flows.find((1, 2))
    return flow.bytes if flow else XDP_PASS  # here


def a_field_that_cannot_count(context):
    flows.add((1, 2), 1, "state")  # here
    return XDP_PASS


def a_redirect_by_array(context):
    return hits.redirect(0, XDP_PASS)  # here


def too_few_unpacked(context):
    found, count, more = hits.lookup(6)  # here
    return XDP_PASS


def a_lookup_without_found(context):
    return hits.lookup(6) + 1  # here


def a_negative_offset(context):
    p = view(context)
    return u8(p, -1) if need(p, 14) else XDP_DROP  # here


def an_access_not_checked(context):
    p = view(context)
    return u16(p, 12)  # here


def a_byte_too_far(context):
    p = view(context)
    if not need(p, 14):
        return XDP_PASS
    return u32(p, 12)  # here


def a_packet_sliced(context):
    p = view(context)
    return p[12:14] == 0x0800  # here


def a_context_indexed(context):
    return context[12]  # here


def a_context_field(context):
    return context.data_end - context.data  # here


def a_number_over_64_bits(context):
    return (1 << 64) + 1  # here


def an_address_of_128_bits(context):
    mask = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFF  # here
    return mask & 1


def a_power(context):
    n = size_of(view(context))
    return n**n  # here


def a_generator(context):
    yield XDP_PASS  # here


def a_class(context):
    class Packet:  # here
        pass

    return XDP_PASS


def an_object(context):
    return Counter().n  # here


class Counter:
    n = 1


def a_lambda(context):
    key = sorted((2, 1), key=lambda x: -x)  # here
    return key[0]


def a_library(context):
    return struct.unpack("!H", bytes(2))[0]  # here


def a_random_number(context):
    return random.randint(0, 1)  # here


def bytes_compared(context):
    return XDP_PASS if b"ab" == b"ac" else XDP_DROP  # here


def a_misspelt_name(context):
    return XDP_PAS  # here


def a_misspelt_function(context):
    return u12(view(context), 0)  # here


def two_kinds_of_value(context):
    n = 1
    if need(view(context), 14):
        n = (1, 2)
    return n  # here


def arguments_missing(context):
    return u8(view(context))  # here


def a_mark_on_xdp(context):
    set_mark(context, 1)  # here
    return XDP_PASS


def a_variable_format(context):
    text = "%d"
    printk(text + "x", 1)  # here
    return XDP_PASS


def with_a_file(context):
    with open("/etc/hosts") as file:  # here
        return XDP_PASS


def deleted_from_an_array(context):
    hits.delete(3)  # here
    return XDP_PASS


def unset_on_one_way(context):
    if need(view(context), 14):
        port = 1
    return port  # here


def an_entry_not_asked_for(context):
    flow = flows.find((1, 2))
    return flow.state  # here


ANSWERS = {
    a_string: "is a string: a program has only numbers",
    a_string_compared: "name is a string",
    an_f_string: "printk takes a literal",
    a_print: "printk writes to its log",
    a_float: "no floating point",
    a_quotient: "use //",
    a_list: "use a map",
    a_list_that_grows: "use a map",
    a_dictionary: "use a map",
    a_set: "for `in`, a tuple",
    a_global_dictionary: "blocked is a dict: a program cannot reach memory of this process; use a map",
    a_global_list: "is a list",
    a_numpy_array: "is an array",
    a_comprehension: "'sum' is not for programs",
    a_while_loop: "use `for _ in range(n)` with a constant n",
    a_loop_over_the_packet: "beyond what need() was asked for",
    a_recursion: "functions marked @portable",
    a_recursion_of_its_own: "use a loop with a bound",
    a_try: "ask need() before reading",
    a_raise: "return a verdict",
    an_assertion: "return a verdict",
    a_global_written: "goes into a map",
    no_return: "a program returns its verdict; this returns nothing",
    none_returned: "this returns nothing",
    none_at_one_end: "this returns nothing, at least at one of its ends",
    a_tuple_returned: "this returns a tuple",
    a_key_that_is_a_number: "key of map 'flows' is a tuple of 2 numbers; given was a number",
    a_key_too_long: "is a tuple of 2 numbers; given was a tuple of 3 numbers",
    a_key_that_is_a_string: "is a tuple of 2 numbers; given was a tuple (a string, a number)",
    a_value_that_is_a_number: "value of map 'flows' is a tuple of 2 numbers (packets, state)",
    a_map_indexed: "lookup(key) gives (found, value), update(key, value) writes",
    a_map_asked_with_in: "its lookup(key) gives (found, value)",
    a_dictionary_method: "map 'hits' has no 'get'",
    an_unknown_field: "has no field 'bytes', but packets, state",
    a_field_that_cannot_count: "only U32 and U64 can be added to",
    a_redirect_by_array: "is of kind array: a program has lookup",
    too_few_unpacked: "3 names for 2 values",
    a_lookup_without_found: "what a look-up gives, (found, value)",
    a_negative_offset: "byte -1 of the packet",
    an_access_not_checked: "beyond what need() was asked for",
    a_byte_too_far: "the program has asked for 14",
    a_packet_sliced: "advance() moves a view",
    a_context_indexed: "take a view of it",
    a_context_field: "take a view of it",
    a_number_over_64_bits: "longer numbers are several words",
    an_address_of_128_bits: "an IPv6 address is (high, low)",
    a_power: "shift (1 << n), or multiply",
    a_generator: "returns one verdict",
    a_class: "a class belongs outside",
    an_object: "'Counter' is not for programs",
    a_lambda: "'sorted' is not for programs",
    a_library: "packet bytes are read with u8, u16, u32, u64",
    a_random_number: "get_prandom_u32()",
    bytes_compared: "packet bytes are read with u8, u16, u32, u64",
    a_misspelt_name: "name 'XDP_PAS' is not defined",
    a_misspelt_function: "name 'u12' is not defined",
    two_kinds_of_value: "n is a number on one way here and a tuple (a number, a number) on another",
    arguments_missing: "u8 lacks its argument 'offset'",
    a_mark_on_xdp: "use @tc",
    a_variable_format: "printk takes a literal",
    with_a_file: "nothing to open and close",
    deleted_from_an_array: "and not delete",
    unset_on_one_way: "port has no value on one of the ways to this line",
    an_entry_not_asked_for: "ask `if entry:` first",
}
