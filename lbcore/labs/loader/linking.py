"""Lab 05, exercises 4 and 5: where the code wants a map's descriptor, and putting it there.

Rule of this file: specifications, cases and hints.

Theory. Two records meet here. A relocation (16 bytes) says at which byte of a section which symbol is wanted; a wide
load (two slots of 8 bytes) has room for 64 bits, and the number in its source register says what they mean: 0 a
number, 1 (BPF_PSEUDO_MAP_FD) a map's descriptor in the first slot's immediate (RFC 9669, section 5.4).
"""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from random import Random
from typing import Any

from lbcore.ebpf import elf_file, isa
from lbcore.ebpf.isa import SLOT, Instruction
from lbcore.labs.judge import Case, Exercise, Mistake, Property, Verdict, judge
from lbcore.labs.loader.objects import Section, compiled
from lbcore.labs.loader.reading import entries, files, right_program

PSEUDO_MAP_FD = isa.MAP_FD
PARTS = ("opcode", "registers", "offset", "offset", *("immediate",) * 4)
"""What each byte of a slot is."""


# ---------------------------------------------------------------------------------------------- 4: what is left open
def symbols_of(elf: bytes) -> list[str]:
    """The names of an object's symbols, by number."""
    return [symbol.name for symbol in elf_file.parse(elf).symbols]


