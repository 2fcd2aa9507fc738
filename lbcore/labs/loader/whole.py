"""Lab 05, all of it together: a file goes in, a program is loaded, packets are judged; here and in the kernel.

Rule of this file: it puts the student's functions one behind the other; what each should do is told elsewhere.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from lbcore.ebpf import isa
from lbcore.ebpf.machine import Machine
from lbcore.ebpf.maps_kernel import possible_cpus
from lbcore.ebpf.object import MapSpec
from lbcore.ebpf.storage import Map
from lbcore.labs.judge import RIGHT, Verdict
from lbcore.labs.loader.kernels import Pretended, Real, Unlinked
from lbcore.labs.loader.linking import symbols_of
from lbcore.labs.loader.loading import Refused, material, right, unlinked
from lbcore.labs.loader.mending import SAMPLES, right_blame
from lbcore.labs.loader.objects import Section, compiled, relaid, types
from lbcore.labs.loader.verifying import judged
from lbcore.labs.sandbox import Outcome, run
from lbcore.measure.table import Table
from lbcore.testbed.capabilities import machine

COUNTERS = "protocols"
UDP = 17
Functions = tuple[Callable[..., Any], ...]


def chain(functions: Functions) -> Callable[[bytes], Any]:
    """A loader of the student's parts: from a file to what the kernel holds."""
    sections, program, maps, holes, patch, load = functions

    def whole(elf: bytes) -> Any:
        table = [Section(*one) for one in sections(elf)]
        name, code, license = program(elf, table)
        found = holes(elf, table, symbols_of(elf), [one.name for one in table].index(name))
        kernel = Pretended(judged)
        fd, fds = load(kernel, Unlinked(code, license, tuple(maps(types(elf))), tuple(found), patch))
        named = {fd: one.name for fd, one in kernel.opened.items() if isinstance(one, MapSpec)}
        return kernel.opened[fd], list(named.items()), sorted(fds)

    return whole


def check_whole(*functions: Any, seed: int = 1) -> Verdict:
    """sections, program, maps, holes, patch, load: whether they load a file that was laid out anew, and it counts."""
    if len(functions) != 6 or not all(map(callable, functions)):
        return Verdict("six_functions", "Give all six functions: sections, program, maps, holes, patch, load.")
    source = compiled("count_protocols")
    right(unlinked(source), 64)  # the verifier's words are known before the student's time runs
    outcome = run(chain(functions), [(relaid(source.elf, seed),)])[0]
    if outcome.kind != "answer":
        why = f"The chain stops: {ending(outcome)}. The checkers above say which part is not right yet."
        return Verdict("stub" if outcome.kind == "stub" else "chain_broken", why)
    code, named, names = outcome.value
    if type(code) is not bytes or names != sorted(one.name for one in source.maps):
        return Verdict("chain_broken", "What was loaded is not the program with its maps; see the checkers above.")
    maps = {spec.name: Map(spec.kind, spec.key_size, spec.value_size, spec.max_entries) for spec in source.maps}
    running = Machine(renumbered(code, dict(named), list(maps)), list(maps.values()))
    for sample in SAMPLES:
        running.run(sample.frame)
    reference = counted()
    mine = maps[COUNTERS].as_array("<u8").tolist()
    if mine != reference:
        return Verdict("counts_differ", f"It runs, but counts {mine[UDP]} UDP packets of {reference[UDP]}.")
    text = f"Your loader took a compiled file apart and loaded it. {len(SAMPLES)} packets later its counters say: "
    return Verdict(RIGHT, text + ", ".join(f"protocol {i}: {n}" for i, n in enumerate(mine) if n) + ".")


def ending(outcome: Outcome) -> str:
    """Why there was no answer."""
    return f"{outcome.value or ''} {outcome.note}".strip() or outcome.kind


def renumbered(code: bytes, named: dict[int, str], order: list[str]) -> bytes:
    """Code whose wide loads hold descriptors, with the places of the maps in `order` instead."""
    made = bytearray(code)
    instructions = isa.decode(code)
    for slot, one in zip(isa.slots(instructions), instructions, strict=False):
        if one.wide and one.src == isa.MAP_FD:
            at = slot * isa.SLOT + 4
            made[at : at + 4] = order.index(named[one.low]).to_bytes(4, "little")
    return bytes(made)


def counted() -> list[int]:
    """What the library's own road to the machine counts."""
    source = compiled("count_protocols")
    maps = {spec.name: Map(spec.kind, spec.key_size, spec.value_size, spec.max_entries) for spec in source.maps}
    running = Machine(source.program, maps)
    for sample in SAMPLES:
        running.run(sample.frame)
    counters: list[int] = maps[COUNTERS].as_array("<u8").tolist()
    return counters


# --------------------------------------------------------------------------------------------------- in the kernel
def in_kernel(load: Any) -> Any:
    """The same function with the kernel below us: counters of a good program, and the log of one that is refused."""
    here = machine()
    if here.tier < 2:
        why = f"This machine has tier {here.tier}: {here['BPF'].why}."
        return Verdict("no_kernel", f"{why} The pretended kernel has shown what there is to see.")
    right(material()["count_ports"], 64)
    outcomes = run(kernel_driver(load), [(name,) for name in ("count_protocols", "count_ports")])
    if len(outcomes) < 2 or any(one.kind != "answer" for one in outcomes):
        return Verdict("chain_broken", f"It did not come to an end: {ending(outcomes[-1])}. See the checker above.")
    (how, counters, _), (refused, _, log) = (one.value for one in outcomes)
    reference, ours = counted(), right(material()["count_ports"], 64)[1]
    rows: list[tuple[object, ...]] = [("count_protocols", "loaded", how)]
    rows += [
        (f"packets of protocol {i}", reference[i], seen) for i, seen in enumerate(counters) if seen or reference[i]
    ]
    rows.append(("count_ports", "refused", refused))
    (slot, _, why), (at, _, because) = (right_blame(text or "0: (00)\nno log", [(0, 0)]) for text in (ours, log))
    rows += [("the last instruction", slot, at), ("the reason", why, because)]
    return Table(("", "the book's machine", f"the kernel below ({here['kernel'].why})"), tuple(rows))


def kernel_driver(load: Callable[..., Any]) -> Callable[[str], Any]:
    """Loads a program into the kernel by the student's `load`, shows it the samples, and reads its counters."""

    def drive(name: str) -> Any:
        kernel = Real()
        try:
            fd, fds = load(kernel, material()[name])
        except Refused as error:
            return "refused", [], error.log
        for sample in SAMPLES:
            kernel.run(fd, sample.frame)
        counters = []
        for key in range(256):
            value = kernel.value(fds[COUNTERS], key.to_bytes(4, "little"), 8 * possible_cpus())
            counters.append(sum(int.from_bytes(value[i : i + 8], "little") for i in range(0, len(value), 8)))
        return "loaded", counters, ""

    return drive
