"""The verdict of the book's verifier on a linked program, and its log in the form in which a kernel writes one.

Rule of this file: it asks `lbcore.ebpf.verifier` and nobody else; of its own it has only the form.

Theory. The kernel's log is text in a buffer: a line for each instruction on the walk, `slot: (opcode) text`, behind a
semicolon what is known then; where the walk goes back to a way not taken, a line says from where to where. Behind the
last instruction stands the reason, then how much was walked. The words here are the book's, the form is the kernel's,
so what reads one log reads the other. Of a program that is taken, log_level 1 keeps that last line alone: the kernel
forgets each way that came to a good end, so a loader that asks for a log at once needs no megabytes for good programs.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator

from lbcore.ebpf import isa
from lbcore.ebpf.object import MapSpec
from lbcore.ebpf.verifier import Verdict, verify

WIDTH = 32
"""Letters of an instruction before the remark."""


def judged(code: bytes, maps: dict[int, MapSpec], license: str) -> tuple[bool, str]:
    """Whether the verifier takes an XDP program whose wide loads hold descriptors of `maps`, and its log.

    Numbers of descriptors mean nothing to it, so programs that differ in these alone are judged once.
    """
    neutral, known = bytearray(code), list[MapSpec]()
    instructions = isa.decode(code)
    for slot, one in zip(isa.slots(instructions), instructions, strict=False):
        if one.wide and one.src == isa.MAP_FD:
            if maps[one.low] not in known:
                known.append(maps[one.low])
            neutral[slot * isa.SLOT + 4 : slot * isa.SLOT + 8] = known.index(maps[one.low]).to_bytes(4, "little")
    return _judged(bytes(neutral), tuple(known), license)


@functools.cache
def _judged(code: bytes, maps: tuple[MapSpec, ...], license: str) -> tuple[bool, str]:
    verdict = verify(code, maps, kind="xdp", license=license)
    return verdict.accepted, "".join(f"{line}\n" for line in log(code, verdict))


def log(code: bytes, verdict: Verdict) -> Iterator[str]:
    """The lines of a kernel's log, at log_level 1, for what the book's verifier did."""
    if not verdict.accepted:
        yield from walk(code, verdict)
    yield f"processed {verdict.processed} insns (limit 1000000), {verdict.paths} paths"


def walk(code: bytes, verdict: Verdict) -> Iterator[str]:
    """The instructions on the walk of a program that is refused, then the reason."""
    path, number = 0, -1
    slots = {step.number: step.slot for step in verdict.steps}
    for step in verdict.steps:
        if step.number != number + 1:
            yield f"... {step.number - number - 1} instructions left out"
        if step.path != path:
            _, left = verdict.origins.get(step.path, (0, -1))
            yield f"from {slots.get(left, '?')} to {step.slot}:"
        path, number = step.path, step.number
        changes = "; ".join(map(str, step.changes))
        text = f"{step.slot}: ({code[step.slot * isa.SLOT]:02x}) {step.text}"
        yield f"{text:<{WIDTH + 8}} ; {changes}" if changes else text
    last = verdict.steps[-1].slot if len(verdict.steps) else None
    if verdict.instruction not in (None, last):
        at = verdict.instruction or 0
        yield f"{at}: ({code[at * isa.SLOT]:02x}) {verdict.text}"
    yield verdict.reason
