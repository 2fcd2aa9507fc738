"""A small table that reads well as text, as Markdown and in a notebook.

Rule of this file: rows in, three renderings out; it formats nothing but numbers' alignment.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from html import escape

# Inline and plain, so that a notebook viewer which strips style sheets from saved pages still shows a table.
_CELL = "padding: 2px 10px; text-align: {align}; border-bottom: 1px solid #8888"


def _numeric(cell: object) -> bool:
    """Whether a cell is a number or starts like one: such columns align right."""
    return isinstance(cell, int | float) or str(cell)[:1].isdigit()


@dataclass(frozen=True)
class Table:
    """Column names and rows of cells (anything; shown through `str`), with an optional caption."""

    columns: tuple[str, ...]
    rows: tuple[tuple[object, ...], ...]
    caption: str = ""

    def __post_init__(self) -> None:
        for number, row in enumerate(self.rows):
            if len(row) != len(self.columns):
                raise ValueError(
                    f"row {number} has {len(row)} cells {row!r}, wanted {len(self.columns)}: {self.columns}"
                )

    def _right(self) -> list[bool]:
        """For each column, whether all its cells are numbers."""
        return [bool(self.rows) and all(_numeric(row[i]) for row in self.rows) for i in range(len(self.columns))]

    def text(self) -> str:
        """Aligned columns, two spaces between them."""
        lines = [list(self.columns)] + [[str(cell) for cell in row] for row in self.rows]
        widths = [max(len(line[i]) for line in lines) for i in range(len(self.columns))]
        lines.insert(1, ["-" * width for width in widths])
        right = self._right()
        drawn = (
            "  ".join(c.rjust(w) if r else c.ljust(w) for c, w, r in zip(line, widths, right, strict=True)).rstrip()
            for line in lines
        )
        return "\n".join([*([self.caption] if self.caption else []), *drawn])

    def markdown(self) -> str:
        """A pipe table."""

        def line(cells: Iterable[object]) -> str:
            return "| " + " | ".join(str(cell).replace("|", "\\|").replace("\n", " ") for cell in cells) + " |"

        rule = line("---:" if right else "---" for right in self._right())
        return "\n".join([line(self.columns), rule, *map(line, self.rows)])

    def _repr_html_(self) -> str:
        align = ["right" if right else "left" for right in self._right()]

        def line(tag: str, extra: str, cells: Sequence[object]) -> str:
            drawn = (
                f'<{tag}{extra} style="{_CELL.format(align=a)}">{escape(str(c))}</{tag}>'
                for a, c in zip(align, cells, strict=True)
            )
            return f"<tr>{''.join(drawn)}</tr>"

        caption = (
            f'<caption style="text-align: left; white-space: nowrap">{escape(self.caption)}</caption>'
            if self.caption
            else ""
        )
        body = "".join(line("td", "", row) for row in self.rows)
        head = line("th", ' scope="col"', self.columns)
        return f'<table style="border-collapse: collapse">{caption}<thead>{head}</thead><tbody>{body}</tbody></table>'

    __repr__ = __str__ = text


def table(rows: Iterable[Sequence[object]], columns: Sequence[str], *, caption: str = "") -> Table:
    """`rows` under `columns` as a `Table`. ValueError names the row whose length is wrong."""
    return Table(tuple(columns), tuple(tuple(row) for row in rows), caption)
