"""What a reader gets: the reason in words, the line, the state, the steps; and that the book's programs are taken."""

from __future__ import annotations

import importlib
import pkgutil

import pytest

from lbcore.ebpf import elf, kernel, storage, verifier
from lbcore.ebpf import programs as ladder
from lbcore.ebpf.assembler import assemble
from lbcore.ebpf.compiler import Source, tc, xdp
from lbcore.ebpf.contexts import XDP_DROP, XDP_PASS
from lbcore.ebpf.object import Line, MapSpec, Object, Program
from lbcore.ebpf.programs.rate_limit import rate_limit
from lbcore.ebpf.verifier import verify
from lbcore.ebpf.verify import refusal
from lbcore.wire.seam import need, u8, view
from tests import needs
from tests.ebpf import portable_programs as portable
from tests.ebpf.compiled import c
from tests.ebpf.verified import ours

BOOK = [
    getattr(importlib.import_module(f"{ladder.__name__}.{one.name}"), one.name)
    for one in pkgutil.iter_modules(ladder.__path__)
]
PORTABLE = [
    *(xdp(one) for one in (portable.parse, portable.nat, portable.encapsulate, portable.count)),
    *(tc(one) for one in (portable.parse, portable.nat, portable.count)),
    Source(portable.network_layer, "socket"),
]
KERNELS_BUDGET = 100_000
"""Instructions that each of these may take; the kernel takes about as many."""


@pytest.mark.parametrize("source", [*BOOK, *PORTABLE], ids=lambda one: f"{one.__name__}-{one.kind}")
def test_it_takes_the_programs_of_the_book(source: Source) -> None:
    verdict = verify(source.object.program, source.maps, limit=KERNELS_BUDGET)
    assert verdict.accepted, str(verdict)
    assert f"{source.__name__}: accepted" in str(verdict)


@needs.command("clang")
@pytest.mark.parametrize(("name", "program"), [("many", "count"), ("many", "second"), ("legacy", "old")])
def test_it_takes_what_clang_makes(name: str, program: str) -> None:
    compiled = elf.read(c(name))
    (one,) = (one for one in compiled.programs if one.name == program)
    verdict = verify(one, {spec.name: spec for spec in compiled.maps})
    assert verdict.accepted, str(verdict)


def test_maps_may_be_of_any_kind() -> None:
    program = rate_limit.object.program
    for maps in (rate_limit.maps, {name: one.storage for name, one in rate_limit.maps.items()}, rate_limit.object.maps):
        assert verify(program, maps)
    assert verify(rate_limit.object)
    with pytest.raises(ValueError, match="map 'buckets': the program uses it; given were none"):
        verify(program)
    with pytest.raises(TypeError, match=r"map 'buckets' is 5: a MapSpec or a map"):
        verify(program, {"buckets": 5})
    with pytest.raises(ValueError, match=r"kind 'kprobe': programs of kind xdp, tc, socket"):
        verify(assemble("r0 = 0\nexit"), kind="kprobe")


@needs.tier(2)
def test_maps_may_be_the_kernels() -> None:
    with kernel.load(rate_limit.object) as loaded:
        assert verify(rate_limit.object.program, loaded.maps)


def test_a_refusal_names_the_python_line() -> None:
    @xdp
    def careless(context):  # type: ignore[no-untyped-def]
        p = view(context)
        if not need(p, 14):
            return XDP_PASS
        return XDP_DROP if u8(p, 23) == 17 else XDP_PASS  # byte 23 of 14

    verdict = verify(careless.object)
    assert not verdict
    assert verdict.category == refusal.PACKET
    assert verdict.line is not None
    assert "byte 23 of 14" in verdict.line.text
    for words in (
        "range 14 reaches byte 23 of the packet",
        "compare a pointer to byte 24 with data_end",
        "has asked for 14",
    ):
        assert words in verdict.reason
    for words in ("careless: refused (packet bounds)", f":{verdict.line.line}", verdict.text, "r10 = r10"):
        assert words in str(verdict)


