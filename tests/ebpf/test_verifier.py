"""What the verifier takes and what it refuses, and why: case by case, each of them judged by the kernel as well."""

from __future__ import annotations

from typing import NamedTuple

import pytest

from lbcore.ebpf import verifier
from lbcore.ebpf.verify import refusal
from tests import needs
from tests.ebpf.verified import kernels, ours

PACKET = """
    r2 = *(u32 *)(r1 +0)
    r3 = *(u32 *)(r1 +4)
    r4 = r2
    r4 += 14
    if r4 > r3 goto out
"""
"""r2: a packet of which 14 bytes are there; `out` is to be a label."""
OUT = """
    r0 = 1
    exit
out:
    r0 = 2
    exit
"""
LOOKUP = """
    r6 = r1
    *(u32 *)(r10 -4) = 1
    r2 = r10
    r2 += -4
    r1 = map_by_fd(0)
    call map_lookup_elem#1
"""
"""r0: a value of `counts`, 8 bytes, or null; r6: the context."""
CELL = LOOKUP.replace("map_by_fd(0)", "map_by_fd(1)")
"""r0: a value of `cells`, 16 bytes, or null."""
RESERVE = """
    r6 = r1
    r1 = map_by_fd(3)
    r2 = 16
    r3 = 0
    call ringbuf_reserve#131
"""


class Case(NamedTuple):
    """category: why it is refused, "" if it is accepted."""

    name: str
    text: str
    category: str = ""
    kind: str = "xdp"


