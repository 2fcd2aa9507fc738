"""Lab 05, exercises 7 and 8: read the log of a program that was refused, and mend the program.

Rule of this file: specifications, cases and hints. A mended program is judged by the verifier, and then by what it does
to packets in the book's machine, against a reader of packets that shares no code with it.

Theory. A log is a walk: it goes where jumps go, so the last instruction need not have the highest number. What stands
behind it is the reason. Line information says only where lines begin; an instruction belongs to the last that began.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Sequence
from random import Random
from typing import Any, NamedTuple

from lbcore.ebpf.compiler import Source
from lbcore.ebpf.errors import CompileError
from lbcore.ebpf.isa import JMP, MOV
from lbcore.ebpf.machine import Machine
from lbcore.ebpf.object import MapSpec, Program
from lbcore.ebpf.program import VmError
from lbcore.ebpf.storage import Map
from lbcore.labs.judge import RIGHT, Case, Exercise, Mistake, Property, Verdict, judge
from lbcore.labs.loader.kernels import Pretended
from lbcore.labs.loader.loading import Refused, material, right_load, unlinked
from lbcore.labs.loader.verifying import judged

INSTRUCTION = re.compile(r"(\d+): \([0-9a-f]{2}\)")
PASS = 2
REASONS = (
    "R1 invalid mem access 'scalar'",
    "invalid access to packet, off=34 size=2, R1(id=0,off=34,r=14)",
    "R0 invalid mem access 'map_value_or_null'",
    "R2 !read_ok",
    "R1 type=scalar expected=map_ptr",
)


# ---------------------------------------------------------------------------------------------- 7: where it gave up
def right_blame(log: str, lines: Sequence[tuple[int, int]], **flaws: Any) -> tuple[int, int, str]:
    """(slot of the last instruction in a log, its source line, the line of the log behind it).

    For models of mistakes: pick: which of the instructions; line: how the source line is found; reason: which line.
    """
    rows = log.splitlines()
    seen = [(int(found[1]), at) for at, row in enumerate(rows) if (found := INSTRUCTION.match(row))]
    slot, at = flaws.get("pick", lambda seen: seen[-1])(seen)
    starts = [start for start, _ in lines]
    place = flaws.get("line", lambda starts, slot: bisect_right(starts, slot) - 1)(starts, slot)
    return slot, lines[min(place, len(lines) - 1)][1], rows[flaws.get("reason", at + 1)]


def nearest(starts: Sequence[int], slot: int) -> int:
    """A mistake: the line whose beginning is nearest, before or after."""
    return min(range(len(starts)), key=lambda i: abs(starts[i] - slot))


def drawn(rng: Random) -> tuple[str, list[tuple[int, int]]]:
    """A log as the kernel writes it, of a walk with jumps forward and back, and where source lines begin."""
    starts = [0, *sorted(rng.sample(range(1, 60), 12))]
    lines = [(start, rng.randrange(20, 60)) for start in starts]
    rows, slot = ["0: R1=ctx() R10=fp0"], 0
    for _ in range(rng.randrange(12, 40)):
        if slot in starts:
            rows.append(f"; a line of the source @ program.c:{dict(lines)[slot]}")
        there = rng.choice([slot + 1, slot + 1, slot + 1, rng.randrange(60)])
        code, text = (JMP, f"goto pc{there - slot - 1:+d}") if there != slot + 1 else (MOV | 7, "r1 = r2")
        rows.append(f"{slot}: ({code:02x}) {text:<24}; R1=scalar() R2=pkt(r={slot})")
        if there != slot + 1:
            rows.append(f"from {slot} to {there}: R1=ctx() R10=fp0")
        slot = there
    rows += [f"{slot}: (69) r1 = *(u16 *)(r2 +2)", rng.choice(REASONS)]
    return "\n".join([*rows, f"processed {len(rows)} insns (limit 1000000) max_states_per_insn 0"]) + "\n", lines


def blame_cases(seed: int) -> list[Case]:
    """Drawn logs, then the verifier's own of the program that is to be mended."""
    rng = Random(seed)
    return [Case(drawn(rng)) for _ in range(12)] + [Case((refusal(), lines_of()))]


def refusal() -> str:
    """What the verifier says of the broken program."""
    try:
        right_load(Pretended(judged), material()["count_ports"])
    except Refused as error:
        return error.log
    raise AssertionError("the verifier takes the program that is to be mended")


