"""Lab 05, exercise 6: from a file's parts to a program in a kernel, and what to do when the kernel says no.

Rule of this file: specification, cases and hints. What is judged is what the kernel saw and what is left open in it,
not how the student's code reads: a loader may ask for a log at once or only when it needs one.

Theory. Descriptors live as long as the process. A loader that forgets them after a refusal leaks a map for each try; a
loader that closes the maps of a program that runs leaves the program its maps and its user no way to read them.
"""

from __future__ import annotations

import errno
import functools
import inspect
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from lbcore.ebpf.assembler import assemble
from lbcore.ebpf.object import MapSpec, Object
from lbcore.labs.judge import Case, Exercise, Property, Verdict, judge
from lbcore.labs.loader import broken
from lbcore.labs.loader.definitions import right_maps
from lbcore.labs.loader.kernels import Pretended, Unlinked
from lbcore.labs.loader.linking import right_holes, symbols_of
from lbcore.labs.loader.objects import compiled, types
from lbcore.labs.loader.reading import entries, right_program
from lbcore.labs.loader.verifying import judged

LOADED, REFUSED = "loaded", "refused"
LOG = 1 << 10
"""Bytes of log that are asked for first; too few for most programs."""


class Refused(Exception):
    """The verifier does not take a program; `log` is all that it said."""

    def __init__(self, log: str) -> None:
        super().__init__(log)
        self.log = log


def unlinked(source: Object) -> Unlinked:
    """An object in the parts that exercises 2 to 4 take out of it."""
    sections = entries(source.elf)
    name, code, license = right_program(source.elf, sections)
    number = [one.name for one in sections].index(name)
    holes = right_holes(source.elf, sections, symbols_of(source.elf), number)
    return Unlinked(code, license, tuple(right_maps(types(source.elf))), tuple(holes))


@functools.cache
def material() -> dict[str, Unlinked]:
    """Programs by name; no verifier takes count_ports, nor talkative, of which it has much to say."""
    programs = {name: unlinked(compiled(name)) for name in ("drop_all", "count_protocols")}
    programs["count_ports"] = unlinked(broken.count_ports.object)
    talkative = "r0 = 0\n" * 2000 + "r0 = r2\nexit"  # r2 was never written
    return programs | {"talkative": Unlinked(assemble(talkative), "GPL", programs["drop_all"].maps, ())}


def right_load(kernel: Any, program: Unlinked) -> tuple[int, dict[str, int]]:
    """(the program's descriptor, its maps' by name). Raises Refused, or what the kernel raises; leaves nothing open."""
    fds: dict[str, int] = {}
    try:
        for definition in program.maps:
            fds[definition[0]] = kernel.create_map(*definition)
        code = program.link(fds)
        try:
            return kernel.load(code, program.license), fds
        except PermissionError:
            raise Refused(explain(kernel, code, program.license)) from None
    except BaseException:
        for fd in fds.values():
            kernel.close(fd)
        raise


def explain(kernel: Any, code: bytes, license: str, size: int = LOG) -> str:
    """The log of a program that is refused, in a buffer that grows until it is enough."""
    log = bytearray(size)
    try:
        kernel.load(code, license, 1, log)
    except OSError as error:
        if error.errno == errno.ENOSPC:
            return explain(kernel, code, license, 2 * size)
        if error.errno != errno.EACCES:
            raise
    return log.split(b"\0")[0].decode()


# ------------------------------------------------------------------------------------------------- running a loader
class Driven:
    """A student's `load`, called with a pretended kernel; gives back what became of it, as plain data.

    (how it ended, what it gave or said, what is open in the kernel, the license that was shown, the calls).
    """

    def __init__(self, load: Callable[..., Any], journal: bool = False) -> None:
        self.load, self.journal = load, journal
        self.__code__ = getattr(load, "__code__", None)  # by which the sandbox knows the student's lines

    def __call__(self, program: Unlinked, room: int) -> list[Any]:
        kernel = Pretended(judged, room)
        try:
            how, said = LOADED, given(self.load(kernel, program), kernel)
        except Refused as error:
            how, said = REFUSED, str(error.log)
        except OSError as error:
            call = str(error.strerror).partition(":")[0]
            how, said = f"{errno.errorcode.get(error.errno or 0, 'OSError')} of {call}", ""
        still = sorted(meaning(kernel, fd) for fd in kernel.opened)
        ended = [how, said, still, kernel.license or "", kernel.unlinked]
        return [*ended, [list(call) for call in kernel.journal]] if self.journal else ended


def meaning(kernel: Pretended, fd: Any) -> str:
    """What a descriptor means in a kernel."""
    thing = kernel.opened.get(fd) if isinstance(fd, int) else None
    if isinstance(thing, MapSpec):
        sizes = f"key {thing.key_size}, value {thing.value_size}, entries {thing.max_entries}, flags {thing.flags}"
        return f"map {thing.name} ({thing.kind}, {sizes})"
    return "program" if thing else f"nothing ({fd!r:.20})"


def given(result: Any, kernel: Pretended) -> str:
    """What a loader gave back, in words."""
    if not (isinstance(result, tuple | list) and len(result) == 2 and isinstance(result[1], Mapping)):
        return f"{type(result).__name__}"
    program, maps = result
    named = (f"{name}: {meaning(kernel, fd).split(' (')[0]}" for name, fd in sorted(maps.items()))
    return ", ".join([meaning(kernel, program), *named])


def right(program: Unlinked, room: int) -> list[Any]:
    """What becomes of it in right hands."""
    return Driven(right_load)(program, room)


