"""The guard: is every product what its source would give? Without a kernel, so it can run before every commit.

Rule of this file: it reads, compares and words; it never writes and never runs a cell.

Theory. nbval compares a notebook with itself: stripped of its outputs it passes with nothing compared, and it does
not know the source. So `build` leaves two digests in the notebook's metadata, of what the cells say and of what they
gave. A product that was edited, stripped, re-run or saved by hand no longer fits its digests or its source.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from nbformat import NotebookNode

from lbcore.notebooks import normal
from lbcore.notebooks.problem import Problem
from lbcore.notebooks.source import Draft, Product, draft, products

FOLDERS = ("chapters", "labs", "labs/solutions")


def problems(root: Path) -> list[Problem]:
    """Everything that is wrong with the notebooks under `root`; empty when all is well."""
    try:
        everything = products(root)
    except ValueError as error:
        return [Problem(str(root), "", str(error), "correct the header of that source")]
    found = [problem for product in everything for problem in examine(product, everything)]
    return found + list(leftovers(root, everything))


def leftovers(root: Path, everything: list[Product]) -> Iterator[Problem]:
    """Notebooks that no source asks for."""
    wanted = {product.path for product in everything}
    for path in (path for folder in FOLDERS for path in sorted((root / folder).glob("*.ipynb"))):
        if path not in wanted:
            yield Problem(str(path), "", "no source makes this notebook", f"git rm {path}, or add its source")


def examine(product: Product, everything: list[Product]) -> Iterator[Problem]:
    """The problems of one product, the most telling one first."""
    path, mend = str(product.path), f"lbcore notebooks build {product.entry.path.stem}"
    try:
        expected = draft(product, everything)
    except ValueError as error:
        yield Problem(path, "", str(error), "correct the source")
        return
    try:
        notebook = normal.read(product.path)
    except FileNotFoundError:
        yield Problem(path, "", f"missing; its source is {product.entry.path}", mend)
        return
    except ValueError as error:
        yield Problem(path, "", str(error).removeprefix(f"{path}: "), mend)
        return
    findings = [*cells(expected, notebook, product), *metadata(expected, notebook), *digests(notebook)]
    if not findings and product.path.read_text(encoding="utf-8") != normal.dumps(notebook):
        findings = [("", "its JSON is not written the way the build writes it")]
    for cell, what in findings:
        yield Problem(path, cell, what, mend)


def cells(expected: Draft, notebook: NotebookNode, product: Product) -> Iterator[tuple[str, str]]:
    """(cell, what) for the first cell that is not the source's, and for every cell that did not run in order."""
    wanted = expected.notebook.cells
    for index, (cell, want) in enumerate(zip(notebook.cells, wanted, strict=False)):
        fields = ("cell_type", "source", "metadata", "id")
        if other := next((field for field in fields if cell.get(field) != want.get(field)), None):
            yield place(index, expected, product), f"{other} differs from the source's"
            return
    if len(notebook.cells) != len(wanted):
        yield "", f"{len(notebook.cells)} cells, the source has {len(wanted)}"
        return
    count = 0
    for index, cell in enumerate(notebook.cells):
        if cell.cell_type != "code":
            continue
        runs = product.runs and normal.executed(cell)
        count += runs
        want_count = count if runs else None
        if cell.execution_count != want_count:
            yield place(index, expected, product), f"execution count {cell.execution_count}, expected {want_count}"
        if any(normal.WIDGET_VIEW in output.get("data", {}) for output in cell.outputs):
            yield place(index, expected, product), "holds a widget view, which differs from run to run"


def place(index: int, expected: Draft, product: Product) -> str:
    """How a person finds the cell: its number, and its line in the source."""
    line = expected.lines[index]
    return f"cell {index + 1} ({product.entry.path}:{line})" if line else f"cell {index + 1} (generated)"


def metadata(expected: Draft, notebook: NotebookNode) -> Iterator[tuple[str, str]]:
    """(cell, what) for notebook metadata that the build would not write."""
    own = {key: dict(value) for key, value in notebook.metadata.items() if isinstance(value, dict)}
    book = own.get("book", {})
    book.pop("source", None), book.pop("outputs", None)
    if "widgets" in notebook.metadata:
        yield "", "holds widget state"
    elif own != expected.notebook.metadata or len(own) != len(notebook.metadata):
        keys = sorted(notebook.metadata.keys() ^ expected.notebook.metadata.keys())
        yield "", f"notebook metadata is not the build's ({', '.join(keys) or 'same keys, other values'})"


def digests(notebook: NotebookNode) -> Iterator[tuple[str, str]]:
    """(cell, what) when the cells or their outputs changed after the build."""
    book = notebook.metadata.get("book", {})
    if book.get("source") != normal.source_digest(notebook):
        yield "", "its cells were changed after the build"
    if book.get("outputs") != normal.output_digest(notebook):
        yield "", "its outputs were stripped or changed after the build"