def test_a_step_tells_what_it_changed() -> None:
    text = "r2 = *(u32 *)(r1 +0)\nr3 = *(u32 *)(r1 +4)\nr4 = r2\nr4 += 14\nif r4 > r3 goto +2\n"
    text += "*(u64 *)(r10 -8) = r2\nr0 = *(u8 *)(r2 +13)\nr0 &= 12\nexit"
    code = assemble(text)
    verdict = verify(Program("p", "xdp", "xdp", code, lines=(Line(0, "/a/b.py", 3, "p = view(context)"),)))
    assert verdict.category == refusal.REGISTER  # r0 on the way of a short packet: it is read by the mask
    verdict = verify(Program("p", "xdp", "xdp", assemble("r0 = 1\n" + text), lines=(Line(1, "/a/b.py", 3, "x"),)))
    assert verdict, str(verdict)
    rows = verdict.rows()
    assert [row[4] for row in rows] == [
        "r0 = 1", "r2 = packet, range 0", "r3 = packet end", "r4 = packet, range 0", "r4 = packet+14, range 0",
        "r2 = packet, range 14; r4 = packet+14, range 14", "[r10-8] = packet, range 14", "r0 = 0..255",
        "r0 = 0..12 in steps of 4", "", "", "r0 = 0", "",
    ]  # fmt: skip
    assert rows[5][5] == "not taken; path 1 will take it"
    assert rows[10][:3] == ("10", "1", "5")
    assert (rows[10][5], rows[9][5]) == ("taken", "the program ends")
    assert (rows[0][6], rows[1][6]) == ("", "b.py:3")
    assert verdict.steps[5].changes[0].before.range == 0
    assert verdict.table().splitlines()[0].split() == " ".join(verifier.COLUMNS).split()
    assert len(verdict.table(3, 6).splitlines()) == 4
    assert (verdict.paths, verdict.processed, verdict.stack) == (2, 12, 8)


def test_the_story_leaves_other_paths_out() -> None:
    text = (
        "r2 = *(u32 *)(r1 +12)\nr0 = 0\nif r2 == 1 goto a\nif r2 == 2 goto b\nexit\na:\nr0 = 1\nexit\nb:\nr0 = r9\nexit"
    )
    verdict = verify(assemble(text))
    assert [step.slot for step in verdict.story] == [0, 1, 2, 3, 7]
    assert verdict.story[-1].note == "refused"
    assert verdict.story[-2].note == "taken"
    assert verify(b"").story == []


def test_long_walks_keep_both_ends() -> None:
    text = "r0 = 0\nagain:\nr0 += 1\nif r0 != 3000 goto again\nexit"
    verdict = verify(assemble(text), keep=100)
    assert verdict
    assert len(verdict.steps) == 200
    assert verdict.steps.total == 6002 == verdict.processed == verdict.steps.omitted + 200
    assert [step.number for step in verdict.steps[98:102]] == [98, 99, 5902, 5903]
    assert str(verdict.steps[-2].changes or verdict.steps[-3].changes[0]) == "r0 = 3000"


def test_the_limit_is_kept() -> None:
    verdict = verify(assemble("r0 = 0\nagain:\nr0 += 1\nif r0 != 3000 goto again\nexit"), limit=1000)
    assert (verdict.category, verdict.processed) == (refusal.LIMIT, 1001)


def test_unwritten_stack_is_refused_unless_allowed() -> None:
    text = "r0 = *(u32 *)(r10 -12)\nexit"
    verdict = ours(text, uninitialised=False)
    assert verdict.category == refusal.UNWRITTEN
    assert "r10-12, where nothing was written" in verdict.reason
    assert ours(text)
    key = "*(u16 *)(r10 -4) = 1\nr2 = r10\nr2 += -4\nr1 = map_by_fd(0)\ncall map_lookup_elem#1\nr0 = 0\nexit"
    assert "r10-2" in ours(key, uninitialised=False).reason
    assert ours(key.replace("u16", "u32"), uninitialised=False)


def test_a_licence_that_is_not_free() -> None:
    text = "*(u64 *)(r10 -8) = 0\nr1 = r10\nr1 += -8\nr2 = 8\ncall trace_printk#6\nexit"
    program = Program("p", "xdp", "xdp", assemble(text))
    assert verify(Object(b"", (program,), license="GPL"))
    assert verify(Object(b"", (program,), license="Proprietary")).category == refusal.HELPER


def test_a_devmap_program_knows_where_the_packet_goes() -> None:
    text = "r0 = *(u32 *)(r1 +20)\nexit"
    assert ours(text).category == refusal.CONTEXT
    assert ours(text, section="xdp/devmap")


def test_what_a_map_of_maps_holds_must_be_known() -> None:
    text = "*(u32 *)(r10 -4) = 0\nr2 = r10\nr2 += -4\nr1 = map_by_idx(0)\ncall map_lookup_elem#1\nr0 = 0\nexit"
    assert verify(assemble(text), [storage.Map("array_of_maps", 4, 4, 2)]).category == refusal.UNKNOWN
    assert verify(assemble(text), [MapSpec("o", "array_of_maps", 4, 4, 2, inner=MapSpec("i", "hash", 4, 4, 2))])


def test_differences_are_told() -> None:
    assert all(all(one) for one in verifier.DIFFERENCES)
    assert len({one.feature for one in verifier.DIFFERENCES}) == len(verifier.DIFFERENCES)
