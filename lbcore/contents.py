"""What the book consists of, read from the headers of its sources.

Rule of this file: a chapter's title, tier, time and place in the order are written once, in the YAML header of
`chapters/src/NN-name.py` or `labs/src/NN-name.py`; everything that shows them (notebook headers, README) asks here.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

FILE_NAME = re.compile(r"(?P<number>\d\d)-(?P<name>[a-z0-9]+(?:-[a-z0-9]+)*)\.py")
HEADER = re.compile(r"\A# ---\n(?P<yaml>(?:#.*\n)*?)# ---\n")
FIELDS = {"title": str, "question": str, "tier": int, "minutes": int, "memory_mb": int, "after": list}  # and `lab`


@dataclass(frozen=True)
class Entry:
    """One chapter or lab, as its header describes it."""

    name: str  # "maglev" of 03-maglev.py
    number: int
    kind: str  # "chapter" or "lab"
    title: str
    question: str  # one line
    tier: int  # 0 any machine, 1 network namespaces, 2 the kernel's BPF
    minutes: int
    memory_mb: int
    after: tuple[str, ...]  # names of what a reader should know first
    lab: str | None  # name of the lab that belongs to a chapter
    path: Path  # the source


def header(text: str) -> tuple[dict[str, Any], str]:
    """(the `book` mapping of a source's YAML header, the source with the header's lines left blank).

    Raises ValueError when there is no such header. Blank lines keep every later line at its number.
    """
    found = HEADER.match(text)
    if not found:
        raise ValueError("no header: a source starts with a line '# ---', YAML in comments, and a line '# ---'")
    fields = yaml.safe_load(re.sub(r"(?m)^# ?", "", found["yaml"]))
    book = fields.get("book") if isinstance(fields, dict) else None
    if not isinstance(book, dict):
        raise ValueError("the header has no mapping 'book:'; it wants " + ", ".join(FIELDS))
    return book, "\n" * found[0].count("\n") + text[found.end() :]


def read(path: Path, kind: str) -> Entry:
    """The entry of one source file. Raises ValueError that names the file, the field and what would be right."""
    named = FILE_NAME.fullmatch(path.name)
    if not named:
        raise ValueError(f"{path}: a source is called NN-name.py, lower case, words joined by '-'")
    try:
        book, _ = header(path.read_text(encoding="utf-8"))
    except (ValueError, yaml.YAMLError) as error:
        raise ValueError(f"{path}: {error}") from error
    for field, kind_of_value in FIELDS.items():
        if type(book.get(field)) is not kind_of_value:
            raise ValueError(f"{path}: book.{field} is {book.get(field)!r}; it wants a {kind_of_value.__name__}")
    if unknown := book.keys() - FIELDS.keys() - {"lab"}:
        raise ValueError(f"{path}: book.{min(unknown)} is unknown; the fields are {', '.join([*FIELDS, 'lab'])}")
    if book["tier"] not in (0, 1, 2):
        raise ValueError(f"{path}: book.tier is {book['tier']}; it is 0, 1 or 2")
    values = {**book, "after": tuple(map(str, book["after"])), "lab": book.get("lab")}
    return Entry(name=named["name"], number=int(named["number"]), kind=kind, path=path, **values)


def chapters(root: Path) -> list[Entry]:
    """The chapters under `root`, in order."""
    return [read(path, "chapter") for path in sorted(root.glob("chapters/src/*.py"))]


def labs(root: Path) -> list[Entry]:
    """The labs under `root`, in order."""
    return [read(path, "lab") for path in sorted(root.glob("labs/src/*.py"))]


def belongs(lab: Entry, chapter: Entry) -> bool:
    """Is this a lab of that chapter: does either name the other?"""
    return find([lab], chapter.lab or "") is not None or any(find([chapter], name) for name in lab.after)


def find(entries: Iterable[Entry], name: str) -> Entry | None:
    """The entry called `name`, be it `maglev` or `03-maglev`."""
    return next((entry for entry in entries if name in (entry.name, entry.path.stem)), None)
