"""What chapter 06 asks the kernel, and what was recorded for who cannot."""

from __future__ import annotations

import linecache

import pytest

from lbcore import measure
from lbcore.ebpf.compiler import xdp
from lbcore.ebpf.programs.no_reflection import no_reflection
from lbcore.ebpf.verifier import verify
from lbcore.testbed import fast_path
from lbcore.wire.compose import udp_frame
from tests import needs

CELL = """
@xdp
def careless(context):
    p = view(context)
    return XDP_DROP if u16(p, 34) == 53 else XDP_PASS
"""
WRONG = "return XDP_DROP if u16(p, 34) == 53 else XDP_PASS"


@pytest.fixture
def careless():
    """The program as a notebook has it: in no file, but known to linecache."""
    from lbcore.ebpf.contexts import XDP_DROP, XDP_PASS
    from lbcore.wire.seam import u16, view

    name = "/nowhere/cell.py"
    linecache.cache[name] = (len(CELL), None, CELL.splitlines(keepends=True), name)
    names = {"xdp": xdp, "view": view, "u16": u16, "XDP_DROP": XDP_DROP, "XDP_PASS": XDP_PASS, "__name__": "cell"}
    exec(compile(CELL, name, "exec"), names)
    yield names["careless"]
    del linecache.cache[name]


def test_a_line_of_a_notebook_is_named(careless):
    verdict = verify(careless.object)
    assert not verdict
    assert verdict.line is not None
    assert verdict.line.text.strip() == WRONG


@needs.tier(2)
def test_the_kernel_refuses_at_the_same_line(careless):
    (told,) = fast_path.refusal(careless)
    line, reason = told.split("\n")
    assert line == WRONG
    assert "invalid access to packet" in reason
    assert fast_path.refusal(no_reflection) == {}


@needs.tier(2)
def test_a_run_takes_time():
    times = fast_path.run_times(no_reflection, udp_frame(), rounds=3, repeat=1000)["in the kernel"]
    assert len(times) == 3
    assert min(times) >= 0


def test_the_recordings_are_what_the_chapter_reads():
    assert next(iter(measure.load("fast-path-refusal").samples)).startswith(f"{WRONG}\n")
    drops = measure.load("fast-path-drops").samples
    assert {len(seen) for seen in drops.values()} == {5}
    assert drops["nowhere"] == [20] * 5
    assert set(measure.load("fast-path-switches").samples) == {"forwarded by the kernel", "dropped by XDP"}
    assert min(measure.load("fast-path-run-times").samples["in the kernel"]) > 0
