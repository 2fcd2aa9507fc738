"""The compiler: objects as loaders want them, errors at their line in words, helpers and maps outside of the packet."""

from __future__ import annotations

import ctypes
import inspect
import linecache
import struct

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numba import njit

from lbcore.ebpf import compiler, explain, helpers, kernel, maps
from lbcore.ebpf.compiler import tc, xdp
from lbcore.ebpf.contexts import XDP_ABORTED, XDP_DROP, XDP_PASS
from lbcore.ebpf.errors import CompileError
from lbcore.ebpf.machine import Machine
from lbcore.ebpf.maps import B16, B32, B64, U8, U16, U32, U64, Layout
from lbcore.wire.portable import portable
from lbcore.wire.seam import Frame, advance, grow_tail, need, set8, size_of, u8, u16, view
from lbcore.wire.words import word64
from tests import needs
from tests.ebpf import mistakes

PACKET = bytes(range(64))
numbers = maps.array("numbers", 4)
pairs = maps.hash_map("pairs", 4, key=(U8, U32), value=(U16, U64))
ways = maps.devmap("ways", 4)
others = maps.prog_array("others", 4)
narrow = maps.hash_map("narrow", 4, key=U32, value=U16)


# ---- what cannot be compiled ----


@portable
def half_of(p):
    return size_of(p) / 2


def a_float_in_a_callee(context):
    return int(half_of(view(context)))


def an_exact_power(context):  # here
    n = size_of(view(context))
    return pow(n, n)


wide = maps.hash_map("wide", 4, key=(U64,) * 64)


def too_much_stack(context):  # here
    n = word64(size_of(view(context)))
    eight = (n, n, n, n, n, n, n, n)
    half = eight + eight + eight + eight
    wide.increment(half + half)
    return 1


BROKEN = {too_much_stack: "512 bytes of stack", an_exact_power: "which the kernel lacks"}


def marked(function):
    """The line of a function that says: here."""
    with open(function.__code__.co_filename) as file:
        lines = list(enumerate(file, 1))
    return next(n for n, text in lines if n >= function.__code__.co_firstlineno and "# here" in text)


@pytest.mark.parametrize("function", BROKEN, ids=lambda function: function.__name__)
def test_an_error_is_told_at_its_line(function):
    with pytest.raises(CompileError) as caught:
        compiler.emit(function)
    assert BROKEN[function] in caught.value.why
    assert (caught.value.file, caught.value.line) == (__file__, marked(function))
    assert "# here" in caught.value.text
    assert "nopython" not in str(caught.value)


def test_an_error_in_a_callee_is_told_there():
    with pytest.raises(CompileError) as caught:
        compiler.emit(a_float_in_a_callee)
    assert caught.value.line == half_of.__code__.co_firstlineno + 2
    assert "float" in caught.value.why


@pytest.mark.parametrize("function", mistakes.ANSWERS, ids=lambda function: function.__name__)
def test_a_mistake_is_told_at_its_line_and_what_is_right(function):
    with pytest.raises(CompileError) as caught:
        xdp(function).check()
    assert (caught.value.file, caught.value.line) == (mistakes.__file__, marked(function))
    assert mistakes.ANSWERS[function] in caught.value.why
    assert "nopython" not in str(caught.value)


def test_every_mistake_has_an_answer():
    functions = {one for name, one in vars(mistakes).items() if inspect.isfunction(one) and name != "factorial"}
    assert {one for one in functions if one.__module__ == mistakes.__name__} == set(mistakes.ANSWERS)


def test_an_unknown_kind_is_refused():
    with pytest.raises(ValueError, match="kind 'kprobe': there are xdp, tc, socket"):
        compiler.emit(unchecked, "kprobe")


# ---- what the kernel refuses ----


def unchecked(context):
    p = view(context)
    if need(p, 14):
        return u16(p, 14)  # here
    return 1


def writes(context):
    p = view(context)
    if need(p, 20):
        set8(p, 0, 1)  # here
    return 1


def test_a_socket_filter_cannot_write():
    with pytest.raises(CompileError, match="set8 writes, and this kind of program only reads") as caught:
        compiler.emit(writes, "socket")
    assert caught.value.line == marked(writes)


def stale(context):
    p = view(context)
    if not need(p, 20) or not grow_tail(context, 4):
        return 1
    return u8(p, 0)  # here


REFUSED = {unchecked: "beyond what need", stale: "before the packet moved"}


