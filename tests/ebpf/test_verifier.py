"""The teaching verifier and the kernel's, on small programs: the same verdict, and the reason that was meant."""

from __future__ import annotations

import importlib
import pkgutil
from typing import NamedTuple

import pytest

from lbcore.ebpf import programs as ladder
from lbcore.ebpf import verifier
from lbcore.ebpf.compiler import Source
from lbcore.ebpf.verify import refusal
from tests import needs
from tests.ebpf import portable_programs, verified


class Case(NamedTuple):
    """A program's text and the category of its refusal; "" if it is right."""

    name: str
    text: str
    category: str = ""
    kind: str = "xdp"


def ends(body: str) -> str:
    return f"{body}\nr0 = 2\nexit"


PACKET = "r2 = *(u32 *)(r1 +0)\nr3 = *(u32 *)(r1 +4)\n"
CHECK14 = PACKET + "r4 = r2\nr4 += 14\nif r4 > r3 goto out\n"
OUT = "\nout:\nr0 = 2\nexit"
KEY = "r6 = 0\n*(u32 *)(r10 -4) = r6\nr2 = r10\nr2 += -4\n"
LOOK = KEY + "r1 = map_by_fd(1)\ncall map_lookup_elem#1\n"
RESERVE = "r1 = map_by_fd(3)\nr2 = 16\nr3 = 0\ncall ringbuf_reserve#131\nif r0 == 0 goto out\n"

