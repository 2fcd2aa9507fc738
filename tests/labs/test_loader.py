"""Lab 05: each known answer gets the verdict meant for it, and specifications hold against the library's own loader."""

import errno

import pytest

from lbcore.ebpf import elf, elf_file, kinds, rejection
from lbcore.ebpf import loading as library
from lbcore.ebpf.kernel_symbols import Symbols
from lbcore.labs import loader
from lbcore.labs.answers import loader_definitions, loader_linking, loader_loading, loader_mending, loader_reading
from lbcore.labs.loader import definitions, linking, loading, mending, objects, reading, verifying, whole
from lbcore.labs.loader.broken import count_ports
from lbcore.labs.loader.kernels import Pretended, Real
from lbcore.labs.sandbox import plain
from lbcore.notebooks.labs import student
from tests import needs
from tests.labs.notebook import cells, run_cell

EXERCISES = ("sections", "program", "maps", "holes", "patch", "load", "blame")
CHECK = {name: getattr(loader, f"check_{name}") for name in EXERCISES}
SHOW = {name: getattr(loader, f"show_{name}") for name in EXERCISES}
ANSWERS = (loader_reading, loader_definitions, loader_linking, loader_loading, loader_mending)
RIGHTS = {name: some for answers in ANSWERS for name, some in answers.RIGHT.items()}
WRONGS = {name: some for answers in ANSWERS for name, some in answers.WRONG.items()}
RIGHT = [(name, answer) for name in EXERCISES for answer in RIGHTS[name]]
WRONG = [(name, answer, key) for name in EXERCISES for answer, key in WRONGS[name]]

PORT = next(line.instruction for line in count_ports.object.program.lines if "ports.increment" in line.text)
"""The slot of the load that nobody asked leave for, wherever the compiler puts it."""


def label(value: object) -> str:
    return getattr(value, "__name__", str(value))


def stub(*given):
    raise NotImplementedError("about 3 lines")


# ---- known answers ----


@pytest.mark.parametrize(("exercise", "answer"), RIGHT, ids=label)
@pytest.mark.parametrize("seed", [1, 2026])
def test_right_answers_pass(exercise, answer, seed):
    verdict = CHECK[exercise](answer, seed=seed)
    assert verdict.passed, verdict


@pytest.mark.parametrize(("exercise", "answer", "key"), WRONG, ids=label)
def test_wrong_answers_get_their_own_hint(exercise, answer, key):
    verdict = CHECK[exercise](answer)
    assert verdict.key == key, verdict
    assert " = " in verdict.evidence
    assert "right:" in verdict.evidence
    assert len(repr(verdict)) < 1800


@pytest.mark.parametrize(("exercise", "answer", "key"), WRONG, ids=label)
def test_wrong_answers_are_drawn_or_the_reason_is_told(exercise, answer, key):
    drawn = SHOW[exercise](answer)
    assert repr(drawn)
    assert not getattr(drawn, "passed", False)


@pytest.mark.parametrize(("exercise", "answer"), RIGHT, ids=label)
def test_right_answers_are_drawn(exercise, answer):
    assert not hasattr(SHOW[exercise](answer), "passed"), SHOW[exercise](answer)


def test_each_exercise_has_enough_known_answers():
    for exercise in (*EXERCISES, "mended"):
        assert len(RIGHTS[exercise]) >= 2
        assert len({key for _, key in WRONGS[exercise]}) >= 3


@pytest.mark.parametrize("exercise", EXERCISES)
def test_stub_fails_without_a_counterexample(exercise):
    assert CHECK[exercise](stub).key == "stub"
    assert "about 3 lines" in repr(CHECK[exercise](stub))
    assert SHOW[exercise](stub).key == "stub"


@pytest.mark.parametrize("exercise", EXERCISES)
@pytest.mark.parametrize("thing", [None, 7, [1], "sections"])
def test_what_is_no_function_is_told(exercise, thing):
    assert CHECK[exercise](thing).key == "not_a_function"
    assert SHOW[exercise](thing).key == "not_a_function"


@pytest.mark.parametrize("answer", RIGHTS["mended"], ids=label)
def test_mended_programs_pass(answer):
    assert loader.check_mended(answer).passed, loader.check_mended(answer)
    assert "counted under" in repr(loader.show_mended(answer))


@pytest.mark.parametrize(("answer", "key"), WRONGS["mended"], ids=label)
def test_unmended_programs_get_their_own_hint(answer, key):
    verdict = loader.check_mended(answer)
    assert verdict.key == key, verdict
    assert repr(loader.show_mended(answer))


