"""Lab 05, exercises 6 and 7: answers that must pass, and mistakes with the key of the hint each must get.

Rule of this file: no answer shares code with the checker, which has its own models of the mistakes.
"""

# ruff: noqa: B904
# mypy: ignore-errors

import errno
import re
from contextlib import ExitStack

from lbcore.labs.answers import Answers
from lbcore.labs.loader import Refused

ANSWERS = Answers()
RIGHT, WRONG, right, wrong = ANSWERS.RIGHT, ANSWERS.WRONG, ANSWERS.right, ANSWERS.wrong


# ------------------------------------------------------------------------------------------------------ 6: load
def text_of(log):
    return bytes(log).partition(b"\0")[0].decode()


@right("load")
def load_as_libbpf(kernel, program):
    fds = {}
    try:
        for name, *rest in program.maps:
            fds[name] = kernel.create_map(name, *rest)
        code = program.link(fds)
        try:
            return kernel.load(code, program.license), fds
        except OSError as error:
            if error.errno != errno.EACCES:
                raise
        size = 256
        while True:
            log = bytearray(size)
            try:
                kernel.load(code, program.license, 1, log)
            except OSError as error:
                if error.errno == errno.ENOSPC:
                    size *= 2
                    continue
            raise Refused(text_of(log))
    except:
        for fd in fds.values():
            kernel.close(fd)
        raise


@right("load")
def load_with_a_log_at_once(kernel, program):
    with ExitStack() as opened:
        fds = {}
        for definition in program.maps:
            fds[definition[0]] = kernel.create_map(*definition)
            opened.callback(kernel.close, fds[definition[0]])
        log = bytearray(1 << 20)
        try:
            fd = kernel.load(program.link(fds), program.license, log_level=1, log=log)
        except PermissionError:
            raise Refused(text_of(log)) from None
        opened.pop_all()
        return [fd, fds]


def loader(*, license=None, size=1 << 20, level=1, close=True, close_early=False, close_always=False, link=True,
           swap=False, cut=text_of, swallow=False, ask=True):  # fmt: skip
    """A loader with something wrong."""

    def load(kernel, program):
        fds = {}

        def end():
            for fd in fds.values():
                kernel.close(fd)

        try:
            for name, kind, key, value, entries, flags in program.maps:
                fds[name] = kernel.create_map(name, kind, *((value, key) if swap else (key, value)), entries, flags)
        except OSError:
            if close_early:
                end()
            raise
        code = program.link(fds) if link else program.code
        shown = program.license if license is None else license
        try:
            fd = kernel.load(code, shown)
        except PermissionError:
            if not ask:
                raise
            log = bytearray(size)
            try:
                kernel.load(code, shown, level, log)
            except PermissionError:
                pass
            except OSError:
                if not swallow:
                    raise
            if close:
                end()
            raise Refused(cut(log))
        if close_always:
            end()
        return fd, fds

    return load


for key, flaws in (
    ("no_license", {"license": ""}),
    ("no_license", {"license": "Proprietary"}),
    ("enospc_load", {"size": 1 << 10}),
    ("enospc_load", {"size": 1 << 15}),
    ("einval_load", {"level": 0}),
    ("eacces_load", {"ask": False}),
    ("log", {"size": 1 << 10, "swallow": True}),
    ("log", {"cut": lambda log: ""}),
    ("log", {"cut": lambda log: log.decode()}),
    ("log", {"cut": lambda log: text_of(log).splitlines()[-1]}),
    ("descriptors", {"close": False}),
    ("descriptors", {"close": True}),
    ("descriptors", {"close_early": True, "close_always": True}),
    ("einval_create_map", {"close_early": True, "swap": True}),
    ("not_linked", {"link": False}),
):
    wrong("load", key)(loader(**flaws))


@wrong("load", "wrong_form")
def load_gives_the_program_only(kernel, program):
    return load_as_libbpf(kernel, program)[0]


