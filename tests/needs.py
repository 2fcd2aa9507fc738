"""What a test may need and a machine may lack: the only ways in this book for a test to be skipped.

    pytestmark = needs.tier(1)                 every test of the file wants network namespaces
    @needs.command("chromium", "google-chrome")    this one wants one of these programs
    @needs.vectors("siphash.json")             this one wants test material of others (see vectors.py)

Rule of this file: a skip says in words what was missing, and where nothing needed to be missing it is a failure.
That is so with CI=true or LBCORE_NO_SKIPS=1 (LBCORE_NO_SKIPS=0 lifts it): programs can be installed, a forced tier can
be lifted, material beside the checkout can be completed. Only what the machine itself cannot do is skipped there.
A bare `pytest.skip`, `skipif` or `importorskip` is a failure everywhere: nobody would notice that it never runs.
"""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Callable, Generator
from typing import Any, NamedTuple

import pytest

ADVICE = "use tests/needs.py to skip, it says why and knows when a skip is a failure"


class Missing(pytest.skip.Exception):
    """A skip by way of this file."""


class Lack(NamedTuple):
    """Something missing: `why` in words, and whether this machine `could` have it."""

    why: str
    could: bool


def command(*names: str) -> pytest.MarkDecorator:
    """A program: any one of `names` on PATH will do."""
    return pytest.mark.needs.with_args(_command, *names)


def tier(wanted: int) -> pytest.MarkDecorator:
    """Capability tier 1 or 2 (lbcore.testbed.capabilities)."""
    return pytest.mark.needs.with_args(_tier, wanted)


def vectors(*names: str) -> pytest.MarkDecorator:
    """Files of the shared test material."""
    return pytest.mark.needs.with_args(_vectors, *names)


def linux() -> pytest.MarkDecorator:
    """What only Linux has: /proc, network namespaces, its own tools."""
    return pytest.mark.needs.with_args(_linux)


def root() -> pytest.MarkDecorator:
    """The rights of root, for a test that is about having or losing them; for what root can do, ask for a tier."""
    return pytest.mark.needs.with_args(_root)


def demand(lack: Lack | None) -> None:
    """Go on if nothing lacks; else skip, or fail where a skip is a failure."""
    if lack is None:
        return
    if lack.could and strict():
        pytest.fail(f"{lack.why} (a skip here is a failure: CI or LBCORE_NO_SKIPS is set)", pytrace=False)
    raise Missing(lack.why, allow_module_level=True, _use_item_location=True)


def strict() -> bool:
    """Whether a test that could run here has to."""
    by_default = "1" if os.environ.get("CI", "").lower() == "true" else "0"
    return os.environ.get("LBCORE_NO_SKIPS", by_default) == "1"


def _command(*names: str) -> Lack | None:
    if any(shutil.which(name) for name in names):
        return None
    return Lack(f"needs the program {' or '.join(names)}: not on PATH", could=True)


def _tier(wanted: int) -> Lack | None:
    from lbcore.testbed import capabilities

    machine = capabilities.machine()
    if machine.tier >= wanted:
        return None
    why = f"needs tier {wanted} ({capabilities.TIERS[wanted]})"
    if machine.natural_tier >= wanted:
        return Lack(f"{why}: the machine has it, {capabilities.VARIABLE} forces {machine.tier}", could=True)
    return Lack(f"{why}: this machine has tier {machine.natural_tier}", could=False)


def _linux() -> Lack | None:
    return None if sys.platform == "linux" else Lack(f"needs Linux: this is {sys.platform}", could=False)


def _root() -> Lack | None:
    return None if os.geteuid() == 0 else Lack(f"needs root: this is user {os.geteuid()}", could=False)


def _vectors(*names: str) -> Lack | None:
    from tests import vectors

    return next(filter(None, map(vectors.lack, names)), None)


# ---- pytest's hooks ----


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "needs(check, *arguments): made by tests/needs.py alone")


def pytest_runtest_setup(item: pytest.Item) -> None:
    for mark in item.iter_markers("needs"):
        check: Callable[..., Lack | None] = mark.args[0]
        demand(check(*mark.args[1:]))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(call: pytest.CallInfo[None]) -> Generator[None, Any, pytest.TestReport]:
    report = yield
    _only_ours(report, call)
    return report


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report() -> Generator[None, Any, pytest.CollectReport]:
    report = yield
    _only_ours(report, report.call)
    return report


def _only_ours(report: Any, call: pytest.CallInfo[Any]) -> None:
    """Turn a skip that did not come from here into a failure (an expected failure is no skip)."""
    if report.skipped and not hasattr(report, "wasxfail") and not isinstance(call.excinfo.value, Missing):
        report.outcome = "failed"
        report.longrepr = f"{report.nodeid}: skipped with {call.excinfo.value!s:.200}: {ADVICE}"
