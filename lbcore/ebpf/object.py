"""What a BPF object file says, as plain data: programs, maps, and where each instruction came from.

Rule of this file: no reading (`elf`, `btf`) and no system calls (`kernel`). Everything is frozen: an object can be read
once and loaded many times, into the kernel and into the book's machine.

Theory. An object file is the work of a compiler that does not know the machine on which the program will run. Maps do
not exist yet, so code that uses one has a hole, and a relocation says whose address belongs there. A loader creates
the maps and fills the holes; that is most of its work.

Trap. "Instruction" is everywhere a slot number (see `isa`): the kernel counts slots, and a wide load takes two.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property

from lbcore.ebpf.assembler import disassemble

PROGRAM_READS_ONLY = 1 << 7
"""The flag BPF_F_RDONLY_PROG of a map: programs may not write it, so the verifier may take its values as constants."""


class BadObject(ValueError):
    """An object file that cannot be used: which `section`, which `field` of it, what `value` stands there, and why."""

    def __init__(self, section: str, field: str, value: object, why: str) -> None:
        self.section, self.field, self.value, self.why = section, field, value, why
        super().__init__(f"section {section}: {field} is {value!r:.200}: {why}")


@dataclass(frozen=True, slots=True)
class Line:
    """From slot `instruction` on, code comes from this line of the source (until the next Line).

    line 0, with an empty text: the compiler made this code for no line in particular.
    """

    instruction: int
    file: str
    line: int
    text: str
    column: int = 0


@dataclass(frozen=True, slots=True)
class Relocation:
    """The wide load in slot `instruction` wants the address of `symbol`.

    kind "map": a map; "data": a place in the value of the map that holds a data section (the offset is in the load's
    next_imm); "kernel": something of the kernel's that the object declares extern (here the slot may hold a call), and
    "setting": how the kernel was configured (`settings`). optional: it may be missing (declared weak).
    """

    instruction: int
    symbol: str
    kind: str = "map"
    optional: bool = False


@dataclass(frozen=True, slots=True)
class Setting:
    """A variable that is to have a value of the kernel's configuration. kind: of `settings.KINDS`; size in bytes."""

    name: str
    kind: str
    size: int
    signed: bool = False


@dataclass(frozen=True, slots=True)
class CoreRelocation:
    """A CO-RE relocation: the instruction depends on the layout of the running kernel's types.

    type: id of the root type in the object's BTF; access: path from there, as "0:1:2"; kind: number of
    enum bpf_core_relo_kind (0: byte offset of a field).
    """

    instruction: int
    type: int
    access: str
    kind: int


@dataclass(frozen=True, slots=True)
class Function:
    """A function of a program starts in slot `instruction`; `type` is its id in the object's BTF (0: unknown)."""

    instruction: int
    name: str
    type: int = 0


@dataclass(frozen=True)
class Program:
    """One program with every function it calls behind it: local calls are resolved, maps are not.

    kind: "xdp", "tc", "socket", ... (`sections`), or "" when the section's name tells nothing.
    """

    name: str
    section: str
    kind: str
    code: bytes
    relocations: tuple[Relocation, ...] = ()
    lines: tuple[Line, ...] = ()
    functions: tuple[Function, ...] = ()
    core: tuple[CoreRelocation, ...] = ()

    def line_of(self, instruction: int) -> Line | None:
        """The source line of a slot; None if the compiler left no word about it."""
        before = (line for line in self.lines if line.instruction <= instruction and line.line)
        return max(before, default=None, key=lambda line: line.instruction)


@dataclass(frozen=True)
class MapSpec:
    """A map to be created. kind as in `storage`; sizes in bytes; key_type and value_type: ids in the object's BTF or 0.

    content: what the only value of a data section's map starts with; inner: what a map of maps holds;
    entries: (index, name of the map or program) that a map of maps or programs is to start with;
    pinned: whether the object wants it found by its name in the BPF file system.
    """

    name: str
    kind: str
    key_size: int
    value_size: int
    max_entries: int
    flags: int = 0
    key_type: int = 0
    value_type: int = 0
    content: bytes = b""
    inner: MapSpec | None = None
    entries: tuple[tuple[int, str], ...] = ()
    pinned: bool = False


@dataclass(frozen=True)
class Object:
    """An object file: its bytes, and what they mean.

    btf: the contents of section .BTF, ready for the kernel, or empty; data_sections: .rodata, .data, .bss, by name;
    settings: what programs ask of the kernel's configuration.
    """

    elf: bytes = field(repr=False)
    programs: tuple[Program, ...]
    maps: tuple[MapSpec, ...] = ()
    license: str = ""
    btf: bytes = field(default=b"", repr=False)
    data_sections: Mapping[str, bytes] = field(default_factory=dict, repr=False)
    settings: tuple[Setting, ...] = ()

    @property
    def program(self) -> Program:
        """The only program; ValueError where there are several, or none."""
        if len(self.programs) != 1:
            names = ", ".join(program.name for program in self.programs) or "none"
            raise ValueError(f"an object with one program was expected; this one has: {names}")
        return self.programs[0]

    @property
    def code(self) -> bytes:
        """The only program's instructions; wide loads that want a map's address still want it."""
        return self.program.code

    @cached_property
    def assembly(self) -> str:
        """Every program, disassembled, under its name."""
        return "\n".join(line for program in self.programs for line in (f"{program.name}:", *disassemble(program.code)))
