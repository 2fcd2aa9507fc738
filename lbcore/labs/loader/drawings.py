"""Lab 05's drawings: what a student's functions found in a file, did to code, and asked of a kernel.

Rule of this file: it draws what it was given, right or wrong. Where there is nothing to draw it gives back the reason
in words.

Trap. Places in the file depend on where this book is installed, for line information holds paths: so they are drawn,
and never put into words.
"""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from typing import Any

import numpy as np

from lbcore import show
from lbcore.ebpf import isa, kinds
from lbcore.labs.drawing import nothing
from lbcore.labs.judge import Verdict, brief
from lbcore.labs.loader.broken import count_ports
from lbcore.labs.loader.definitions import FIELDS
from lbcore.labs.loader.linking import PSEUDO_MAP_FD, right_holes, symbols_of
from lbcore.labs.loader.listing import Listing, Page, listing
from lbcore.labs.loader.loading import Driven, material, right
from lbcore.labs.loader.mending import SAMPLES, check_mended, lines_of, refusal, watch
from lbcore.labs.loader.objects import compiled, relaid, types
from lbcore.labs.loader.reading import entries, right_program
from lbcore.labs.sandbox import Outcome, run
from lbcore.measure.table import Table

EXAMPLE = "count_protocols"
ACROSS = 64  # bytes in a row of the map of a file
TINTS = {
    "code": show.PALETTE[1], "maps": show.PALETTE[2], "license": show.PALETTE[3], "types": show.PALETTE[4],
    "names and symbols": show.PALETTE[0], "relocations": show.PALETTE[5], "lines, for people": "#bbbbbb",
}  # fmt: skip
ROWS = 12  # of a listing


def asked(function: Any, name: str, *arguments: Any) -> tuple[Outcome, Verdict | None]:
    """The outcome of one call, and why there is nothing to draw."""
    if not callable(function):
        return Outcome("answer"), Verdict("not_a_function", f"Nothing to draw: give the function {name} itself.")
    outcome = run(function, [arguments])[0]
    return outcome, None if outcome.kind == "answer" else nothing(name, [outcome])


def unfit(name: str, answer: Any) -> Verdict:
    """An answer that is no answer."""
    return Verdict("wrong_form", f"Nothing to draw: {name} gave back {brief(answer)}; see its checker.")


def records(answer: Any, *kinds_of_fields: type) -> bool:
    """Whether an answer is a list of lists of fields of these kinds."""
    return isinstance(answer, list) and all(
        isinstance(one, list) and [type(field) for field in one] == list(kinds_of_fields) for one in answer
    )


# ------------------------------------------------------------------------------------------------------ 1: sections
def role(name: str, kind: int, flags: int) -> str:
    """What a section is for."""
    if kind == 1 and flags & 4:
        return "code"
    known = {".maps": "maps", "license": "license", ".BTF": "types"}
    if name in known:
        return known[name]
    return {2: "names and symbols", 3: "names and symbols", 9: "relocations"}.get(kind, "lines, for people")


