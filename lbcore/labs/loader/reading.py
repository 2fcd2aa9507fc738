"""Lab 05, exercises 1 and 2: the sections of an object file, and the program among them.

Rule of this file: specifications, cases and hints, as in lab 01. The specification of a reader is written here, by
struct, as a student would; the tests hold it against lbcore.ebpf.elf, which was written apart from it.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import Any

from lbcore.labs.judge import Case, Exercise, Mistake, Property, Verdict, judge
from lbcore.labs.loader.objects import PROGRAMS, Section, compiled, relaid

MAGIC = b"\x7fELF\x02\x01"
PROGBITS, STRINGS = 1, 3
EXECUTE = 4


def files(seed: int) -> list[bytes]:
    """Objects of the book's compiler, then the same laid out anew."""
    made = [compiled(name).elf for name in PROGRAMS]
    return made + [relaid(one, 10 * seed + i) for i, one in enumerate(made * 2)]


# -------------------------------------------------------------------------------------------- 1: the sections of a file
def entries(
    elf: bytes, *, row: str = "<IIQQQQIIQQ", address: int = 24, names: str = "own", cut: bool = True
) -> list[Section]:
    """The table of sections; ValueError for what is no 64-bit little-endian ELF file.

    For models of mistakes: row: how a header is read; address: where in it the place of the bytes stands; names: which
    table has the names, and how a name is found there ("own", "first", "counted"); cut: whether it ends at a zero byte.
    """
    if elf[:6] != MAGIC:
        raise ValueError("not a 64-bit little-endian ELF file")
    (start,) = struct.unpack_from("<Q", elf, 40)
    count, which = struct.unpack_from("<HH", elf, 60)
    headers = [struct.unpack_from(row, elf, start + 64 * i) for i in range(count)]
    if names == "first":
        which = next(i for i, header in enumerate(headers) if header[1] == STRINGS)
    offset, size = headers[which][4:6]
    table = elf[offset : offset + size]
    listed = table.split(b"\0")

    def name(index: int, at: int) -> str:
        raw = table[at:] if names != "counted" else listed[index] if index < len(listed) else b""
        return (raw.split(b"\0")[0] if cut else raw).decode(errors="replace")

    found = []
    for index, header in enumerate(headers):
        place = header[{16: 3, 24: 4}[address]]
        found.append(Section(name(index, header[0]), header[1], header[2], place, *header[5:8]))
    return found


def section_cases(seed: int) -> list[Case]:
    """Files, and what is none."""
    good = compiled("drop_all").elf
    broken = [b"", b"\x89PNG\r\n\x1a\n" + good, b"\x7fELF\x01\x01" + good[6:], b"\x7fELF\x02\x02" + good[6:]]
    return [Case((one,)) for one in files(seed)] + [Case((one,), "broken") for one in broken]


def listed_well(answer: Any, elf: bytes) -> str | None:
    """Records of a name and six numbers."""
    if not isinstance(answer, list) or not all(isinstance(one, list) and len(one) == 7 for one in answer):
        return "Give back a list of Section(name, type, flags, offset, size, link, info)."
    if any(type(one[0]) is bytes for one in answer):
        return "A name is bytes in your answer; give text: .decode()."
    if not all(type(one[0]) is str and all(type(number) is int for number in one[1:]) for one in answer):
        return "A Section is a name (text), then six whole numbers. struct.unpack gives a tuple even for one number."
    return None


def little_endian(answer: Any, elf: bytes) -> str | None:
    """Numbers that are another's bytes backwards. What the file does hold is right, whatever it is backwards."""
    wanted = entries(elf)
    held = {len(wanted), *(number for one in wanted for number in one[1:])}
    swapped = {int.from_bytes(len(wanted).to_bytes(2, "little"), "big"): len(wanted)}
    swapped |= {int.from_bytes(n.to_bytes(size, "little"), "big"): n for one in wanted for n, size in
                zip(one[1:], (4, 8, 8, 8, 4, 4), strict=True) if n}  # fmt: skip
    for number in [len(answer), *(number for one in answer for number in one[1:])]:
        if number in swapped and number not in held and number > 1 << 7 and swapped[number] < number:
            return f"You read {number:#x}; the same bytes the other way round are {swapped[number]}. Least byte first."
    return None


