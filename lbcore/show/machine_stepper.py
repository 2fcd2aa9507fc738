"""A program in the book's machine, one instruction a page: registers, stack, the packet, and what was touched.

Rule of this file: it records a run and draws it. What an instruction does, `lbcore.ebpf.trace` knows.

Trap. A register holds a number, and nothing says what it means. Here a number that lies inside the packet is called a
place in the packet; a counter that happens to have that value would be, too.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from html import escape
from typing import Any, NamedTuple

from lbcore.ebpf import forms, isa, maps_memory, memory
from lbcore.ebpf.access import FIRST_FRAME, FRAME_SIZE
from lbcore.ebpf.machine import Machine
from lbcore.ebpf.object import Object
from lbcore.ebpf.packet import Layout, Packet
from lbcore.ebpf.program import VmError
from lbcore.ebpf.signatures import HELPERS
from lbcore.ebpf.storage import Map
from lbcore.ebpf.trace import Registers, Step, Touch
from lbcore.show import bytecode
from lbcore.show.bytecode import CELL, MARKED, PLAIN, TABLE, Row
from lbcore.show.packet_diagram import Span, packet
from lbcore.show.stepper import Stepper
from lbcore.wire.dissect import dissect

VERDICTS = {
    "xdp": ("XDP_ABORTED", "XDP_DROP", "XDP_PASS", "XDP_TX", "XDP_REDIRECT"),
    "tc": ("TC_ACT_OK", "", "TC_ACT_SHOT"),
}
STACK_ROW = 8  # bytes: a register fits


class Moment(NamedTuple):
    """The machine after a step: None before the first. Places are the program's addresses."""

    step: Step | None
    registers: Registers
    packet: bytes
    start: int
    stack: bytes


@dataclass(frozen=True)
class Recording:
    """A whole run: its moments, and why it ended if not by `exit`. regions: name, and log2 of the distance of slots."""

    program: tuple[Row, ...]
    kind: str
    layout: Layout
    regions: tuple[tuple[str, int], ...]
    moments: tuple[Moment, ...]
    fault: str

    @property
    def last(self) -> int:
        return len(self.moments) - 1


def record(program: Any, data: bytes, maps: Mapping[str, Map] | Sequence[Map] | None = None) -> Recording:
    """Run a program (a decorated function, an object, a program or bytes) on a packet, and keep every moment."""
    source = getattr(program, "object", program)
    if maps is None:
        maps = maps_memory.create(source) if isinstance(source, Object) else {}
    chosen = bytecode.linked(program)
    machine = Machine(chosen, maps)
    kind = "xdp" if isinstance(chosen, bytes) else chosen.kind
    steps, moments, fault = machine.trace(data), list[Moment](), ""
    machine.vm.start()
    moments.append(_moment(machine, None))
    try:
        moments.extend(_moment(machine, step) for step in steps)
    except VmError as error:
        fault = f"instruction {error.instruction} {error.reason}"
    regions = tuple((region.name, region.shift) for region in machine.vm.memory.regions)
    return Recording(tuple(bytecode.rows(chosen)), kind, machine.layout, regions, tuple(moments), fault)


def _moment(machine: Machine, step: Step | None) -> Moment:
    frame = machine.vm.packet
    assert isinstance(frame, Packet)
    registers = step.after if step else tuple(int(value) for value in machine.vm.registers[: isa.REGISTERS])
    stack = machine.vm.memory.regions[FIRST_FRAME + (step.depth if step else 0)].buffer.tobytes()
    return Moment(step, registers, bytes(frame), memory.PACKET_START + frame.data, stack)