@pytest.mark.parametrize("seed", [1, 2026])
def test_every_known_mistake_differs_from_the_specification(seed):
    for exercise, cases in (
        (reading.SECTIONS, reading.section_cases(seed)),
        (reading.PROGRAM, reading.program_cases(seed)),
        (definitions.MAPS, definitions.map_cases(seed)),
        (linking.HOLES, linking.hole_cases(seed)),
        (linking.PATCH, linking.patch_cases(seed)),
        (mending.BLAME, mending.blame_cases(seed)),
    ):
        good = [case for case in cases if not case.group]
        rights = [exercise.expect(case.arguments).value for case in good]
        made = [[plain(one.makes(*case.arguments)) for case in good] for one in exercise.mistakes]
        assert None not in rights
        assert all(answers != rights for answers in made)
        assert len({repr(answers) for answers in made}) == len(made)


@pytest.mark.parametrize("seed", range(8))
def test_no_property_is_broken_by_the_specification(seed):
    for exercise, cases in (
        (reading.SECTIONS, reading.section_cases(seed)),
        (reading.PROGRAM, reading.program_cases(seed)),
        (definitions.MAPS, definitions.map_cases(seed)),
        (linking.HOLES, linking.hole_cases(seed)),
        (linking.PATCH, linking.patch_cases(seed)),
        (mending.BLAME, mending.blame_cases(seed)),
    ):
        for case in cases:
            wanted = exercise.expect(case.arguments)
            assert wanted.kind == "raised" or exercise.flaw(wanted.value, case.arguments) is None


# ---- specifications against the library, which was written apart from them ----


@pytest.mark.parametrize("name", objects.PROGRAMS)
def test_specifications_say_what_the_library_says(name):
    source = objects.compiled(name)
    parsed, parts = elf_file.parse(source.elf), loading.unlinked(source)
    sections = reading.entries(source.elf)
    assert [(one.name, one.type, one.flags, one.link, one.info) for one in sections] == [
        (one.name, one.type, one.flags, one.link, one.info) for one in parsed.sections
    ]
    assert [source.elf[one.offset : one.offset + one.size] for one in sections if one.type != 8] == [
        one.data for one in parsed.sections
    ]
    assert parts.license == source.license
    assert sorted(parts.holes) == [(one.instruction, one.symbol) for one in source.program.relocations]
    assert {one[0]: one[1:] for one in parts.maps} == {
        one.name: (number_of(one.kind), one.key_size, one.value_size, one.max_entries, one.flags) for one in source.maps
    }
    fds = {one.name: 300 + place for place, one in enumerate(source.maps)}
    maps = {one: type("Map", (), {"fd": fd})() for one, fd in fds.items()}
    assert parts.link(fds) == library._linked(source.program, maps, Symbols())


def number_of(kind):
    return kinds.MAPS.index(kind)


@pytest.mark.parametrize("name", objects.PROGRAMS)
@pytest.mark.parametrize("seed", range(5))
def test_relaid_files_mean_what_they_meant(name, seed):
    source = objects.compiled(name)
    again = elf.read(objects.relaid(source.elf, seed))
    assert (again.programs, again.maps, again.license, again.btf) == (
        source.programs, source.maps, source.license, source.btf,
    )  # fmt: skip
    other = elf.read(objects.relaid(source.elf, seed, rename={"xdp": "tc"}, license="Dual BSD/GPL"))
    assert (other.program.kind, other.program.code, other.license) == ("tc", source.program.code, "Dual BSD/GPL")
    assert elf.read(objects.relaid(source.elf, seed, license="")).license == ""


def test_log_is_read_as_the_library_reads_the_kernels():
    log = mending.refusal()
    slot, line, reason = mending.right_blame(log, mending.lines_of())
    assert rejection.last_words(log) == (slot, reason)
    assert count_ports.object.program.line_of(slot).line == line
    assert "u16(p, 2)" in count_ports.object.program.line_of(slot).text


# ---- the kernels ----


def test_pretended_kernel_refuses_what_bpf_refuses():
    made = Pretended(verifying.judged)
    parts = loading.material()["count_protocols"]
    fds = {one[0]: made.create_map(*one) for one in parts.maps}
    code = parts.link(fds)
    for wrong_call, code_of_error in (
        (lambda: made.create_map("x", 0, 4, 4, 1, 0), "EINVAL"),
        (lambda: made.create_map("x", 2, 4, 4, 1 << 40, 0), "EINVAL"),
        (lambda: made.create_map("x", 2, 3, 4, 1, 0), "EINVAL"),
        (lambda: made.load(b"", "GPL"), "EINVAL"),
        (lambda: made.load(code[:-3], "GPL"), "EINVAL"),
        (lambda: made.load(code, "GPL", 0, bytearray(100)), "EINVAL"),
        (lambda: made.load(code, "GPL", 1, bytearray(40)), "ENOSPC"),
        (lambda: made.load(parts.code, "GPL"), "EACCES"),
        (lambda: made.load(parts.link(dict.fromkeys(fds, 77)), "GPL"), "EACCES"),
        (lambda: made.close(99), "EBADF"),
    ):
        with pytest.raises(OSError, match=r"create_map|load|close") as caught:
            wrong_call()
        assert errno.errorcode[caught.value.errno] == code_of_error
    assert made.opened[made.load(code, "GPL")] == code


