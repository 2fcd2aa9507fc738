"""From a lab's master to what a student gets.

Rule of this file: it knows the text of one code cell. A master's cell marks what is the student's to write with
`### BEGIN SOLUTION` and `### END SOLUTION`, and what only a grader sees with `### BEGIN HIDDEN TESTS` and
`### END HIDDEN TESTS`, each alone on its line (nbgrader's words, so that one master serves both).
"""

from __future__ import annotations

import re

MARK = re.compile(r"(?P<indent>\s*)### (?P<edge>BEGIN|END) (?P<what>SOLUTION|HIDDEN TESTS)\s*")


def stub(indent: str, solution: list[str]) -> str:
    """The line that stands where `solution` stood; it says how long ours is, comments and blank lines apart."""
    count = sum(bool(line.strip()) and not line.lstrip().startswith("#") for line in solution)
    return f'{indent}raise NotImplementedError("about {count} line{"s" * (count != 1)}")'


def student(source: str) -> str:
    """The cell as a student gets it: each solution a stub, hidden tests gone.

    Raises ValueError with the line within the cell when a mark has no partner.
    """
    kept: list[str] = []
    inside: list[str] = []
    opened: tuple[int, re.Match[str]] | None = None
    for number, line in enumerate(source.split("\n"), start=1):
        mark = MARK.fullmatch(line)
        if mark is None:
            (kept if opened is None else inside).append(line)
        elif mark["edge"] == "BEGIN" and opened is None:
            opened, inside = (number, mark), []
        elif mark["edge"] == "END" and opened is not None and opened[1]["what"] == mark["what"]:
            if mark["what"] == "SOLUTION":
                kept.append(stub(opened[1]["indent"], inside))
            opened = None
        else:
            raise ValueError(f"line {number} of the cell: '{line.strip()}' does not fit what is open there")
    if opened is not None:
        raise ValueError(f"line {opened[0]} of the cell: '### BEGIN {opened[1]['what']}' has no END")
    return "\n".join(kept).strip("\n")
