"""The teaching verifier: is this program safe to run, and if not, where does it go wrong?

    verdict = verify(drop_udp.object.program, drop_udp.maps)
    print(verdict)                     accepted, or why not, at which instruction and source line, and what was known
    print(verdict.table(0, 40))        what the verifier saw, instruction by instruction

Rule of this file: the way in, and what differs from the kernel. The rules are in `verify`, one idea a file.

Theory. A verifier runs the program without a packet. A register holds not a value but all that is known of it, and each
instruction does to that knowledge what it would do to the value. Where a jump could go either way, both are followed,
and each has learned something. A program is accepted if no way through it can do harm and every way comes to an end.
The rules are the kernel's (docs.kernel.org/bpf/verifier.html, kernel/bpf/verifier.c) for whoever may load anything:
CAP_BPF and CAP_PERFMON, that is, root.

Trap. Refusing is not a proof that a program is wrong: it is the lack of a proof that it is right. A compiler can turn a
check into one that proves the same to a person and nothing to a verifier.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from lbcore.ebpf import isa, kinds
from lbcore.ebpf.object import Line, Object, Program
from lbcore.ebpf.program import Program as Checked
from lbcore.ebpf.program import VmError, check
from lbcore.ebpf.verify import refusal
from lbcore.ebpf.verify.context import FIELDS
from lbcore.ebpf.verify.environment import Environment
from lbcore.ebpf.verify.maps import Facts, listed
from lbcore.ebpf.verify.refusal import CATEGORIES, Refusal
from lbcore.ebpf.verify.shape import Shape
from lbcore.ebpf.verify.value import NONE
from lbcore.ebpf.verify.verdict import COLUMNS, Change, Record, Step, Steps, Verdict
from lbcore.ebpf.verify.walk import Walk

__all__ = ["CATEGORIES", "COLUMNS", "DIFFERENCES", "Change", "Difference", "Step", "Steps", "Verdict", "verify"]

LIMIT = 1_000_000
"""Instructions the walk may take (BPF_COMPLEXITY_LIMIT_INSNS)."""
KEEP = 5_000
"""Steps kept from the beginning of a walk, and as many from its end."""
FREE = ("GPL", "GPL v2", "GPL and additional rights", "Dual BSD/GPL", "Dual MIT/GPL", "Dual MPL/GPL")
"""Licences that let a program call what is under the GPL."""

MAP_LOADS = (isa.MAP_FD, isa.MAP_INDEX, isa.MAP_VALUE_FD, isa.MAP_VALUE_INDEX)
ALIASES = {"socket_filter": "socket", "classifier": "tc", "sched_cls": "tc", "action": "tc"}


class Difference(NamedTuple):
    """Where this verifier and the kernel's do not say the same. `ours` and `kernel` are verdicts, in words."""

    feature: str
    ours: str
    kernel: str
    why: str


DIFFERENCES = (
    Difference(
        "reading stack that was never written", "refused, unless uninitialised=True", "accepted from root (since 6.3)",
        "it is nearly always a mistake; other users' programs are refused by the kernel, too",
    ),
    Difference(
        "fields that an instruction does not use", "refused, if not 0", "some are ignored", "RFC 9669 wants 0",
    ),
    Difference(
        "array look-up with a constant key in bounds", "the result may be null", "known not to be null (since 6.14)",
        "one rule for all look-ups; older kernels have it so",
    ),
    Difference(
        "the number of the processor", "any number", "less than the number of processors",
        "no program here uses it as an index",
    ),
    Difference(
        "how far from the packet's start a pointer at least is", "forgotten when something may be subtracted", "kept",
        "so that ways meet that differ in nothing else",
    ),
    Difference(
        "bounds after r2 = r1; r2 += 4", "of r2 alone", "r1 learns what r2 is compared with (since 6.11)",
        "rarely needed; older kernels do not know either",
    ),
    Difference(
        "negation, byte swaps", "the result is any number", "newer kernels keep bounds", "older ones do not",
    ),
    Difference(
        "tail calls and packet loads of old within local calls", "refused", "accepted with a just-in-time compiler",
        "the book's machine has them in the outermost function only",
    ),
    Difference(
        "global functions", "walked at each call, as static ones are", "verified once, for any arguments",
        "Program does not say which functions are global",
    ),
    Difference(
        "functions of the kernel, callbacks, timers, dynamic pointers, spin locks, iterators, arenas, may_goto",
        "refused, where they are instructions or helpers; locks within map values are not seen", "accepted",
        "not modelled",
    ),
    Difference(
        "fields of sockets, flow keys and the kernel's own structures", "refused", "accepted, by type", "not modelled",
    ),
    Difference(
        "atomic operations on a pointer in the stack", "refused", "accepted from root", "nobody needs them",
    ),
    Difference(
        "reading a map's own structure", "refused", "accepted from root", "the book's machine has nothing there",
    ),
    Difference("unaligned access to packets and map values", "accepted", "refused on machines that cannot do it",
               "x86 and 64-bit ARM can"),
)  # fmt: skip
"""All known ones, for a chapter to print. In every case but two (global functions, locks) this one is the stricter."""


