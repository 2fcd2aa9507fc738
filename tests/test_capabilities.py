"""Probing: what it says agrees with the system's own tools, it leaves nothing behind, and nothing stops it."""

from __future__ import annotations

import ast
import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from lbcore.testbed import capabilities, doctor, hardware, namespace_probe, probes
from lbcore.testbed.capabilities import Capability, Machine, Probe, machine
from tests import needs

NOBODY = 65534


@pytest.fixture
def fresh(monkeypatch: pytest.MonkeyPatch) -> None:
    """No forced tier."""
    monkeypatch.delenv(capabilities.VARIABLE, raising=False)


def facts(namespaces: bool, bpf: bool) -> tuple[Capability, ...]:
    return Capability("network namespaces", namespaces, "made up"), Capability("BPF", bpf, "made up")


@pytest.mark.parametrize(
    ("namespaces", "bpf", "tier"), [(False, False, 0), (False, True, 0), (True, False, 1), (True, True, 2)]
)
@pytest.mark.parametrize("forced", [None, "", "0", "1", "2"])
def test_tier_follows_from_facts_and_can_only_be_lowered(monkeypatch, namespaces, bpf, tier, forced):
    monkeypatch.setattr(capabilities, "_facts", lambda: facts(namespaces, bpf))
    monkeypatch.setenv(capabilities.VARIABLE, forced) if forced is not None else monkeypatch.delenv(
        capabilities.VARIABLE, raising=False
    )
    found = machine()
    assert found.natural_tier == tier
    assert found.tier == (min(tier, int(forced)) if forced else tier)