def lines_of(program: Program | None = None) -> list[tuple[int, int]]:
    """Where the lines of a program (the broken one) begin: (slot, number of the line), in order."""
    from lbcore.labs.loader.broken import count_ports

    program = program or count_ports.object.program
    return [(line.instruction, line.line) for line in program.lines if line.line]


def three(answer: Any, log: str, lines: Sequence[tuple[int, int]]) -> str | None:
    """Two numbers and a text."""
    if not (isinstance(answer, list) and len(answer) == 3):
        return "Give back three things: slot, source line, reason."
    if type(answer[0]) is not int or type(answer[1]) is not int or type(answer[2]) is not str:
        return "Slot and line are whole numbers (int(...) of what you cut from the text), the reason is text."
    return None


def each_part(answer: Any, log: str, lines: Sequence[tuple[int, int]]) -> str | None:
    """Which of the three is not right."""
    wanted = right_blame(log, lines)
    names = ("slot", "source line", "reason")
    for name, got, want in zip(names, answer, wanted, strict=True):
        if got != want:
            return f"Your {name} is {got!r}; by the log it is {want!r}."
    return None


NO_MATCH = ("no_match", "a pattern found nothing in a line: not every line of a log is an instruction.")
BLAME = Exercise(
    names=("log", "lines"),
    right=right_blame,
    praise="Right for all {cases} logs, the verifier's own words on the broken program among them.",
    mistakes=(
        Mistake(
            "first_instruction",
            lambda *given: right_blame(*given, pick=lambda seen: seen[0]),
            "You take the first instruction of the log. The verifier writes as it goes; it gave up at the last one.",
        ),
        Mistake(
            "highest_slot",
            lambda *given: right_blame(*given, pick=max),
            "You take the highest slot. The walk jumps, also back: the last one written is the one.",
        ),
        Mistake(
            "line_behind",
            lambda *given: right_blame(*given, line=bisect_right),
            "You give the line that begins behind the instruction. It belongs to the last line that began before "
            "it, or at it.",
        ),
        Mistake(
            "nearest_line",
            lambda *given: right_blame(*given, line=nearest),
            "You take the line that begins nearest. It belongs to the last that began before it, however far away.",
        ),
        Mistake(
            "last_row",
            lambda *given: right_blame(*given, reason=-1),
            "Your reason is the log's last line, which counts instructions. The reason stands behind the last "
            "instruction.",
        ),
    ),
    properties=(Property("wrong_form", three), Property("one_part", each_part)),
    advice={
        "KeyError": ("no_exact_line", "lines begin where they begin; few instructions are the first of one."),
        "StopIteration": ("no_exact_line", "no line begins just there: take the last that began before."),
        **dict.fromkeys(("AttributeError", "TypeError"), NO_MATCH),
        "IndexError": ("not_an_index", "slots are no indices of `lines`: compare with where each line begins."),
    },
)


def check_blame(blame: Any, seed: int = 1) -> Verdict:
    """Exercise 7: blame(log, lines) -> (slot, source line, reason)."""
    return judge(BLAME, blame, blame_cases(seed))


# ---------------------------------------------------------------------------------------------------- 8: mend it
class Sample(NamedTuple):
    """A frame, what it is, and the port under which it is to be counted (None: not at all)."""

    what: str
    frame: bytes
    port: int | None


def frame(what: str, port: int | None, *, protocol: int = 17, after: bytes | None = None, options: int = 0,
          fragment: int = 0, tags: int = 0, ethertype: int = 0x0800) -> Sample:  # fmt: skip
    """An Ethernet frame with an IPv4 header, `options` words long, and `after` it: ports 4660 and `port`."""
    behind = after if after is not None else (4660).to_bytes(2, "big") + (port or 53).to_bytes(2, "big") + bytes(8)
    length = 20 + 4 * options
    header = bytes([0x45 + options, 0]) + (length + len(behind)).to_bytes(2, "big") + bytes(2)
    header += (
        fragment.to_bytes(2, "big") + bytes([64, protocol]) + bytes(2) + b"\x0a\0\0\1\x0a\0\0\2" + bytes(4 * options)
    )
    ethernet = b"\x02" * 12 + b"\x81\0\0\1" * tags + ethertype.to_bytes(2, "big")
    return Sample(what, ethernet + header + behind, port)


