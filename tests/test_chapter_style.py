"""The style measures: on notebooks that break one rule each, and on the chapters of this book."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from nbformat import NotebookNode
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

from lbcore.notebooks import numbers, style

ROOT = Path(__file__).resolve().parents[1]
PROSE = "A balancer picks one backend for every new connection and remembers what it picked. " * 4  # 52 words


def good() -> NotebookNode:
    """A chapter in which nothing is wrong: 16 cells of 3 lines, 52 words for each."""
    cells = []
    for _ in range(16):
        cells += [new_markdown_cell(PROSE), new_code_cell("a = 1\n\nb = 2\na + b")]
    return new_notebook(cells=cells)


def picture(**metadata: object) -> NotebookNode:
    return new_output("display_data", data={"image/png": "iVBORw0KGgo=", "text/plain": "<Figure>"}, metadata=metadata)


def lines(count: int) -> str:
    return "\n".join(f"x{i} = {i}" for i in range(count))


def resize(sizes: list[int]) -> Callable[[NotebookNode], None]:
    """A change that gives the first code cells these sizes."""

    def change(notebook: NotebookNode) -> None:
        for cell, size in zip(notebook.cells[1::2], sizes, strict=False):
            cell.source = lines(size)

    return change


def prose(text: str) -> Callable[[NotebookNode], None]:
    return lambda notebook: notebook.cells[4].update(source=PROSE + text)


def output(*outputs: NotebookNode) -> Callable[[NotebookNode], None]:
    return lambda notebook: notebook.cells[5].update(outputs=list(outputs))


def html(text: str) -> NotebookNode:
    return new_output("display_data", data={"text/html": text})


def keep(count: int) -> Callable[[NotebookNode], None]:
    return lambda notebook: notebook.cells.__delitem__(slice(2 * count, None))


def rewrite(text: str) -> Callable[[NotebookNode], None]:
    return lambda notebook: [cell.update(source=text) for cell in notebook.cells[::2]] and None


BREAKS: list[tuple[str, str, Callable[[NotebookNode], None]]] = [
    ("cell_count", "14 code cells", keep(14)),
    ("cell_count", "41 code cells", lambda notebook: notebook.cells.extend((good().cells + good().cells)[:50])),
    ("median_size", "median of 5 lines", resize([5] * 9)),
    ("ninetieth_size", "reach 16 lines", resize([16] * 3)),
    ("longest", "31 lines of code", resize([31])),
    ("words", "39 words of prose", rewrite("word " * 39)),
    ("words", "111 words of prose", rewrite("word " * 111)),
    ("alt_text", "picture in the output", output(picture())),
    ("alt_text", "picture in the output", output(picture(alt=" "))),
    ("alt_text", "picture in the output", output(picture(**{"image/png": {"width": 3}}))),
    ("alt_text", "picture in the output", output(html("<img src='a.png'>"))),
    ("alt_text", "picture in the output", output(html("<svg><rect/></svg>"))),
    ("alt_text", "a picture without alt", prose("![](a.png)")),
    ("alt_text", "a picture without alt", prose('<img src="a.png" alt="">')),
    ("grounded", "'37 %'", prose("It moved 37 % of them.")),
    ("grounded", "'65,537'", prose("It has 65,537 of them.")),
]
FINE: list[Callable[[NotebookNode], None]] = [
    keep(15),
    resize([4] * 16),
    resize([15] * 7),
    resize([30]),
    rewrite("word " * 40),
    rewrite("word " * 110),
    output(picture(alt="a rising line")),
    output(picture(**{"image/png": {"alt": "a rising line"}})),
    output(html('<img src="a.png" alt="a map"><svg role="img" aria-label="a map"></svg><svg><title>A</title></svg>')),
    prose("![a map](a.png) and `![](b.png)` as code"),
    lambda notebook: notebook.cells.append(new_code_cell("")),
]


def broken(notebook: NotebookNode) -> dict[str, list[style.Finding]]:
    found = {measure.__name__: list(measure(notebook)) for measure in style.CHAPTER}
    return {name: findings for name, findings in found.items() if findings}


def test_a_good_chapter_has_no_findings() -> None:
    assert broken(good()) == {}


@pytest.mark.parametrize(("rule", "words", "change"), BREAKS)
def test_a_chapter_that_breaks_one_rule(rule: str, words: str, change: Callable[[NotebookNode], None]) -> None:
    notebook = good()
    change(notebook)
    found = broken(notebook)
    assert list(found) == [rule]
    assert words in found[rule][0][1]


@pytest.mark.parametrize("change", FINE)
def test_a_chapter_at_the_limit_is_fine(change: Callable[[NotebookNode], None]) -> None:
    notebook = good()
    change(notebook)
    assert broken(notebook) == {}


def test_every_measure_has_a_chapter_that_breaks_it() -> None:
    assert {rule for rule, _, _ in BREAKS} == {measure.__name__ for measure in style.CHAPTER}


# ---- numbers in prose ----


@pytest.mark.parametrize(
    ("text", "written"),
    [
        ("about 9 % of them", ["9 %"]),
        ("about 9% of them", ["9%"]),
        ("12.5 percent", ["12.5 percent"]),
        ("from 10 ns to 3 µs", ["10 ns", "3 µs"]),
        ("a table of 65537 slots", ["65537"]),
        ("2 million packets", ["2 million"]),
        ("a ratio of 1.15", ["1.15"]),
        ("1.2x slower, 8 times, 3×", ["1.2x", "8 times", "3×"]),
        ("10 Gb/s or 14.88 Mpps", ["10 Gb/s", "14.88 Mpps"]),
        ("a header of 20 bytes.", ["20 bytes"]),
        ("**37 %**, (41 %)", ["37 %", "41 %"]),
        ("between 10 and 20 %", ["20 %"]),
        ("It costs $20 a month, 5,000 euros a year", ["5,000 euros"]),
        ("Is it 10 %? It is 40 %.", ["40 %"]),
        ("* 40 ns\n* 4 µs (100×)", ["40 ns", "4 µs", "100×"]),
        ("18446744073709551616 hashes", ["18446744073709551616"]),
        ("1" * 5000, []),
        ("M > 100 x N, the p99, the 99.9th percentile, a 1,500-byte packet", []),
        ("three of 7 backends, in 2016, on page 5", []),
        ("layer 4, L7, RFC 9000, section 4.1, sections 4.1 and 4.2, Chapter 03, exercise 12", []),
        ("port 8443, ports 8080 and 8081, 10.0.0.1:8080, 192.168.0.0/16", []),
        ("HTTP/1.1, TLS 1.3, Python 3.11, x86-64, SHA-256, version 1.2.3, 2024-05-01", []),
        ("a 32-bit word, a 5-tuple, the 3rd, 0x1F90, $2^{16}$", []),
        ("`1_000_000` and ``40 %``", []),
        ("Is it 1 %, 10 % or 50 %?", []),
        ('They say "L7 is 10 times slower" and shrug.', []),
        ("[a link](https://example.org/2000000)", []),
    ],
)
def test_what_counts_as_a_claim(text: str, written: list[str]) -> None:
    assert [number for number, _ in numbers.claims(numbers.without_code(text))] == written


def chapter(text: str, code: str = "pass", printed: str = "", shown: str = "") -> NotebookNode:
    outputs = [new_output("stream", name="stdout", text=printed)] if printed else []
    outputs += [new_output("execute_result", data={"text/plain": shown}, execution_count=1)] if shown else []
    return new_notebook(cells=[new_markdown_cell(text), new_code_cell(code, outputs=outputs)])


@pytest.mark.parametrize(
    ("notebook", "count"),
    [
        (chapter("9 % moved"), 1),
        (chapter("9 % moved", code="assert share < 0.09"), 0),
        (chapter("9 % moved", code="# it is 9 %\nx = '9 %'"), 1),
        (chapter("9 % moved", printed="moved: 9.2%"), 0),
        (chapter("9 % moved", printed="moved: 9.6%"), 1),
        (chapter("about 90 % moved", shown="0.894"), 0),
        (chapter("about 90 % moved", shown="0.79"), 1),
        (chapter("65,537 slots", code="Maglev(pool, size=65_537)"), 0),
        (chapter("65,537 slots", code="Maglev(pool, size=65_536)"), 1),
        (chapter("65,536 slots", code="2**16"), 0),
        (chapter("2 million packets", shown="1998000"), 0),
        (chapter("40 ns each", shown="4.02e-08"), 0),
        (chapter("10 Gb/s", code="line_rate = 10e9"), 0),
        (chapter("4 KiB", code="page = 4096"), 0),
        (chapter("9 % moved ([paper](https://example.org/p.pdf))"), 0),
        (chapter("9 % moved, [as measured](03-maglev.ipynb)"), 0),
        (chapter("9 % moved\n\nSee [paper](https://example.org/p.pdf)"), 1),
        (chapter("9 % moved (see [there](other.md))"), 1),
        (chapter("## Exercises\n\nSend 5,000 requests."), 0),
        (chapter("```\n9 %\n\n10 %\n```\nText"), 0),
        (chapter("9 % moved", code="%timeit f()"), 1),
        (chapter("9 % moved", code="this is no python 0.09"), 1),
    ],
)
def test_what_grounds_a_number(notebook: NotebookNode, count: int) -> None:
    assert len(list(numbers.ungrounded(notebook))) == count


def test_a_cell_further_away_does_not_ground() -> None:
    far = [
        new_code_cell("share = 0.37"),
        new_code_cell("pass"),
        new_markdown_cell("It moved 37 %."),
        new_code_cell("pass"),
    ]
    assert len(list(numbers.ungrounded(new_notebook(cells=far)))) == 1


def test_exercises_end_at_the_next_heading() -> None:
    cells = [new_markdown_cell(text) for text in ("## Exercises", "Send 5,000.", "## Summary\n\nIt moved 37 %.")]
    assert [number for _, number in numbers.ungrounded(new_notebook(cells=cells))] == ["37 %"]


def test_generated_cells_are_not_judged() -> None:
    cell = new_markdown_cell("under 2,000 MB", metadata={"tags": ["generated"]})
    assert list(numbers.ungrounded(new_notebook(cells=[cell]))) == []


@given(
    st.text(alphabet='0123456789.,%x sM-/$"`?#[]()*>\n', max_size=60),
    st.text(alphabet="0123456789*<-+/() _.e", max_size=20),
)
def test_no_text_and_no_code_makes_it_fail(text: str, code: str) -> None:
    for index, number in numbers.ungrounded(chapter(text, code=code, printed=code)):
        assert index == 0
        assert number in text


def test_the_chapters_of_this_book_keep_its_style() -> None:
    assert "\n".join(map(str, style.problems(ROOT))) == ""
