"""Going through what TOML has read: which values are as they should be, and where in the file the others stand.

Rule of this file: it knows tables of `Key`, places and lines; what the tables say is `config_keys` and `relay.file`.
It never stops at the first complaint: a file is put right in one go.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterable, Mapping
from typing import Any

from lbcore.l4.config import BadConfig
from lbcore.l4.config_keys import NAMES, Key, suggestion
from lbcore.l4.toml_lines import Place, lines_of


class Sections:
    """Goes through what TOML has read, section by section, and notes what is wrong."""

    def __init__(self, name: str, lines: Mapping[Place, int]) -> None:
        self.name = name
        self.lines = lines
        self.complaints: list[tuple[int, str]] = []

    def complain(self, place: Place, text: str) -> None:
        """Note it, with the line of the place, or of what it stands in."""
        known = (self.lines[place[:size]] for size in range(len(place), 0, -1) if place[:size] in self.lines)
        line = next(known, 1)
        self.complaints.append((line, f"{self.name}:{line}: {text}"))

    def end(self) -> None:
        """BadConfig with all complaints, by line, if there are any."""
        if self.complaints:
            raise BadConfig("\n".join(text for _, text in sorted(self.complaints)))

    def section(self, place: Place, told: Mapping[str, Any], keys: Mapping[str, Key]) -> dict[str, Any]:
        """Those values of a section that are as they should be."""
        good = {}
        for name, value in told.items():
            here = (*place, name)
            if name not in keys:
                why = f"{written(here)}: no such key{suggestion(name, keys)}; there are {', '.join(keys)}"
                self.complain(here, why)
                continue
            kind, wanted, check, _ = keys[name]
            try:
                if type(value) is not kind and not (kind is float and type(value) is int):
                    raise BadConfig(f"{wanted} ({NAMES[kind]})")
                check(value)
                good[name] = value
            except BadConfig as error:
                self.complain(here, f"{written(here)} is {shown(value)}, wanted {error}")
        for name, key in keys.items():
            if key.needed and name not in told:
                self.complain(place, f"{written((*place, name))}: missing, wanted {key.wanted}")
        return good

    def sections(
        self, place: Place, told: Iterable[Any] | None, keys: Mapping[str, Key]
    ) -> list[tuple[Place, dict[str, Any]]]:
        """The same for each of an array of tables; None: there is none, and that has been said."""
        made: list[tuple[Place, dict[str, Any]]] = []
        if told is None:
            return made
        for number, one in enumerate(told):
            here = (*place, number)
            if isinstance(one, dict):
                made.append((here, self.section(here, one, keys)))
            else:
                self.complain(here, f"{written(here)} is {shown(one)}, wanted a table")
        if not told:
            self.complain(place, f"{written(place)}: empty, wanted at least one")
        return made


def opened(data: bytes, name: str) -> tuple[dict[str, Any], dict[Place, int]]:
    """What TOML finds in a file's bytes, and in which lines. BadConfig: it is no TOML."""
    try:
        text = data.decode()
        return tomllib.loads(text), lines_of(text)
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise BadConfig(f"{name}:{line}: byte {data[error.start]:#04x}: TOML is text in UTF-8") from None
    except RecursionError:
        raise BadConfig(f"{name}:1: nested too deep") from None
    except tomllib.TOMLDecodeError as error:
        line = int(found[1]) if (found := re.search(r"at line (\d+)", str(error))) else text.count("\n") + 1
        raise BadConfig(f"{name}:{line}: {error}") from None
    except ValueError:  # int's: it reads no number of thousands of digits
        line = text.count("\n", 0, found.start()) + 1 if (found := re.search(r"[\d_]{4300,}", text)) else 1
        raise BadConfig(f"{name}:{line}: a number of thousands of digits: TOML's have up to 19") from None


def shown(value: Any) -> str:
    """A value in a complaint, not too long."""
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."


def written(place: Place) -> str:
    """service[1].backend[2].port: numbers count from 1, as people do."""
    text = "".join(f"[{part + 1}]" if isinstance(part, int) else f".{part}" for part in place)
    return text.removeprefix(".")
