"""From a source file to the notebook as it stands before it runs.

Rule of this file: it reads sources and never a product; `build` runs what it gives, `check` compares with it.

Theory. A chapter has one product. A lab's master has two: what students fill in (not run), and the solution (run).
Cell ids come from type and source, so an edit to one cell changes one id, and a diff shows what an author did.
Title, tier, time, and the links to neighbours come from the headers (lbcore.contents); no author types them.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jupytext
from nbformat import NotebookNode
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

from lbcore import contents
from lbcore.contents import Entry, belongs
from lbcore.notebooks import labs

CELL_START = re.compile(r"# %%(?!%)")
JUPYTEXT_OWN = {"lines_to_next_cell", "cell_marker", "lines_to_end_of_cell_marker"}
TIERS = {
    0: "Runs on any machine",
    1: "Live where network namespaces are allowed (Linux), with recorded results elsewhere",
    2: "Live where the kernel takes BPF programs (Linux, root), with recorded results elsewhere",
}


@dataclass(frozen=True)
class Product:
    """A notebook that the book should have."""

    entry: Entry
    path: Path
    kind: str  # "chapter", "student" or "solution"

    @property
    def runs(self) -> bool:
        """Whether the product carries outputs."""
        return self.kind != "student"


@dataclass(frozen=True)
class Draft:
    """A notebook before it runs, and where each of its cells starts in the source (None: generated)."""

    notebook: NotebookNode
    lines: list[int | None]


def products(root: Path) -> list[Product]:
    """Every notebook that the sources under `root` ask for. Raises ValueError for a bad header."""
    chapters = [
        Product(entry, root / "chapters" / f"{entry.path.stem}.ipynb", "chapter") for entry in contents.chapters(root)
    ]
    return chapters + [
        Product(entry, root / "labs" / folder / f"{entry.path.stem}.ipynb", kind)
        for entry in contents.labs(root)
        for folder, kind in ((".", "student"), ("solutions", "solution"))
    ]


def draft(product: Product, everything: Iterable[Product]) -> Draft:
    """The notebook that `product` is before it runs. Raises ValueError that names the file, line and mistake."""
    path = product.entry.path
    _, text = contents.header(path.read_text(encoding="utf-8"))
    starts = [number for number, line in enumerate(text.split("\n"), start=1) if CELL_START.match(line)]
    cells = jupytext.reads(text.strip("\n") + "\n", fmt="py:percent").cells
    if len(cells) != len(starts):
        raise ValueError(
            f"{path}: {len(starts)} lines start a cell ('# %%') but {len(cells)} cells were read; "
            "is there text between the header and the first cell, or '# %%' inside a string?"
        )
    pieces: list[tuple[NotebookNode, int | None]] = [(generated(top(product, everything)), None)]
    for cell, start in zip(cells, starts, strict=True):
        # the cell's own first line is the one after its '# %%'
        body = start + 1
        if product.kind == "student" and cell.cell_type == "code":
            try:
                cell.source = labs.student(cell.source)
            except ValueError as error:
                raise ValueError(f"{path}: cell at line {start}, {error}") from error
        if cell.cell_type not in ("code", "markdown"):
            raise ValueError(f"{path}:{start}: a {cell.cell_type} cell; readers see only '# %%' and '# %% [markdown]'")
        if cell.cell_type == "markdown" and cell.source.startswith("# "):
            raise ValueError(f"{path}:{body}: a second title; the title comes from the header, sections start at '##'")
        if cell.source.strip():
            pieces.append((clean(cell), body))
    if footer := bottom(product, everything):
        pieces.append((generated(footer), None))
    identify([cell for cell, _ in pieces])
    notebook = new_notebook(cells=[cell for cell, _ in pieces], metadata=notebook_metadata(product))
    return Draft(notebook, [line for _, line in pieces])


def clean(cell: NotebookNode) -> NotebookNode:
    """The cell with its source and the metadata that an author wrote."""
    make = {"code": new_code_cell, "markdown": new_markdown_cell}[cell.cell_type]
    return make(cell.source, metadata={key: value for key, value in cell.metadata.items() if key not in JUPYTEXT_OWN})


def generated(text: str) -> NotebookNode:
    """A Markdown cell that comes from the headers and not from an author."""
    return new_markdown_cell(text, metadata={"tags": ["generated"]})


def identify(cells: Iterable[NotebookNode]) -> None:
    """Give each cell an id that depends on its type and source alone (and its place among equals)."""
    seen: Counter[tuple[str, str]] = Counter()
    for cell in cells:
        key = (cell.cell_type, cell.source)
        cell.id = hashlib.sha256("\0".join([*key, str(seen[key])]).encode()).hexdigest()[:12]
        seen[key] += 1


def notebook_metadata(product: Product) -> dict[str, Any]:
    """All that a product says about itself; `build` adds the digests to `book`."""
    return {
        "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
        "language_info": {"name": "python"},
        "book": {"kind": product.kind},
    }


def link(product: Product, target: Product) -> str:
    """A Markdown link from one product to another."""
    where = Path(os.path.relpath(target.path, product.path.parent)).as_posix()
    return f"[{target.entry.number:02} · {target.entry.title}]({where})"


def top(product: Product, everything: Iterable[Product]) -> str:
    """Text of the first cell: title, question, and what it takes to read on."""
    entry = product.entry
    label = {"chapter": "", "student": "Lab ", "solution": "Solution of lab "}[product.kind]
    before = [link(product, named(entry, name, everything)) for name in entry.after]
    facts = [TIERS[entry.tier], f"about {entry.minutes} minutes", f"under {entry.memory_mb} MB of memory"]
    lines = [f"# {label}{entry.number:02} · {entry.title}", f"*{entry.question}*", " · ".join(facts) + "."]
    return "\n\n".join([*lines, f"Comes after {', '.join(before)}."] if before else lines)


def bottom(product: Product, everything: Iterable[Product]) -> str:
    """Text of the last cell: where to go from here; empty when there is nowhere."""
    entry = product.entry
    if entry.lab:
        named(entry, entry.lab, everything)  # raises if there is none
    labs = [other for other in everything if product.kind == "chapter" and other.kind == "student"]
    onward = [("Lab", lab) for lab in labs if belongs(lab.entry, entry)]
    same_kind = [other for other in everything if other.kind == product.kind]
    onward += [("Next", other) for other in same_kind if other.entry.number > entry.number][:1]
    return "\n\n".join(f"**{word}:** {link(product, other)}" for word, other in onward)


def named(entry: Entry, name: str, everything: Iterable[Product]) -> Product:
    """What `entry` calls `name`: a chapter or a student's lab. Raises ValueError when there is none."""
    for product in everything:
        if product.kind != "solution" and name in (product.entry.name, product.entry.path.stem):
            return product
    raise ValueError(f"{entry.path}: the header names {name!r}; no chapter or lab is called that")