def counted(answer: Any, elf: bytes) -> str | None:
    """As many as there are."""
    wanted = len(entries(elf))
    if len(answer) != wanted:
        return f"You found {len(answer)} sections; e_shnum, the two bytes at 60, says {wanted}, number 0 included."
    return None


def inside(answer: Any, elf: bytes) -> str | None:
    """Bytes that are in the file."""
    for name, kind, _, offset, size, *_ in answer:
        if kind != 8 and offset + size > len(elf):
            return f"Section {name!r} ends at byte {offset + size} of your reading; the file has {len(elf)}."
    return None


OUT_OF_FILE = (
    'a number that you read leads out of the file. Is every number read least byte first ("<"), at its place and in '
    "its width: e_shoff 8 bytes at 40, e_shnum and e_shstrndx 2 bytes each at 60 and 62?"
)
OUT_OF_LIST = (
    "a number that you read leads out of a list. sh_name is no number of a name, it is a byte's place in the table of "
    "names; e_shstrndx, 2 bytes at 62, is the number of the section that holds the table."
)
SECTIONS = Exercise(
    names=("elf",),
    right=entries,
    praise="Right for {cases} files, also where order, gaps and names were shuffled; what is no such file is refused.",
    mistakes=(
        Mistake(
            "first_missing",
            lambda elf: entries(elf)[1:],
            "Number 0, the empty section, is missing. Others count from it: keep it, so that numbers stay right.",
        ),
        Mistake(
            "counted_names",
            lambda elf: entries(elf, names="counted"),
            "You take the n-th name for section n. sh_name is no number of a name, it is a byte's place in the table; "
            'two sections may even share an ending ("xdp" within ".relxdp").',
        ),
        Mistake(
            "other_names",
            lambda elf: entries(elf, names="first"),
            "You take names from the first table of strings. There may be several; e_shstrndx (at 62) says which.",
        ),
        Mistake(
            "address",
            lambda elf: entries(elf, address=16),
            "Your offsets are sh_addr (at 16), where a section goes in memory; an object's are all 0. The place in the "
            "file is sh_offset, at 24.",
        ),
        Mistake(
            "of_32_bits",
            lambda elf: entries(elf, row="<IIIIIIIIII"),
            "You read headers as 32-bit ELF has them. Here flags, addr, offset and size take 8 bytes each: 4 4 8 8 8 8 "
            "4 4 8 8, 64 in all.",
        ),
        Mistake(
            "endless_name",
            lambda elf: entries(elf, cut=False),
            "Your names run on to the end of the table. A name ends before its zero byte.",
        ),
    ),
    properties=(
        Property("wrong_form", listed_well),
        Property("big_endian", little_endian),
        Property("wrong_count", counted),
        Property("out_of_the_file", inside),
    ),
    advice={
        **dict.fromkeys(("error", "OverflowError"), ("out_of_the_file", OUT_OF_FILE)),
        "IndexError": ("out_of_a_list", OUT_OF_LIST),
    },
    accepted=lambda elf: (
        f"This file starts with {elf[:6].hex(' ') or 'nothing'}; {MAGIC.hex(' ')} is wanted (ELF, 64 "
        "bits, little-endian). Read no further: raise ValueError."
    ),
)


def check_sections(sections: Any, seed: int = 1) -> Verdict:
    """Exercise 1: sections(elf) -> [Section(name, type, flags, offset, size, link, info), ...]."""
    return judge(SECTIONS, sections, section_cases(seed))


# ------------------------------------------------------------------------------------------------- 2: the program in it
def right_program(elf: bytes, sections: Sequence[Section], **flaws: Any) -> tuple[str, bytes, str]:
    """(name of the section, its code, the license); ValueError where there is no code."""
    code = [one for one in sections if one.type == PROGBITS and one.flags & EXECUTE]
    code = code if flaws.get("empty") else [one for one in code if one.size]
    if not code:
        raise ValueError("no section holds code")
    offset, size = code[0].offset, code[0].size
    end = {"size": size, "none": None}.get(flaws.get("end", ""), offset + size)
    text = next((elf[one.offset : one.offset + one.size] for one in sections if one.name == "license"), b"")
    text = text if flaws.get("zero") else text.split(b"\0")[0]
    return code[0].name, elf[offset:end], "" if flaws.get("unlicensed") else text.decode()