@pytest.mark.parametrize("value", ["3", "-1", "one", "1.0", " 1"])
def test_a_bad_forced_tier_is_named(monkeypatch, capsys, value):
    monkeypatch.setenv(capabilities.VARIABLE, value)
    with pytest.raises(ValueError, match=capabilities.VARIABLE) as caught:
        machine()
    assert repr(value) in str(caught.value)
    assert doctor.main([]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert repr(value) in err


def test_a_probe_that_breaks_is_a_finding_and_not_an_error():
    def broken() -> probes.Finding:
        raise OSError("the floor gave way")

    found = capabilities._find(Probe("floor", broken))
    assert not found.available
    assert "the floor gave way" in found.why


@pytest.mark.parametrize(("system", "name"), [("darwin", "macOS"), ("win32", "Windows")])
def test_elsewhere_linux_only_probes_say_so_and_are_not_run(monkeypatch, system, name):
    def run() -> probes.Finding:
        raise AssertionError("this probe must not run here")

    only = [probe for probe in capabilities.PROBES if probe.linux_only]
    assert {"network namespaces", "BPF"} <= {probe.name for probe in only}
    monkeypatch.setattr(sys, "platform", system)
    for probe in only:
        found = capabilities._find(probe._replace(find=run))
        assert not found.available
        assert found.why.startswith(f"this is {name}: no ")


def test_everything_else_is_found_out_on_every_system(monkeypatch):
    for probe in capabilities.PROBES:
        found = capabilities._find(probe)
        assert found.why
        assert "could not be found out" not in found.why, found


@needs.linux()
def test_probing_leaves_no_descriptor_device_process_or_namespace():
    def state() -> tuple[object, ...]:
        children = [path.read_text() for path in Path("/proc/self/task").glob("*/children")]
        spaces = {path.name: os.readlink(path) for path in Path("/proc/self/ns").iterdir()}
        descriptors = sorted(os.listdir("/proc/self/fd"))
        return descriptors, sorted(os.listdir("/sys/class/net")), "".join(children).split(), spaces

    list(map(capabilities._find, capabilities.PROBES))  # imports and the like, once
    before = state()
    list(map(capabilities._find, capabilities.PROBES))
    assert state() == before


def test_a_probe_that_hangs_is_ended(monkeypatch, tmp_path):
    stuck = tmp_path / "stuck.py"
    stuck.write_text("import time\ntime.sleep(60)\n")
    monkeypatch.setattr(namespace_probe, "__file__", str(stuck))
    monkeypatch.setattr(probes, "TIMEOUT", 0.2)
    found = capabilities._find(Probe("network namespaces", probes.namespaces))
    assert not found.available
    assert "TimeoutExpired" in found.why


def test_a_probe_child_that_dies_is_reported_with_its_last_words(monkeypatch, tmp_path):
    bad = tmp_path / "bad.py"
    bad.write_text("raise OSError('no such luck')\n")
    monkeypatch.setattr(namespace_probe, "__file__", str(bad))
    assert probes.namespaces() == (False, "OSError: no such luck")


@needs.linux()
@needs.command("unshare")
@needs.command("ip")
def test_namespaces_agree_with_unshare_and_ip():
    made = ["ip", "link", "add", "type", "veth"]
    ways = (["unshare", "-n", *made], ["unshare", "-rn", *made])
    possible = any(subprocess.run(way, capture_output=True, timeout=20, check=False).returncode == 0 for way in ways)
    assert probes.namespaces()[0] == possible


@needs.linux()
@needs.root()
def test_without_privileges_the_same_probe_gives_the_reason():
    script = "import sys; sys.path.insert(0, sys.argv[1]); from lbcore.testbed import probes; print(probes.bpf())"
    python = shutil.which("python3", path="/usr/local/bin:/usr/bin:/bin") or sys.executable
    with tempfile.TemporaryDirectory() as folder:
        # A copy, because an ordinary user may not be let into the folder of this checkout.
        os.chmod(folder, 0o755)
        shutil.copytree(Path(probes.__file__).parent, Path(folder, "lbcore", "testbed"))
        done = subprocess.run(
            [python, "-I", "-c", script, folder],
            user=NOBODY, group=NOBODY, extra_groups=[], cwd="/",
            capture_output=True, text=True, timeout=30, check=False,
        )  # fmt: skip
    assert done.returncode == 0, done.stderr
    available, why = ast.literal_eval(done.stdout)
    assert not available
    assert "CAP_BPF" in why


def test_every_fact_can_be_asked_for_by_name(fresh):
    found = machine()
    for fact in found.facts:
        assert found[fact.name] is fact
    with pytest.raises(KeyError, match="no fact called 'bpf'"):
        found["bpf"]


def test_doctor_reports_every_fact_and_what_its_absence_means(capsys):
    absent = [Capability(probe.name, False, f"reason {number}") for number, probe in enumerate(capabilities.PROBES)]
    text = doctor.report(Machine(0, 2, absent))
    assert capabilities.TIERS[0] in text
    assert capabilities.VARIABLE in text
    for fact in absent:
        assert f"no  {fact.name}: {fact.why}" in text
    for name in doctor.MEANING:
        assert name in {fact.name for fact in absent}, f"doctor explains {name!r}, which nothing probes"
    assert text.count("To change it:") == len(absent)


def test_doctor_prints_for_people_and_for_programs(fresh, capsys):
    assert doctor.main([]) == 0
    assert f"tier {machine().tier} of 2" in capsys.readouterr().out
    assert doctor.main(["--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["tier"] == machine().tier
    assert [fact["name"] for fact in told["facts"]] == [probe.name for probe in capabilities.PROBES]


GIB = 2**30
CGROUPS = [
    # (files, memory limit in bytes, CPU quota in cores)
    ({}, None, None),
    ({"/proc/self/cgroup": "0::/", "/sys/fs/cgroup/memory.max": "max"}, None, None),
    (
        {
            "/proc/self/cgroup": "0::/user/job",
            "/sys/fs/cgroup/user/memory.max": str(2 * GIB),  # the parent's limit binds the child
            "/sys/fs/cgroup/user/job/memory.max": str(4 * GIB),
            "/sys/fs/cgroup/user/cpu.max": "max 100000",
            "/sys/fs/cgroup/user/job/cpu.max": "150000 100000",
        },
        2 * GIB,
        1.5,
    ),
    (
        {
            "/proc/self/cgroup": "4:memory:/box\n1:cpu:/box\n0::/",
            "/sys/fs/cgroup/memory/box/memory.limit_in_bytes": str(GIB),
            "/sys/fs/cgroup/memory/memory.limit_in_bytes": "9223372036854771712",
            "/sys/fs/cgroup/cpu/box/cpu.cfs_quota_us": "50000",
            "/sys/fs/cgroup/cpu/box/cpu.cfs_period_us": "100000",
            "/sys/fs/cgroup/cpu/cpu.cfs_quota_us": "-1",
            "/sys/fs/cgroup/cpu/cpu.cfs_period_us": "100000",
        },
        GIB,
        0.5,
    ),
]


@pytest.mark.parametrize(("files", "memory", "quota"), CGROUPS)
def test_control_group_limits_are_read_in_both_versions(monkeypatch, files, memory, quota):
    monkeypatch.setattr(hardware, "read", lambda path: files.get(str(path)))
    assert hardware.memory_limit() == memory
    assert hardware.cpu_quota() == quota


@needs.linux()
@needs.command("nproc")
def test_cores_agree_with_nproc():
    told = subprocess.run(
        ["nproc"], env={"PATH": os.environ["PATH"]}, capture_output=True, text=True, check=True
    ).stdout
    assert hardware.cores() == int(told)