CASES = (
    # ---- shape ----
    Case("the least", "r0 = 2\nexit"),
    Case("code that cannot be reached", "r0 = 2\nexit\nr0 = 1\nexit", refusal.SHAPE),
    Case("runs over the end", "r0 = 2", refusal.SHAPE),
    Case("a jump out of the code", "r0 = 2\nif r0 == 2 goto +5\nexit", refusal.CODE),
    Case("a jump into a wide load", "r0 = 1\ngoto +1\nr0 = 0x123456789 ll\nexit", refusal.CODE),
    Case("a goto at the end", "r0 = 1\nif r0 == 1 goto +1\nexit\ngoto -2"),
    Case(
        "a jump into another function", "call local f\nif r0 == 0 goto in\nexit\nf:\nr0 = 1\nin:\nexit", refusal.SHAPE
    ),
    Case("falls into the next function", "call local f\nr0 = 0\nf:\nr0 = 1\nexit", refusal.SHAPE),
    Case("an endless loop", "r0 = 0\nagain:\nif r0 != 1 goto again\nexit", refusal.LOOP),
    Case(
        "an endless loop on a random number",
        "call get_prandom_u32#7\nagain:\nif r0 != 1 goto again\nexit",
        refusal.LOOP,
    ),
    Case("a bounded loop", "r0 = 0\nagain:\nr0 += 1\nif r0 != 100 goto again\nexit"),
    Case("a bounded loop that counts down", "r0 = 50\nagain:\nr0 += -1\nif r0 s> 0 goto again\nexit"),
    # ---- registers ----
    Case("a result that nobody wrote", "exit", refusal.REGISTER),
    Case("a register that nobody wrote", "r0 = r3\nexit", refusal.REGISTER),
    Case("r1 after a call", "r6 = r1\ncall ktime_get_ns#5\nr0 = r1\nexit", refusal.REGISTER),
    Case("r6 after a call", "r6 = r1\ncall ktime_get_ns#5\nr0 = *(u32 *)(r6 +12)\nexit"),
    Case(
        "one way writes, the other does not",
        "r1 = *(u32 *)(r1 +12)\nif r1 == 1 goto +1\nr0 = 1\nexit",
        refusal.REGISTER,
    ),
    Case("returns a pointer", "r0 = r10\nexit"),
    # ---- arithmetic ----
    Case("divides by a register", "r0 = 5\nr1 = *(u32 *)(r1 +12)\nr0 /= r1\nexit"),
    Case("divides by the constant 0", "r0 = 5\nr0 /= 0\nexit", refusal.ARITHMETIC),
    Case("shifts too far", "r0 = 5\nr0 <<= 64\nexit", refusal.ARITHMETIC),
    Case("shifts 32 bits too far", "w0 = 5\nw0 <<= 32\nexit", refusal.ARITHMETIC),
    # ---- context ----
    Case("a field", "r0 = *(u32 *)(r1 +16)\nexit"),
    Case("behind the context", "r0 = *(u32 *)(r1 +24)\nexit", refusal.CONTEXT),
    Case("half a field", "r0 = *(u16 *)(r1 +12)\nexit", refusal.CONTEXT),
    Case("writes a field", "*(u32 *)(r1 +16) = 0\nr0 = 1\nexit", refusal.CONTEXT),
    Case("a moved context", "r1 += 4\nr0 = *(u32 *)(r1 +12)\nexit", refusal.CONTEXT),
    Case("writes the mark", "*(u32 *)(r1 +8) = 3\nr0 = 0\nexit", "", "tc"),
    Case("writes the length", "*(u32 *)(r1 +0) = 3\nr0 = 0\nexit", refusal.CONTEXT, "tc"),
    Case("a socket filter has no packet", "r0 = *(u32 *)(r1 +76)\nexit", refusal.CONTEXT, "socket"),
    # ---- packet ----
    Case("a byte that was asked for", PACKET + "r0 = *(u8 *)(r2 +13)" + OUT),
    Case("a byte behind", PACKET + "r0 = *(u8 *)(r2 +14)" + OUT, refusal.PACKET),
    Case("a word that ends behind", PACKET + "r0 = *(u32 *)(r2 +12)" + OUT, refusal.PACKET),
    Case("a byte before", PACKET + "r0 = *(u8 *)(r2 -1)" + OUT, refusal.PACKET),
    Case("nobody asked", "r2 = *(u32 *)(r1 +0)\nr0 = *(u8 *)(r2 +0)\nexit", refusal.PACKET),
    Case("the wrong way", PACKET + OUT.replace("r0 = 2", "r0 = *(u8 *)(r2 +0)"), refusal.PACKET),
    Case("backwards from the pointer that was checked", PACKET + "r0 = *(u8 *)(r4 -1)" + OUT),
    Case("writes the packet", PACKET + "*(u8 *)(r2 +0) = 1" + OUT),
    Case("an unaligned word", PACKET + "r0 = *(u32 *)(r2 +9)" + OUT),
    Case(
        "a length from the packet, asked for",
        PACKET + "r5 = *(u8 *)(r2 +0)\nr2 += r5\nr4 = r2\nr4 += 4\nif r4 > r3 goto out\nr0 = *(u32 *)(r2 +0)" + OUT,
    ),
    Case(
        "a length from the packet, not asked for",
        PACKET + "r5 = *(u8 *)(r2 +0)\nr2 += r5\nr0 = *(u32 *)(r2 +0)" + OUT,
        refusal.PACKET,
    ),
    Case(
        "a negative distance",
        PACKET + "r5 = *(s8 *)(r2 +0)\nr2 += r5\nr4 = r2\nr4 += 1\nif r4 > r3 goto out\nr0 = *(u8 *)(r2 +0)" + OUT,
        refusal.PACKET,
    ),
    Case("the end is no place", "r2 = *(u32 *)(r1 +4)\nr0 = *(u8 *)(r2 -1)\nexit", refusal.NOT_A_POINTER),
    Case("moves the end", "r2 = *(u32 *)(r1 +4)\nr2 += -1\nr0 = 1\nexit", refusal.POINTER),
    Case(
        "a pointer from before the packet moved",
        "r6 = r1\nr7 = *(u32 *)(r1 +0)\nr2 = -14\ncall xdp_adjust_head#44\n"
        "r1 = *(u32 *)(r6 +4)\nr2 = r7\nr2 += 1\n"
        "if r2 > r1 goto out\nr0 = *(u8 *)(r7 +0)" + OUT,
        refusal.NOT_A_POINTER,
    ),
    Case(
        "less than the end, and that byte",
        PACKET.replace("r4 > r3 goto out", "r4 >= r3 goto out") + "r0 = *(u8 *)(r2 +14)" + OUT,
    ),
    Case(
        "an atomic operation on the packet", PACKET + "r5 = 1\nlock *(u32 *)(r2 +0) += r5" + OUT, refusal.NOT_A_POINTER
    ),
    Case(
        "metadata",
        "r2 = *(u32 *)(r1 +8)\nr3 = *(u32 *)(r1 +0)\nr4 = r2\nr4 += 4\nif r4 > r3 goto out\nr0 = *(u32 *)(r2 +0)" + OUT,
    ),
    # ---- stack ----
    Case("writes and reads", "*(u64 *)(r10 -8) = 5\nr0 = *(u64 *)(r10 -8)\nexit"),
    Case("below the stack", "*(u64 *)(r10 -520) = 5\nr0 = 0\nexit", refusal.STACK),
    Case("above the stack", "*(u64 *)(r10 +0) = 5\nr0 = 0\nexit", refusal.STACK),
    Case("unaligned", "*(u32 *)(r10 -7) = 5\nr0 = 0\nexit", refusal.ALIGNMENT),
    Case("a pointer comes back", "*(u64 *)(r10 -8) = r1\nr2 = *(u64 *)(r10 -8)\nr0 = *(u32 *)(r2 +12)\nexit"),
    Case("half a pointer", "*(u64 *)(r10 -8) = r1\nr0 = *(u32 *)(r10 -8)\nexit", refusal.NOT_A_POINTER),
    Case("puts half a pointer", "*(u32 *)(r10 -8) = r1\nr0 = 0\nexit", refusal.NOT_A_POINTER),
    Case(
        "a pointer that was written over",
        "*(u64 *)(r10 -8) = r1\n*(u8 *)(r10 -3) = 0\nr2 = *(u64 *)(r10 -8)\nr0 = *(u32 *)(r2 +12)\nexit",
        refusal.NOT_A_POINTER,
    ),
    Case("a bounded place", "r0 = *(u32 *)(r1 +12)\nr0 &= 7\nr0 += r10\nr0 += -16\n*(u8 *)(r0 +0) = 1\nr0 = 0\nexit"),
    Case("an unbounded place", "r0 = *(u32 *)(r1 +12)\nr0 += r10\n*(u8 *)(r0 -16) = 1\nr0 = 0\nexit", refusal.STACK),
    Case("subtracts from r10", "r2 = r10\nr2 -= 8\nr0 = 0\nexit", refusal.POINTER),
    # ---- pointers ----
    Case("multiplies a pointer", "r1 *= 2\nr0 = 0\nexit", refusal.POINTER),
    Case("32-bit arithmetic with a pointer", "w1 += 4\nr0 = 0\nexit", refusal.POINTER),
    Case("adds two pointers", "r1 += r10\nr0 = 0\nexit", refusal.POINTER),
    Case("subtracts two pointers", PACKET + "r3 -= r2\nr0 = r3" + OUT),
    Case("a number as a pointer", "r1 = 64\nr0 = *(u8 *)(r1 +0)\nexit", refusal.NOT_A_POINTER),
    Case("too far", "r2 = *(u32 *)(r1 +0)\nr2 += 536870912\nr0 = 0\nexit", refusal.POINTER),
    # ---- maps ----
    Case("a value that is there", LOOKUP + "if r0 == 0 goto out\nr0 = *(u64 *)(r0 +0)" + OUT),
    Case("a value that may be null", LOOKUP + "r0 = *(u64 *)(r0 +0)\nexit", refusal.NULL),
    Case("the null way", LOOKUP + "if r0 != 0 goto out\nr0 = *(u64 *)(r0 +0)" + OUT, refusal.NOT_A_POINTER),
    Case("moves it before the check", LOOKUP + "r0 += 4\nif r0 == 0 goto out" + OUT, refusal.NULL),
    Case("behind a value", LOOKUP + "if r0 == 0 goto out\nr0 = *(u64 *)(r0 +4)" + OUT, refusal.VALUE),
    Case("before a value", LOOKUP + "if r0 == 0 goto out\nr0 = *(u8 *)(r0 -1)" + OUT, refusal.VALUE),
    Case(
        "an index in bounds",
        CELL + "if r0 == 0 goto out\nr1 = *(u32 *)(r6 +12)\nr1 &= 15\nr0 += r1\n*(u8 *)(r0 +0) = 1" + OUT,
    ),
    Case(
        "an index asked for",
        CELL + "if r0 == 0 goto out\nr1 = *(u32 *)(r6 +12)\nif r1 > 15 goto out\nr0 += r1\n*(u8 *)(r0 +0) = 1" + OUT,
    ),
    Case(
        "an index one too far",
        CELL + "if r0 == 0 goto out\nr1 = *(u32 *)(r6 +12)\nif r1 > 16 goto out\nr0 += r1\n*(u8 *)(r0 +0) = 1" + OUT,
        refusal.VALUE,
    ),
    Case(
        "an index with a sign",
        CELL + "if r0 == 0 goto out\nr1 = *(u32 *)(r6 +12)\nr1 = (s32)r1\nif r1 s> 15 goto out\n"
        "r0 += r1\n*(u8 *)(r0 +0) = 1" + OUT,
        refusal.POINTER,
    ),
    Case(
        "a remainder is no bound",
        CELL + "if r0 == 0 goto out\nr1 = *(u32 *)(r6 +12)\nr1 %= 16\nr0 += r1\n*(u8 *)(r0 +0) = 1" + OUT,
        refusal.POINTER,
    ),
    Case("counts in one step", LOOKUP + "if r0 == 0 goto out\nr1 = 1\nlock *(u64 *)(r0 +0) += r1" + OUT),
    Case(
        "counts at an odd place",
        CELL + "if r0 == 0 goto out\nr1 = 1\nlock *(u32 *)(r0 +2) += r1" + OUT,
        refusal.ALIGNMENT,
    ),
    Case("the address of a value", "r1 = map_val(map_by_fd(2)) +60\nr0 = *(u32 *)(r1 +0)\nexit"),
    Case("an address behind the value", "r1 = map_val(map_by_fd(2)) +64\nr0 = 0\nexit", refusal.MAP),
    Case("the address of one of many", "r1 = map_val(map_by_fd(1)) +0\nr0 = 0\nexit", refusal.MAP),
    Case(
        "writes what is read-only",
        "r1 = map_val(map_by_fd(4)) +0\n*(u32 *)(r1 +0) = 1\nr0 = 0\nexit",
        refusal.READ_ONLY,
    ),
    Case(
        "knows what is read-only",
        "r1 = map_val(map_by_fd(4)) +0\nr2 = *(u32 *)(r1 +0)\nif r2 == 7 goto +1\nr0 = r9\nr0 = 0\nexit",
    ),
    Case("a look-up in a program array", LOOKUP.replace("fd(0)", "fd(5)") + "r0 = 0\nexit", refusal.MAP),
    Case(
        "a map of maps",
        "r6 = r1\n*(u32 *)(r10 -4) = 1\nr2 = r10\nr2 += -4\nr1 = map_by_fd(9)\n"
        "call map_lookup_elem#1\n"
        "if r0 == 0 goto out\nr1 = r0\nr2 = r10\nr2 += -4\ncall map_lookup_elem#1\n"
        "if r0 == 0 goto out\nr0 = *(u64 *)(r0 +0)" + OUT,
    ),
    Case("the queue of a socket", LOOKUP.replace("fd(0)", "fd(8)") + "if r0 == 0 goto out\nr0 = *(u32 *)(r0 +0)" + OUT),
    Case(
        "writes the value of a devmap",
        LOOKUP.replace("fd(0)", "fd(6)") + "if r0 == 0 goto out\n*(u32 *)(r0 +0) = 1" + OUT,
        refusal.READ_ONLY,
    ),
    # ---- helpers ----
    Case("a key in the packet", PACKET + "r1 = map_by_fd(0)\ncall map_delete_elem#3" + OUT),
    Case(
        "a key behind the packet", PACKET + "r2 += 12\nr1 = map_by_fd(0)\ncall map_delete_elem#3" + OUT, refusal.PACKET
    ),
    Case("a key that is a number", "r2 = 5\nr1 = map_by_fd(0)\ncall map_delete_elem#3\nexit", refusal.ARGUMENT),
    Case("no map", "r2 = r10\nr2 += -8\n*(u64 *)(r10 -8) = 0\ncall map_delete_elem#3\nexit", refusal.ARGUMENT),
    Case("a helper of tc", "r2 = 0\nr3 = r10\nr3 += -8\nr4 = 8\ncall skb_load_bytes#26\nexit", refusal.HELPER),
    Case(
        "fills the stack",
        "r2 = 0\nr3 = r10\nr3 += -8\nr4 = 8\ncall skb_load_bytes#26\nr0 = *(u64 *)(r10 -8)\nexit",
        "",
        "socket",
    ),
    Case(
        "fills more than the stack",
        "r2 = 0\nr3 = r10\nr3 += -8\nr4 = 9\ncall skb_load_bytes#26\nexit",
        refusal.STACK,
        "socket",
    ),
    Case(
        "a size without bounds",
        "r2 = 0\nr4 = *(u32 *)(r1 +8)\nr3 = r10\nr3 += -8\ncall skb_load_bytes#26\nexit",
        refusal.ARGUMENT,
        "socket",
    ),
    Case(
        "a size that may be 0",
        "r2 = 0\nr4 = *(u32 *)(r1 +8)\nr4 &= 7\nr3 = r10\nr3 += -8\ncall skb_load_bytes#26\nexit",
        refusal.ARGUMENT,
        "socket",
    ),
    Case(
        "a size in bounds",
        "r2 = 0\nr4 = *(u32 *)(r1 +8)\nr4 &= 7\nr4 += 1\nr3 = r10\nr3 += -8\ncall skb_load_bytes#26\nexit",
        "",
        "socket",
    ),
    Case(
        "null and no bytes",
        "r1 = 0\nr2 = 0\nr3 = r10\nr3 += -4\n*(u32 *)(r10 -4) = 1\nr4 = 4\nr5 = 0\ncall csum_diff#28\nexit",
    ),
    Case("a helper that is none", "call 7777\nexit", refusal.UNKNOWN),
    Case("a packet load of old", "r6 = r1\nr0 = *(u16 *)skb[12]\nexit", "", "socket"),
    Case("a packet load of old without r6", "r0 = *(u16 *)skb[12]\nexit", refusal.ARGUMENT, "socket"),
    Case("a tail call", "r2 = map_by_fd(5)\nr3 = 1\ncall tail_call#12\nr0 = 1\nexit"),
    Case("a tail call returns nothing", "r2 = map_by_fd(5)\nr3 = 1\ncall tail_call#12\nexit", refusal.REGISTER),
    # ---- records ----
    Case(
        "reserves and submits",
        RESERVE + "if r0 == 0 goto out\n*(u64 *)(r0 +8) = 1\nr1 = r0\nr2 = 0\ncall ringbuf_submit#132" + OUT,
    ),
    Case("reserves and keeps", RESERVE + "if r0 == 0 goto out" + OUT, refusal.REFERENCE),
    Case(
        "a record that may be null",
        RESERVE + "r1 = r0\nr2 = 0\ncall ringbuf_submit#132" + OUT.split("out")[0],
        refusal.NULL,
    ),
    Case(
        "behind a record",
        RESERVE + "if r0 == 0 goto out\n*(u64 *)(r0 +16) = 1\nr1 = r0\nr2 = 0\ncall ringbuf_submit#132" + OUT,
        refusal.RECORD,
    ),
    Case(
        "a record that was submitted",
        RESERVE + "if r0 == 0 goto out\nr7 = r0\nr1 = r0\nr2 = 0\ncall ringbuf_submit#132\n*(u64 *)(r7 +0) = 1" + OUT,
        refusal.NOT_A_POINTER,
    ),
    Case(
        "submits twice",
        RESERVE + "if r0 == 0 goto out\nr7 = r0\nr1 = r0\nr2 = 0\ncall ringbuf_submit#132\n"
        "r1 = r7\nr2 = 0\ncall ringbuf_submit#132" + OUT,
        refusal.ARGUMENT,
    ),
    Case(
        "a record of any size",
        "r2 = *(u32 *)(r1 +12)\nr1 = map_by_fd(3)\nr3 = 0\ncall ringbuf_reserve#131\nr0 = 0\nexit",
        refusal.ARGUMENT,
    ),
    # ---- functions ----
    Case("a function", "r1 = 5\ncall local f\nexit\nf:\nr0 = r1\nexit"),
    Case("a function keeps r6", "r6 = 1\ncall local f\nr0 = r6\nexit\nf:\nr6 = 9\nr0 = r6\nexit"),
    Case("a function does not see r6", "r6 = 1\ncall local f\nexit\nf:\nr0 = r6\nexit", refusal.REGISTER),
    Case(
        "writes its caller's stack",
        "r1 = r10\ncall local f\nr0 = *(u64 *)(r10 -8)\nexit\nf:\n*(u64 *)(r1 -8) = 4\nr0 = 0\nexit",
    ),
    Case("returns its stack", "call local f\nr0 = 0\nexit\nf:\nr0 = r10\nexit", refusal.STACK),
    Case(
        "leaves its stack in its caller's",
        "r1 = r10\ncall local f\nr0 = 0\nexit\nf:\n*(u64 *)(r1 -8) = r10\nr0 = 0\nexit",
        refusal.STACK,
    ),
    Case("recursion", "call local f\nexit\nf:\nr0 = 0\ncall local f\nexit", refusal.CALL),
    Case(
        "eight functions",
        "call local f1\nexit\n"
        + "".join(f"f{n}:\ncall local f{n + 1}\nexit\n" for n in range(1, 7))
        + "f7:\nr0 = 0\nexit",
    ),
    Case(
        "nine functions",
        "call local f1\nexit\n"
        + "".join(f"f{n}:\ncall local f{n + 1}\nexit\n" for n in range(1, 8))
        + "f8:\nr0 = 0\nexit",
        refusal.CALL,
    ),
    Case(
        "too much stack together",
        "*(u64 *)(r10 -304) = 0\ncall local f\nexit\nf:\n*(u64 *)(r10 -304) = 0\nr0 = 0\nexit",
        refusal.CALL,
    ),
    Case(
        "checks in a function",
        LOOKUP
        + "r1 = r0\ncall local f"
        + OUT.split("out")[0]
        + "f:\nif r1 == 0 goto +2\nr0 = *(u64 *)(r1 +0)\nexit\nr0 = 0\nexit",
    ),
    Case("a loop that only a slot never used before will end",
         "r6 = r1\nr2 = 20\ncall xdp_adjust_head#44\nr1 = r6\n" + PACKET + "r5 = *(u32 *)(r2 +10)\nr5 = 1\n"
         "again:\nr5 = *(u32 *)(r10 -48)\n*(u64 *)(r10 -48) = 7\nr5 += 1\nif r5 < 2 goto again" + OUT,
         refusal.LOOP),
    # ---- ways that only look checked ----
    Case("a register set on one way only", "call get_prandom_u32#7\nif r0 > 5 goto on\nr6 = 1\non:\nr7 = r6\nr0 = 2\nexit",
         refusal.REGISTER),
    Case("a packet pointer compared with itself", PACKET.replace("r4 > r3", "r4 > r2") + "r0 = *(u8 *)(r2 +0)" + OUT,
         refusal.PACKET),
    Case("multiplies a packet pointer", PACKET + "r2 *= 2" + OUT, refusal.POINTER),
    Case("a packet that was looked at again",
         "r6 = r1\nr2 = 0\ncall xdp_adjust_head#44\nr1 = r6\n" + PACKET + "r0 = *(u8 *)(r2 +0)" + OUT),
    Case("a dead way may do anything", "r6 = 1\nif r6 == 1 goto out\nr0 = *(u64 *)(r9 +0)" + OUT),
    Case("moves the frame pointer", "r10 += 8\nr0 = 0\nexit", refusal.CODE),
    Case("a key above the stack", "r2 = r10\nr2 += 4\nr1 = map_by_fd(0)\ncall map_lookup_elem#1\nr0 = 2\nexit",
         refusal.STACK),
    Case("an argument that nobody wrote", "r1 = map_by_fd(0)\ncall map_lookup_elem#1\nr0 = 2\nexit", refusal.REGISTER),
    Case("reads what is read-only", LOOKUP.replace("fd(0)", "fd(4)") + "if r0 == 0 goto out\nr1 = *(u64 *)(r0 +0)" + OUT),
    Case("a redirect", "r1 = map_by_fd(6)\nr2 = 0\nr3 = 2\ncall redirect_map#51\nexit"),
    Case("a redirect by the wrong map", "r1 = map_by_fd(0)\nr2 = 0\nr3 = 2\ncall redirect_map#51\nexit", refusal.MAP),
    Case("a loop that an unknown number bounds",
         "call get_prandom_u32#7\nr6 = r0\nr0 = 0\nr6 &= 15\nagain:\nr0 += 1\nif r0 < r6 goto again\nexit"),
    Case("a loop that nothing bounds", "r6 = 0\nagain:\nr6 += 1\ncall get_prandom_u32#7\nif r0 == 0 goto out\ngoto again\nout:\nexit",
         refusal.LIMIT),
)  # fmt: skip

each = pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)


@each
def test_cases(case: Case) -> None:
    verdict = ours(case.text, case.kind)
    assert verdict.category == case.category, str(verdict)
    assert verdict.accepted == (not case.category)


@needs.tier(2)
@each
def test_the_kernel_says_the_same(case: Case) -> None:
    why = kernels(case.text, case.kind)
    assert (why == "") == (case.category == ""), why


def test_refusals_cover_the_categories() -> None:
    """Each reason there is has a case; but for unwritten stack, which is allowed in all of them."""
    assert {case.category for case in CASES} >= {*refusal.CATEGORIES} - {refusal.UNWRITTEN}
    assert verifier.CATEGORIES == refusal.CATEGORIES
