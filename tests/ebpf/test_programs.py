"""The ladder's programs: the same in Python, in the machine and in the kernel; and what each of them is for."""

from __future__ import annotations

from collections.abc import Iterator
from ipaddress import ip_address

import pytest

from lbcore.ebpf import kernel
from lbcore.ebpf.compiler import Source
from lbcore.ebpf.contexts import XDP_DROP, XDP_PASS, XDP_REDIRECT, XDP_TX
from lbcore.ebpf.programs.block_list import ALLOW, BLOCK, block_list, rules4, rules6
from lbcore.ebpf.programs.count_protocols import count_protocols, ports, protocols
from lbcore.ebpf.programs.drop_all import drop_all
from lbcore.ebpf.programs.echo import echo
from lbcore.ebpf.programs.parse import NO_PORT, parse, traffic, unread
from lbcore.ebpf.programs.pass_all import pass_all
from lbcore.ebpf.programs.rate_limit import BURST, FULL, TOKEN, buckets, rate_limit
from lbcore.ebpf.programs.redirect import other_port, redirect
from lbcore.wire import ethernet
from lbcore.wire.compose import icmp_frame, tcp_frame, udp_frame
from lbcore.wire.seam import Frame
from tests import needs
from tests.ebpf.ladder import (
    EVERY,
    QUESTION,
    TIMELESS,
    empty,
    entries,
    give_rules,
    machine,
    packets,
    prepare,
    six,
)

ANSWER = udp_frame(
    source="10.0.0.9:7", destination="10.0.0.1:40000", payload=b"is anybody there?",
    source_mac="02:00:00:00:00:02", destination_mac="02:00:00:00:00:01",
)  # fmt: skip

each = pytest.mark.parametrize("program", TIMELESS, ids=lambda program: program.__name__)


@pytest.fixture(autouse=True)
def empty_maps() -> Iterator[None]:
    yield
    for program in EVERY:
        empty(program.maps)


def in_python(program: Source) -> tuple[list[tuple[int, bytes]], dict[str, dict[bytes, int]]]:
    results = []
    for packet in packets():
        frame = Frame(packet)
        results.append((int(program(frame)), bytes(frame)))
    return results, entries({name: one.storage for name, one in program.maps.items()})


@each
def test_the_machine_does_what_python_does(program: Source) -> None:
    prepare(program)
    expected = in_python(program)
    prepare(program)
    made = machine(program)
    done = [made.run(packet) for packet in packets()]
    contents = entries({name: one.storage for name, one in program.maps.items()})
    assert ([(one.verdict, one.packet) for one in done], contents) == expected


@needs.tier(2)
@each
def test_the_kernel_does_what_python_does(program: Source) -> None:
    prepare(program)
    expected = in_python(program)
    with kernel.load(program.object) as loaded:
        if program is block_list:
            for name, one in program.maps.items():
                loaded.maps[name].update(one.storage)
        done = [loaded.test_run(packet) for packet in packets()]
        assert ([(one.verdict, one.packet) for one in done], entries(loaded.maps)) == expected


def test_the_packets_reach_both_sides() -> None:
    for program, wanted in ((echo, {XDP_PASS, XDP_TX}), (block_list, {XDP_PASS, XDP_DROP})):
        prepare(program)
        assert {verdict for verdict, _ in in_python(program)[0]} == wanted


# ---- what each is for ----


def test_pass_and_drop() -> None:
    assert machine(pass_all).run(QUESTION).verdict == XDP_PASS
    assert machine(drop_all).run(QUESTION).verdict == XDP_DROP


def test_counts() -> None:
    made = machine(count_protocols)
    for frame in (QUESTION, QUESTION, tcp_frame(destination="10.0.0.9:443", vlan=5), icmp_frame()):
        assert made.run(frame).verdict == XDP_PASS
    made.run(udp_frame(fragment_offset=8, payload=b"\0\7\0\7 in the middle"))
    made.run(tcp_frame(source="[::1]:1", destination="[::2]:443"))
    made.run(behind_options(udp_frame(source="[::1]:1", destination="[::2]:53", payload=bytes(8))))
    made.run(icmp_frame(source="::1", destination="::2"))
    assert [protocols[number] for number in (0, 1, 6, 17, 58)] == [0, 1, 2, 4, 1]
    assert (ports[7], ports[443], ports[53], int(ports.storage.as_array("<u8").sum())) == (2, 2, 1, 5)


