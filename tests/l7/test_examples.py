"""The lessons' cases in four languages, each held against whoever reads it: us, nginx, HAProxy, Envoy's definitions."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest
import yaml
from google.protobuf.json_format import ParseError

from lbcore.l7.clinic import EXAMPLES
from lbcore.l7.config import document
from tests import needs
from tests.l7 import envoy, nginx

CASES = sorted(path.name for path in EXAMPLES.iterdir() if path.is_dir() and path.name != "broken")
FORMS = ("lbcore.toml", "nginx.conf", "haproxy.cfg", "envoy.yaml")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the files stand that the examples name; the working directory."""
    nginx.certificates(tmp_path)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def text(case: str, form: str) -> str:
    return (EXAMPLES / case / form).read_text()


def test_each_case_is_there_in_all_forms() -> None:
    assert len(CASES) >= 9
    for case in CASES:
        assert sorted(path.name for path in (EXAMPLES / case).iterdir()) == sorted(FORMS)


@pytest.mark.parametrize("case", CASES)
def test_ours_is_right(case: str, folder: Path) -> None:
    file = document.parse(text(case, "lbcore.toml").encode(), case)
    assert file.warnings == ()
    assert all(listen.address == "127.0.0.1" for listen in file.config.listen)


@needs.command("nginx", "/usr/sbin/nginx")
@pytest.mark.parametrize("case", CASES)
def test_nginx_takes_its_own(case: str, folder: Path) -> None:
    assert nginx.complaints(folder, text(case, "nginx.conf")) == ""


@needs.command("haproxy")
@pytest.mark.parametrize("case", CASES)
def test_haproxy_takes_its_own(case: str, folder: Path) -> None:
    (folder / "haproxy.cfg").write_text(text(case, "haproxy.cfg"))
    command = [shutil.which("haproxy") or "", "-c", "-f", "haproxy.cfg"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
    assert done.returncode == 0, done.stderr
    assert "WARNING" not in done.stderr


@pytest.mark.parametrize("case", CASES)
def test_envoys_is_made_of_its_messages(case: str) -> None:
    told = yaml.safe_load(text(case, "envoy.yaml"))
    made = envoy.read(text(case, "envoy.yaml"))
    there = {one.name for one in made.static_resources.clusters}
    assert set(envoy.clusters(told["static_resources"]["listeners"])) == there
    for cluster in told["static_resources"]["clusters"]:
        assert cluster["load_assignment"]["cluster_name"] == cluster["name"]


CHANGES = [("lb_policy", "lb_polcy"), ("ROUND_ROBIN", "ROUNDROBIN"), ("9001", '"x"'), ("Router }", "Routr }")]


@pytest.mark.parametrize("change", CHANGES)
def test_envoys_check_can_fail(change: tuple[str, str]) -> None:
    wrong = text("path_routing", "envoy.yaml").replace(*change)
    with pytest.raises((ParseError, TypeError)):
        envoy.read(wrong)


@pytest.mark.parametrize("case", CASES)
def test_all_forms_lead_to_the_same_backends(case: str) -> None:
    """Ports from 9000 on are backends, in every form the same ones."""
    found = {form: {word for word in range(9000, 9500) if str(word) in text(case, form)} for form in FORMS}
    assert len({frozenset(ports) for ports in found.values()}) == 1, found