def load_cases(seed: int) -> list[Case]:
    """Good programs, one that is refused, and a kernel that has room for one map only."""
    made = material()
    counting = made["count_protocols"]
    relicensed = replace(counting, license="Dual BSD/GPL")
    return [
        Case((made["drop_all"], 64)),
        Case((counting, 64)),
        Case((relicensed, 64)),
        Case((made["count_ports"], 64)),
        Case((made["talkative"], 64 + seed)),
        Case((counting, 1)),
    ]


# ------------------------------------------------------------------------------------------------------- judging it
Answer = list[Any]


def form(answer: Answer, program: Unlinked, room: int) -> str | None:
    """A pair, where a program was loaded."""
    how, said = answer[:2]
    if how == LOADED and not said.startswith(("program", "nothing", "map")):
        back = "and gives back" if right(program, room)[0] == LOADED else "where it must raise Refused, and gives back"
        return (
            f"Your function comes to its end {back} {said}. Wanted is (program's descriptor, {{map's name: its own}})."
        )
    return None


def license_shown(answer: Answer, program: Unlinked, room: int) -> str | None:
    """The kernel saw the program's license."""
    if right(program, room)[3] and answer[3] != program.license:
        return (
            f"The kernel was told the license {answer[3]!r}; the file says {program.license!r}. Without a "
            "GPL-compatible one it refuses programs that call certain helpers, trace_printk among them."
        )
    return None


def linked(answer: Answer, program: Unlinked, room: int) -> str | None:
    """The kernel saw the linked program."""
    if answer[4] and program.holes:
        return "You load program.code as the file has it, with nothing in its holes: program.link(fds) fills them."
    return None


ESCAPES = {
    "EINVAL of create_map": "EINVAL: the kernel makes no such map. The parts of a definition have an order: name, "
    "type, size of a key, size of a value, entries, flags.",
    "EINVAL of load": "EINVAL: the kernel takes a log only together with log_level=1; at 0 it would write nothing.",
    "ENOSPC of load": "ENOSPC reaches your caller: the log did not fit into your buffer. Ask again with a larger one.",
    "EACCES of load": "EACCES reaches your caller, who learns nothing from it. Load again with log_level=1 and a "
    "buffer, then raise Refused with what the verifier says.",
    "EBADF of close": "EBADF: you close a descriptor that is not open (any more).",
}
"""Errors that a loader should have dealt with, and what to say when one reaches its caller."""


def escapes(error: str) -> Property:
    """That this error is dealt with."""

    def found(answer: Answer, program: Unlinked, room: int) -> str | None:
        return ESCAPES[error] if answer[0] == error != right(program, room)[0] else None

    return Property(error.lower().replace(" of ", "_"), found)


def log_whole(answer: Answer, program: Unlinked, room: int) -> str | None:
    """All of the log, and nothing else."""
    how, log = right(program, room)[:2]
    if how != REFUSED or answer[0] != REFUSED:
        return None
    if not answer[1]:
        return "You raise Refused without a word of the log: at log_level 0 the verifier says nothing. Load with 1."
    if "\0" in answer[1]:
        return "Behind the log's last word come zero bytes, the rest of your buffer: cut at the first of them."
    if answer[1] != log:
        return f"You give {len(answer[1])} letters of a log of {len(log)}. It ends with the reason: all of it matters."
    return None


def nothing_left(answer: Answer, program: Unlinked, room: int) -> str | None:
    """What is open is what should be."""
    how, _, still, *_ = right(program, room)
    if how == LOADED:
        lost = [one for one in still if one not in answer[2]]
        more = [one for one in answer[2] if one not in still]
        if lost and more:
            return (
                f"In the kernel there is now {more[0]}; wanted was {lost[0]}. The parts of a definition have an order."
            )
        if lost:
            return f"You closed {lost[0].split(' (')[0]}: the program still runs with it, and nobody can read it now."
        return f"Left open beside the program: {more[0]}." if more else None
    if answer[2]:
        count = len(answer[2])
        when = "a refusal" if how == REFUSED else "a map that could not be created"
        return (
            f"After {when}, {count} descriptor{'s' * (count > 1)} of yours stay{'s' * (count == 1)} open "
            f"({answer[2][0].split(' (')[0]} …): close what you opened, whatever goes wrong."
        )
    return None


def told(answer: Answer, program: Unlinked, room: int) -> str | None:
    """The caller gets the descriptors, or the error."""
    how, said, *_ = right(program, room)
    if answer[0] == how and how == LOADED and answer[1] != said:
        return f"You give back {answer[1]}; wanted is {said}."
    if answer[0] != how:
        reason = f": {answer[1][-200:]}" if answer[0] == REFUSED else ""
        return f"It ends as {answer[0]!r}; it should end as {how!r}{reason}"
    return None


LOAD = Exercise(
    names=("program", "room_for_maps"),
    right=right,
    praise="Right in all {cases} cases: what is good is loaded, what is refused is explained, nothing stays behind.",
    mistakes=(),
    properties=(
        Property("wrong_form", form),
        Property("not_linked", linked),
        *map(escapes, ESCAPES),
        Property("no_license", license_shown),
        Property("log", log_whole),
        Property("descriptors", nothing_left),
        Property("told", told),
    ),
    advice={
        "TypeError": ("wrong_call", "a call with other arguments than it takes; see help(labs.loader.Kernel)."),
        "KeyError": ("wrong_name", "a map's name is the first part of its definition."),
        "RecursionError": ("endless", "you ask again and again; only ENOSPC asks for a larger buffer."),
    },
)


def check_load(load: Any, seed: int = 1) -> Verdict:
    """Exercise 6: load(kernel, program) -> (descriptor, {name of map: descriptor}), or Refused, or OSError."""
    cases = load_cases(seed)
    for case in cases:
        right(*case.arguments)  # the verifier's words are known before the student's time runs
    return judge(LOAD, Driven(load) if callable(load) and not inspect.isclass(load) else load, cases)
