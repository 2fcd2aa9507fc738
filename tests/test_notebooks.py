"""The notebook pipeline on a small book of its own, and the guard over this one."""

from __future__ import annotations

import json
import shutil
import struct
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nbformat
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lbcore import contents, notebooks
from lbcore.notebooks import build, check, labs, normal, source

ROOT = Path(__file__).resolve().parents[1]

HEADER = """\
# ---
# book:
#   title: {title}
#   question: {question}
#   tier: 0
#   minutes: 10
#   memory_mb: 200
#   after: [{after}]
{more}# ---

"""
CHAPTER = """\
# %% [markdown]
# ## One idea
#
# `x` is what the *next* cell gives.

# %%
import os, sys
print("out 1"); print("err", file=sys.stderr); print("out 2"); sys.stdout.flush(); object()

# %% tags=["nbval-ignore-output"]
import time
time.perf_counter_ns()

# %%
import matplotlib.pyplot as plt
from IPython.display import display
figure, axes = plt.subplots(figsize=(1, 1))
display(figure, metadata={"image/png": {"alt": "an empty plot"}})
plt.close(figure)

# %%
import ipywidgets
ipywidgets.IntSlider(3)

# %% tags=["raises-exception"]
[][0]

# %%
os.environ.get("LBCORE_TIER"), os.path.basename(os.getcwd())

# %%
# twins
1

# %%
# twins
1
"""
SECOND = "# %%\nx = 6 * 7\nx\n"
LAB = '''\
# %% [markdown]
# ### Exercise 1

# %% nbgrader={"grade_id": "add", "solution": true}
def add(a, b):
    """Sum of two numbers."""
    ### BEGIN SOLUTION
    # the long way
    total = a

    total += b
    return total
    ### END SOLUTION


# %%
assert add(1, 2) == 3
### BEGIN HIDDEN TESTS
assert add(2, 2) == 4
### END HIDDEN TESTS

# %%
### BEGIN HIDDEN TESTS
assert add(0, 0) == 0
### END HIDDEN TESTS
'''