@needs.tier(2)
def test_real_kernel_says_the_same_to_the_same_calls():
    parts = loading.material()
    for kernel_here in (Pretended(verifying.judged), Real()):
        fd, fds = loading.right_load(kernel_here, parts["count_protocols"])
        for one in (fd, *fds.values()):
            kernel_here.close(one)
        for name in ("count_ports", "talkative"):
            with pytest.raises(loader.Refused) as caught:
                loading.right_load(kernel_here, parts[name])
            assert mending.right_blame(caught.value.log, [(0, 0)])[0] == {"count_ports": PORT, "talkative": 2000}[name]
        code = parts["drop_all"].code
        log = bytearray(b"?" * 1000)
        kernel_here.close(kernel_here.load(code, "GPL", 1, log))
        assert log.split(b"\0")[0].startswith(b"processed 2 insns")  # the walk of a good program is not kept
        with pytest.raises(OSError, match="Invalid argument"):
            kernel_here.load(parts["drop_all"].code, "GPL", 0, bytearray(100))


@needs.tier(2)
@pytest.mark.parametrize("answer", RIGHTS["load"], ids=label)
def test_loaders_of_students_work_in_the_kernel(answer):
    table = whole.in_kernel(answer)
    rows = {row[0]: row[1:] for row in table.rows}
    assert rows["count_protocols"] == ("loaded", "loaded")
    assert rows["count_ports"] == ("refused", "refused")
    assert rows["the last instruction"] == (PORT, PORT)
    assert all(ours == theirs for name, (ours, theirs) in rows.items() if "packets" in name)
    assert any("packets" in name for name in rows)


def test_without_the_kernel_the_reason_is_told(monkeypatch):
    monkeypatch.setenv("LBCORE_TIER", "0")
    assert whole.in_kernel(RIGHTS["load"][0]).key == "no_kernel"


# ---- the whole, and the notebook ----

CHAIN = [RIGHTS[name][0] for name in EXERCISES[:-1]]


@pytest.mark.parametrize("seed", [1, 2, 2026])
def test_parts_that_are_right_make_a_loader(seed):
    assert loader.check_whole(*CHAIN, seed=seed).passed


@pytest.mark.parametrize("place", range(6))
def test_one_part_that_is_missing_is_told(place):
    parts = [*CHAIN[:place], stub, *CHAIN[place + 1 :]]
    assert loader.check_whole(*parts).key == "stub"
    assert loader.check_whole(*CHAIN[:place]).key == "six_functions"


@pytest.mark.parametrize(
    ("name", "answer"),
    [
        ("sections", loader_reading.sections_address),
        ("sections", loader_reading.sections_from_one),
        ("program", loader_reading.program_first),
        ("program", loader_reading.program_to_the_end),
        ("maps", loader_definitions.maps_type_numbers),
        ("holes", loader_linking.holes_bytes),
        ("holes", loader_linking.holes_by_link),
        ("patch", loader_linking.patch_immediate_only),
        ("patch", loader_linking.patch_second_slot),
        ("load", loader_loading.load_gives_the_program_only),
        ("load", loader_loading.loader(link=False)),
    ],
    ids=label,
)
def test_one_part_that_is_wrong_makes_no_loader(name, answer):
    parts = dict(zip(EXERCISES[:-1], CHAIN, strict=True)) | {name: answer}
    assert not loader.check_whole(*parts.values()).passed


def test_solution_passes_every_check_and_hidden_test():
    names = {}
    shown = [value for source in cells("05-write-the-loader") if (value := run_cell(source, names)) is not None]
    verdicts = [value for value in shown if hasattr(value, "passed")]
    assert all(verdict.passed or verdict.key == "no_kernel" for verdict in verdicts), verdicts
    assert len([verdict for verdict in verdicts if verdict.passed]) == 9


def test_stub_runs_to_the_end_and_fails_every_check_and_hidden_test():
    names = {}
    sources = cells("05-write-the-loader")
    hidden = [source for source in sources if "### BEGIN HIDDEN TESTS" in source]
    shown = [run_cell(student(source), names) for source in sources if student(source).strip()]
    verdicts = [value for value in shown if hasattr(value, "passed")]
    assert {verdict.key for verdict in verdicts} <= {"stub", "no_kernel", "chain_broken"}
    assert len(verdicts) >= 17
    assert len(hidden) == 9
    for source in hidden:
        with pytest.raises(AssertionError):
            run_cell(source, names)
