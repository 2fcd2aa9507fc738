"""Lab 05, exercises 4 and 5: answers that must pass, and mistakes with the key of the hint each must get.

Rule of this file: no answer shares code with the checker, which has its own models of the mistakes.
"""

# mypy: ignore-errors

import struct

from lbcore.ebpf import elf_file
from lbcore.labs.answers import Answers

ANSWERS = Answers()
RIGHT, WRONG, right, wrong = ANSWERS.RIGHT, ANSWERS.WRONG, ANSWERS.right, ANSWERS.wrong


# ----------------------------------------------------------------------------------------------------- 4: holes
@right("holes")
def holes_plain(elf, sections, symbols, number):
    found = []
    for one in sections:
        if one.type == 9 and one.info == number:
            for at in range(one.offset, one.offset + one.size, 16):
                offset, info = struct.unpack("<QQ", elf[at : at + 16])
                found.append((offset // 8, symbols[info >> 32]))
    return found


@right("holes")
def holes_by_halves(elf, sections, symbols, number):
    table = [elf[s.offset : s.offset + s.size] for s in sections if (s.type, s.info) == (9, number)]
    words = struct.iter_unpack("<IIII", b"".join(table))
    return [[low >> 3, symbols[symbol]] for low, _, _, symbol in words]


@right("holes")
def holes_library(elf, sections, symbols, number):
    file = elf_file.parse(elf)
    return [(one.offset // 8, one.symbol.name) for one in file.relocations(file.sections[number])]


def records(elf, one):
    return list(struct.iter_unpack("<QQ", elf[one.offset : one.offset + one.size]))


@wrong("holes", "bytes_not_slots")
def holes_bytes(elf, sections, symbols, number):
    return [(8 * slot, name) for slot, name in holes_plain(elf, sections, symbols, number)]


@wrong("holes", "instructions_not_slots")
def holes_instructions(elf, sections, symbols, number):
    place, found = sections[number], []
    for slot, name in holes_plain(elf, sections, symbols, number):
        before, at = 0, 0
        while at < slot:
            at += 2 if elf[place.offset + 8 * at] == 0x18 else 1
            before += 1
        found.append((before, name))
    return found


@wrong("holes", "type_not_symbol")
def holes_low_half(elf, sections, symbols, number):
    tables = [one for one in sections if one.type == 9 and one.info == number]
    return [(at // 8, symbols[info & 0xFFFFFFFF]) for one in tables for at, info in records(elf, one)]


@wrong("holes", "no_such_symbol")
def holes_shift_8(elf, sections, symbols, number):
    tables = [one for one in sections if one.type == 9 and one.info == number]
    return [(at // 8, symbols[info >> 8]) for one in tables for at, info in records(elf, one)]


@wrong("holes", "another_table")
def holes_first_table(elf, sections, symbols, number):
    one = next(one for one in sections if one.type == 9)
    return [(at // 8, symbols[info >> 32]) for at, info in records(elf, one)]


@wrong("holes", "wrong_form")
def holes_of_every_table(elf, sections, symbols, number):
    tables = [one for one in sections if one.type == 9]
    return [(at // 8, symbols[info >> 32]) for one in tables for at, info in records(elf, one)]


@wrong("holes", "link_not_info")
def holes_by_link(elf, sections, symbols, number):
    tables = [one for one in sections if one.type == 9 and one.link == number]
    return [(at // 8, symbols[info >> 32]) for one in tables for at, info in records(elf, one)]


@wrong("holes", "wrong_record")
def holes_with_addends(elf, sections, symbols, number):
    one = next((one for one in sections if one.type == 9 and one.info == number), None)
    rows = (
        struct.iter_unpack("<QQq", elf[one.offset : one.offset + one.size]) if one else ()
    )  # too long, or out of step
    return [(at // 8, symbols[info >> 32]) for at, info, _ in rows]


@wrong("holes", "wrong_record")
def holes_every_24_bytes(elf, sections, symbols, number):
    tables = [one for one in sections if one.type == 9 and one.info == number]
    rows = [struct.unpack_from("<QQ", elf, at) for one in tables for at in range(one.offset, one.offset + one.size, 24)]
    return [(at // 8, symbols[info >> 32]) for at, info in rows]


@wrong("holes", "no_table")
def holes_always_a_table(elf, sections, symbols, number):
    one = next(one for one in sections if one.type == 9 and one.info == number)
    return [(at // 8, symbols[info >> 32]) for at, info in records(elf, one)]


@wrong("holes", "wrong_form")
def holes_numbers(elf, sections, symbols, number):
    return [(slot, symbols.index(name)) for slot, name in holes_plain(elf, sections, symbols, number)]


@wrong("holes", "wrong_form")
def holes_floats(elf, sections, symbols, number):
    return [(slot / 1, name) for slot, name in holes_plain(elf, sections, symbols, number)]


# ----------------------------------------------------------------------------------------------------- 5: patch
@right("patch")
def patch_plain(code, holes, fds):
    patched = bytearray(code)
    for slot, name in holes:
        patched[8 * slot + 1] |= 0x10
        struct.pack_into("<i", patched, 8 * slot + 4, fds[name])
    return bytes(patched)


@right("patch")
def patch_slot_by_slot(code, holes, fds):
    wanted = dict(holes)
    slots = []
    for slot, (opcode, registers, offset, immediate) in enumerate(struct.iter_unpack("<BBhi", code)):
        if slot in wanted:
            registers, immediate = 1 << 4 | registers & 0x0F, fds[wanted[slot]]
        slots.append(struct.pack("<BBhi", opcode, registers, offset, immediate))
    return b"".join(slots)


@right("patch")
def patch_one_number(code, holes, fds):
    number = int.from_bytes(code, "little")
    for slot, name in holes:
        number |= (fds[name] << 32 | 1 << 12) << 64 * slot
    return bytearray(number.to_bytes(len(code), "little"))


def patched(code, holes, fds, write):
    made = bytearray(code)
    for slot, name in holes:
        write(made, 8 * slot, fds[name])
    return bytes(made)


@wrong("patch", "not_a_map")
def patch_immediate_only(code, holes, fds):
    return patched(code, holes, fds, lambda made, at, fd: struct.pack_into("<i", made, at + 4, fd))


@wrong("patch", "register_lost")
def patch_whole_byte(code, holes, fds):
    def write(made, at, fd):
        made[at + 1] = 0x10
        struct.pack_into("<i", made, at + 4, fd)

    return patched(code, holes, fds, write)


@wrong("patch", "differs")
def patch_low_half(code, holes, fds):
    def write(made, at, fd):
        made[at + 1] = 0x01
        struct.pack_into("<i", made, at + 4, fd)

    return patched(code, holes, fds, write)


@wrong("patch", "second_slot")
def patch_second_slot(code, holes, fds):
    def write(made, at, fd):
        made[at + 1] |= 0x10
        struct.pack_into("<i", made, at + 12, fd)

    return patched(code, holes, fds, write)


@wrong("patch", "big_endian")
def patch_big_endian(code, holes, fds):
    def write(made, at, fd):
        made[at + 1] |= 0x10
        struct.pack_into(">i", made, at + 4, fd)

    return patched(code, holes, fds, write)


@wrong("patch", "bytes_not_slots")
def patch_bytes(code, holes, fds):
    made = bytearray(code)
    for slot, name in holes:
        made[slot + 1] = made[slot + 1] & 15 | 16
        struct.pack_into("<i", made, slot + 4, fds[name])
    return made


@wrong("patch", "in_turn")
def patch_in_turn(code, holes, fds):
    numbers, turn = list(fds.values()), iter(range(1000))
    return patched(code, holes, fds, lambda made, at, _: made.__setitem__(slice(at, at + 8), struct.pack(
        "<BBhi", made[at], made[at + 1] | 16, 0, numbers[next(turn) % len(numbers)])))  # fmt: skip


@wrong("patch", "bytes_are_fixed")
def patch_in_place(code, holes, fds):
    for slot, _ in holes:
        code[8 * slot + 1] |= 0x10
    return code


@wrong("patch", "wrong_form")
def patch_inserts(code, holes, fds):
    for slot, name in holes:
        code = code[: 8 * slot + 4] + struct.pack("<q", fds[name]) + code[8 * slot + 8 :]
    return code


@wrong("patch", "wrong_form")
def patch_gives_nothing(code, holes, fds):
    patch_plain(code, holes, fds)
