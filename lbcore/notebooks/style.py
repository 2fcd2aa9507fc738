"""The book's style, as far as it can be measured on a finished chapter.

Rule of this file: each measure is one function from a notebook to findings; a table at the end names them all.

Theory. Short cells with prose between them are what keeps a reader with you; bigger code belongs to lbcore and is
shown from there. A figure that went through `lbcore.show` carries alt text in its output's metadata (that helper also
insists on axis labels and a title), so a figure without alt text is one that went past it. Numbers: see `numbers`.
"""

from __future__ import annotations

import re
import statistics
from collections.abc import Callable, Iterator
from pathlib import Path

from nbformat import NotebookNode

from lbcore.notebooks import normal, numbers
from lbcore.notebooks.problem import Problem
from lbcore.notebooks.source import draft, products

CELLS = (15, 40)
MEDIAN_LINES, NINETIETH_LINES, MOST_LINES = 4, 15, 30
WORDS_PER_CELL = (40, 110)
TO_LBCORE = "move code into lbcore and show it from there (lbcore.show), or split the cell at a thought"

MARKDOWN_IMAGE = re.compile(r"!\[(?P<alt>[^\]]*)\]\(")
HTML_IMAGE = re.compile(r"<img\b[^>]*>", re.IGNORECASE)
HTML_SVG = re.compile(r"<svg\b.*?</svg>", re.IGNORECASE | re.DOTALL)

Finding = tuple[int | None, str, str]  # index of the cell (None: the whole chapter), what, how to mend
Measure = Callable[[NotebookNode], Iterator[Finding]]


def code_cells(notebook: NotebookNode) -> list[tuple[int, int]]:
    """(index, number of lines that are not blank) of each code cell that has any."""
    sizes = [
        (index, sum(bool(line.strip()) for line in cell.source.splitlines()))
        for index, cell in enumerate(notebook.cells)
        if cell.cell_type == "code"
    ]
    return [(index, size) for index, size in sizes if size]


def cell_count(notebook: NotebookNode) -> Iterator[Finding]:
    """A chapter has 15 to 40 code cells."""
    count, (low, high) = len(code_cells(notebook)), CELLS
    if not low <= count <= high:
        mend = (
            "let the reader do more: an experiment a cell" if count < low else "one idea a section; is it two chapters?"
        )
        yield None, f"{count} code cells; a chapter has {low} to {high}", mend


def median_size(notebook: NotebookNode) -> Iterator[Finding]:
    """Half of the cells have at most 4 lines."""
    sizes = [size for _, size in code_cells(notebook)]
    if sizes and statistics.median(sizes) > MEDIAN_LINES:
        yield None, f"median of {statistics.median(sizes):g} lines a code cell; at most {MEDIAN_LINES}", TO_LBCORE


def ninetieth_size(notebook: NotebookNode) -> Iterator[Finding]:
    """Nine cells of ten have at most 15 lines."""
    sizes = sorted(size for _, size in code_cells(notebook))
    if sizes and (value := sizes[int(0.9 * (len(sizes) - 1))]) > NINETIETH_LINES:
        long = ", ".join(str(index + 1) for index, size in code_cells(notebook) if size > NINETIETH_LINES)
        what = f"90 % of the code cells reach {value} lines; at most {NINETIETH_LINES} (longer: cells {long})"
        yield None, what, TO_LBCORE


def longest(notebook: NotebookNode) -> Iterator[Finding]:
    """No cell has more than 30 lines."""
    for index, size in code_cells(notebook):
        if size > MOST_LINES:
            yield index, f"{size} lines of code; at most {MOST_LINES}", TO_LBCORE


def words(notebook: NotebookNode) -> Iterator[Finding]:
    """40 to 110 words of Markdown for each code cell."""
    count = sum(len(cell.source.split()) for cell in notebook.cells if cell.cell_type == "markdown")
    cells, (low, high) = len(code_cells(notebook)), WORDS_PER_CELL
    if cells and not low <= count / cells <= high:
        mend = (
            "say what to predict before a cell and what it showed after"
            if count / cells < low
            else "show more, tell less"
        )
        yield None, f"{count / cells:.0f} words of prose a code cell; {low} to {high}", mend


def alt_text(notebook: NotebookNode) -> Iterator[Finding]:
    """Every picture says in words what it shows."""
    for index, cell in enumerate(notebook.cells):
        if cell.cell_type == "markdown":
            text = numbers.without_code(cell.source)
            if any(not image["alt"].strip() for image in MARKDOWN_IMAGE.finditer(text)) or mute_html(text):
                yield index, "a picture without alt text", "![what the picture shows](file)"
        for output in cell.get("outputs", []):
            if mute_output(output):
                mend = 'show the figure with lbcore.show.finish(figure, alt="..."); a bare figure has no alt text'
                yield index, "a picture in the output without alt text", mend


def mute_output(output: NotebookNode) -> bool:
    """Whether an output shows a picture that has no alt text."""
    about = output.get("metadata", {})
    for kind, value in output.get("data", {}).items():
        alt = about.get(kind, {}).get("alt", about.get("alt", "")) if kind.startswith("image/") else "not a picture"
        if not str(alt).strip() or (kind == "text/html" and mute_html(value)):
            return True
    return False


def mute_html(text: str) -> bool:
    """Whether HTML holds an <img> without alt text, or an <svg> with neither aria-label nor title."""
    images = (re.search(r"""\balt=(["'])\s*\S.*?\1""", tag) for tag in HTML_IMAGE.findall(text))
    drawings = (re.search(r"""\baria-label=(["'])\s*\S|<title[^>]*>\s*\S""", tag) for tag in HTML_SVG.findall(text))
    return not all([*images, *drawings])


def grounded(notebook: NotebookNode) -> Iterator[Finding]:
    """Numbers in prose are computed next to it, or have a source."""
    for index, number in numbers.ungrounded(notebook):
        yield (
            index,
            f"the number '{number}' is in no code cell or output next to it, and its paragraph has no source link",
            "let the code cell before or after it compute or assert it, or link the source in the same paragraph "
            "(a link to the section or chapter that computes it counts)",
        )


CHAPTER: tuple[Measure, ...] = (cell_count, median_size, ninetieth_size, longest, words, alt_text, grounded)
SOLUTION: tuple[Measure, ...] = (alt_text,)


def measure(notebook: NotebookNode, measures: tuple[Measure, ...] = CHAPTER) -> list[Finding]:
    """What the measures find in one notebook."""
    return [finding for one in measures for finding in one(notebook)]


def problems(root: Path) -> list[Problem]:
    """The style findings of every built chapter and solution under `root`."""
    everything = products(root)
    found = []
    for product in everything:
        if not product.runs:
            continue
        try:
            notebook, lines = normal.read(product.path), draft(product, everything).lines
        except (FileNotFoundError, ValueError):  # the guard says what is wrong with it
            continue
        for index, what, mend in measure(notebook, CHAPTER if product.kind == "chapter" else SOLUTION):
            line = lines[index] if index is not None and index < len(lines) else None
            cell = "" if index is None else f"cell {index + 1} ({product.entry.path}:{line})"
            found.append(Problem(str(product.path), cell, what, mend))
    return found