def write_source(path: Path, body: str, title: str, after: str = "", more: str = "") -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(HEADER.format(title=title, question="Why?", after=after, more=more) + body)


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A book of two chapters and a lab, built once."""
    root = tmp_path_factory.mktemp("book")
    write_source(root / "chapters/src/00-start.py", CHAPTER, "Start", more="#   lab: first\n")
    write_source(root / "chapters/src/01-second.py", SECOND, "Second", after="start")
    write_source(root / "labs/src/01-first.py", LAB, "First", after="00-start")
    (root / "tests").mkdir()
    shutil.copy(ROOT / "tests/nbval_sanitize.cfg", root / "tests")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LBCORE_TIER", "0")  # a build is made at the machine's own tier
        assert notebooks.main(["build", "--root", str(root)]) == 0
    return root


@pytest.fixture
def book(built: Path, tmp_path: Path) -> Path:
    """A copy of the built book that a test may spoil."""
    return Path(shutil.copytree(built, tmp_path / "book"))


def products(root: Path) -> dict[str, bytes]:
    return {str(path.relative_to(root)): path.read_bytes() for path in root.rglob("*.ipynb")}


def cell_with(notebook: Any, text: str) -> Any:
    (cell,) = [cell for cell in notebook.cells if text in cell.source]
    return cell


# ---- build ----


def test_a_second_build_changes_no_byte(book: Path) -> None:
    before = products(book)
    assert notebooks.main(["build", "--root", str(book)]) == 0
    assert products(book) == before
    assert set(before) == {
        "chapters/00-start.ipynb",
        "chapters/01-second.ipynb",
        "labs/01-first.ipynb",
        "labs/solutions/01-first.ipynb",
    }


def test_measured_outputs_stay_until_code_changes_or_fresh_is_asked(book: Path) -> None:
    master, path = book / "chapters/src/02-clock.py", book / "chapters/02-clock.ipynb"
    text = '# %% [markdown]\n# Tick.\n\n# %% tags=["nbval-ignore-output"]\nimport time\ntime.perf_counter_ns()\n'

    def measured(body: str, *arguments: str) -> str:
        write_source(master, body, "Clock")
        assert notebooks.main(["build", "clock", "--root", str(book), *arguments]) == 0
        (output,) = cell_with(nbformat.read(path, 4), "perf_counter_ns").outputs
        return str(output.data["text/plain"])

    first = measured(text)
    other_prose = text.replace("Tick", "Tock")
    assert measured(other_prose) == first, "prose does not change what was measured"
    again = measured(other_prose, "--fresh")
    assert again != first
    changed = measured(text + "\n# %%\n1\n")
    assert changed != again, "other code may measure something else"
    change("chapters/02-clock.ipynb")(strip)(book)
    assert measured(text + "\n# %%\n1\n") != changed, "a stripped product has nothing to keep"


def test_outputs_are_in_normal_form(built: Path) -> None:
    notebook = nbformat.read(built / "chapters/00-start.ipynb", 4)
    streams = cell_with(notebook, "sys.stderr").outputs
    assert [(one.get("name"), one.get("text")) for one in streams] == [
        ("stdout", "out 1\nout 2\n"),
        ("stderr", "err\n"),
        (None, None),
    ]
    assert streams[2].data["text/plain"] == "<object at ADDRESS>"
    (slider,) = cell_with(notebook, "IntSlider").outputs
    assert list(slider.data) == ["text/plain"]
    assert "widgets" not in notebook.metadata
    (failed,) = cell_with(notebook, "[][0]").outputs
    assert failed.traceback == ["IndexError: list index out of range"]
    (picture,) = cell_with(notebook, "plt.subplots").outputs
    assert picture.metadata["image/png"]["alt"] == "an empty plot"
    assert cell_with(notebook, "LBCORE_TIER").outputs[0].data["text/plain"] == "(None, 'chapters')"
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert [cell.execution_count for cell in code] == list(range(1, len(code) + 1))
    assert len({cell.id for cell in notebook.cells}) == len(notebook.cells), "twins have ids of their own"
    assert set(notebook.metadata) == {"book", "kernelspec", "language_info"}


def test_header_and_footer_come_from_the_headers(built: Path) -> None:
    first, second = (nbformat.read(built / f"chapters/{name}.ipynb", 4) for name in ("00-start", "01-second"))
    assert first.cells[0].source.startswith("# 00 · Start\n\n*Why?*\n\nRuns on any machine · about 10 minutes")
    assert (
        first.cells[-1].source
        == "**Lab:** [01 · First](../labs/01-first.ipynb)\n\n**Next:** [01 · Second](01-second.ipynb)"
    )
    assert "Comes after [00 · Start](00-start.ipynb)." in second.cells[0].source
    assert second.cells[-1].cell_type == "code", "the last chapter without a lab has no footer"
    solution = nbformat.read(built / "labs/solutions/01-first.ipynb", 4)
    assert "[00 · Start](../../chapters/00-start.ipynb)" in solution.cells[0].source
    generated = [cell for cell in first.cells if cell.metadata.get("tags") == ["generated"]]
    assert generated == [first.cells[0], first.cells[-1]]


def test_a_lab_gives_a_stub_and_a_solution(built: Path) -> None:
    student, solution = (
        nbformat.read(built / name, 4) for name in ("labs/01-first.ipynb", "labs/solutions/01-first.ipynb")
    )
    stub, visible = [cell for cell in student.cells if cell.cell_type == "code"]
    assert stub.source == (
        'def add(a, b):\n    """Sum of two numbers."""\n    raise NotImplementedError("about 3 lines")'
    )
    assert stub.metadata == {"nbgrader": {"grade_id": "add", "solution": True}}
    assert visible.source == "assert add(1, 2) == 3"
    assert (stub.outputs, stub.execution_count) == ([], None)
    assert "add(2, 2) == 4" in solution.cells[3].source
    assert solution.cells[3].execution_count == 2


@pytest.mark.parametrize(
    ("code", "words", "line"),
    [
        ("def f():\n    raise ValueError('no such backend')\n\n\nf()", "ValueError: no such backend", 3),
        ("x = = 1", "SyntaxError: invalid syntax", 2),
        ("import time\ntime.sleep(600)", "still running after 5 s", 2),
        ("import os\nos._exit(3)", "the kernel died", 2),
        ("print(__import__('pathlib').Path('src').resolve())", "the output shows a path of this machine", 2),
    ],
)
def test_a_failing_cell_names_its_line_and_leaves_the_old_product(
    book: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, code: str, words: str, line: int
) -> None:
    path = book / "chapters/src/01-second.py"
    with path.open("a") as file:
        file.write(f"\n# %%\n{code}\n")
    start = path.read_text().split("\n").index("# %%", 12) + 1
    before = products(book)
    monkeypatch.setattr(build, "CELL_SECONDS", 5)
    assert notebooks.main(["build", "second", "--root", str(book)]) == 1
    message = capsys.readouterr().err
    assert f"chapters/src/01-second.py:{start + line - 1}: {words}" in message
    assert "01-second.ipynb" in message
    assert products(book) == before
    assert not list(book.rglob("*.part"))


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("tier: 0", "tier: 3", "book.tier is 3; it is 0, 1 or 2"),
        ("tier: 0", "tier: zero", "book.tier is 'zero'; it wants a int"),
        ("minutes", "minuets", "book.minutes is None"),
        ("memory_mb: 200", "memory_mb: 200\n#   author: me", "book.author is unknown"),
        ("book:", "books:", "no mapping 'book:'"),
        ("# ---\n", "", "no header"),
        ("after: [start]", "after: [nobody]", "names 'nobody'"),
        ("# %%\n", "x = 0\n# %%\n", "1 lines start a cell ('# %%') but 2 cells were read"),
        ("# %%\n", "# %% [markdown]\n# # Title\n\n# %%\n", "a second title"),
        ("# %%\n", "# %% [raw]\n# hello\n\n# %%\n", "a raw cell"),
    ],
)
def test_a_malformed_source_is_named(
    book: Path, capsys: pytest.CaptureFixture[str], old: str, new: str, words: str
) -> None:
    path = book / "chapters/src/01-second.py"
    assert old in path.read_text()
    path.write_text(path.read_text().replace(old, new, 1))
    assert notebooks.main(["build", "second", "--root", str(book)]) == 1
    message = capsys.readouterr().err
    assert words in message
    assert "01-second.py" in message
    assert words in "".join(map(str, check.problems(book)))


def test_an_unknown_name_is_refused(book: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert notebooks.main(["build", "maglve", "--root", str(book)]) == 1
    assert "no source is called 'maglve'; there are: 00-start, 01-second, 01-first" in capsys.readouterr().err


# ---- the guard ----


def change(name: str) -> Callable[[Callable[[Any], object]], Callable[[Path], None]]:
    """Turn a change to the notebook `name` into a change to the book."""

    def decorate(function: Callable[[Any], object]) -> Callable[[Path], None]:
        def on_disk(root: Path) -> None:
            notebook = nbformat.read(root / name, 4)
            function(notebook)
            (root / name).write_text(normal.dumps(notebook))

        return on_disk

    return decorate


def in_source(name: str, old: str, new: str) -> Callable[[Path], None]:
    def on_disk(root: Path) -> None:
        text = (root / name).read_text()
        assert old in text
        (root / name).write_text(text.replace(old, new, 1))

    return on_disk


def strip(notebook: Any) -> None:
    for cell in notebook.cells:
        if cell.cell_type == "code":
            cell.update(outputs=[], execution_count=None)


FIRST, SECOND_PRODUCT = "chapters/00-start.ipynb", "chapters/01-second.ipynb"
ONE, TWO = "00-start", "01-second"
SPOILS: dict[str, tuple[Callable[[Path], None], str, str]] = {
    "code edited": (in_source("chapters/src/01-second.py", "6 * 7", "6 * 8"), "source differs", TWO),
    "title edited": (in_source("chapters/src/01-second.py", "Second", "2nd"), "(generated): source", ONE),
    "tag added": (in_source("chapters/src/01-second.py", "# %%", '# %% tags=["a"]'), "metadata differs", TWO),
    "cell added": (in_source("chapters/src/01-second.py", "x\n", "x\n\n# %%\n3\n"), "2 cells, the source has 3", TWO),
    "solution edited": (
        in_source("labs/src/01-first.py", "total = a\n", "total = 0 + a\n"),
        "source differs",
        "01-first",
    ),
    "outputs stripped": (change(FIRST)(strip), "execution count None, expected 1", ONE),
    "output cleared": (change(SECOND_PRODUCT)(lambda n: n.cells[1].update(outputs=[])), "stripped or changed", TWO),
    "output edited": (change(SECOND_PRODUCT)(lambda n: n.cells[1].outputs[0].data.clear()), "stripped or changed", TWO),
    "measurement cleared": (
        change(FIRST)(lambda n: cell_with(n, "perf_counter").update(outputs=[])),
        "stripped or changed",
        ONE,
    ),
    "alt text lost": (
        change(FIRST)(lambda n: cell_with(n, "plt.sub").outputs[0].metadata.clear()),
        "stripped or changed",
        ONE,
    ),
    "cells swapped": (change(FIRST)(lambda n: n.cells.insert(2, n.cells.pop(4))), "differs from the source", ONE),
    "ran twice": (change(SECOND_PRODUCT)(lambda n: n.cells[1].update(execution_count=2)), "count 2, expected 1", TWO),
    "widget state": (change(FIRST)(lambda n: n.metadata.update(widgets={})), "widget state", ONE),
    "widget view": (
        change(FIRST)(lambda n: cell_with(n, "Slider").outputs[0].data.update({normal.WIDGET_VIEW: {}})),
        "widget view",
        ONE,
    ),
    "saved by an editor": (change(FIRST)(lambda n: n.metadata.language_info.update(version="3")), "other values", ONE),
    "student version was run": (
        change("labs/01-first.ipynb")(lambda n: n.cells[2].update(execution_count=1)),
        "count 1, expected None",
        "01-first",
    ),
    "missing product": (lambda root: (root / FIRST).unlink(), "missing; its source is", ONE),
    "cut off": (lambda root: (root / FIRST).write_text('{"cells": ['), "not a valid notebook", ONE),
    "a list": (lambda root: (root / FIRST).write_text("[]"), "not a valid notebook", ONE),
    "no cells": (lambda root: (root / FIRST).write_text('{"nbformat": 4}'), "not a valid notebook", ONE),
    "written another way": (
        lambda root: (root / FIRST).write_text(json.dumps(json.loads((root / FIRST).read_text()))),
        "its JSON is not written",
        ONE,
    ),
    "source removed": (lambda root: (root / "chapters/src/01-second.py").unlink(), "no source makes", TWO),
}


def test_the_guard_is_content_with_what_the_build_made(built: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert check.problems(built) == []
    assert notebooks.main(["check", "--root", str(built)]) == 0
    assert capsys.readouterr().out == "4 notebooks are what their sources say\n"


@pytest.mark.parametrize("spoil", SPOILS)
def test_the_guard_finds(book: Path, capsys: pytest.CaptureFixture[str], spoil: str) -> None:
    on_disk, words, named = SPOILS[spoil]
    on_disk(book)
    assert notebooks.main(["check", "--root", str(book)]) == 1
    report = capsys.readouterr().out
    assert words in report
    assert named in report
    assert "to mend: " in report


def test_this_book_is_what_its_sources_say() -> None:
    assert "\n".join(map(str, check.problems(ROOT))) == ""


# ---- the pieces ----


LINES = st.lists(st.text(st.characters(exclude_characters="#\n\r", codec="utf-8"), max_size=20), min_size=1, max_size=8)


@given(LINES)
def test_code_without_marks_is_left_alone(lines: list[str]) -> None:
    code = "\n".join(lines)
    assert labs.student(code) == code.strip("\n")


@given(LINES, LINES, LINES, st.sampled_from(["", "    ", "\t"]))
def test_no_line_of_a_solution_or_hidden_test_is_left(
    before: list[str], inside: list[str], after: list[str], indent: str
) -> None:
    for what, left in (("SOLUTION", [labs.stub(indent, inside)]), ("HIDDEN TESTS", [])):
        marks = [f"{indent}### BEGIN {what}", f"{indent}### END {what}"]
        master = [*before, marks[0], *inside, marks[1], *after]
        assert labs.student("\n".join(master)) == "\n".join([*before, *left, *after]).strip("\n")


@pytest.mark.parametrize(
    ("master", "line"),
    [
        ("### BEGIN SOLUTION\nx", 1),
        ("x\n### END SOLUTION", 2),
        ("### BEGIN SOLUTION\n### BEGIN SOLUTION\n### END SOLUTION", 2),
        ("### BEGIN SOLUTION\nx\n### END HIDDEN TESTS", 3),
    ],
)
def test_a_mark_without_partner_is_an_error(master: str, line: int) -> None:
    with pytest.raises(ValueError, match=f"line {line} of the cell"):
        labs.student(master)


def test_the_stub_counts_lines_of_code() -> None:
    assert labs.stub("  ", ["  # why", "", "  return 1"]) == '  raise NotImplementedError("about 1 line")'


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


CHUNKS = st.lists(
    st.tuples(st.sampled_from([b"IHDR", b"IDAT", b"tEXt", b"tIME", b"zTXt", b"pHYs"]), st.binary(max_size=30))
)


@given(CHUNKS)
def test_a_png_loses_its_chatter_and_nothing_else(chunks: list[tuple[bytes, bytes]]) -> None:
    everything = b"".join(chunk(*one) for one in chunks)
    pixels = b"".join(chunk(*one) for one in chunks if one[0] not in (b"tEXt", b"tIME", b"zTXt"))
    assert normal.png(normal.PNG_SIGNATURE + everything) == normal.PNG_SIGNATURE + pixels


@given(CHUNKS.filter(bool), st.data())
def test_a_png_cut_off_is_an_error(chunks: list[tuple[bytes, bytes]], data: st.DataObject) -> None:
    whole = b"".join(chunk(*one) for one in chunks)
    cut = data.draw(st.integers(len(whole) - len(chunk(*chunks[-1])) + 1, len(whole) - 1))
    with pytest.raises(ValueError, match="cut off"):
        normal.png(normal.PNG_SIGNATURE + whole[:cut])


@given(st.binary(max_size=40))
def test_bytes_that_are_no_png_are_an_error(data: bytes) -> None:
    with pytest.raises(ValueError, match="not a PNG"):
        normal.png(b"GIF" + data)


@given(st.lists(st.tuples(st.sampled_from(["stdout", "stderr"]), st.text(min_size=1, max_size=5)), max_size=9))
def test_how_a_run_slices_its_streams_does_not_matter(pieces: list[tuple[str, str]]) -> None:
    raw = [nbformat.NotebookNode(output_type="stream", name=name, text=text) for name, text in pieces]
    merged = normal.outputs(raw, 1, [])
    for name in ("stdout", "stderr"):
        text = "".join(piece for kind, piece in pieces if kind == name)
        assert [one.text for one in merged if one.name == name] == ([text] if text else [])


def test_numbers_of_this_book_survive_the_sanitiser() -> None:
    rules = normal.rules(ROOT / "tests/nbval_sanitize.cfg")
    assert len(rules) == 3
    for content in (
        "0xdeadbeef at 0x1f",
        "12.5 ms",
        "port 443",
        "fe80::1",
        "0000 45 00 00 3c",
        "offset 0x7f00aabbccdd",
    ):
        assert normal.replaced(content, rules) == content
    assert normal.replaced("<object at 0x7f00aabbccdd>", rules) == "<object at ADDRESS>"


def test_entries_are_found_by_both_names(built: Path) -> None:
    entries = contents.chapters(built)
    assert [entry.name for entry in entries] == ["start", "second"]
    assert contents.find(entries, "second") == contents.find(entries, "01-second") == entries[1]
    assert contents.find(entries, "third") is None
    assert [entry.number for entry in contents.labs(built)] == [1]
    assert len(source.products(built)) == 4
