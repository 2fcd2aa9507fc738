"""The parts of README.md that follow from something else: badge, commands, table of chapters and labs.

    lbcore contents            write them
    lbcore contents --check    only say whether they are current (exit status 1 if not)

Rule of this file: README.md keeps everything outside its markers (`<!-- chapters -->` ... `<!-- /chapters -->`) as its
author wrote it; what stands between them has its one source elsewhere: the headers of chapters/src and labs/src, and
the repository's address in pyproject.toml.
"""

from __future__ import annotations

import argparse
import sys
import tomllib
from pathlib import Path
from urllib.parse import urlsplit

from lbcore import contents

FIRST_PAGE = "chapters/00-start-here.ipynb"


def repository(root: Path) -> str:
    """The repository's address, as pyproject.toml has it."""
    project = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    return str(project["urls"]["Repository"])


def badge(root: Path) -> str:
    """The link that opens the first page on Binder."""
    slug = urlsplit(repository(root)).path.strip("/")
    return (
        "[![Open the book on Binder](https://mybinder.org/badge_logo.svg)]"
        f"(https://mybinder.org/v2/gh/{slug}/HEAD?urlpath=lab/tree/{FIRST_PAGE})"
    )


def commands(root: Path) -> str:
    """How to get the book, open it and prove it."""
    address = repository(root)
    lines = [
        f"git clone {address}",
        f"cd {address.rpartition('/')[2]}",
        "",
        "python3 book.py lab",
        "python3 book.py test",
    ]
    return "\n".join(["```sh", *lines, "```"])


def chapters(root: Path) -> str:
    """The tables of chapters and of labs."""
    labs = contents.labs(root)

    def labs_of(chapter: contents.Entry) -> str:
        return ", ".join(f"[{one.number:02}]({product(one)})" for one in labs if contents.belongs(one, chapter))

    tables = [
        table("chapter", [(one, labs_of(one)) for one in contents.chapters(root)], last="labs"),
        table("lab", [(one, "") for one in labs]),
    ]
    return "\n\n".join(filter(None, tables))


def product(entry: contents.Entry) -> str:
    """The notebook that readers open, from the top of the repository."""
    return f"{entry.kind}s/{entry.path.stem}.ipynb"


def table(kind: str, rows: list[tuple[contents.Entry, str]], last: str = "") -> str:
    """A Markdown table, a line for each entry with its text of column `last`; nothing when there are no entries."""
    cells = [["", kind, "the question it answers", "tier", "minutes", last], ["--:", "---", "---", "--:", "--:", "---"]]
    for one, text in rows:
        title = f"[{one.title}]({product(one)})"
        cells.append([f"{one.number:02}", title, one.question, str(one.tier), str(one.minutes), text])
    lines = ([cell.replace("|", "\\|") for cell in line][: 6 if last else 5] for line in cells)
    return "\n".join("| " + " | ".join(line) + " |" for line in lines) if rows else ""


SECTIONS = {"badge": badge, "commands": commands, "chapters": chapters}


def render(text: str, root: Path) -> str:
    """`text` (README.md) with its generated parts renewed. Raises ValueError when a pair of markers is missing."""
    for name, section in SECTIONS.items():
        start, end = f"<!-- {name} -->", f"<!-- /{name} -->"
        before, opened, rest = text.partition(start)
        _, closed, after = rest.partition(end)
        if not (opened and closed):
            raise ValueError(f"README.md has no part {start} ... {end}: those two markers, in this order")
        text = f"{before}{start}\n{section(root)}\n{end}{after}"
    return text


def main(argv: list[str]) -> int:
    """Run `lbcore contents ARGV` in the folder that holds README.md; the exit status."""
    parser = argparse.ArgumentParser(prog="lbcore contents", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--check", action="store_true", help="write nothing; status 1 if README.md is not current")
    parser.add_argument("--root", type=Path, default=Path(), help="folder that holds README.md and chapters/")
    wanted = parser.parse_args(argv)
    readme: Path = wanted.root / "README.md"
    try:
        text = readme.read_text(encoding="utf-8")
        fresh = render(text, wanted.root)
    except (OSError, ValueError) as error:
        print(f"lbcore contents: {error}", file=sys.stderr)
        return 1
    if wanted.check and fresh != text:
        print("README.md is not current: run `lbcore contents`", file=sys.stderr)
        return 1
    if fresh != text:
        readme.write_text(fresh, encoding="utf-8")
    return 0