SAMPLES = (
    frame("UDP to port 53", 53),
    frame("UDP to port 443", 443),
    frame("UDP behind a VLAN tag", 123, tags=1),
    frame("UDP behind 12 bytes of IP options", 514, options=3),
    frame("TCP", None, protocol=6),
    frame("a later fragment of UDP", None, fragment=100),
    frame("no IPv4", None, ethertype=0x86DD),
    frame("UDP with nothing behind the IP header", None, after=b""),
    frame("UDP cut within its first port", None, after=b"\x12"),
    frame("UDP cut within its second port", None, after=b"\x12\x34\x01"),
)


class Seen(NamedTuple):
    """What a program did to a frame: its verdict, and the keys whose counters it changed, by how much."""

    verdict: int
    counted: dict[int, int]


def watch(program: Program, specs: Sequence[MapSpec]) -> list[Seen]:
    """What a program does to the samples, in the book's machine. Raises VmError."""
    made = {
        spec.name: Map(spec.kind, spec.key_size, spec.value_size, spec.max_entries, name=spec.name) for spec in specs
    }
    machine, seen = Machine(program, made), []
    for sample in SAMPLES:
        counters = made["ports"].as_array("<u8")
        before = counters.copy()
        verdict = machine.run(sample.frame).verdict
        grown = counters - before
        seen.append(Seen(verdict, {int(port): int(grown[port]) for port in grown.nonzero()[0]}))
    return seen


def check_mended(mended: Any) -> Verdict:
    """Exercise 8: a program that the verifier takes and that counts UDP packets by destination port."""
    if not isinstance(mended, Source):
        return Verdict("not_a_program", f"Give the program itself, with @xdp above it, not a {type(mended).__name__}.")
    if mended.kind != "xdp":
        return Verdict("another_kind", f"This is a {mended.kind} program; the kernel is asked for XDP: @xdp.")
    code = mended.function.__code__
    if "NotImplementedError" in code.co_names:
        return Verdict("stub", f"Not written yet ({next((c for c in code.co_consts if 'about' in str(c)), '')}).")
    try:
        made = mended.object
    except CompileError as error:
        return Verdict("not_compiled", "The compiler does not take it.", str(error))
    try:
        right_load(Pretended(judged), unlinked(made))
    except Refused as error:
        slot, _, reason = right_blame(error.log, lines_of(made.program) or [(0, 0)])
        line = made.program.line_of(slot)
        hint = "The verifier still refuses it."
        if "packet" in reason:
            hint += " Nothing on the way to this line has asked whether so many bytes are there."
        return Verdict("refused", hint, f"{line.text.strip() if line else ''}\ninstruction {slot}: {reason}".strip())
    if not any((one.name, one.kind, one.key_size, one.value_size) == ("ports", "array", 4, 8) for one in made.maps):
        return Verdict(
            "no_map", 'It is taken, but it counts nowhere: use the map `ports`, maps.array("ports", 1 << 16).'
        )
    try:
        return compare(watch(made.program, made.maps))
    except VmError as error:
        return Verdict("stopped", "The verifier takes it, and the machine stops it.", str(error))


def compare(seen: Sequence[Seen]) -> Verdict:
    """Whether a program did to every sample what it should."""
    for sample, (verdict, counted) in zip(SAMPLES, seen, strict=True):
        wanted = {} if sample.port is None else {sample.port: 1}
        evidence = (
            f"{sample.what}: right: verdict {PASS}, counted {wanted}; yours: verdict {verdict}, counted {counted}"
        )
        if verdict != PASS:
            return Verdict(
                "not_passed", "It is taken, but it does not let every packet pass: counting is all it may.", evidence
            )
        if counted == wanted:
            continue
        if not counted:
            return Verdict("not_counted", "It is taken, but it misses packets that have a port.", evidence)
        if not wanted:
            return Verdict("counted_too_much", "It is taken, but it counts what has no UDP port to count.", evidence)
        return Verdict(
            "other_port", "It is taken, but it counts under another number than the destination port.", evidence
        )
    return Verdict(
        RIGHT, f"Right: the verifier takes it, and {len(SAMPLES)} kinds of packets are counted as they should be."
    )
