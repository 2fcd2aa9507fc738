"""requirements.lock and binder/requirements.txt: complete, pinned, hashed, in step, and free of addresses."""

from __future__ import annotations

import re
import tomllib
from collections import defaultdict
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path
from typing import NamedTuple

import pytest
from packaging.markers import Marker, default_environment
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parents[1]
TEXT = (ROOT / "requirements.lock").read_text(encoding="utf-8")
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
BINDER = {
    "python_version": "3.12",
    "python_full_version": "3.12.0",
    "sys_platform": "linux",
    "os_name": "posix",
    "platform_system": "Linux",
    "platform_machine": "x86_64",
    "platform_python_implementation": "CPython",
    "implementation_name": "cpython",
}


class Pin(NamedTuple):
    """One entry of the lock."""

    version: str
    marker: Marker | None
    hashes: list[str]
    via: list[str]  # the packages that want it; `lbcore (pyproject.toml)` for the project itself


def entries() -> Iterator[tuple[str, Pin]]:
    """Every entry of the lock, read by its layout alone: name==version ; marker, then hashes, then `# via`."""
    for block in re.split(r"\n(?=\S)", TEXT.strip()):
        lines = block.replace("\\", " ").splitlines()
        requirement = Requirement(lines[0].strip())
        (only,) = requirement.specifier
        assert only.operator == "==", lines[0]
        hashes = [line.strip().removeprefix("--hash=") for line in lines if "--hash=" in line]
        via = [
            line.strip().removeprefix("#").removeprefix(" via").strip()
            for line in lines
            if line.strip().startswith("#")
        ]
        yield canonicalize_name(requirement.name), Pin(only.version, requirement.marker, hashes, [v for v in via if v])


PINS: dict[str, list[Pin]] = defaultdict(list)
for _name, _pin in entries():
    PINS[_name].append(_pin)


def test_the_lock_names_no_address() -> None:
    assert "://" not in TEXT
    assert "--index" not in TEXT
    assert "--find-links" not in TEXT


def test_every_pin_has_a_hash() -> None:
    assert len(PINS) > 100, "the lock was not read"
    for name, pins in PINS.items():
        for pin in pins:
            assert pin.hashes, name
            assert all(re.fullmatch("sha256:[0-9a-f]{64}", one) for one in pin.hashes), name


@pytest.mark.parametrize("wanted", [*PROJECT["dependencies"], *PROJECT["optional-dependencies"]["test"]])
def test_the_lock_satisfies_what_the_project_asks_for(wanted: str) -> None:
    requirement = Requirement(wanted)
    pins = PINS.get(canonicalize_name(requirement.name))
    assert pins, f"{wanted} is not in the lock: run `python3 book.py lock`"
    for pin in pins:
        assert requirement.specifier.contains(pin.version), (
            f"{wanted}, locked {pin.version}: run `python3 book.py lock`"
        )


def locked_for_binder() -> dict[str, Pin]:
    """The one pin of each package that Linux with Python 3.12 uses."""
    env = {**default_environment(), **BINDER}
    return {name: pin for name, pins in PINS.items() for pin in pins if not pin.marker or pin.marker.evaluate(env)}


def binder_pins() -> dict[str, str]:
    """Name and version of each line of binder/requirements.txt, which has nothing but such lines."""
    lines = (ROOT / "binder" / "requirements.txt").read_text(encoding="utf-8").splitlines()
    found = [re.fullmatch(r"([a-z0-9-]+)==([0-9a-z.+]+)", line) for line in lines]
    assert all(found), lines
    return {canonicalize_name(one[1]): one[2] for one in found if one}


def test_binder_has_the_locks_versions() -> None:
    locked = locked_for_binder()
    for name, version in binder_pins().items():
        assert version == locked[name].version, f"{name}=={version}: run `python3 book.py lock`"


def direct() -> set[str]:
    """What the project itself asks for, but JupyterLab: Binder brings one, with all that serves it."""
    return {canonicalize_name(Requirement(one).name) for one in PROJECT["dependencies"]} - {"jupyterlab"}


def test_binder_has_nothing_that_nothing_needs() -> None:
    """By the lock's own `# via` notes, which uv wrote in another run."""
    locked = locked_for_binder()
    for name in binder_pins().keys() - direct():
        assert set(locked[name].via) & binder_pins().keys(), name


def test_binder_has_everything_that_something_needs() -> None:
    """By what the installed packages say of themselves."""
    pins = binder_pins()
    env = {**default_environment(), **BINDER, "extra": ""}
    assert direct() <= pins.keys()
    for name in pins:
        for need in map(Requirement, metadata.requires(name) or ()):
            if not need.marker or need.marker.evaluate(env):
                version = pins.get(canonicalize_name(need.name))
                assert version, f"{name} needs {need}"
                assert need.specifier.contains(version), f"{name} needs {need}, pinned {version}"