def program_cases(seed: int) -> list[Case]:
    """Files of several kinds of programs and licenses; files without a program."""
    made = files(seed)
    made += [relaid(one, seed, rename={"xdp": "tc"}, license="Dual BSD/GPL") for one in made[:3]]
    made += [relaid(made[0], seed + 1, license="")]
    without = [[one for one in entries(elf) if one.name != "xdp"] for elf in made[:2]]
    good = [Case((elf, entries(elf))) for elf in made]
    return good + [Case((elf, rest), "without") for elf, rest in zip(made[:2], without, strict=True)]


def three_parts(answer: Any, elf: bytes, sections: Sequence[Section]) -> str | None:
    """Text, bytes, text."""
    if not (isinstance(answer, list) and len(answer) == 3):
        return "Give back three things: the section's name, its bytes, the license."
    if type(answer[1]) is not bytes:
        return "The code is to be bytes: a slice of `elf`."
    if type(answer[0]) is not str or type(answer[2]) is not str:
        return "The section's name and the license are text: .decode() what you cut from the file."
    return None


def whole_instructions(answer: Any, elf: bytes, sections: Sequence[Section]) -> str | None:
    """Code of whole instructions, as long as its section."""
    name, code, _ = right_program(elf, sections)
    if len(answer[1]) != len(code):
        return f"Your code has {len(answer[1])} bytes, section {name!r} has {len(code)} ({len(code) // 8} slots of 8)."
    return None


def licensed(answer: Any, elf: bytes, sections: Sequence[Section]) -> str | None:
    """The license of the file."""
    wanted = right_program(elf, sections)[2]
    if answer[2] != wanted:
        return f"The license is {answer[2]!r}; the file's is {wanted!r}" + " (it has none)." * (not wanted)
    return None


NOT_FOUND = (
    "not_found",
    "your search came to nothing. Does it look for a certain name? Names differ (xdp, tc, xdp/name, socket): go by "
    "type and flags; and a file may have no license.",
)
PROGRAM = Exercise(
    names=("elf", "sections"),
    right=right_program,
    praise="Right in all {cases} cases: the code, whatever its section is called, and the license beside it.",
    mistakes=(
        Mistake(
            "empty_section",
            lambda elf, sections: right_program(elf, sections, empty=True),
            "You take the first section that may be executed. Compilers leave an empty .text in front: size 0 is no "
            "program.",
        ),
        Mistake(
            "to_the_end",
            lambda elf, sections: right_program(elf, sections, end="none"),
            "You go on to the end of the file: what follows the section is symbols and strings, and the verifier would "
            "read them as instructions. Take `size` bytes.",
        ),
        Mistake(
            "size_is_no_end",
            lambda elf, sections: right_program(elf, sections, end="size"),
            "You cut elf[offset:size]. A size is no end: the end is offset + size.",
        ),
        Mistake(
            "no_license",
            lambda elf, sections: right_program(elf, sections, unlicensed=True),
            "You forgot the license. The kernel lets programs call many of its functions only if it is GPL-compatible, "
            "and it learns so from the text in section `license`.",
        ),
        Mistake(
            "zero_byte",
            lambda elf, sections: right_program(elf, sections, zero=True),
            "Your license ends with a zero byte. In C it is the end of the text, in Python it is a letter more.",
        ),
    ),
    properties=(
        Property("wrong_form", three_parts),
        Property("wrong_length", whole_instructions),
        Property("wrong_license", licensed),
    ),
    advice=dict.fromkeys(("StopIteration", "UnboundLocalError", "IndexError", "KeyError"), NOT_FOUND),
    accepted=lambda *_: (
        "No section of this file holds code (type 1, flag 4, not empty), and you give one back. Raise ValueError."
    ),
)


def check_program(program: Any, seed: int = 1) -> Verdict:
    """Exercise 2: program(elf, sections) -> (name of its section, code, license)."""
    return judge(PROGRAM, program, program_cases(seed))
