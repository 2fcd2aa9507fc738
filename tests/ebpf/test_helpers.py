"""Helpers: numbered as the kernel numbers them, told apart where there is no kernel, and true where there is one."""

from __future__ import annotations

import socket
import subprocess
from typing import Any

import pytest
from numba import njit

from lbcore.ebpf import calls, kernel, maps, signatures
from lbcore.ebpf.ask_kernel import (
    FORWARDING_OFF,
    FOUND,
    NO_NEIGHBOUR,
    fib_lookup4,
    fib_lookup6,
    tcp_raw_check_syncookie_ipv4,
    tcp_raw_check_syncookie_ipv6,
    tcp_raw_gen_syncookie_ipv4,
    tcp_raw_gen_syncookie_ipv6,
)  # fmt: skip
from lbcore.ebpf.assembler import assemble
from lbcore.ebpf.compiler import Source, tc, xdp
from lbcore.ebpf.errors import CompileError
from lbcore.ebpf.helpers import (
    clone_redirect,
    ktime_get_boot_ns,
    ktime_get_coarse_ns,
    ktime_get_ns,
    redirect_neigh,
    redirect_peer,
)  # fmt: skip
from lbcore.ebpf.machine import Machine
from lbcore.ebpf.maps import U32, U64
from lbcore.ebpf.vm import VmError
from lbcore.testbed.hosts import Topology
from lbcore.wire import tcp
from lbcore.wire.compose import tcp_frame
from lbcore.wire.seam import Frame, advance, grow_head, grow_tail, need, set8, size_of, u8, u16, u32, u64, view
from lbcore.wire.words import word64
from tests import needs
from tests.ebpf.everywhere import Sent, in_kernel, in_machine, in_numba, in_python

answers = maps.array("answers", 1, value={"result": U32, "interface": U32, "source": U64, "destination": U64})
arrival = maps.array("arrival", 1, value=U32)


@needs.command("clang")
def test_numbers_are_the_kernels() -> None:
    checks = (f'_Static_assert(BPF_FUNC_{one.name} == {one.number}, "");' for one in signatures.HELPERS.values())
    code = "\n".join(("#include <linux/bpf.h>", *checks))
    made = subprocess.run(["clang", "-fsyntax-only", "-xc", "-"], input=code, text=True, capture_output=True)
    assert made.returncode == 0, made.stderr


@xdp
def route(context):
    p = view(context)
    if not need(p, 54):
        return 0
    _, interface = arrival.lookup(0)
    if u16(p, 12) == 0x0800:
        found = fib_lookup4(context, interface, u32(p, 26), u32(p, 30), size_of(p) - 14)
    else:
        source, destination = (u64(p, 22), u64(p, 30)), (u64(p, 38), u64(p, 46))
        found = fib_lookup6(context, interface, source, destination, size_of(p) - 14)
    answers.update(0, (found.result, found.interface, word64(found.source_mac), word64(found.destination_mac)))
    return 2


NEXT_HOP = "02:00:00:00:be:ef"


@needs.tier(2)
@pytest.mark.parametrize("version", [4, 6])
def test_routes_are_the_hosts(version: int) -> None:
    """A router between two links says where a packet goes on, with both hardware addresses."""
    ways = {4: ("10.1.0.1/24", "10.1.0.2/24", "10.2.0.1/24", "10.2.0.2/24"),
            6: ("fd01::1/64", "fd01::2/64", "fd02::1/64", "fd02::2/64")}[version]  # fmt: skip
    left, right, beyond = (way.split("/")[0] for way in (ways[0], ways[3], ways[3].replace("2/", "9/")))
    ends = ("{}:1", "{}:2") if version == 4 else ("[{}]:1", "[{}]:2")
    with Topology(rootless=False) as net:
        client, router, server = net.host("client"), net.host("router", forward=True), net.host("server")
        _, near = net.link(client, router, ways[0], ways[1])
        far, _ = net.link(router, server, ways[2], ways[3])
        router.neighbour(right, NEXT_HOP, far.name)
        with router.inside(), kernel.load(route.object) as loaded:
            index = {one.name: router.run(socket.if_nametoindex, one.name) for one in (near, far)}
            loaded.maps["arrival"][bytes(4)] = index[near.name].to_bytes(4, "little")

            def asked(destination: str) -> Any:
                frame = tcp_frame(source=ends[0].format(left), destination=ends[1].format(destination))
                assert loaded.test_run(frame).verdict == 2
                return answers.value.unpack(loaded.maps["answers"][bytes(4)])

            found = asked(right)
            assert (found.result, found.interface) == (FOUND, index[far.name])
            assert (found.source, found.destination) == (_mac(far.mac), _mac(NEXT_HOP))
            assert asked(beyond).result == NO_NEIGHBOUR
            switch = "net/ipv4/ip_forward" if version == 4 else "net/ipv6/conf/all/forwarding"
            router.sysctl(switch, 0)
            assert asked(right).result == FORWARDING_OFF


def _mac(text: str) -> int:
    return int(text.replace(":", ""), 16)


@xdp
def makes_a_cookie(context):
    p = view(context)
    if not need(p, 54):
        return 0
    if u16(p, 12) == 0x0800:
        return tcp_raw_gen_syncookie_ipv4(advance(p, 14), advance(p, 34), 20) & 0xFFFFFFFF
    if not need(p, 74):
        return 0
    return tcp_raw_gen_syncookie_ipv6(advance(p, 14), advance(p, 54), 20) & 0xFFFFFFFF