def behind_options(frame: bytes) -> bytes:
    """An IPv6 frame with a hop-by-hop header of eight bytes in front of what it carries."""
    length = (int.from_bytes(frame[18:20], "big") + 8).to_bytes(2, "big")
    return frame[:18] + length + b"\0" + frame[21:54] + bytes([frame[20], 0, 1, 4, 0, 0, 0, 0]) + frame[54:]


def test_what_parse_finds() -> None:
    made = machine(parse)
    question = udp_frame(source="[::1]:1", destination="[::2]:53", payload=b"\0\x35" * 8)
    tagged = tcp_frame(vlan=(3, 4), ip_options=bytes(12))
    for frame in (tagged, icmp_frame(), QUESTION[:30], question, behind_options(question)):
        assert made.run(frame).verdict == XDP_PASS
    assert {traffic.key.unpack(key): int.from_bytes(value, "little") for key, value in traffic.storage.items()} == {
        (ethernet.IPV4, 4, 6, 80): 1,
        (ethernet.IPV4, ethernet.UNTAGGED, 1, NO_PORT): 1,
        (ethernet.IPV6, ethernet.UNTAGGED, 17, 53): 2,
    }
    assert int(unread.storage.as_array("<u8").sum()) == 1


def test_the_echo_is_the_answer_a_host_would_send() -> None:
    result = machine(echo).run(QUESTION)
    assert (result.verdict, result.packet) == (XDP_TX, ANSWER)


UNANSWERED = {
    "an answer": udp_frame(source="10.0.0.1:7", destination="10.0.0.9:7"),
    "another port": udp_frame(destination="10.0.0.9:8"),
    "a group": udp_frame(destination="10.0.0.9:7", destination_mac="ff:ff:ff:ff:ff:ff"),
    "a fragment": udp_frame(destination="10.0.0.9:7", more_fragments=True),
    "TCP": tcp_frame(destination="10.0.0.9:7"),
}


@pytest.mark.parametrize("frame", UNANSWERED.values(), ids=UNANSWERED)
def test_what_echo_does_not_answer(frame: bytes) -> None:
    result = machine(echo).run(frame)
    assert (result.verdict, result.packet) == (XDP_PASS, frame)


@pytest.mark.parametrize(
    ("source", "verdict"),
    [
        ("10.9.9.9", XDP_DROP), ("10.1.2.4", XDP_PASS), ("10.1.2.3", XDP_DROP), ("11.0.0.1", XDP_PASS),
        ("2001:db8::1", XDP_DROP), ("2001:db8::7", XDP_PASS), ("2001:db9::1", XDP_PASS),
    ],
)  # fmt: skip
def test_the_longest_rule_decides(source: str, verdict: int) -> None:
    give_rules()
    destination = "2001:db8::9" if ":" in source else "10.0.0.9"
    assert machine(block_list).run(icmp_frame(source=source, destination=destination)).verdict == verdict


def test_an_allow_list_is_a_rule_for_all_and_exceptions() -> None:
    rules4.update((0, 0), BLOCK)
    rules6.update((0, *six("::")), BLOCK)
    rules4.update((16, int(ip_address("192.168.0.0"))), ALLOW)
    rules6.update((48, *six("2001:db8:7::")), ALLOW)
    ends = (("192.168.3.4", "192.169.3.4", "10.0.0.9"), ("2001:db8:7::1", "2001:db8:8::1", "::9"))
    for inside, outside, destination in ends:
        for source, verdict in ((inside, XDP_PASS), (outside, XDP_DROP)):
            assert machine(block_list).run(icmp_frame(source=source, destination=destination)).verdict == verdict


