"""The C twins that the benchmark compares with do what the ladder's programs do, on every packet and in every map; and
the benchmark runs, and says what is true."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import pytest

from benchmarks import xdp, xdp_drop
from benchmarks.xdp_twins import COMMON, LADDER, OPTIONS, QUESTION, Rung, loaded
from lbcore import measure
from lbcore.ebpf import kernel
from lbcore.ebpf.contexts import XDP_DROP, XDP_PASS, XDP_TX
from lbcore.ebpf.object import Object
from lbcore.ebpf.programs.rate_limit import BURST, FULL, TOKEN, buckets, source_of
from lbcore.wire import ethernet
from lbcore.wire.compose import ip_frame, udp_frame
from lbcore.wire.seam import advance, view
from lbcore.wire.verdict import BAD_HEADER_LENGTH, BAD_TOTAL_LENGTH, BAD_VERSION, TOO_MANY_HEADERS, TRUNCATED
from tests import needs
from tests.wire.corpus import FRAMES, cut

pytestmark = [needs.tier(2), needs.command("clang")]
RUNGS = {rung.name: rung for rung in LADDER}
TIMELESS = [rung for rung in LADDER if rung.name != "rate_limit"]
LIMITS = [rung for rung in LADDER if rung.name == "rate_limit"]
FAR = 1 << 62
"""A time in nanoseconds at which no clock of a test is."""


@cache
def packets() -> Sequence[bytes]:
    """Frames of all kinds, whole, cut, and with bytes of the headers changed."""
    random = Random(11)
    three_tags = QUESTION[:12] + bytes.fromhex("88a800018100000281000003") + QUESTION[12:]
    question = udp_frame(destination="10.0.0.9:7", vlan=5, ip_options=bytes(8))
    whole = [*FRAMES, *COMMON.values(), QUESTION, question, three_tags, long_chain()]
    made = list(whole)
    while len(made) < 3000:
        packet = bytearray(random.choice(whole))
        if random.random() < 0.2:
            packet = bytearray(cut(bytes(packet), random.randrange(14, len(packet) + 1)))
        elif random.random() < 0.1:
            del packet[random.randrange(14, len(packet) + 1) :]
        for _ in range(random.choice((0, 1, 1, 2, 4))):
            where = random.randrange(min(len(packet), 90))
            packet[where] = random.choice((0, 1, 6, 7, 17, 43, 44, 51, 60, 0x44, 0x45, 0x81, random.randrange(256)))
        made.append(bytes(packet))
    return made


def long_chain() -> bytes:
    """More IPv6 extension headers than are followed."""
    return ip_frame(source="::1", destination="::2", protocol=60, payload=OPTIONS * 7 + bytes(16))


def contents(program: kernel.Program) -> dict[str, dict[bytes, Any]]:
    """What is in the maps; of counters for each CPU the sum, where it is not zero."""
    found: dict[str, dict[bytes, Any]] = {}
    for name, one in program.maps.items():
        if one.kind != "percpu_array":
            found[name] = dict(one)
            continue
        keys, values = one.dump(None, "<u8")
        sums = values.sum(axis=1)
        found[name] = {keys[at].tobytes(): int(sums[at]) for at in np.flatnonzero(sums)}
    return found


def behaviour(rung: Rung, program: Object) -> tuple[list[tuple[int, bytes]], dict[str, dict[bytes, Any]]]:
    with loaded(rung.source, program) as made:
        done = [made.test_run(packet)[:2] for packet in packets()]
        return done, contents(made)


@pytest.mark.parametrize("rung", TIMELESS, ids=lambda rung: rung.name)
def test_a_twin_does_the_same(rung: Rung) -> None:
    rung.prepare()
    results, maps = behaviour(rung, rung.twin())
    ours, our_maps = behaviour(rung, rung.source.object)
    for packet, theirs, our in zip(packets(), results, ours, strict=True):
        assert theirs == our, packet.hex()
    assert maps == our_maps


def test_the_packets_go_every_way() -> None:
    """What the twins are compared on reaches every verdict of the programs and of the parsers."""
    RUNGS["block_list"].prepare()
    results = {name: behaviour(RUNGS[name], RUNGS[name].twin()) for name in ("parse", "echo", "block_list")}
    unread = {int.from_bytes(key, "little") for key in results["parse"][1]["unread"]}
    assert unread == {TRUNCATED, BAD_VERSION, BAD_HEADER_LENGTH, BAD_TOTAL_LENGTH, TOO_MANY_HEADERS}
    ethertypes = {key[:2] for key in results["parse"][1]["traffic"]}
    assert len(ethertypes) == 2
    assert {verdict for verdict, _ in results["echo"][0]} == {XDP_PASS, XDP_TX}
    assert {verdict for verdict, _ in results["block_list"][0]} == {XDP_PASS, XDP_DROP}


def sources() -> Counter[tuple[int, int]]:
    """The key of every source among the packets, and how many it sends."""
    found: Counter[tuple[int, int]] = Counter()
    for packet in packets():
        link = ethernet.parse(view(packet))
        if link.verdict or link.ethertype not in (ethernet.IPV4, ethernet.IPV6):
            continue
        readable, *key = source_of(advance(view(packet), link.header_length), link.ethertype)
        if readable:
            found[key[0], key[1]] += 1
    return found


@pytest.mark.parametrize("rung", LIMITS, ids=lambda rung: rung.name)
def test_the_limits_are_the_same(rung: Rung) -> None:
    """Buckets looked at in the far future stand still, whatever the time; so what is left in them can be compared."""
    random = Random(5)
    rung.prepare()
    strange = sorted(source for source, times in sources().items() if times < BURST)[::4]
    assert strange
    for source in set(sources()) - set(strange):
        assert buckets.update(source, (FAR, random.randrange(BURST * TOKEN))) == 0
    (theirs, left), (ours, our_left) = (behaviour(rung, one) for one in (rung.twin(), rung.source.object))
    assert theirs == ours
    assert {verdict for verdict, _ in ours} == {XDP_DROP, XDP_PASS}

    def still(maps: dict[str, dict[bytes, Any]]) -> dict[tuple[int, int], tuple[int, int]]:
        everything = {buckets.key.unpack(key): buckets.value.unpack(value) for key, value in maps["buckets"].items()}
        assert set(everything) == set(sources())
        assert all(everything[source][1] <= FULL - TOKEN for source in strange)
        return {source: bucket for source, bucket in everything.items() if source not in strange}

    assert still(left) == still(our_left)


@needs.command("nft")
def test_the_benchmark_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(xdp, "LADDER", [RUNGS["drop_all"], RUNGS["echo"]])
    few = ["--rounds", "3", "--repeat", "200", "--seconds", "0.0001", "--packets", "300"]
    assert xdp.main([*few, "--json", str(tmp_path / "few.json")]) == 0
    printed = capsys.readouterr().out
    samples = measure.load("few", folder=tmp_path).samples
    assert {len(values) for name, values in samples.items() if "instructions" not in name and "code" not in name} == {3}
    for program, packet in (("drop_all", "IPv4 UDP"), ("echo", "IPv4 UDP"), ("echo", "a question")):
        ways = {way: samples[f"{program}, {packet}, {way}"] for way in ("empty", "clang", "lbcore", *xdp.SLOWER)}
        assert all(value > 0 for values in ways.values() for value in values)
        assert min(ways["Python"]) > max(ways["numba"])
        assert program in printed
    for what in (xdp_drop.FRAMES, xdp_drop.PACKETS):
        for name in xdp_drop.ENDS:
            sent, counted = (samples[f"drop, {what}, {name}, {number}"] for number in ("sent", "counted"))
            assert sent == [300] * 3, (what, name)
            assert counted == sent, (what, name)
            assert name in printed


def test_a_batch_that_is_not_taken_is_not_counted() -> None:
    """Into a cable whose far end takes no frames, packets are sent, and none arrives."""
    with xdp_drop.ways() as made:
        end = made[xdp_drop.FRAMES, xdp_drop.NATIVE].end
        made[xdp_drop.FRAMES, xdp_drop.ALONE].send(100)
        assert end.counted() == 0
        made[xdp_drop.FRAMES, xdp_drop.NATIVE].send(100)
        assert end.counted() == 100