@pytest.mark.parametrize("function", REFUSED, ids=lambda function: function.__name__)
def test_the_teaching_verifier_tells_it_anywhere(function):
    with pytest.raises(CompileError) as caught:
        compiler.compile(function, verify=True)
    assert (caught.value.file, caught.value.line) == (__file__, marked(function))
    assert REFUSED[function] in caught.value.why


@needs.tier(2)
@pytest.mark.parametrize("function", REFUSED, ids=lambda function: function.__name__)
def test_what_the_verifier_refuses_is_told_at_its_line(function):
    with pytest.raises(kernel.Rejected) as caught, kernel.load(compiler.compile(function)):
        pass
    error = explain.rejection(caught.value)
    assert (error.file, error.line) == (__file__, marked(function))
    assert REFUSED[function] in error.why
    assert linecache.getline(__file__, error.line).strip() in caught.value.log  # the kernel itself has been told


# ---- what can ----


@xdp
def drops_short(context):
    """Drops what is shorter than 40 bytes."""
    return XDP_DROP if size_of(view(context)) < 40 else XDP_PASS


@tc
def first_byte(context):
    p = view(context)
    if not need(p, 1):
        return 2
    return u8(p, 0)


def test_a_program_is_a_function_and_an_object():
    assert (drops_short.__name__, drops_short.__doc__) == ("drops_short", "Drops what is shorter than 40 bytes.")
    for size, verdict in ((20, XDP_DROP), (40, XDP_PASS)):
        assert drops_short(Frame(bytes(size))) == verdict
        assert Machine(drops_short.object.program).run(bytes(size)).verdict == verdict
    program = drops_short.object.program
    assert (program.name, program.section, program.kind) == ("drops_short", "xdp", "xdp")
    assert drops_short.object.license == "GPL"
    assert drops_short.object.assembly.startswith("drops_short:\n")
    assert first_byte.object.program.kind == "tc"
    assert Machine(first_byte.object.program).run(PACKET).verdict == first_byte(Frame(PACKET)) == 0


def test_lines_are_the_programs_own():
    """What is inlined from the machinery counts as the line that called it."""
    lines = {(line.file, line.text.strip()) for line in compiler.compile(unchecked).program.lines}
    assert {file for file, _ in lines} == {__file__}
    assert ("return u16(p, 14)  # here") in {text for _, text in lines}


def sends_and_counts(context):
    found, (small, large) = pairs.lookup((7, 8))
    if found:
        pairs.delete((7, 8))
        pairs.update((9, 10), (small + 1, word64(large)))
    else:
        pairs.update((7, 8), (41, word64(1 << 40)), maps.NOEXIST)
    numbers.increment(2, 5)
    return ways.redirect(numbers.lookup(2)[1] & 1, XDP_ABORTED)


def test_maps_are_defined_as_a_loader_reads_them():
    found = {spec.name: spec for spec in compiler.compile(sends_and_counts).maps}
    assert {name: (spec.kind, spec.key_size, spec.value_size, spec.max_entries) for name, spec in found.items()} == {
        "numbers": ("array", 4, 8, 4),
        "pairs": ("hash", 8, 16, 4),
        "ways": ("devmap", 4, 4, 4),
    }


def test_redirects_name_their_map():
    obj, used = compiler.compile(sends_and_counts), compiler.lower(sends_and_counts)[1]
    numbers.storage.table.values[:] = 0
    ways.update(1, 3)
    machine = Machine(obj.program, {name: one.storage for name, one in used.items()})
    first, second = machine.run(PACKET), machine.run(PACKET)
    assert (first.verdict, first.redirect) == (4, (ways.storage, 1))
    assert (second.verdict, second.redirect) == (XDP_ABORTED, None)
    assert dict(pairs.storage) == {struct.pack("<B3xI", 9, 10): struct.pack("<H6xQ", 42, 1 << 40)}
    pairs.delete((9, 10))


def test_two_maps_of_one_name_are_refused():
    again = maps.array("numbers", 8)

    def confused(context):
        numbers.increment(0)
        again.increment(0)
        return 1

    with pytest.raises(ValueError, match="two maps are called 'numbers'"):
        compiler.emit(confused)


def test_a_counter_of_16_bits_is_no_counter():
    def counts(context):
        narrow.increment(1)
        return 1

    with pytest.raises(CompileError):
        compiler.emit(counts)