def test_the_rate_is_kept() -> None:
    """A source that sends without end gets BURST at once, and then one packet for each TOKEN of time."""
    now = [10**12]
    made = machine(rate_limit, clock=lambda: now[0])

    def passed(count: int, source: str = "10.0.0.1") -> int:
        frame = icmp_frame(source=source, destination="2001:db8::9" if ":" in source else "10.0.0.9")
        return sum(made.run(frame).verdict == XDP_PASS for _ in range(count))

    assert passed(3 * BURST) == BURST
    assert passed(3, "10.0.0.2") == 3  # another source has a bucket of its own
    assert passed(BURST, "2001:db8::1") == BURST
    assert passed(1, "2001:db8::ffff:1:2") == 0  # the same /64, so the same source
    assert passed(1, "2001:db8:0:1::1") == 1
    assert passed(1, "::ffff:10.0.0.1") == 1  # written like 10.0.0.1's key, yet of another prefix
    keys = ("::ffff:10.0.0.1", "::ffff:10.0.0.2", "2001:db8::", "2001:db8:0:1::", "::")
    assert {ip_address(key) for key in buckets.storage} == set(map(ip_address, keys))
    now[0] += TOKEN - 1
    assert passed(2) == 0
    now[0] += 1
    assert passed(2) == 1
    now[0] += 100 * FULL
    assert passed(3 * BURST) == BURST
    done = 0
    for _ in range(1000):  # four packets for each token
        now[0] += TOKEN // 4
        done += passed(1)
    assert done == 250


@pytest.mark.parametrize("frame", [icmp_frame()[:30], tcp_frame(vlan=(3, 4))[:12] + b"\x81\0\0\1" * 3])
def test_what_has_no_source_has_no_rate(frame: bytes) -> None:
    assert machine(rate_limit).run(frame).verdict == XDP_DROP


def test_what_is_not_ip_has_no_limit() -> None:
    made = machine(rate_limit)
    assert {made.run(icmp_frame()[:12] + b"\x08\x06" + bytes(28)).verdict for _ in range(3 * BURST)} == {XDP_PASS}


@needs.tier(2)
@pytest.mark.parametrize(
    ("frame", "source"),
    [
        (icmp_frame(), (0, 0xFFFF << 32 | 0x0A000001)),
        (icmp_frame(source="2001:db8::1", destination="::9"), (0x20010DB8 << 32, 0)),
    ],
    ids=["IPv4", "IPv6"],
)
def test_the_kernel_keeps_the_rate(frame: bytes, source: tuple[int, int]) -> None:
    """Buckets looked at in the far future stand still, whatever the time."""
    key = buckets.key.pack(source)
    with kernel.load(rate_limit.object) as loaded:
        assert loaded.test_run(frame)[:2] == (XDP_PASS, frame)
        when, credit = buckets.value.unpack(loaded.maps["buckets"][key])
        assert credit == FULL - TOKEN
        loaded.maps["buckets"][key] = buckets.value.pack((when + 10**15, 3 * TOKEN))
        verdicts = [loaded.test_run(frame).verdict for _ in range(5)]
        assert verdicts == [XDP_PASS] * 3 + [XDP_DROP] * 2
        loaded.maps["buckets"][key] = buckets.value.pack((0, 0))
        assert loaded.test_run(frame).verdict == XDP_PASS


def test_redirect_names_the_port() -> None:
    assert machine(redirect).run(QUESTION).verdict == XDP_PASS
    other_port.update(0, 5)
    result = machine(redirect).run(QUESTION)
    assert (result.verdict, result.packet, result.redirect) == (XDP_REDIRECT, QUESTION, (other_port.storage, 0))


@needs.tier(2)
def test_the_kernel_redirects_as_the_machine_does() -> None:
    with kernel.load(redirect.object) as loaded:
        assert loaded.test_run(QUESTION)[:2] == (XDP_PASS, QUESTION)
        loaded.maps["other_port"][bytes(4)] = (1).to_bytes(4, "little")  # interface 1 is lo, everywhere
        assert loaded.test_run(QUESTION)[:2] == (XDP_REDIRECT, QUESTION)
