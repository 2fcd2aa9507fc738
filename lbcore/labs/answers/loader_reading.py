"""Lab 05, exercises 1 and 2: answers that must pass, and mistakes with the key of the hint each must get.

Rule of this file: no answer shares code with the checker, which has its own models of the mistakes. What the lab gives
its students (`Section`) is used as they would use it.
"""

# mypy: ignore-errors

import struct
from contextlib import suppress
from itertools import count, takewhile

import numpy as np

from lbcore.ebpf import elf_file
from lbcore.labs.answers import Answers
from lbcore.labs.loader import Section

ANSWERS = Answers()
RIGHT, WRONG, right, wrong = ANSWERS.RIGHT, ANSWERS.WRONG, ANSWERS.right, ANSWERS.wrong


# -------------------------------------------------------------------------------------------------- 1: sections
@right("sections")
def sections_plain(elf):
    if elf[:6] != b"\x7fELF\x02\x01":
        raise ValueError("no ELF file")
    start = struct.unpack("<Q", elf[40:48])[0]
    number, where = struct.unpack("<HH", elf[60:64])
    rows = [struct.unpack("<IIQQQQIIQQ", elf[start + 64 * i : start + 64 * i + 64]) for i in range(number)]
    names = elf[rows[where][4] : rows[where][4] + rows[where][5]]
    found = []
    for at, kind, flags, _, offset, size, link, info, _, _ in rows:
        found.append(Section(names[at : names.index(b"\0", at)].decode(), kind, flags, offset, size, link, info))
    return found


@right("sections")
def sections_by_the_byte(elf):
    def number(at, size):
        return int.from_bytes(elf[at : at + size], "little")

    if len(elf) < 64 or number(0, 4) != 0x464C457F or elf[4] != 2 or elf[5] != 1:
        raise ValueError
    heads = [number(40, 8) + 64 * i for i in range(number(60, 2))]
    names = number(heads[number(62, 2)] + 24, 8)

    def text(at):
        return bytes(takewhile(bool, (elf[i] for i in count(at)))).decode()

    fields = ((4, 4), (8, 8), (24, 8), (32, 8), (40, 4), (44, 4))
    return [[text(names + number(head, 4)), *(number(head + at, size) for at, size in fields)] for head in heads]


@right("sections")
def sections_by_numpy(elf):
    if not elf.startswith(b"\x7fELF\x02\x01"):
        raise ValueError("what is this?")
    header = np.dtype("<u4,<u4,<u8,<u8,<u8,<u8,<u4,<u4,<u8,<u8")
    start, total = int.from_bytes(elf[40:48], "little"), int.from_bytes(elf[60:62], "little")
    table = np.frombuffer(elf, header, total, start)
    names = elf[int(table[int.from_bytes(elf[62:64], "little")][4]) :]
    return [(names[int(r[0]) :].split(b"\0", 1)[0].decode(), *(int(r[i]) for i in (1, 2, 4, 5, 6, 7))) for r in table]


def read_sections(elf, head="<Q", pair="<HH", row="<IIQQQQIIQQ", place=4, first=0, check=True):
    if check and elf[:6] != b"\x7fELF\x02\x01":
        raise ValueError("no ELF file")
    start = struct.unpack_from(head, elf, 40)[0]
    number, where = struct.unpack_from(pair, elf, 60)
    rows = [struct.unpack_from(row, elf, start + 64 * i) for i in range(number)]
    names = elf[rows[where][4] :][: rows[where][5]]
    return [(names[r[0] :].split(b"\0")[0].decode(), r[1], r[2], r[place], *r[5:8]) for r in rows[first:]]


@wrong("sections", "out_of_the_file")
def sections_big_endian(elf):
    return read_sections(elf, ">Q", ">HH", ">IIQQQQIIQQ")


@wrong("sections", "big_endian")
def sections_big_endian_rows(elf):
    if elf[:6] != b"\x7fELF\x02\x01":
        raise ValueError
    start, (number, _) = struct.unpack_from("<Q", elf, 40)[0], struct.unpack_from("<HH", elf, 60)
    rows = [struct.unpack_from(">IIQQQQIIQQ", elf, start + 64 * i) for i in range(number)]
    return [("", r[1], r[2], *r[4:8]) for r in rows]


@wrong("sections", "big_endian")
def sections_big_endian_count(elf):
    return read_sections(elf)[:1] * int.from_bytes(elf[60:62], "big")


@wrong("sections", "of_32_bits")
def sections_of_32_bits(elf):
    return read_sections(elf, head="<I", row="<IIIIIIIIII", place=4)


@wrong("sections", "out_of_a_list")
def sections_numbered_names(elf):
    start, (number, where) = int.from_bytes(elf[40:48], "little"), struct.unpack_from("<HH", elf, 60)
    rows = [struct.unpack_from("<IIQQQQIIQQ", elf, start + 64 * i) for i in range(number)]
    names = elf[rows[where][4] : rows[where][4] + rows[where][5]].split(b"\0")
    return [(names[r[0]].decode(), r[1], r[2], *r[4:8]) for r in rows]


@wrong("sections", "address")
def sections_address(elf):
    return read_sections(elf, place=3)