def prints(context):
    helpers.printk("%d bytes, first %x", size_of(view(context)), 255)
    return (helpers.get_prandom_u32() >> 32) + helpers.get_smp_processor_id()


def test_printing(capsys):
    result = Machine(compiler.compile(prints).program).run(PACKET)
    assert result.printed == ("64 bytes, first ff",)
    assert result.verdict == prints(Frame(PACKET)) == 0
    assert capsys.readouterr().out == "64 bytes, first ff\n"


def asks_the_time(context):
    before = helpers.ktime_get_ns()
    return 1 if helpers.ktime_get_ns() >= before > 0 else 0


def test_time_goes_on_everywhere():
    assert asks_the_time(None) == njit(error_model="numpy")(asks_the_time)(0) == 1
    assert Machine(compiler.compile(asks_the_time).program).run(PACKET).verdict == 1


def divides(context):
    n = size_of(view(context)) - 100
    return n // 7 * 16 + n % 7


@pytest.mark.parametrize("size", [60, 64, 93, 100, 101, 110])
def test_division_rounds_down_as_in_python(size):
    expected = divides(Frame(bytes(size))) & 0xFFFFFFFF
    assert Machine(compiler.compile(divides).program).run(bytes(size)).verdict == expected


def hands_over(context):
    others.tail_call(context, 1)
    return 5


def test_tail_calls():
    obj, used = compiler.compile(hands_over), {"others": others.storage}
    assert Machine(obj.program, used).run(PACKET).verdict == hands_over(Frame(PACKET)) == 5
    others.update(1, 77)
    machine = Machine(obj.program, used, programs={77: drops_short.object.program})
    assert machine.run(PACKET).verdict == XDP_PASS
    assert machine.run(PACKET[:20]).verdict == XDP_DROP
    others.delete(1)


def marks_the_end(context):
    if not grow_tail(context, 1):
        return XDP_ABORTED
    p = view(context)
    if not need(p, 65):
        return XDP_DROP
    set8(advance(p, 60), 4, 0x2A)
    return XDP_PASS


def test_growing_behind():
    frame = Frame(PACKET)
    assert marks_the_end(frame) == XDP_PASS
    result = Machine(compiler.compile(marks_the_end).program).run(PACKET)
    assert (result.verdict, result.packet) == (XDP_PASS, PACKET + b"*") == (XDP_PASS, bytes(frame))


@needs.tier(2)
@pytest.mark.parametrize(
    "function",
    [drops_short.function, sends_and_counts, prints, asks_the_time, hands_over, marks_the_end],
    ids=lambda function: function.__name__,
)
def test_the_kernel_takes_it_with_types_and_lines(function):
    with kernel.load(compiler.compile(function)) as program:
        assert program.test_run(PACKET).verdict in range(6)


# ---- layouts ----

CTYPES = {U8: ctypes.c_uint8, U16: ctypes.c_uint16, U32: ctypes.c_uint32, U64: ctypes.c_uint64}
BIG = {B16: U16, B32: U32, B64: U64}


@given(st.lists(st.sampled_from([*CTYPES, *BIG]), min_size=1, max_size=6), st.data())
def test_a_layout_is_a_struct_of_c(fields, data):
    kinds = [(f"f{i}", CTYPES[BIG.get(field, field)]) for i, field in enumerate(fields)]
    shape = type("shape", (ctypes.LittleEndianStructure,), {"_fields_": kinds})
    values = tuple(data.draw(st.integers(0, 2 ** (8 * field.size) - 1)) for field in fields)
    theirs = shape()
    for (name, _), field, value in zip(kinds, fields, values, strict=True):
        swapped = int.from_bytes(value.to_bytes(field.size, "big"), "little") if field.order == "big" else value
        setattr(theirs, name, swapped)
    layout = Layout(tuple(fields))
    assert layout.pack(values) == bytes(theirs)
    assert layout.unpack(layout.pack(values)) == values


@pytest.mark.parametrize("name", ["", "two words", "x" * 16, "é"])
def test_names_the_kernel_would_refuse(name):
    with pytest.raises(ValueError, match="map name"):
        maps.array(name, 1)


def test_numbers_that_do_not_fit_keep_their_low_bits():
    assert Layout(U16).pack(0x12345) == b"\x45\x23"
    assert np.frombuffer(Layout(B32).pack(-1), ">u4")[0] == 0xFFFFFFFF