def right_holes(
    elf: bytes, sections: Sequence[Section], symbols: Sequence[str], number: int, **flaws: Any
) -> list[tuple[int, str]]:
    """(slot, name) of every relocation of section `number`, in the file's order.

    For models of mistakes: owner: which field names the section ("info", "link", or "" for the first table there is);
    unit: bytes a slot; symbol: how r_info is read.
    """
    owner, unit = flaws.get("owner", "info"), flaws.get("unit", SLOT)
    symbol = flaws.get("symbol", lambda info: info >> 32)
    tables = [one for one in sections if one.type == elf_file.REL and (not owner or getattr(one, owner) == number)]
    found = []
    for table in tables[:1]:
        for offset, info in struct.iter_unpack("<QQ", elf[table.offset : table.offset + table.size]):
            place = symbol(info)
            found.append((offset // unit, symbols[place] if place < len(symbols) else "?"))
    return found


def hole_cases(seed: int) -> list[Case]:
    """The files of exercise 2, each with the number of its program's section."""
    cases = []
    for elf in files(seed):
        sections = entries(elf)
        number = [one.name for one in sections].index(right_program(elf, sections)[0])
        cases.append(Case((elf, sections, symbols_of(elf), number)))
    return cases


def by_instruction(
    elf: bytes, sections: Sequence[Section], symbols: Sequence[str], number: int
) -> list[tuple[int, str]]:
    """A mistake: instructions counted, though wide loads take two slots."""
    place = sections[number]
    slots = isa.slots(isa.decode(elf[place.offset : place.offset + place.size]))
    return [(slots.index(slot), name) for slot, name in right_holes(elf, sections, symbols, number)]


def pairs(answer: Any, *given: Any) -> str | None:
    """Whole numbers and names."""
    if not isinstance(answer, list) or not all(isinstance(one, list) and len(one) == 2 for one in answer):
        return "Give back a list of pairs (slot, name)."
    if not all(type(slot) is int and type(name) is str for slot, name in answer):
        return "A pair is a whole number (// keeps it whole, / does not) and a symbol's name, `symbols[...]`."
    return None


RECORD = "a record has 16 bytes, two numbers of 8; the table is as long as its size says."


def in_step(answer: Any, elf: bytes, sections: Sequence[Section], symbols: Sequence[str], number: int) -> str | None:
    """No r_info where an r_offset was wanted, as a reader of longer or shorter records meets it."""
    table = next((one for one in sections if one.type == elf_file.REL and one.info == number), None)
    raw = elf[table.offset : table.offset + table.size] if table else b""
    infos = {info // SLOT for _, info in struct.iter_unpack("<QQ", raw)}
    if any(slot in infos and slot >= sections[number].size // SLOT for slot, _ in answer):
        return f"You take an r_info for an r_offset: {RECORD}"
    return None


def places(answer: Any, elf: bytes, sections: Sequence[Section], symbols: Sequence[str], number: int) -> str | None:
    """As many as there are, all in the program."""
    wanted, slots = len(right_holes(elf, sections, symbols, number)), sections[number].size // SLOT
    outside = next((slot for slot, _ in answer if slot >= slots), None)
    if outside is not None:
        return f"Slot {outside} is not in the program, which has {slots} slots."
    if len(answer) != wanted:
        return f"You found {len(answer)} places, the table of section {number} lists {wanted}."
    return None


HOLES = Exercise(
    names=("elf", "sections", "symbols", "number"),
    right=right_holes,
    praise="Right: every place in {cases} programs that wants a map, and which one.",
    mistakes=(
        Mistake(
            "bytes_not_slots",
            lambda *given: right_holes(*given, unit=1),
            "r_offset counts bytes; a slot has 8 of them. You give the byte.",
        ),
        Mistake(
            "instructions_not_slots",
            by_instruction,
            "You count instructions. A wide load is one instruction and two slots, and everything here counts slots: "
            "jumps, relocations, the verifier's log.",
        ),
        Mistake(
            "type_not_symbol",
            lambda *given: right_holes(*given, symbol=lambda info: info & 0xFFFFFFFF),
            "You take the low half of r_info, which is the type of the relocation (1, R_BPF_64_64). The symbol's "
            "number is the high half.",
        ),
        Mistake(
            "half_of_32_bits",
            lambda *given: right_holes(*given, symbol=lambda info: info >> 8),
            "You shift r_info by 8, as 32-bit ELF has it. Here it has 64 bits: the symbol is info >> 32.",
        ),
        Mistake(
            "another_table",
            lambda *given: right_holes(*given, owner=""),
            "You read the first table of relocations there is. Each is about one section, and sh_info says which: the "
            "types have one too, and lines.",
        ),
        Mistake(
            "link_not_info",
            lambda *given: right_holes(*given, owner="link"),
            "You compare sh_link, which names the table of symbols. The section that a table is about is in sh_info.",
        ),
    ),
    properties=(Property("wrong_form", pairs), Property("wrong_record", in_step), Property("wrong_form", places)),
    advice={
        "error": ("wrong_record", RECORD),
        "IndexError": ("no_such_symbol", "a symbol's number is info >> 32; the other half is the relocation's type."),
        "StopIteration": ("no_table", "a program without maps has no relocations: the list is empty."),
    },
)  # fmt: skip


def check_holes(holes: Any, seed: int = 1) -> Verdict:
    """Exercise 4: holes(elf, sections, symbols, number) -> [(slot, name), ...]."""
    return judge(HOLES, holes, hole_cases(seed))


# -------------------------------------------------------------------------------------------------- 5: filling it in
def right_patch(code: bytes, holes: Sequence[tuple[int, str]], fds: Mapping[str, int], **flaws: Any) -> bytes:
    """The code with descriptors in its wide loads.

    For models of mistakes: pseudo: whether the source register is set; keep: whether the other register stays;
    at: where in the slot the descriptor goes; unit: bytes a slot; order: of the descriptor's bytes; turn: whether
    descriptors are dealt in turn, not by name.
    """
    patched, unit = bytearray(code), flaws.get("unit", SLOT)
    numbers = list(fds.values())
    for count, (slot, name) in enumerate(holes):
        start = slot * unit
        if flaws.get("pseudo", True):
            patched[start + 1] = PSEUDO_MAP_FD << 4 | (patched[start + 1] & 15 if flaws.get("keep", True) else 0)
        fd = numbers[count % len(numbers)] if flaws.get("turn") else fds[name]
        at = start + flaws.get("at", 4)
        patched[at : at + 4] = fd.to_bytes(4, flaws.get("order", "little"))
    return bytes(patched)


def patch_cases(seed: int) -> list[Case]:
    """Programs as their files have them, then drawn ones whose wide loads go to all registers."""
    rng = Random(seed)
    cases = []
    for name in ("drop_all", "count_protocols", "block_list"):
        elf = compiled(name).elf
        sections = entries(elf)
        _, code, _ = right_program(elf, sections)
        number = [one.name for one in sections].index("xdp")
        holes = right_holes(elf, sections, symbols_of(elf), number)
        cases.append(Case((code, holes, numbered(rng, [one.name for one in compiled(name).maps]))))
    return cases + [Case(drawn(rng)) for _ in range(5)]


def numbered(rng: Random, names: Sequence[str]) -> dict[str, int]:
    """Descriptors, some of more than one byte, in an order that is not the names'."""
    numbers = rng.sample([3, 4, 5, 6, 7, 8, 9, 258, 300, 515], len(names))
    return dict(zip(rng.sample(names, len(names)), numbers, strict=True))


def drawn(rng: Random) -> tuple[bytes, list[tuple[int, str]], dict[str, int]]:
    """A program of moves and wide loads, some of which want a map."""
    names = [f"map{i}" for i in range(rng.randrange(2, 5))]
    made, holes, slot = list[Instruction](), [], 0
    for _ in range(12):
        wide = Instruction(isa.LDDW, dst=rng.randrange(10), imm=rng.choice([0, rng.getrandbits(64)]))
        move = Instruction(isa.ALU64 | isa.MOV | isa.K, dst=rng.randrange(10), imm=rng.randrange(1 << 30))
        made.append(rng.choice([wide, move]))
        if made[-1].wide and not made[-1].imm:
            holes.append((slot, rng.choice(names)))
        slot += made[-1].slots
    return isa.encode(made), holes, numbered(rng, names)


def whole(answer: Any, code: bytes, holes: Sequence[tuple[int, str]], fds: Mapping[str, int]) -> str | None:
    """Bytes, as many as before."""
    if type(answer) is not bytes:
        return "Give back the patched code as bytes (a bytearray will do)."
    if len(answer) != len(code):
        return f"Your code has {len(answer)} bytes, it had {len(code)}: patching replaces bytes, it adds none."
    return None


def parting(got: Any, wanted: Any) -> str:
    """Where two programs part."""
    if type(got) is not bytes or len(got) != len(wanted):
        return ""
    at = next(i for i in range(len(got)) if got[i] != wanted[i])
    where = f"slot {at // SLOT}, byte {at % SLOT} ({PARTS[at % SLOT]})"
    return f"first difference in {where}: right {wanted[at]:02x}, yours {got[at]:02x}"


PATCH = Exercise(
    names=("code", "holes", "fds"),
    right=right_patch,
    praise="Right in all {cases} programs, byte for byte.",
    mistakes=(
        Mistake(
            "not_a_map",
            lambda *given: right_patch(*given, pseudo=False),
            "The descriptor is in its place, but the load still says that it is a plain number: 3, say, and the "
            "verifier will tell you that r1 is a scalar where a map is wanted. The source register (the high half of "
            "byte 1) must be 1, BPF_PSEUDO_MAP_FD.",
        ),
        Mistake(
            "register_lost",
            lambda *given: right_patch(*given, keep=False),
            "You overwrite byte 1 whole, and with it the number of the register that is loaded, its low half. Keep "
            "that half: byte | 0x10.",
        ),
        Mistake(
            "bytes_not_slots",
            lambda *given: right_patch(*given, unit=1),
            "You take the slot's number for a byte's. A slot has 8 bytes: it starts at slot * 8.",
        ),
        Mistake(
            "second_slot",
            lambda *given: right_patch(*given, at=12),
            "You write the descriptor to the second slot, the high half of the 64 bits. It belongs to the first slot.",
        ),
        Mistake(
            "big_endian",
            lambda *given: right_patch(*given, order="big"),
            "Your descriptor's bytes are the wrong way round: least byte first.",
        ),
        Mistake(
            "in_turn",
            lambda *given: right_patch(*given, turn=True),
            "You deal descriptors out in turn. A map may be wanted in many places: fds[name], by the hole's name.",
        ),
    ),
    properties=(Property("wrong_form", whole),),
    advice={
        "TypeError": ("bytes_are_fixed", "bytes cannot be changed: work on a bytearray of them."),
        "error": ("wrong_width", "a descriptor takes four bytes (\"<i\"), 4 behind the start of its slot."),
        "OverflowError": ("wrong_width", "a descriptor takes four bytes, 4 behind the start of its slot."),
        "IndexError": ("wrong_unit", "that byte is not in the code. A slot has 8 bytes: slot * 8."),
    },
    difference=parting,
)  # fmt: skip


def check_patch(patch: Any, seed: int = 1) -> Verdict:
    """Exercise 5: patch(code, holes, fds) -> bytes."""
    return judge(PATCH, patch, patch_cases(seed))