CASES = [
    # registers and the end
    Case("returns a verdict", "r0 = 1\nexit"),
    Case("r0 never set", "exit", refusal.REGISTER),
    Case("reads an unset register", "r0 = r3\nexit", refusal.REGISTER),
    Case("reads r1 to r5 after a call", "call ktime_get_ns#5\nr0 = r1\nexit", refusal.REGISTER),
    Case("keeps r6 over a call", "r6 = 7\ncall ktime_get_ns#5\nr0 = r6\nexit"),
    Case("set on one way only", "r0 = *(u32 *)(r1 +0)\nif r1 == 0 goto +0\nr0 = 1\nexit"),
    Case("a register set on one way only", ends("call get_prandom_u32#7\nif r0 > 5 goto on\nr6 = 1\non:\nr7 = r6"), refusal.REGISTER),
    Case("falls off the end", "r0 = 0", refusal.SHAPE),
    Case("unreachable code", "r0 = 0\nexit\nr0 = 1\nexit", refusal.SHAPE),
    # the context
    Case("reads a field of the context", "r0 = *(u32 *)(r1 +12)\nexit"),
    Case("reads beyond the context", "r0 = *(u32 *)(r1 +400)\nexit", refusal.CONTEXT),
    Case("reads the context unaligned", "r0 = *(u32 *)(r1 +2)\nexit", refusal.CONTEXT),
    Case("writes the context", ends("*(u32 *)(r1 +0) = 1"), refusal.CONTEXT),
    Case("tc writes its mark", ends("*(u32 *)(r1 +8) = 1"), "", "tc"),
    Case("a moved context", "r1 += 4\nr0 = *(u32 *)(r1 +0)\nexit", refusal.CONTEXT),
    # the packet
    Case("packet, checked", CHECK14 + "r0 = *(u16 *)(r2 +12)" + OUT),
    Case("packet, not checked", PACKET + "r0 = *(u8 *)(r2 +0)\nexit", refusal.PACKET),
    Case("packet, one byte too far", CHECK14 + "r0 = *(u16 *)(r2 +13)" + OUT, refusal.PACKET),
    Case("packet, before its start", CHECK14 + "r0 = *(u8 *)(r2 -1)" + OUT, refusal.PACKET),
    Case("packet, wrong way of the check", PACKET + "r4 = r2\nr4 += 14\nif r4 <= r3 goto out\nr0 = *(u8 *)(r2 +0)" + OUT, refusal.PACKET),
    Case("packet, check against itself", PACKET + "r4 = r2\nr4 += 14\nif r4 > r2 goto out\nr0 = *(u8 *)(r2 +0)" + OUT, refusal.PACKET),
    Case("packet, the end itself", PACKET + "r0 = *(u8 *)(r3 +0)\nexit", refusal.NOT_A_POINTER),
    Case("packet, end moved", ends(PACKET + "r3 += 1"), refusal.POINTER),
    Case("packet, written", CHECK14 + "*(u8 *)(r2 +0) = 1" + OUT),
    Case("packet, a distance from the packet", CHECK14 + "r5 = *(u8 *)(r2 +0)\nr2 += r5\nr4 = r2\nr4 += 4\nif r4 > r3 goto out\nr0 = *(u32 *)(r2 +0)" + OUT),
    Case("packet, that distance not checked", CHECK14 + "r5 = *(u8 *)(r2 +0)\nr2 += r5\nr0 = *(u32 *)(r2 +0)" + OUT, refusal.PACKET),
    Case("packet, stale after it moved", "r6 = r1\n" + PACKET + "r4 = r2\nr4 += 14\nif r4 > r3 goto out\nr7 = r2\nr1 = r6\nr2 = 0\ncall xdp_adjust_head#44\nr0 = *(u8 *)(r7 +0)" + OUT, refusal.NOT_A_POINTER),
    Case("packet, looked at again", "r6 = r1\nr2 = 0\ncall xdp_adjust_head#44\nr1 = r6\n" + CHECK14 + "r0 = *(u8 *)(r2 +0)" + OUT),
    Case("packet, adding two pointers", ends(PACKET + "r2 += r3"), refusal.POINTER),
    Case("packet, multiplied", ends(PACKET + "r2 *= 2"), refusal.POINTER),
    Case("packet, length by subtraction", PACKET + "r3 -= r2\nr0 = r3\nexit"),
    # the stack
    Case("stack, written and read", "r1 = 7\n*(u64 *)(r10 -8) = r1\nr0 = *(u64 *)(r10 -8)\nexit"),
    Case("stack, too deep", ends("r1 = 7\n*(u64 *)(r10 -520) = r1"), refusal.STACK),
    Case("stack, above its top", ends("r1 = 7\n*(u64 *)(r10 +0) = r1"), refusal.STACK),
    Case("stack, unaligned", ends("r1 = 7\n*(u64 *)(r10 -12) = r1"), refusal.ALIGNMENT),
    Case("stack, moved frame pointer", ends("r10 += 8"), refusal.CODE),
    Case("stack, a spilled pointer comes back", "*(u64 *)(r10 -8) = r1\nr1 = *(u64 *)(r10 -8)\nr0 = *(u32 *)(r1 +12)\nexit"),
    Case("stack, half of a spilled pointer", "*(u64 *)(r10 -8) = r1\nr1 = 0\n*(u8 *)(r10 -8) = r1\nr1 = *(u64 *)(r10 -8)\nr0 = *(u32 *)(r1 +12)\nexit", refusal.NOT_A_POINTER),
    Case("stack, key not written", ends("r2 = r10\nr2 += -4\nr1 = map_by_fd(1)\ncall map_delete_elem#3"), ""),
    # map values
    Case("value, asked for null", LOOK + "if r0 == 0 goto out\nr1 = *(u64 *)(r0 +8)" + OUT),
    Case("value, the wrong way", KEY + "r1 = map_by_fd(0)\ncall map_lookup_elem#1\nif r0 != 0 goto out\nr1 = *(u64 *)(r0 +0)" + OUT, refusal.NOT_A_POINTER),
    Case("value, not asked", KEY + "r1 = map_by_fd(0)\ncall map_lookup_elem#1\nr1 = *(u64 *)(r0 +0)\nr0 = 2\nexit", refusal.NULL),
    Case("value, beyond its end", LOOK + "if r0 == 0 goto out\nr1 = *(u64 *)(r0 +16)" + OUT, refusal.VALUE),
    Case("value, at an unknown offset, masked", LOOK + "if r0 == 0 goto out\nr6 = r0\ncall get_prandom_u32#7\nr0 &= 15\nr6 += r0\nr1 = *(u8 *)(r6 +0)" + OUT),
    Case("value, at an unknown offset, one too far", LOOK + "if r0 == 0 goto out\nr6 = r0\ncall get_prandom_u32#7\nr0 &= 15\nr6 += r0\nr1 = *(u8 *)(r6 +1)" + OUT, refusal.VALUE),
    Case("value, at an unknown offset, compared", LOOK + "if r0 == 0 goto out\nr6 = r0\ncall get_prandom_u32#7\nif r0 > 8 goto out\nr6 += r0\nr1 = *(u64 *)(r6 +0)" + OUT),
    Case("value, at an offset that may be negative", LOOK + "if r0 == 0 goto out\nr6 = r0\nr7 = *(u64 *)(r0 +0)\nif r7 s> 8 goto out\nr6 += r7\nr1 = *(u64 *)(r6 +0)" + OUT, refusal.POINTER),
    Case("value, an atomic addition", LOOK + "if r0 == 0 goto out\nr1 = 1\nlock *(u64 *)(r0 +8) += r1" + OUT),
    Case("value, read-only, read", KEY + "r1 = map_by_fd(4)\ncall map_lookup_elem#1\nif r0 == 0 goto out\nr1 = *(u64 *)(r0 +0)" + OUT),
    Case("value, read-only, written", KEY + "r1 = map_by_fd(4)\ncall map_lookup_elem#1\nif r0 == 0 goto out\nr1 = 1\n*(u64 *)(r0 +0) = r1" + OUT, refusal.READ_ONLY),
    # helpers
    Case("helper, wrong argument", ends("r1 = 5\nr2 = 5\ncall map_lookup_elem#1"), refusal.ARGUMENT),
    Case("helper, unset argument", ends("r1 = map_by_fd(0)\ncall map_lookup_elem#1"), refusal.REGISTER),
    Case("helper, unknown number", ends("call 9999"), refusal.UNKNOWN),
    Case("helper, of another kind of program", ends("r2 = 0\ncall xdp_adjust_head#44"), refusal.HELPER, "tc"),
    Case("helper, a key outside the stack", ends("r2 = r10\nr2 += 4\nr1 = map_by_fd(0)\ncall map_lookup_elem#1"), refusal.STACK),
    Case("helper, a redirect", "r1 = map_by_fd(6)\nr2 = 0\nr3 = 2\ncall redirect_map#51\nexit"),
    Case("helper, a redirect by the wrong map", "r1 = map_by_fd(0)\nr2 = 0\nr3 = 2\ncall redirect_map#51\nexit", refusal.MAP),
    # records of a ring
    Case("record, reserved and sent", RESERVE + "r1 = 1\n*(u64 *)(r0 +8) = r1\nr1 = r0\nr2 = 0\ncall ringbuf_submit#132" + OUT),
    Case("record, kept", RESERVE + "r1 = 1" + OUT, refusal.REFERENCE),
    Case("record, used after it was sent", RESERVE + "r6 = r0\nr1 = r0\nr2 = 0\ncall ringbuf_submit#132\nr1 = *(u64 *)(r6 +0)" + OUT, refusal.NOT_A_POINTER),
    Case("record, written beyond", RESERVE + "r1 = 1\n*(u64 *)(r0 +16) = r1\nr1 = r0\nr2 = 0\ncall ringbuf_submit#132" + OUT, refusal.RECORD),
    # arithmetic
    Case("divides by zero, a constant", "r0 = 8\nr0 /= 0\nexit", refusal.ARITHMETIC),
    Case("divides by a register that may be 0", "call get_prandom_u32#7\nr1 = 8\nr1 /= r0\nr0 = r1\nexit"),
    Case("shifts by 64", "r0 = 1\nr0 <<= 64\nexit", refusal.ARITHMETIC),
    # ways and loops
    Case("a bounded loop", "r0 = 0\nagain:\nr0 += 1\nif r0 < 20 goto again\nexit"),
    Case("an endless loop", "r0 = 0\nagain:\nif r0 == 0 goto again\nexit", refusal.LOOP),
    Case("a loop that an unknown number bounds", "call get_prandom_u32#7\nr6 = r0\nr0 = 0\nr6 &= 15\nagain:\nr0 += 1\nif r0 < r6 goto again\nexit"),
    Case("a loop that nothing bounds", "r6 = 0\nagain:\nr6 += 1\ncall get_prandom_u32#7\nif r0 != 0 goto again\nexit", refusal.LIMIT),
    Case("a dead way may do anything", "r6 = 1\nif r6 == 1 goto out\nr0 = *(u64 *)(r9 +0)" + OUT),
    # local calls
    Case("a local call", "r1 = 4\ncall local f\nexit\nf:\nr0 = r1\nexit"),
    Case("a local call reads r6", "r6 = 4\ncall local f\nexit\nf:\nr0 = r6\nexit", refusal.REGISTER),
    Case("a local call for ever", "call local f\nexit\nf:\ncall local f\nexit", refusal.CALL),
    Case("local calls, too much stack", "call local f\nexit\nf:\nr1 = 0\n*(u64 *)(r10 -400) = r1\ncall local g\nexit\ng:\nr1 = 0\n*(u64 *)(r10 -400) = r1\nr0 = 0\nexit", refusal.CALL),
]  # fmt: skip
each = pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)


