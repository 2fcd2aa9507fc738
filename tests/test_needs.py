"""Skips: said in words where something lacks, failures where nothing needed to lack, and bare ones never."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from lbcore.testbed import capabilities
from tests import needs, vectors

HEAD = "import pytest\nfrom tests import needs, vectors\n"
NO_SUCH = "no-such-program"


@pytest.fixture
def judge(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch):
    """Runs a test file under needs.py: (outcomes, output)."""
    monkeypatch.setattr(vectors, "BESIDE", (pytester.path / "beside",))
    for name in ("CI", "LBCORE_NO_SKIPS", "LBCORE_VECTORS", "LBCORE_TIER", "PYTEST_ADDOPTS"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
    pytester.makeconftest('pytest_plugins = ["tests.needs"]')

    def run(source: str, **env: str) -> tuple[dict[str, int], str]:
        for name, value in env.items():
            monkeypatch.setenv(name, value)
        pytester.makepyfile(HEAD + source)
        result = pytester.runpytest_inprocess("-ra", "--strict-markers", "-p", "no:cacheprovider")
        return result.parseoutcomes(), result.stdout.str()

    return run


WANTS_PROGRAM = f'@needs.command("{NO_SUCH}", "none-either")\ndef test_it(): pass'


def test_a_missing_program_skips_and_is_named(judge) -> None:
    outcomes, output = judge(WANTS_PROGRAM)
    assert outcomes == {"skipped": 1}
    assert f"needs the program {NO_SUCH} or none-either" in output


@pytest.mark.parametrize("env", [{"CI": "true"}, {"LBCORE_NO_SKIPS": "1"}])
def test_a_missing_program_fails_where_nothing_may_be_skipped(judge, env: dict[str, str]) -> None:
    outcomes, output = judge(WANTS_PROGRAM, **env)
    assert "passed" not in outcomes
    assert outcomes.get("failed", 0) + outcomes.get("errors", 0) == 1
    assert "a skip here is a failure" in output


def test_the_rule_can_be_lifted(judge) -> None:
    assert judge(WANTS_PROGRAM, CI="true", LBCORE_NO_SKIPS="0")[0] == {"skipped": 1}


def test_one_of_several_programs_is_enough(judge) -> None:
    assert judge(f'@needs.command("{NO_SUCH}", "sh")\ndef test_it(): pass', CI="true")[0] == {"passed": 1}


WANTS_TIER = "pytestmark = needs.tier(1)\ndef test_it(): pass"


def set_tier(monkeypatch: pytest.MonkeyPatch, tier: int, natural: int) -> None:
    monkeypatch.setattr(capabilities, "machine", lambda: capabilities.Machine(tier, natural, []))


@pytest.mark.parametrize(
    ("tier", "natural", "outcome"),
    [(1, 1, "passed"), (2, 2, "passed"), (0, 0, "skipped"), (0, 1, "errors"), (0, 2, "errors")],
)
def test_a_tier_may_be_skipped_only_where_the_machine_has_not_got_it(
    judge, monkeypatch: pytest.MonkeyPatch, tier: int, natural: int, outcome: str
) -> None:
    set_tier(monkeypatch, tier, natural)
    assert judge(WANTS_TIER, CI="true")[0] == {outcome: 1}


def test_a_forced_tier_skips_in_words_outside_ci(judge, monkeypatch: pytest.MonkeyPatch) -> None:
    set_tier(monkeypatch, tier=0, natural=2)
    outcomes, output = judge(WANTS_TIER)
    assert outcomes == {"skipped": 1}
    assert f"{capabilities.VARIABLE} forces 0" in output


def test_a_system_or_rights_that_are_not_there_are_skipped_even_in_ci(judge, monkeypatch: pytest.MonkeyPatch) -> None:
    source = "@needs.linux()\ndef test_system(): pass\n@needs.root()\ndef test_rights(): pass"
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    monkeypatch.setattr(needs, "sys", SimpleNamespace(platform="darwin"))
    outcomes, output = judge(source, CI="true")
    assert outcomes == {"skipped": 2}
    assert "this is darwin" in output
    assert "this is user 1000" in output
    monkeypatch.setattr("os.geteuid", lambda: 0)
    monkeypatch.setattr(needs, "sys", SimpleNamespace(platform="linux"))
    assert judge(source, CI="true")[0] == {"passed": 2}


WANTS_VECTORS = """
@needs.vectors("one.json")
def test_marked(): pass
def test_called(): assert vectors.load("one.json") == [1]
"""


def test_missing_vectors_skip_both_ways(judge) -> None:
    outcomes, output = judge(WANTS_VECTORS, CI="true")
    assert outcomes == {"skipped": 2}
    assert "needs the test vectors one.json: no shared/vectors beside the checkout" in output


def test_vectors_missing_from_a_shared_folder_that_is_there_fail(judge, pytester: pytest.Pytester) -> None:
    pytester.mkdir("beside")
    assert judge(WANTS_VECTORS, CI="true")[0] == {"errors": 1, "failed": 1}


@pytest.mark.parametrize("env", [{}, {"LBCORE_VECTORS": "elsewhere"}])
def test_vectors_are_found(judge, pytester: pytest.Pytester, env: dict[str, str]) -> None:
    place = pytester.path / (env.get("LBCORE_VECTORS") or "beside/vectors")
    place.mkdir(parents=True)
    (place / "one.json").write_text("[1]")
    assert judge(WANTS_VECTORS, CI="true", **env)[0] == {"passed": 2}


@pytest.mark.parametrize(
    "source",
    [
        'def test_it(): pytest.skip("later")',
        '@pytest.mark.skip(reason="later")\ndef test_it(): pass',
        '@pytest.mark.skipif(True, reason="later")\ndef test_it(): pass',
        '@pytest.fixture\ndef fixture(): pytest.skip("later")\ndef test_it(fixture): pass',
        'import unittest\ndef test_it(): raise unittest.SkipTest("later")',
        '@pytest.mark.parametrize("case", [])\ndef test_it(case): pass',
        'pytest.importorskip("no_such_module")\ndef test_it(): pass',
        'pytest.skip("later", allow_module_level=True)',
    ],
)
def test_a_bare_skip_is_a_failure_anywhere(judge, source: str) -> None:
    outcomes, output = judge(source)
    assert not outcomes.keys() & {"passed", "skipped"}
    assert outcomes.get("failed", 0) + outcomes.get("errors", 0) == 1
    assert "use tests/needs.py" in output


def test_vectors_missing_at_import_skip_the_file(judge) -> None:
    assert judge('CASES = vectors.load("one.json")\ndef test_it(): pass')[0] == {"skipped": 1}


def test_an_expected_failure_is_no_skip(judge) -> None:
    assert judge("@pytest.mark.xfail\ndef test_it(): assert False")[0] == {"xfailed": 1}
