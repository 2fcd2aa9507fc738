"""How every rung of the XDP ladder is judged: as Python for a hint that fits, then compiled, then run for real.

Rule of this file: the order of things and the words for what goes wrong on the way. What is right, each rung says.

Theory. `judge` compares what the program does as Python with the specification and recognises mistakes. A program
that is right there is compiled, verified by the book's verifier, and meets the same packets in the book's machine, and
in the kernel where this process may load programs. All must agree, so a verdict reads the same on every machine.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from lbcore.ebpf import kernel
from lbcore.ebpf.compiler import Source
from lbcore.ebpf.errors import CompileError
from lbcore.ebpf.maps import Map
from lbcore.ebpf.object import Line
from lbcore.ebpf.verifier import verify
from lbcore.ebpf.vm import VmError
from lbcore.labs.judge import Case, Exercise, Property, Verdict, judge
from lbcore.labs.sandbox import Outcome, plain
from lbcore.labs.xdp import stage
from lbcore.labs.xdp.packets import Packet, Traffic
from lbcore.testbed.capabilities import machine

Fate = tuple[str, bytes]
"""What becomes of a packet: verdict, bytes afterwards."""
UNCHECKED = (
    "unchecked",
    "you read or write bytes that this packet does not have. In the kernel no program is let in that might do so. Ask "
    "need(p, n) first, and count: the 2 bytes at offset 12 need 14.",
)
ADVICE = {
    "IndexError": UNCHECKED,
    "NameError": ("name", "a name is missing here; has its cell been run?"),
    "TypeError": ("type", "a function is given what it does not take."),
    "AttributeError": ("attribute", "what you ask has no such field or method; see the example above the exercise."),
}
NOT_MARKED = "This is no XDP program: write @xdp above the function, and give its bare name."
ON_MACHINE = (
    "Right as Python, but compiled it does something else with this packet. Compiled numbers are machine words: at "
    "64 bits they wrap, and `/`, `%` and `>>` may mean another thing for them."
)


REJECTED = (
    "Right as Python, but the verifier rejects it: {why}. It has to see on every way through the program that nothing "
    "is read or written that was not asked for with need()."
)


@dataclass(frozen=True, kw_only=True)
class Ladder(Exercise):
    """A rung: an exercise whose arguments are one `Traffic` and whose answer is a `stage.Report`."""

    names: tuple[str, ...] = ("traffic",)
    advice: Mapping[str, tuple[str, str]] = field(default_factory=lambda: ADVICE)
    entries: Mapping[int, int] = field(default_factory=dict)  # of the map, before the first packet

    def given(self, case: Case) -> str:
        return f"packet: {case.arguments[0]}"

    def words(self, outcome: Outcome) -> str:
        if outcome.kind != "answer":
            return super().words(outcome)
        (made, *others), entries = outcome.value
        first = ", ".join([made[0], *([f"by port {made[2]}"] if made[2] is not None else [])])
        return ", ".join(filter(None, [first, "and others" if others else "", entries]))

    def evidence(self, case: Case, wanted: Outcome, got: Outcome) -> str:
        (traffic,) = case.arguments
        if got.kind == "answer" and got != wanted:
            return difference(traffic, wanted.value, got.value)
        return f"{self.given(case)}\nright:  {self.words(wanted)}\nyours:  {self.words(got)}"

    def accepts(self, got: stage.Report, right: stage.Report, traffic: Traffic) -> bool:
        """Whether a report of machine or kernel is right; the kernel's does not tell ports."""
        pairs = zip(got[0], right[0], strict=True)
        return got[1] == right[1] and all(a[:2] == b[:2] and a[2] in (None, b[2]) for a, b in pairs)


def alone(one: Callable[[Packet], Fate]) -> Callable[[Traffic], stage.Report]:
    """The report on traffic of which every packet is treated by itself, no map changed and no port named."""
    return lambda traffic: [[report(*one(packet)) for packet in traffic.packets], ""]


def report(verdict: str, frame: bytes = b"", port: int | None = None) -> list[Any]:
    """One packet's part of a report."""
    return [verdict, "" if verdict in ("XDP_DROP", "XDP_ABORTED") else frame.hex(), port]


def same_length(answer: stage.Report, traffic: Traffic) -> str | None:
    """No rung makes packets longer or shorter."""
    if any(
        made[1] and len(made[1]) != 2 * len(one.frame) for made, one in zip(answer[0], traffic.packets, strict=True)
    ):
        return "Your program makes the packet longer or shorter. Here it is to stay as long as it came."
    return None


def untouched(answer: stage.Report, traffic: Traffic) -> str | None:
    """The first rungs only look."""
    if any(made[1] not in ("", one.frame.hex()) for made, one in zip(answer[0], traffic.packets, strict=True)):
        return "Your program writes into the packet. On this rung it only looks."
    return None


