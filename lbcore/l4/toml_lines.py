"""In which line of a TOML file something stands: Python's reader does not say.

Rule of this file: it looks for headers and for `key =` at the start of a line, and for nothing else. It does not judge.

Trap. What stands inside an array or an inline table has no line of its own here; whoever asks takes that of what it
stands in. And a line inside a text of several lines that looks like a key is taken for one.
"""

from __future__ import annotations

import re

Place = tuple[str | int, ...]
"""Where something stands: ("service", 0, "backend", 1, "port")."""
HEADER = re.compile(r"\s*(\[\[?)\s*([^\[\]]+?)\s*\]")
ASSIGNMENT = re.compile(r"""\s*((?:[\w-]+|"[^"]*"|'[^']*')(?:\s*\.\s*(?:[\w-]+|"[^"]*"|'[^']*'))*)\s*=""")


def lines_of(text: str) -> dict[Place, int]:
    """Where sections and keys stand: place -> line, from 1."""
    found: dict[Place, int] = {}
    counts: dict[Place, int] = {}
    section: Place = ()
    for number, line in enumerate(text.split("\n"), 1):
        if match := HEADER.match(line):
            section = ()
            *above, last = _parts(match[2])
            for part in above:
                section = (*section, part)
                section = (*section, counts[section] - 1) if section in counts else section
            section = (*section, last)
            found.setdefault(section, number)
            if match[1] == "[[":
                counts[section] = counts.get(section, 0) + 1
                section = (*section, counts[section] - 1)
                found.setdefault(section, number)
        elif match := ASSIGNMENT.match(line):
            found.setdefault((*section, *_parts(match[1])), number)
    return found


def _parts(dotted: str) -> list[str]:
    return [part.strip().strip("\"'") for part in dotted.split(".")]
