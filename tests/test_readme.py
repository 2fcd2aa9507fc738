"""README.md and the papers beside it: current, and agreed on who, where and under which terms."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest
import yaml

from lbcore import readme

ROOT = Path(__file__).resolve().parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
CITATION = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
PAPERS = ["README.md", "CONTRIBUTING.md"]
MARKERS = "\n".join(f"<!-- {name} -->\nold\n<!-- /{name} -->" for name in readme.SECTIONS)

SOURCE = """# ---
# book:
#   title: {title}
#   question: Who | what gets the packet?
#   tier: 1
#   minutes: 45
#   memory_mb: 300
#   after: []
#   lab: {lab}
# ---
"""


@pytest.fixture
def small(tmp_path: Path) -> Path:
    """A book of two chapters and one lab."""
    (tmp_path / "pyproject.toml").write_text('[project]\nurls.Repository = "https://host.example/them/their-book"\n')
    (tmp_path / "README.md").write_text(f"# Mine\n\n{MARKERS}\n\nMine too.\n")
    for name, title, lab in (
        ("chapters/src/00-start.py", "Start", "null"),
        ("chapters/src/03-maglev.py", "Maglev", "populate"),
        ("labs/src/01-populate.py", "Populate", "null"),
    ):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(SOURCE.format(title=title, lab=lab))
    return tmp_path


def test_the_readme_is_current() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    assert readme.render(text, ROOT) == text, "run `lbcore contents`"


def test_generated_parts_are_made_from_the_headers_and_the_one_address(small: Path) -> None:
    assert readme.main(["--root", str(small), "--check"]) == 1
    assert readme.main(["--root", str(small)]) == 0
    assert readme.main(["--root", str(small), "--check"]) == 0
    text = (small / "README.md").read_text()
    assert "old" not in text
    assert text.startswith("# Mine\n")
    assert text.endswith("\n\nMine too.\n")
    maglev = r"| 03 | [Maglev](chapters/03-maglev.ipynb) | Who \| what gets the packet? | 1 | 45 | "
    assert f"{maglev}[01](labs/01-populate.ipynb) |" in text
    assert r"| 01 | [Populate](labs/01-populate.ipynb) | Who \| what gets the packet? | 1 | 45 |" in text
    assert "/v2/gh/them/their-book/HEAD?urlpath=lab/tree/chapters/00-start-here.ipynb" in text
    assert "git clone https://host.example/them/their-book\ncd their-book\n" in text


@pytest.mark.parametrize("broken", ["<!-- badge -->", "<!-- /chapters -->"])
def test_a_lost_marker_is_named_and_nothing_is_written(
    small: Path, capsys: pytest.CaptureFixture[str], broken: str
) -> None:
    page = small / "README.md"
    page.write_text(page.read_text().replace(broken, ""))
    before = page.read_text()
    assert readme.main(["--root", str(small)]) == 1
    assert broken.strip("<!-/ >") in capsys.readouterr().err
    assert page.read_text() == before


@pytest.mark.parametrize("paper", PAPERS)
def test_every_relative_link_leads_somewhere(paper: str) -> None:
    targets = re.findall(r"\]\((?!https?://|#)([^)#]+)", (ROOT / paper).read_text(encoding="utf-8"))
    missing = [target for target in targets if not (ROOT / target).exists()]
    assert targets
    assert not missing


@pytest.mark.parametrize("paper", PAPERS)
def test_every_command_that_a_paper_names_exists(paper: str) -> None:
    from lbcore import cli

    text = (ROOT / paper).read_text(encoding="utf-8")
    named = set(re.findall(r"`lbcore ([a-z0-9]+)", text))
    assert named
    assert named <= cli.COMMANDS.keys()


def test_the_repository_has_one_address() -> None:
    address = readme.repository(ROOT)
    assert CITATION["repository-code"] == address
    for paper in PAPERS:
        slugs = set(re.findall(r"github\.com/[\w-]+/[\w-]+", (ROOT / paper).read_text(encoding="utf-8")))
        assert slugs <= {address.removeprefix("https://")}


def test_the_citation_says_what_the_project_says() -> None:
    assert CITATION["version"] == PROJECT["version"]
    assert set(CITATION["license"]) == set(PROJECT["license"].split(" AND "))
    assert CITATION["title"] == PROJECT["description"]
    assert {"cff-version", "message", "title", "authors"} <= CITATION.keys()


def test_both_licences_are_there_in_full() -> None:
    code, text = ((ROOT / name).read_text(encoding="utf-8") for name in PROJECT["license-files"])
    assert "Apache License" in code
    assert "END OF TERMS AND CONDITIONS" in code
    assert "Attribution 4.0 International" in text
    assert "Section 8 -- Interpretation." in text
