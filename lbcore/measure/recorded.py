"""Results of experiments that this machine may not be able to run, kept with where and how they were made.

Rule of this file: a recording says what host, kernel, date and command it came from, holds every raw sample, and is
never shown without saying that it is a recording. What is wrong with one is said by file, field and value.

Trap. A recording outlives the machine it was made on, so nothing in it may point there: no path, no host name.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lbcore.measure.facts import facts
from lbcore.testbed.capabilities import Machine, machine

FOLDER = Path(__file__).parents[2] / "chapters" / "recorded"
NAME = re.compile(r"[a-z0-9]+([_-][a-z0-9]+)*")
FIELDS: dict[str, type] = {"host": str, "cpu": str, "cores": int, "kernel": str, "date": str, "command": str}
DATE = re.compile(r"\d{4}-\d\d-\d\d")

Samples = dict[str, list[float]]


@dataclass(frozen=True)
class Recorded:
    """One recording: `samples` by series name, `facts` of the machine, the `command` that made it."""

    name: str
    samples: Samples
    facts: Mapping[str, str | int]
    command: str

    @property
    def label(self) -> str:
        """In words: where this comes from, and that it is not from here."""
        f = self.facts
        return (
            f"recorded on a {f['host']} ({f['cpu']}, cores: {f['cores']}, {f['kernel']}) on {f['date']} "
            f"with `{self.command}`, not on this machine"
        )


@dataclass(frozen=True)
class Result:
    """What an experiment gave: `samples`, whether they are `live`, and the `label` to show beside them."""

    samples: Samples
    live: bool
    label: str


def _file(name: str, folder: Path | None) -> Path:
    if not NAME.fullmatch(name):
        raise ValueError(f"the recording's name is {name!r}, wanted lower-case words joined by - or _, e.g. 'xdp_drop'")
    return (folder or FOLDER) / f"{name}.json"


def _checked(samples: object, where: str) -> Samples:
    """`samples` as lists of finite numbers, or a ValueError that names the series and the value."""
    if not isinstance(samples, Mapping) or not samples:
        raise ValueError(f"{where}: samples is {samples!r}, wanted {{series: [numbers]}} with at least one series")
    checked: Samples = {}
    for series, raw in samples.items():
        if not isinstance(raw, Sequence) or isinstance(raw, str) or not raw:
            raise ValueError(f"{where}: samples[{series!r}] is {raw!r}, wanted a list of at least one number")
        for value in raw:
            if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
                raise ValueError(f"{where}: samples[{series!r}] holds {value!r}, wanted finite numbers")
        checked[str(series)] = list(raw)
    return checked


def _checked_command(command: str, where: str) -> str:
    if not command.strip():
        raise ValueError(f"{where}: command is empty, wanted the command that makes this recording again")
    absolute = re.search(r"""(?:^|[\s='"])([/~][^\s'"]*)""", command)
    if absolute:
        raise ValueError(f"{where}: command names {absolute[1]!r}, wanted paths relative to the checkout")
    return command


def record(name: str, samples: Mapping[str, Sequence[float]], command: str, *, folder: Path | None = None) -> Path:
    """Write chapters/recorded/NAME.json: `samples` (raw, by series), this machine's facts, and `command`.

    Numpy arrays are welcome. ValueError names what is wrong; nothing is written then.
    """
    path = _file(name, folder)
    plain = {k: v.tolist() if hasattr(v, "tolist") else v for k, v in samples.items()}
    content = {
        **facts(),
        "command": _checked_command(command, path.name),
        "samples": _checked(plain, path.name),
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content, indent=1) + "\n")
    return path


def load(name: str, *, folder: Path | None = None) -> Recorded:
    """Read NAME's recording. FileNotFoundError says how to make it; ValueError names the file, field and value."""
    path = _file(name, folder)
    where = f"chapters/recorded/{path.name}"
    try:
        content: Any = json.loads(path.read_text())
    except FileNotFoundError:
        raise FileNotFoundError(
            f"there is no {where}; run the experiment on a machine that can, and record it"
        ) from None
    except json.JSONDecodeError as error:
        raise ValueError(f"{where} is not JSON: {error}") from None
    if not isinstance(content, dict):
        raise ValueError(f"{where} holds a {type(content).__name__}, wanted an object")
    for field, kind in FIELDS.items():
        if not isinstance(content.get(field), kind) or content[field] == "":
            raise ValueError(f"{where}: {field} is {content.get(field)!r}, wanted a {kind.__name__}")
    if not DATE.fullmatch(content["date"]):
        raise ValueError(f"{where}: date is {content['date']!r}, wanted YYYY-MM-DD")
    samples = _checked(content.pop("samples", None), where)
    command = _checked_command(content.pop("command"), where)
    return Recorded(name, samples, content, command)


def live_or_recorded(
    name: str,
    tier: int,
    run: Callable[[], Mapping[str, Sequence[float]]],
    *,
    on: Machine | None = None,
    folder: Path | None = None,
) -> Result:
    """`run()` where this machine reaches `tier`, the recording NAME elsewhere, labelled as what it is.

    `run` returns raw samples by series, as `record` takes them. An exception of `run` passes through: a machine
    that can run the experiment and fails at it has found something, which a recording would hide.
    """
    if (on or machine()).tier >= tier:
        plain = {k: v.tolist() if hasattr(v, "tolist") else v for k, v in run().items()}
        return Result(_checked(plain, name), live=True, label="measured on this machine, just now")
    kept = load(name, folder=folder)
    return Result(kept.samples, live=False, label=kept.label)