@wrong("load", "wrong_form")
def load_says_nothing(kernel, program):
    try:
        return load_as_libbpf(kernel, program)
    except Refused:
        return None


@wrong("load", "told")
def load_confuses_descriptors(kernel, program):
    fd, fds = load_as_libbpf(kernel, program)
    return fd, dict.fromkeys(fds, fd)


@wrong("load", "wrong_call")
def load_forgets_arguments(kernel, program):
    return kernel.load(program.code), {}


@wrong("load", "wrong_name")
def load_wrong_name(kernel, program):
    fds = {number: kernel.create_map(*one) for number, one in enumerate(program.maps)}
    return kernel.load(program.link(fds), program.license), fds


@wrong("load", "ebadf_close")
def load_closes_twice(kernel, program):
    try:
        return load_as_libbpf(kernel, program)
    except Refused:
        kernel.close(3)
        raise


# ----------------------------------------------------------------------------------------------------- 7: blame
@right("blame")
def blame_plain(log, lines):
    rows = log.split("\n")
    slot, reason = None, ""
    for i, row in enumerate(rows):
        start = row.split(":")[0]
        if start.isdigit() and row[len(start) :].startswith(": ("):
            slot, reason = int(start), rows[i + 1]
    best = None
    for start, line in lines:
        if start <= slot:
            best = line
    return slot, best, reason


@right("blame")
def blame_one_pattern(log, lines):
    *_, found = re.finditer(r"^(\d+): \(\w\w\).*(?=\n(.*))", log, re.MULTILINE)
    slot = int(found[1])
    return [slot, max((one for one in lines if one[0] <= slot), key=lambda one: one[0])[1], found[2]]


def instructions(log):
    return [int(slot) for slot in re.findall(r"^(\d+): \(\w\w\)", log, re.MULTILINE)]


def line_at(lines, slot):
    return [line for start, line in lines if start <= slot][-1]


@wrong("blame", "first_instruction")
def blame_first(log, lines):
    rows = log.splitlines()
    at = next(i for i, row in enumerate(rows) if re.match(r"\d+: \(", row))
    return 0, line_at(lines, 0), rows[at + 1]


@wrong("blame", "highest_slot")
def blame_highest(log, lines):
    slot, rows = max(instructions(log)), log.splitlines()
    at = max(i for i, row in enumerate(rows) if row.startswith(f"{slot}: ("))
    return slot, line_at(lines, slot), rows[at + 1]


@wrong("blame", "one_part")
def blame_number_of_instructions(log, lines):
    _, line, reason = blame_plain(log, lines)
    return len(instructions(log)) - 1, line, reason


@wrong("blame", "line_behind")
def blame_line_behind(log, lines):
    slot, _, reason = blame_plain(log, lines)
    return slot, next((line for start, line in lines if start > slot), lines[-1][1]), reason


@wrong("blame", "nearest_line")
def blame_nearest(log, lines):
    slot, _, reason = blame_plain(log, lines)
    return slot, min(lines, key=lambda one: abs(one[0] - slot))[1], reason


@wrong("blame", "no_exact_line")
def blame_exact(log, lines):
    slot, _, reason = blame_plain(log, lines)
    return slot, dict(lines)[slot], reason


@wrong("blame", "not_an_index")
def blame_index(log, lines):
    slot, _, reason = blame_plain(log, lines)
    return slot, lines[slot][1], reason


@wrong("blame", "last_row")
def blame_last_row(log, lines):
    return *blame_plain(log, lines)[:2], log.splitlines()[-1]


@wrong("blame", "wrong_form")
def blame_texts(log, lines):
    slot, line, reason = blame_plain(log, lines)
    return str(slot), line, reason


@wrong("blame", "no_match")
def blame_match_every_row(log, lines):
    return [int(re.match(r"(\d+): \(", row)[1]) for row in log.splitlines()][-1], 0, ""