def show_sections(sections: Any) -> Any:
    """A map of the file: every byte in the colour of the section it is in."""
    elf = compiled(EXAMPLE).elf
    outcome, why = asked(sections, "sections", elf)
    if why:
        return why
    if not records(outcome.value, str, *[int] * 6):
        return unfit("sections", outcome.value)
    rows = -(-len(elf) // ACROSS)
    owner = np.zeros(rows * ACROSS, int)
    roles = list(TINTS)
    drawn: dict[str, str] = {}
    for name, kind, flags, offset, size, *_ in outcome.value:
        if kind not in (0, 8) and 0 <= offset < len(elf) and size > 0:
            owner[offset : min(offset + size, len(elf))] = 1 + roles.index(role(name, kind, flags))
            short = name if name.isprintable() else repr(name)
            drawn.setdefault(role(name, kind, flags), short if len(short) <= 24 else f"{short[:24]}…")
    code = np.mean(owner[: len(elf)] == 1 + roles.index("code"))
    share = f"code is {'less' if code < 1 / 3 else 'more'} than a third of the file"
    return file_map(owner.reshape(rows, ACROSS), drawn, f"{len(outcome.value)} sections; {share}")


def file_map(owner: Any, drawn: dict[str, str], title: str) -> Any:
    """The picture of a file: rows of bytes, coloured by `owner` (0: nobody)."""
    from matplotlib.colors import ListedColormap

    fig, axes = show.figure(height=4.2)
    tints = ListedColormap(["white", *TINTS.values()])
    axes.imshow(owner, cmap=tints, vmin=-0.5, vmax=len(TINTS) + 0.5, aspect="auto", interpolation="nearest")
    axes.set(xlabel=f"byte within the row of {ACROSS}", ylabel="row of the file", xticks=range(0, ACROSS + 1, 8))
    axes.grid(visible=False)
    for place, (name, tint) in enumerate(TINTS.items()):
        label = f"{name} ({drawn[name]})" if name in drawn else f"{name}: not found"
        axes.scatter([], [], color=tint, marker="s", label=label, zorder=place)
    axes.legend(loc="center left", bbox_to_anchor=(1.01, 0.5), frameon=False)
    found = [f"{name} ({section})" for name, section in drawn.items()]
    alt = f"A file of bytes in rows, coloured by section. Found: {', '.join(sorted(found)) or 'nothing'}."
    return show.finish(fig, title=title, alt=alt)


# ----------------------------------------------------------------------------------------------- 2 and 3: what is in it
def show_program(program: Any) -> Any:
    """The first slots of the code that was found, disassembled."""
    elf = compiled(EXAMPLE).elf
    outcome, why = asked(program, "program", elf, entries(elf))
    if why:
        return why
    if not (isinstance(outcome.value, list) and [type(one) for one in outcome.value] == [str, bytes, str]):
        return unfit("program", outcome.value)
    name, code, license = outcome.value
    caption = f"section {name!r}, license {license!r}: {len(code) // isa.SLOT} slots, the first {ROWS}"
    return listing(code, caption + f" ({len(code) % isa.SLOT} bytes over)" * bool(len(code) % 8), slots=range(ROWS))


def show_maps(maps: Any) -> Any:
    """The maps of two programs as a table."""
    rows: list[tuple[object, ...]] = []
    for name in (EXAMPLE, "block_list"):
        outcome, why = asked(maps, "maps", types(compiled(name).elf))
        if why:
            return why
        if not records(outcome.value, str, *[int] * 5):
            return unfit("maps", outcome.value)
        for map_name, kind, *rest in outcome.value:
            known = kinds.MAPS[kind] if 0 < kind < len(kinds.MAPS) else "?"
            rows.append((name, map_name, f"{kind} ({known})", *rest))
    return Table(("program", "map", *FIELDS), tuple(rows), f"{len(rows)} maps")


# --------------------------------------------------------------------------------------------------- 4 and 5: the holes
def example() -> tuple[bytes, bytes, Sequence[Any], int]:
    """(file, code, sections, number of the program's section) of the program that is drawn."""
    elf = relaid(compiled(EXAMPLE).elf, 5)
    sections = entries(elf)
    name, code, _ = right_program(elf, sections)
    return elf, code, sections, [one.name for one in sections].index(name)


def show_holes(holes: Any) -> Any:
    """The slots that want a map, and which one."""
    elf, code, sections, number = example()
    outcome, why = asked(holes, "holes", elf, sections, symbols_of(elf), number)
    if why:
        return why
    if not records(outcome.value, int, str):
        return unfit("holes", outcome.value)
    notes = {slot: f"wants {name}" for slot, name in outcome.value}
    places = [slot for slot in notes if 0 <= slot < len(code) // isa.SLOT]
    wide = sum(code[slot * isa.SLOT] == isa.LDDW for slot in places)
    caption = f"{len(notes)} places, {wide} of them wide loads, as they must be"
    around = {near for slot in places for near in (slot, slot + 1)}
    return listing(
        code, caption, slots=around, notes=notes, marked=[s * isa.SLOT + i for s in places for i in range(8)]
    )


def show_patch(patch: Any) -> Any:
    """The first two holes after patching, with the bytes that changed."""
    elf, code, sections, number = example()
    holes = right_holes(elf, sections, symbols_of(elf), number)
    fds = {name: 5 + place for place, name in enumerate(sorted({name for _, name in holes}))}
    outcome, why = asked(patch, "patch", code, holes, fds)
    if why:
        return why
    after = outcome.value
    if type(after) is not bytes or len(after) != len(code):
        return unfit("patch", after)
    changed = [at for at in range(len(code)) if code[at] != after[at]]
    loads = {at // isa.SLOT for at in changed} | {slot for slot, _ in holes}
    notes = {slot: f"{name} is {fds[name]}" for slot, name in holes}
    maps = sum(after[slot * isa.SLOT + 1] >> 4 == PSEUDO_MAP_FD for slot, _ in holes)
    caption = f"{len(changed)} bytes changed (framed); {maps} of {len(holes)} loads now name a map"
    return Pair(listing(code, "before", slots=loads, notes=notes), listing(after, caption, slots=loads, marked=changed))


class Pair:
    """A program before and after."""

    def __init__(self, before: Listing, after: Listing) -> None:
        self.before, self.after, self.alt = before, after, after.caption

    def __repr__(self) -> str:
        return f"{self.before!r}\n\n{self.after!r}"

    def _repr_html_(self) -> str:
        return self.before._repr_html_().rpartition("<p>")[0] + self.after._repr_html_()


# ------------------------------------------------------------------------------------------------ 6 to 8: in the kernel
def show_load(load: Any) -> Any:
    """Every call that a loader made: for a good program, and for one that is refused."""
    rows: list[tuple[object, ...]] = []
    for name in (EXAMPLE, "count_ports"):
        right(material()[name], 64)  # the verifier's words are known before the student's time runs
        outcome, why = asked(Driven(load, journal=True) if callable(load) else load, "load", material()[name], 64)
        if why:
            return why
        how, _, still, *_, calls = outcome.value
        rows += [(name, *call) for call in calls]
        rows.append((name, f"ends: {how}", f"{len(still)} descriptors open", ""))
    return Table(("program", "call", "what the kernel was told", "result"), tuple(rows), "the kernel's side of it")


def show_blame(blame: Any) -> Any:
    """The end of the log, and the source with the line that was found."""
    log, lines = refusal(), lines_of()
    outcome, why = asked(blame, "blame", log, lines)
    if why:
        return why
    if not (isinstance(outcome.value, list) and [type(one) for one in outcome.value] == [int, int, str]):
        return unfit("blame", outcome.value)
    slot, number, reason = outcome.value
    source, first = inspect.getsourcelines(count_ports.function)
    text = [(row, row == reason or row.startswith(f"{slot}: (")) for row in log.splitlines()[-6:]]
    text += [("", False)]
    text += [(row.rstrip(), line == number) for line, row in enumerate(source, first)]
    return Page(f"The end of the log, and the source; found: slot {slot}, and this line", tuple(text))


def show_mended(mended: Any) -> Any:
    """What the program does to each kind of packet; of a refused one, the reason."""
    verdict = check_mended(mended)
    if verdict.key in ("not_a_program", "stub", "not_compiled", "refused", "no_map", "stopped"):
        return Verdict(verdict.key, f"Nothing to draw. {verdict.text}", verdict.evidence)
    rows = [
        (sample.what, len(sample.frame), seen.verdict, ", ".join(map(str, seen.counted)) or "nothing")
        for sample, seen in zip(SAMPLES, watch(mended.object.program, mended.object.maps), strict=True)
    ]
    return Table(("packet", "bytes", "verdict", "counted under"), tuple(rows), "2 is XDP_PASS")