@dataclass(frozen=True)
class Page:
    """One moment of a recording."""

    recording: Recording
    number: int

    @property
    def moment(self) -> Moment:
        return self.recording.moments[self.number]

    @property
    def heading(self) -> str:
        step = self.moment.step
        words = "Before the first instruction" if step is None else f"{step.slot}: {step.text}"
        return f"Step {self.number} of {self.recording.last}. {words}"

    @property
    def story(self) -> str:
        """What the step did, in words."""
        return told(self.recording, self.number)

    def meaning(self, value: int) -> str:
        """What a register's value is a place in; "" for a plain number."""
        moment, region = self.moment, value >> memory.OFFSET_BITS
        if region == memory.PACKET:
            inside = moment.start <= value <= moment.start + len(moment.packet)
            end = " (its end)" if value == moment.start + len(moment.packet) else ""
            return f"packet + {value - moment.start}{end}" if inside else ""
        if region >= len(self.recording.regions):
            return ""
        offset = value & memory.OFFSET_MASK
        if FIRST_FRAME <= region < memory.CODE:
            return f"stack - {FRAME_SIZE - offset}" if offset < FRAME_SIZE else "the stack's end"
        name, shift = self.recording.regions[region]
        return place(name, shift, offset)

    def registers(self) -> list[tuple[str, str, str, str]]:
        """(name, value, what it is a place in, what it was) of every register that has a value by now."""
        written = {1, isa.FRAME}
        for moment in self.recording.moments[1 : self.number + 1]:
            assert moment.step is not None
            written |= {*moment.step.changed, *forms.written(moment.step.instruction)}
        step, found = self.moment.step, []
        for n, value in enumerate(self.moment.registers):
            was = f"was {brief(step.before[n])}" if step and n in step.changed else ""
            found.append((f"r{n}", brief(value), self.meaning(value), was) if n in written else (f"r{n}", "-", "", ""))
        return found

    def stack(self) -> list[tuple[str, str, bool]]:
        """(place, bytes, touched now) of the eight bytes that any step up to here has touched."""
        touched = [m.step.touched for m in self.recording.moments[1 : self.number + 1] if m.step]
        rows = {t.offset // STACK_ROW for t in touched if t and t.region.startswith("stack")}
        now = self.moment.step.touched if self.moment.step else None
        here = now.offset // STACK_ROW if now and now.region.startswith("stack") else -1
        return [
            (
                f"r10 - {FRAME_SIZE - row * STACK_ROW}",
                self.moment.stack[row * STACK_ROW :][:STACK_ROW].hex(" "),
                row == here,
            )
            for row in sorted(rows)
        ]

    def diagram(self) -> Any:
        """The packet, with the bytes that the step touched framed."""
        moment, touched = self.moment, self.moment.step.touched if self.moment.step else None
        parts: list[Any] = list(dissect(moment.packet))
        marks: list[str] = []
        if touched and touched.region == "the packet":
            start = touched.offset + memory.PACKET_START - moment.start
            name = "written" if touched.writing else "read"
            if start >= 0 and start + touched.size <= len(moment.packet):
                kind = next((p.name for p in parts if p.offset <= start < p.offset + p.length), "packet")
                parts.append(Span(start, start + touched.size, name, kind))
                marks = [f"{kind}.{name}"]
        drawn = packet(moment.packet, parts, highlight=marks, legend=False, max_rows=8, caption="the packet")
        return replace(drawn, spans=())

    def _repr_html_(self) -> str:
        step = self.moment.step
        seen = {m.step.slot for m in self.recording.moments[1 : self.number + 1] if m.step}
        left = bytecode.listing(list(self.recording.program), step.slot if step else None, seen=seen)
        registers = "".join(
            f'<tr style="{MARKED if was else PLAIN}">'
            + "".join(f'<td style="{CELL}">{escape(cell)}</td>' for cell in ("▶" * bool(was), *rest, was))
            + "</tr>"
            for *rest, was in self.registers()
        )
        stack = "".join(
            f'<tr style="{MARKED if now else PLAIN}">'
            + "".join(f'<td style="{CELL}">{escape(cell)}</td>' for cell in ("▶" * now, place, content))
            + "</tr>"
            for place, content, now in self.stack()
        )
        right = f'<table aria-label="registers" style="{TABLE}">{registers}</table>'
        if stack:
            right += f'<table aria-label="stack" style="{TABLE}; margin-top: 6px">{stack}</table>'
        story = f'<p style="margin: 4px 0; min-height: 1.5em">{escape(self.story)}</p>'
        body = f'{bytecode.side_by_side(left, right)}<div style="margin-top: 8px">{self.diagram()._repr_html_()}</div>'
        return f"<div>{bytecode.heading(self.heading)}{story}{body}</div>"

    def __repr__(self) -> str:
        lines = [self.heading, self.story]
        lines += [" ".join(filter(None, row)) for row in self.registers() if row[1] != "-"]
        lines += [f"{'>' if now else ' '} {place}: {content}" for place, content, now in self.stack()]
        return "\n".join([*lines, repr(self.diagram())])


def place(name: str, shift: int, offset: int) -> str:
    """A region and an offset in it, in words; a map's values lie in slots."""
    slot, offset = offset >> shift, offset & (1 << shift) - 1
    name = name if shift == memory.OFFSET_BITS else f"slot {slot} of {name}"
    return f"{name} + {offset}" if offset else name


def brief(value: int) -> str:
    """A register's number: small ones as such, others in hexadecimal."""
    return str(value) if value < 10_000 else f"{value:#x}"


def told(recording: Recording, number: int) -> str:
    """What a step did, in words."""
    step = recording.moments[number].step
    end = f" Then the machine stops: {recording.fault}." if recording.fault and number == recording.last else ""
    if step is None:
        return "r1 holds the address of the context, r10 the end of the stack; the rest is empty." + end
    if step.touched:
        return touch(recording, number, step.touched) + end
    klass, code = step.instruction.klass, step.instruction.code
    if klass in (isa.JMP, isa.JMP32) and code == isa.EXIT and step.depth == 0:
        names, verdict = VERDICTS.get(recording.kind, ()), step.after[0] & 0xFFFFFFFF
        name = names[verdict] if verdict < len(names) else ""
        return f"The program ends; its verdict is r0 = {verdict}{f', {name}' if name else ''}."
    if klass in (isa.JMP, isa.JMP32) and code == isa.CALL:
        helper = HELPERS.get(step.instruction.imm) if step.instruction.src == isa.HELPER else None
        if step.instruction.src == isa.LOCAL:
            return "On to the function, with a stack frame of its own." + end
        return f"{helper.name if helper else 'The call'} returned {brief(step.after[0])}." + end
    if klass in (isa.JMP, isa.JMP32) and number < recording.last:
        following = recording.moments[number + 1].step
        assert following is not None
        slots = [row.slot for row in recording.program]
        taken = slots.index(following.slot) != slots.index(step.slot) + 1
        if code == isa.JA:
            return f"On to instruction {following.slot}, always."
        return f"The condition holds: on to instruction {following.slot}." if taken else "Not so: go on."
    changes = (
        f"r{n} {'becomes' if n in step.changed else 'stays'} {brief(step.after[n])}"
        for n in forms.written(step.instruction)
    )
    return (", ".join(changes) or "Nothing changes") + "." + end


def touch(recording: Recording, number: int, touched: Touch) -> str:
    """What an instruction read or wrote, and where."""
    region, offset = touched.address >> memory.OFFSET_BITS, touched.address & memory.OFFSET_MASK
    name, shift = recording.regions[region]
    if region == memory.PACKET:
        where = f"packet + {touched.address - recording.moments[number - 1].start}"
    elif region == memory.CONTEXT:
        names = [name for name, at in recording.layout._asdict().items() if at == offset and name != "size"]
        where = f"context + {offset}" + (f", its {names[0]}" if names else "")
    elif FIRST_FRAME <= region < memory.CODE:
        where = f"stack - {FRAME_SIZE - offset}"
    else:
        where = place(name, shift, offset)
    size = f"{touched.size} byte{'s' * (touched.size != 1)}"
    if touched.writing:
        return f"Writes {size}, {where}: {touched.before.hex(' ')} becomes {touched.after.hex(' ')}."
    return f"Reads {size}, {where}: {touched.before.hex(' ')}."


def machine_steps(
    program: Any,
    data: bytes,
    *,
    maps: Mapping[str, Map] | Sequence[Map] | None = None,
    start: int = 0,
    hint: str = "press Next and watch which register changes, and which bytes of the packet it came from",
) -> Stepper:
    """Step through a program's run on one packet. The saved page shows step `start`.

    program: a decorated function, an object file, a program of one, or bytes; maps as `Machine` takes them (an
    object's own, new ones, if none are given). A run that ends in a fault ends with the step before it.
    """
    recording = record(program, data, maps)

    def draw(step: int = start) -> Page:
        return Page(recording, step)

    return Stepper(draw, recording.last, hint=hint, start=start)