def verify(
    program: Any,
    maps: Mapping[str, Any] | Sequence[Any] = (),
    *,
    kind: str = "",
    license: str = "GPL",
    uninitialised: bool = False,
    limit: int = LIMIT,
    keep: int = KEEP,
) -> Verdict:
    """Judge a program.

    program: code (wide loads name maps by index), a `Program` or whatever else a loader made (`.kind`, `.code`,
    `.relocations`), or an `Object` with one program, which brings maps and licence along.
    maps: by name or in order: `MapSpec`s, or maps of the machine, the kernel or the compiler.
    kind: "xdp", "tc", "socket"; a program knows its own, for bare code it is "xdp".
    uninitialised: the stack may be read where nothing was written, as the kernel lets root.
    limit: instructions the walk may take; keep: how many steps to keep from either end of it.

    A program that is refused is no error. Raises ValueError for a kind or a map that is not known.
    """
    if isinstance(program, Object):
        maps, license, program = maps or {spec.name: spec for spec in program.maps}, program.license, program.program
    if isinstance(program, bytes | bytearray):
        program = Program("program", "", kind or "xdp", bytes(program))
    kind = kind or program.kind
    kind = ALIASES.get(kind, kind)
    if kind not in FIELDS:
        raise ValueError(f"kind {kind!r}: programs of kind {', '.join(FIELDS)} can be verified")
    attach = kinds.convention(getattr(program, "section", "")).attach
    env = Environment(kind, listed(maps), attach, trusting=uninitialised, free=license in FREE)
    try:
        checked = check(program.code)
    except VmError as error:
        why = Refusal(refusal.CODE, error.reason)
        return _verdict(program, why, error.instruction, error.text, None, Steps(keep, _no_steps), env)
    steps = Steps(keep, lambda record: _step(program, checked, record))
    walk, refused = None, None
    try:
        shape = Shape(checked)
        walk = Walk(shape, env, _named(program, checked, env.maps), steps, limit)
        walk.run()
        shape.stack_used(env.depths)
    except Refusal as why:
        refused = why
    if refused is None:
        return _verdict(program, None, None, "", walk, steps, env)
    index = refused.index if refused.index is not None or walk is None else walk.index
    slot, text = (None, "") if index is None else (checked.slots[index], checked.texts[index])
    return _verdict(program, refused, slot, text, walk, steps, env)


def _verdict(
    program: Any,
    refused: Refusal | None,
    slot: int | None,
    text: str,
    walk: Walk | None,
    steps: Steps,
    env: Environment,
) -> Verdict:
    known = walk.state.registers if walk and refused and refused.index is None else []
    return Verdict(
        program.name, refused is None, str(refused or ""), refused.category if refused else "", slot, text,
        _line(program, slot), {f"r{n}": str(held) for n, held in enumerate(known) if held.kind != NONE},
        steps, walk.processed if walk else 0, walk.paths if walk else 0, walk.pruned if walk else 0,
        env.depths.get(0, 0), walk.origins if walk else {},
    )  # fmt: skip


def _step(program: Any, checked: Checked, record: Record) -> Step:
    slot, text = checked.slots[record.place], checked.texts[record.place]
    line = _line(program, slot)
    return Step(record.number, slot, text, record.path, record.depth, record.changes, record.note, line)


def _no_steps(record: Record) -> Step:
    raise AssertionError("nothing was walked")


def _line(program: Any, slot: int | None) -> Line | None:
    """Whatever a loader made may know its lines, or not."""
    return program.line_of(slot) if slot is not None and isinstance(program, Program) else None


def _named(program: Any, checked: Checked, maps: list[Facts]) -> dict[int, Facts]:
    """What the wide loads load: by relocation where there is one, else by the map's index."""
    at = {slot: index for index, slot in enumerate(checked.slots)}
    found = {
        index: maps[i.low]
        for index, i in enumerate(checked.instructions)
        if i.wide and i.src in MAP_LOADS and 0 <= i.low < len(maps)
    }
    for relocation in program.relocations:
        index, name = at.get(relocation.instruction), relocation.symbol
        if index is None or not checked.instructions[index].wide:
            continue
        found.pop(index, None)
        if getattr(relocation, "kind", "map") == "kernel":
            continue
        for facts in maps:
            if facts.name == name:
                found[index] = facts
        if index not in found:
            given = ", ".join(facts.name for facts in maps) or "none"
            raise ValueError(f"map {name!r}: the program uses it; given were {given}")
    return found
