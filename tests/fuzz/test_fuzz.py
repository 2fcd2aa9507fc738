"""What hunts have kept, replayed; and what hypothesis makes of it."""

from __future__ import annotations

import subprocess
import sys
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.fuzz import corpus, packets, streams
from tests.fuzz.names import HARNESSES


@pytest.mark.parametrize("name", HARNESSES)
def test_what_hunts_have_kept(name: str) -> None:
    function, kept = HARNESSES[name](), corpus.kept(name)
    assert kept
    for data in kept:
        function(data)


@pytest.mark.parametrize("name", HARNESSES)
@settings(max_examples=150, deadline=None)
@given(data=st.data())
def test_and_near_it(name: str, data: st.DataObject) -> None:
    """One of them, or two together, with a few bytes changed, taken out, put in."""
    known = corpus.kept(name)
    one, other = data.draw(st.sampled_from(known)), data.draw(st.sampled_from(known))
    made = bytearray(one[: int(data.draw(st.floats(0, 1)) * len(one))] + other if data.draw(st.booleans()) else one)
    for _ in range(data.draw(st.integers(0, 4))):
        at = int(data.draw(st.floats(0, 1)) * len(made))
        made[at : at + data.draw(st.integers(0, 3))] = data.draw(st.binary(max_size=3))
    HARNESSES[name]()(bytes(made))


def test_the_checks_can_fail(monkeypatch: pytest.MonkeyPatch) -> None:
    """A parser that takes a header before it is whole; a balancer that drops what it should pass on."""
    right = streams.pp.parse
    monkeypatch.setattr(streams.pp, "parse", lambda data: right(bytes(data) + b"\n"))
    with pytest.raises(AssertionError):
        streams.proxy_protocol(b"PROXY UNKNOWN\r\n")
    monkeypatch.setattr(packets.plane, "forward", lambda packet, tables, modes: packets.reasons.DROP)
    with pytest.raises(AssertionError):
        packets.core(next(iter(corpus.of_packets(Random(1)))))


def test_the_command() -> None:
    """A hunt of a second, by chance where atheris is missing."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.fuzz", "proxy_protocol", "1"], capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "proxy_protocol: " in done.stdout
