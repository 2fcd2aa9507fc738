"""What an object leaves to the running kernel, by name: functions and variables declared extern, and hooks.

Rule of this file: names become numbers. The kernel judges whether a program may use what they stand for.

Theory. The kernel carries its own types (/sys/kernel/btf/vmlinux), and in them everything has a number: a function
that programs may call is called by that number, a per-CPU variable is loaded by it, and a program that is to run where
a function begins says so by it. What has no number has at least an address (/proc/kallsyms).

Trap. Functions of modules are in the modules' own types, which are not looked up here. What an object declares weak may
be missing: then its address is 0, and a program asks for that before it calls.
"""

from __future__ import annotations

import struct
from functools import cached_property
from pathlib import Path

from lbcore.ebpf import btf, isa
from lbcore.ebpf.object import BadObject, Program, Relocation

TYPES = Path("/sys/kernel/btf/vmlinux")
MISSING = 2_002_000_000
"""No helper has this number; the verifier takes a call of it where it is never reached. libbpf's numbers begin here."""
MISSING_FUNCTION = "declared extern; the running kernel has no such function (those of modules are not looked up)"
ADDRESSES = Path("/proc/kallsyms")
HOOKS = {
    # prefix of the section: kind of the hook's type, and how its name begins there
    "fentry": (btf.FUNCTION, ""),
    "fexit": (btf.FUNCTION, ""),
    "fmod_ret": (btf.FUNCTION, ""),
    "tp_btf": (btf.TYPEDEF, "btf_trace_"),
    "lsm": (btf.FUNCTION, "bpf_lsm_"),
    "lsm_cgroup": (btf.FUNCTION, "bpf_lsm_"),
    "iter": (btf.FUNCTION, "bpf_iter_"),
}


class Symbols:
    """The running kernel's names; what it has is read when first asked for."""

    @cached_property
    def types(self) -> bytes:
        return TYPES.read_bytes()

    @cached_property
    def addresses(self) -> dict[str, int]:
        lines = (line.split() for line in ADDRESSES.read_text().splitlines())
        return {name: int(at, 16) for at, _, name, *_ in lines}

    def number(self, name: str, *kinds: int) -> int:
        """The number of the type of this name; 0 if there is none."""
        return next((found for kind in kinds if (found := btf.number(self.types, name, kind))), 0)


def resolve(program: Program, symbols: Symbols) -> bytes:
    """The program's code with what it declares extern filled in. Raises BadObject for what the kernel does not have."""
    code = bytearray(program.code)
    for relocation in program.relocations:
        if relocation.kind == "kernel":
            _fill(program, code, relocation, symbols)
    return bytes(code)


def _fill(program: Program, code: bytearray, wanted: Relocation, symbols: Symbols) -> None:
    at = wanted.instruction * isa.SLOT
    name, destination = wanted.symbol, code[at + 1] & 0x0F
    if code[at] != isa.LDDW:
        number = symbols.number(name, btf.FUNCTION)
        if not number and not wanted.optional:
            raise BadObject(program.section, "symbol", name, MISSING_FUNCTION)
        whom, number = (isa.KERNEL, number) if number else (isa.HELPER, MISSING)
        struct.pack_into("<BBhi", code, at, isa.JMP | isa.CALL, whom << 4, 0, number)
        return
    number = symbols.number(name, btf.VARIABLE, btf.FUNCTION)
    address = 0 if number else symbols.addresses.get(name, 0)
    if not number and not address and not wanted.optional:
        why = "declared extern; the running kernel has no variable or function of this name"
        raise BadObject(program.section, "symbol", name, why)
    source = isa.VARIABLE if number else isa.IMM64
    code[at + 1] = source << 4 | destination
    struct.pack_into("<I", code, at + 4, number or address & 0xFFFFFFFF)
    struct.pack_into("<I", code, at + isa.SLOT + 4, address >> 32)


def hook(program: Program, symbols: Symbols) -> int:
    """The number of what a program of kind tracing or lsm is for, which the section names. Raises BadObject."""
    prefix, _, name = program.section.removeprefix("?").partition("/")
    if prefix.removesuffix(".s") not in HOOKS:
        why = f"{program.kind} programs are loaded for one program or table of functions, which this loader cannot know"
        raise BadObject(program.section, "name of the section", program.section, why)
    kind, begin = HOOKS[prefix.removesuffix(".s")]
    number = symbols.number(begin + name.partition("+")[0], kind)
    if not number:
        why = f"the running kernel's types have no {begin + name} (types of modules are not looked up)"
        raise BadObject(program.section, "name of the section", program.section, why)
    return number