@xdp
def knows_its_cookie(context):
    p = view(context)
    if not need(p, 54):
        return 0
    if u16(p, 12) == 0x0800:
        return 1 if tcp_raw_check_syncookie_ipv4(advance(p, 14), advance(p, 34)) == 0 else 2
    if not need(p, 74):
        return 0
    return 1 if tcp_raw_check_syncookie_ipv6(advance(p, 14), advance(p, 54)) == 0 else 2


@needs.tier(2)
@pytest.mark.parametrize("ends", [("10.0.0.1:4000", "10.0.0.9:80"), ("[fd00::1]:4000", "[fd00::9]:80")])
def test_a_cookie_comes_back(ends: tuple[str, str]) -> None:
    between = {"source": ends[0], "destination": ends[1]}
    with kernel.load(makes_a_cookie.object) as maker, kernel.load(knows_its_cookie.object) as judge:
        cookie = maker.test_run(tcp_frame(sequence=7000, **between)).verdict

        def judged(acknowledged: int) -> int:
            number = acknowledged & 0xFFFFFFFF
            return judge.test_run(tcp_frame(sequence=7001, acknowledgment=number, flags=tcp.ACK, **between)).verdict

        assert judged(cookie + 1) == 1
        assert judged(cookie + 1 + (1 << 16)) == judged(cookie + 1 + (5 << 28)) == 2


ALONE = [route, makes_a_cookie, knows_its_cookie]


@pytest.mark.parametrize("program", ALONE, ids=lambda program: program.__name__)
def test_where_there_is_no_kernel_each_says_so(program: Source) -> None:
    sent = [Sent(tcp_frame())]
    for target in (in_python, in_numba):
        with pytest.raises(NotImplementedError, match=r"(fib_lookup|tcp_raw_\w+_ipv4) asks the kernel"):
            target(program, sent)
    with pytest.raises(VmError, match="asks the kernel, and there is none in this machine"):
        in_machine(program, sent)


KERNELS = [number for number in signatures.HELPERS if number not in calls.HELPERS]


@pytest.mark.parametrize("number", KERNELS, ids=lambda number: signatures.HELPERS[number].name)
def test_what_the_machine_cannot_know_it_refuses_by_name(number: int) -> None:
    with pytest.raises(VmError, match=f"{signatures.HELPERS[number].name} asks the kernel"):
        Machine(assemble(f"call {number}\nexit")).run(bytes(64))


@pytest.mark.parametrize("program", ALONE, ids=lambda program: program.__name__)
def test_the_teaching_verifier_knows_them(program: Source) -> None:
    program.check()


@xdp
def half_a_header(context):
    p = view(context)
    if not need(p, 53):
        return 0
    return 1 if tcp_raw_check_syncookie_ipv4(advance(p, 14), advance(p, 34)) == 0 else 2


@xdp
def half_an_ip_header(context):
    p = view(context)
    if not need(p, 34):
        return 0
    return tcp_raw_gen_syncookie_ipv4(advance(p, 15), advance(p, 14), 20) & 0xFFFF


@pytest.mark.parametrize("program", [half_a_header, half_an_ip_header], ids=lambda program: program.__name__)
def test_a_helper_reads_only_what_was_asked_for(program: Source) -> None:
    with pytest.raises(CompileError, match="beyond what need"):
        program.check()


@needs.tier(2)
@pytest.mark.parametrize("program", [half_a_header, half_an_ip_header], ids=lambda program: program.__name__)
def test_the_kernel_is_of_the_same_mind(program: Source) -> None:
    with pytest.raises(kernel.Rejected, match="invalid access to packet"), kernel.load(program.object):
        pass


@xdp
def tells_the_time(context):
    before = ktime_get_ns()
    return 1 if ktime_get_boot_ns() >= before and ktime_get_coarse_ns() <= ktime_get_ns() else 0


@tc
def resizes(context):
    p = view(context)
    if not need(p, 40):
        return 2
    first = u8(p, 1)
    if not grow_head(context, 8):
        return 3
    if not grow_tail(context, (first & 31) - 8):
        return 4
    p = view(context)
    if not need(p, 20):
        return 5
    set8(p, 2, first)
    return u16(p, 8) + u8(p, 15)


@tc
def sends_elsewhere(context):
    clone_redirect(context, 1, 0)
    return redirect_neigh(1) if size_of(view(context)) & 1 else redirect_peer(1, 0)


def test_time_goes_on() -> None:
    assert tells_the_time(None) == Machine(tells_the_time.object.program).run(bytes(64)).verdict == 1
    function = tells_the_time.function
    assert njit(error_model="numpy")(function)(0) == 1


@needs.tier(2)
def test_time_goes_on_in_the_kernel() -> None:
    assert in_kernel(tells_the_time, [Sent(bytes(64))])[0][0][0] == 1


def test_an_skb_grows_and_shrinks() -> None:
    sent = [Sent(bytes([6, n, *range(80)])) for n in range(40)]
    expected = in_python(resizes, sent)
    assert len({len(packet) for _, packet in expected[0]}) == 32
    assert in_machine(resizes, sent) == expected


@needs.tier(2)
def test_the_kernels_skb_grows_and_shrinks_alike() -> None:
    sent = [Sent(bytes([6, n, *range(80)])) for n in range(40)]
    assert in_kernel(resizes, sent) == in_machine(resizes, sent)


def test_copies_and_detours() -> None:
    machine = Machine(sends_elsewhere.object.program)
    result = machine.run(bytes(61))
    assert (result.verdict, result.redirect) == (7, (None, 1)) == (sends_elsewhere(Frame(bytes(61))), (None, 1))
    assert machine.vm.packet is not None
    assert machine.vm.packet.clones == [(1, bytes(61))]