@wrong("sections", "first_missing")
def sections_from_one(elf):
    return read_sections(elf, first=1)


@wrong("sections", "accepted")
def sections_any_file(elf):
    return read_sections(elf, check=False) if len(elf) > 64 and elf[4] == 2 and elf[0] == 0x7F else []


@wrong("sections", "counted_names")
def sections_counted_names(elf):
    good = sections_plain(elf)
    where = int.from_bytes(elf[62:64], "little")
    names = elf[good[where].offset :][: good[where].size].split(b"\0")
    return [(names[i].decode() if i < len(names) else "", *one[1:]) for i, one in enumerate(good)]


@wrong("sections", "other_names")
def sections_first_strings(elf):
    good = sections_plain(elf)
    start = int.from_bytes(elf[40:48], "little")
    table = next(one for one in good if one.type == 3)
    names = elf[table.offset : table.offset + table.size]
    places = [int.from_bytes(elf[start + 64 * i :][:4], "little") for i in range(len(good))]
    return [(names[p:].split(b"\0")[0].decode(), *one[1:]) for p, one in zip(places, good, strict=True)]


@wrong("sections", "endless_name")
def sections_uncut(elf):
    good = sections_plain(elf)
    names = good[int.from_bytes(elf[62:64], "little")]
    start = int.from_bytes(elf[40:48], "little")
    places = [int.from_bytes(elf[start + 64 * i :][:4], "little") for i in range(len(good))]
    end = names.offset + names.size
    return [(elf[names.offset + p : end].decode(), *one[1:]) for p, one in zip(places, good, strict=True)]


@wrong("sections", "wrong_form")
def sections_names_as_bytes(elf):
    return [(one.name.encode(), *one[1:]) for one in sections_plain(elf)]


@wrong("sections", "wrong_form")
def sections_names_only(elf):
    return [one.name for one in sections_plain(elf)]


@wrong("sections", "out_of_the_file")
def sections_size_is_end(elf):
    return [one._replace(size=one.offset + one.size + 5000) for one in sections_plain(elf)]


@wrong("sections", "raised")
def sections_asserts(elf):
    assert not elf, "not today"


# --------------------------------------------------------------------------------------------------- 2: program
@right("program")
def program_plain(elf, sections):
    license = ""
    found = None
    for one in sections:
        if one.name == "license":
            license = elf[one.offset : one.offset + one.size - 1].decode()
        if one.type == 1 and one.flags & 4 and one.size > 0 and found is None:
            found = one
    if found is None:
        raise ValueError("no program")
    return found.name, elf[found.offset : found.offset + found.size], license


@right("program")
def program_library(elf, sections):
    known = {one.name for one in sections}
    file = elf_file.parse(elf)
    code = [one for one in file.sections if one.name in known and one.flags & elf_file.EXECUTE and one.data]
    if not code:
        raise ValueError(f"{len(known)} sections, none with code")
    license = file.section("license")
    return [code[0].name, code[0].data, license.data.rstrip(b"\0").decode() if license else ""]


def cut(elf, one, end=None):
    return elf[one.offset : one.offset + one.size if end is None else end]


def is_code(one):
    return one.type == 1 and one.flags & 4


def license_of(elf, sections):
    return "".join(cut(elf, one).decode().strip("\0") for one in sections if one.name == "license")


@wrong("program", "empty_section")
def program_first(elf, sections):
    one = next((one for one in sections if is_code(one)), None)
    if not one:
        raise ValueError
    return one.name, cut(elf, one), license_of(elf, sections)


@wrong("program", "to_the_end")
def program_to_the_end(elf, sections):
    name, _, license = program_plain(elf, sections)
    return name, elf[next(one.offset for one in sections if one.name == name) :], license


@wrong("program", "size_is_no_end")
def program_size_is_end(elf, sections):
    name, _, license = program_plain(elf, sections)
    one = next(one for one in sections if one.name == name)
    return name, elf[one.offset : one.size], license


@wrong("program", "wrong_length")
def program_one_slot_less(elf, sections):
    name, code, license = program_plain(elf, sections)
    return name, code[:-8], license


@wrong("program", "no_license")
def program_unlicensed(elf, sections):
    return *program_plain(elf, sections)[:2], ""


@wrong("program", "wrong_license")
def program_always_gpl(elf, sections):
    return *program_plain(elf, sections)[:2], "GPL"


@wrong("program", "zero_byte")
def program_zero_byte(elf, sections):
    text = [cut(elf, one).decode() for one in sections if one.name == "license"]
    return *program_plain(elf, sections)[:2], text[0] if text else ""


@wrong("program", "wrong_form")
def program_license_as_bytes(elf, sections):
    name, code, license = program_plain(elf, sections)
    return name, code, license.encode()


@wrong("program", "wrong_form")
def program_code_only(elf, sections):
    return program_plain(elf, sections)[1]


@wrong("program", "not_found")
def program_by_name(elf, sections):
    one = next(one for one in sections if one.name == "xdp")
    return one.name, cut(elf, one), license_of(elf, sections)


@wrong("program", "accepted")
def program_always_one(elf, sections):
    with suppress(ValueError):
        return program_plain(elf, sections)
    return "", b"", ""