def known_verdict(answer: stage.Report, traffic: Traffic) -> str | None:
    """One of five."""
    strange = next((made[0] for made in answer[0] if made[0] not in stage.VERDICTS), None)
    if strange is None:
        return None
    return f"Your program gives back {strange}. Every way through it ends with `return` and one of the names XDP_…"


LENGTH, LOOKS = Property("changed_length", same_length), Property("scribbles", untouched)
VERDICT = Property("no_verdict", known_verdict)


def check(exercise: Ladder, program: Any, cases: Sequence[Traffic], table: Any = None, *, takes_map: bool) -> Verdict:
    """The verdict on a program. It never raises for anything that the program is or does."""
    if not isinstance(program, Source) or program.kind != "xdp":
        return Verdict("not_a_program", NOT_MARKED)
    if takes_map and not isinstance(table, Map):
        return Verdict("not_a_map", "Give the checker the map too, the one made in the cell above.")
    groups = [Case((one,), "cut" if one.packets[0].cut else "") for one in cases]
    verdict = judge(exercise, stage.InPython(program, table, exercise.entries), groups)
    if verdict.key == UNCHECKED[0]:
        return replace(verdict, evidence=f"{verdict.evidence}\n{verifier_on(program)}".rstrip())
    return compiled(exercise, program, cases, table, verdict) if verdict.passed else verdict


def compiled(
    exercise: Ladder, program: Source, cases: Sequence[Traffic], table: Map | None, praise: Verdict
) -> Verdict:
    """The verdict on a program that is right as Python."""
    places = (stage.in_machine, stage.in_kernel) if machine().tier >= 2 else (stage.in_machine,)
    if refusal := refused(program):
        return refusal
    whole = [one for one in cases if all(len(packet.frame) >= stage.LEAST for packet in one.packets)]
    try:
        for run in places:
            for traffic, got in zip(whole, run(program, table, exercise.entries, whole), strict=True):
                right = exercise.expect((traffic,)).value
                if not exercise.accepts(plain(got), right, traffic):
                    return Verdict("compiled", ON_MACHINE, difference(traffic, right, got))
    except kernel.Rejected as error:
        return Verdict("rejected", REJECTED.format(why=error.reason), place(error.line))
    except VmError as error:
        return Verdict("fault", f"Right as Python, but the machine stops it: {error.reason}.", error.text)
    return praise


def refused(program: Source) -> Verdict | None:
    """What compiler or verifier have against a program. The verifier is the book's: it says the same everywhere."""
    try:
        verdict = verify(program.object, keep=1)
    except CompileError as error:
        where = f"line {error.line}: {error.text}"
        return Verdict("not_compiled", f"Right as Python, but no program for the kernel yet: {error.why}.", where)
    if verdict.accepted:
        return None
    return Verdict("rejected", REJECTED.format(why=verdict.reason), place(verdict.line))


def verifier_on(program: Source) -> str:
    """What the verifier says of a program that reads what it has not asked for; nothing if it does not come so far."""
    try:
        verdict = verify(program.object, keep=1)
    except CompileError:
        return ""
    return "" if verdict.accepted else f"verifier: rejected, {verdict.reason}\n{place(verdict.line)}".rstrip()


def place(line: Line | None) -> str:
    """A line of the student's."""
    return f"line {line.line}: {line.text.strip()}" if line else ""


# ---- in words ----
def difference(traffic: Traffic, right: stage.Report, got: stage.Report) -> str:
    """The first packet that two reports tell apart, or else the map's entries."""
    for packet, wanted, made in zip(traffic.packets, right[0], got[0], strict=True):
        if wanted != made:
            return f"packet: {packet}\nright:  {fate(packet, wanted)}\nyours:  {fate(packet, made)}"
    packets = "\n".join(f"packet: {packet}" for packet in traffic.packets[:8])
    more = f"\nand {len(traffic.packets) - 8} more" if len(traffic.packets) > 8 else ""
    return f"{packets}{more}\nright:  {right[1] or 'nothing'} in the map\nyours:  {got[1] or 'nothing'} in the map"


def fate(packet: Packet, made: Sequence[Any]) -> str:
    """One packet's part of a report, in a line."""
    verdict, after, port = made
    where = f" by port {port}" if port is not None else ""
    return f"{verdict}{where}{changes(packet.frame, after)}"


def changes(before: bytes, after: str) -> str:
    """What was written into a packet, in runs of bytes: ", byte 22: 40 → 3f"."""
    new = bytes.fromhex(after)
    if not new or new == before:
        return ""
    if len(new) != len(before):
        return f", {len(new)} bytes long"
    runs: list[list[int]] = []
    for at in (at for at in range(len(new)) if new[at] != before[at]):
        if runs and at - runs[-1][-1] == 1:
            runs[-1].append(at)
        else:
            runs.append([at])
    told = [(one[0], one[-1] + 1) for one in runs[:6]]
    return "".join(f", byte {start}: {before[start:end].hex()} → {new[start:end].hex()}" for start, end in told)