@each
def test_the_verdict_and_its_reason(case):
    verdict = verified.ours(case.text, case.kind)
    assert (verdict.accepted, verdict.category) == (not case.category, case.category), verdict
    assert verdict or verdict.reason


@each
@needs.tier(2)
def test_the_kernel_says_the_same(case):
    assert bool(verified.kernels(case.text, case.kind)) == bool(case.category)


@pytest.mark.parametrize("name", sorted(module.name for module in pkgutil.iter_modules(ladder.__path__)))
def test_every_program_of_the_ladder_is_accepted(name):
    source = getattr(importlib.import_module(f"lbcore.ebpf.programs.{name}"), name)
    verdict = verifier.verify(source.object)
    assert verdict, verdict
    assert len(verdict.steps)
    assert all(len(row) == len(verifier.COLUMNS) for row in verdict.rows(0, 50))


@pytest.mark.parametrize(
    "function", [portable_programs.parse, portable_programs.nat, portable_programs.encapsulate, portable_programs.count]
)
def test_larger_programs_are_accepted(function):
    verdict = verifier.verify(Source(function, "xdp").object)
    assert verdict, verdict
    assert verdict.pruned


def test_a_refusal_says_where_what_and_how_it_came_to_it():
    verdict = verified.ours(CHECK14 + "r0 = *(u16 *)(r2 +13)" + OUT)
    assert "13" in verdict.reason
    assert "14" in verdict.reason
    assert verdict.text.startswith("r0 = *(u16 *)(r2 +13)")
    assert "r2" in verdict.registers
    story = verdict.story
    assert story[0].slot == 0
    assert story[-1].slot == verdict.instruction
    assert verdict.table(0, 3).count("\n") == 3
