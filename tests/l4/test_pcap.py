"""Capture files: against scapy's reader and writers, and whatever is broken is refused in words."""

from __future__ import annotations

import io
import struct
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scapy.layers.l2 import Ether
from scapy.utils import PcapNgReader, PcapNgWriter, PcapReader, PcapWriter, RawPcapNgReader, RawPcapReader

from lbcore.l4.drivers import pcap
from lbcore.l4.drivers.driver import read, write
from lbcore.l4.drivers.pcap import Malformed, Packet, Pcap
from tests.wire.corpus import FRAMES

orders = st.sampled_from(["<", ">"])
packets = st.lists(
    st.builds(
        lambda data, more, seconds, fraction: Packet(data, len(data) + more, seconds * 10**9 + fraction),
        st.binary(min_size=14, max_size=80), st.sampled_from([0, 0, 1, 1400]),
        st.integers(0, 2**32 - 1), st.integers(0, 10**9 - 1),
    ),
    min_size=1, max_size=6,
)  # fmt: skip


@given(packets, orders, st.booleans())
def test_scapy_reads_what_is_written(some: list[Packet], order: str, nanoseconds: bool) -> None:
    data = pcap.write(some, nanoseconds=nanoseconds, order=order)  # type: ignore[arg-type]
    reader = RawPcapReader(io.BytesIO(data))
    assert reader.linktype == pcap.ETHERNET
    unit = 1 if nanoseconds else 1000
    found = [(bytes(one), meta.wirelen, (meta.sec * 10**9 + meta.usec * unit)) for one, meta in reader]
    assert found == [(one.data, one.length, one.when // unit * unit) for one in some]


@given(packets, orders, st.booleans())
def test_what_scapy_writes_is_read(some: list[Packet], order: str, nanoseconds: bool) -> None:
    buffer, unit = io.BytesIO(), 1 if nanoseconds else 1000
    buffer.close = lambda: None  # type: ignore[method-assign]
    writer = PcapWriter(buffer, linktype=1, endianness=order, nano=nanoseconds)
    writer.write_header(None)
    for one in some:
        seconds, fraction = divmod(one.when, 10**9)
        writer.write_packet(one.data, sec=seconds, usec=fraction // unit, caplen=len(one.data), wirelen=one.length)
    writer.flush()
    assert list(pcap.read(buffer.getvalue())) == [one._replace(when=one.when // unit * unit) for one in some]


@given(packets)
def test_what_is_written_is_read(some: list[Packet]) -> None:
    assert list(pcap.read(pcap.write(some))) == some


def block(order: str, kind: int, body: bytes) -> bytes:
    size = 12 + len(body)
    return struct.pack(f"{order}II", kind, size) + body + struct.pack(f"{order}I", size)


def option(order: str, code: int, value: bytes) -> bytes:
    return struct.pack(f"{order}HH", code, len(value)) + value + bytes(-len(value) % 4)


def section(order: str, resolution: int, some: list[Packet], *, offset: int = 0) -> bytes:
    """A pcapng section: two interfaces, the second with a resolution; blocks and options nobody knows in between."""
    ticks = 2 ** (resolution & 127) if resolution & 128 else 10**resolution
    parts = [
        block(order, pcap.SECTION, struct.pack(f"{order}IHHq", pcap.BYTE_ORDER_MAGIC, 1, 0, -1)),
        block(order, pcap.INTERFACE, struct.pack(f"{order}HHI", 101, 0, 0)),
        block(order, 0x0BAD0000, b"of some tool"),
        block(
            order, pcap.INTERFACE,
            struct.pack(f"{order}HHI", 1, 0, 0) + option(order, 2, b"eth0") + option(order, 9, bytes([resolution]))
            + option(order, 14, struct.pack(f"{order}q", offset)) + option(order, 0, b""),
        ),
    ]  # fmt: skip
    for one in some:
        time = one.when * ticks // 10**9
        body = struct.pack(f"{order}IIIII", 1, time >> 32, time & 0xFFFFFFFF, len(one.data), one.length)
        parts.append(block(order, pcap.ENHANCED, body + one.data + bytes(-len(one.data) % 4) + option(order, 0, b"")))
    return b"".join(parts)


@given(packets, orders, st.sampled_from([6, 9, 3, 128 + 20]))
def test_next_generation_as_scapy_reads_it(some: list[Packet], order: str, resolution: int) -> None:
    data = section(order, resolution, some)
    ticks = 2 ** (resolution & 127) if resolution & 128 else 10**resolution
    ours = list(pcap.read(data))
    theirs = list(RawPcapNgReader(io.BytesIO(data)))
    assert [one.data for one in ours] == [bytes(one) for one, _ in theirs] == [one.data for one in some]
    times = [((meta.tshigh << 32) + meta.tslow) * 10**9 // meta.tsresol for _, meta in theirs]
    assert [one.when for one in ours] == times == [one.when * ticks // 10**9 * 10**9 // ticks for one in some]
    assert {one.link_type for one in ours} == {1}
    assert [one.length for one in ours] == [one.length for one in some]


def test_what_scapy_writes_as_next_generation_is_read(tmp_path: Path) -> None:
    file = tmp_path / "new.pcapng"
    with PcapNgWriter(str(file)) as writer:
        for frame in FRAMES:
            writer.write(Ether(frame))
    assert [one.data for one in pcap.read(file.read_bytes())] == [bytes(one) for one in PcapNgReader(str(file))]


def test_sections_one_after_another_in_different_orders() -> None:
    first, second = Packet(b"a" * 14, 14, 10**18), Packet(b"b" * 15, 99, 5 * 10**18)
    data = section("<", 9, [first]) + section(">", 9, [second], offset=7)
    assert list(pcap.read(data)) == [first, second._replace(when=second.when + 7 * 10**9)]


def test_a_simple_packet_is_cut_at_its_interface() -> None:
    head = section("<", 6, [])[:28] + block("<", pcap.INTERFACE, struct.pack("<HHI", 1, 0, 16))
    data = head + block("<", pcap.SIMPLE, struct.pack("<I", 60) + b"c" * 16)
    assert list(pcap.read(data)) == [Packet(b"c" * 16, 60, 0)]


WHOLE = pcap.write([Packet(b"a" * 20, 60, 1), Packet(b"b" * 30, 30, 2)])
NEW = section(">", 9, [Packet(b"a" * 20, 60, 1), Packet(b"b" * 30, 30, 2)])


@pytest.mark.parametrize("data", [WHOLE, NEW], ids=["pcap", "pcapng"])
def test_a_cut_file_is_an_error_or_its_beginning(data: bytes) -> None:
    everything = list(pcap.read(data))
    complete = 0
    for size in range(4, len(data)):
        found = list(pcap.read(data[:size], whole=False))
        assert found == everything[: len(found)]
        assert len(found) >= complete
        complete = len(found)
        try:
            whole, why = list(pcap.read(data[:size])), ""
        except Malformed as error:
            whole, why = [], str(error)
        assert "cut off" in why or whole == found  # it was cut between two packets or blocks
    assert complete == 1 or data is NEW


@given(st.data(), st.sampled_from([WHOLE, NEW]))
def test_whatever_is_broken_is_refused(choose: st.DataObject, data: bytes) -> None:
    broken = bytearray(data)
    for _ in range(choose.draw(st.integers(1, 4))):
        broken[choose.draw(st.integers(0, len(broken) - 1))] = choose.draw(st.integers(0, 255))
    with suppress(Malformed):  # and nothing else
        assert sum(len(one.data) for one in pcap.read(bytes(broken))) <= len(broken)


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"", "4 bytes of magic number; here are 0"),
        (b"GIF89a....", "magic number is 47494638: neither pcap"),
        (WHOLE[:24] + bytes(8) + b"\xff\xff\xff\x7f" + bytes(4), "at byte 24: a packet of 2147483647 bytes"),
        (NEW[:8] + b"oops" + NEW[12:], "byte-order magic is 6f6f7073"),
        (NEW[:28] + block(">", pcap.ENHANCED, struct.pack(">IIIII", 3, 0, 0, 0, 0)), "interface is 3; there are 0"),
        (NEW[:-1] + b"\0", "the block's length is"),
    ],
)
def test_errors_say_where(data: bytes, why: str) -> None:
    with pytest.raises(Malformed, match=why):
        list(pcap.read(data))


def test_what_a_file_cannot_hold_is_not_written() -> None:
    with pytest.raises(ValueError, match="when is -1 ns"):
        pcap.write([Packet(b"", 0, -1)])


def test_a_driver_from_file_to_file(tmp_path: Path) -> None:
    (tmp_path / "in.pcap").write_bytes(pcap.write(Packet(frame) for frame in FRAMES))
    with Pcap(tmp_path / "in.pcap", tmp_path / "out.pcap", turns=2) as driver:
        frames = read(driver, 100)
        assert frames == FRAMES * 2
        assert write(driver, frames[:5]) == 5
    assert [bytes(one) for one, _ in RawPcapReader(str(tmp_path / "out.pcap"))] == FRAMES[:5]
    assert [bytes(one) for one in PcapReader(str(tmp_path / "out.pcap"))] == FRAMES[:5]


def test_a_driver_wants_ethernet(tmp_path: Path) -> None:
    data = bytearray(pcap.write([Packet(FRAMES[0])]))
    data[20:24] = (101).to_bytes(4, "little")
    (tmp_path / "raw.pcap").write_bytes(data)
    with pytest.raises(Malformed, match="link type is 101, wanted 1"):
        Pcap(tmp_path / "raw.pcap")
