"""An attached program meets real packets, and is gone afterwards: at close, on errors, at exit, and when killed."""

from __future__ import annotations

import ctypes
import errno
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator

import pytest

from lbcore.ebpf import attach, elf, kernel
from lbcore.ebpf.assembler import assemble
from lbcore.ebpf.object import Object, Program
from tests import needs
from tests.ebpf.compiled import c

pytestmark = [needs.tier(2), needs.command("clang"), needs.command("ip"), needs.command("tc")]

NEW_NETWORK = 0x40000000
LIBC = ctypes.CDLL(None, use_errno=True)
WAYS = [(way, mode) for way in ("link", "netlink") for mode in ("native", "generic")]
MODES = {"native": 1, "generic": 2}
"""How `ip -json` writes them."""


@pytest.fixture(autouse=True)
def network() -> Iterator[None]:
    """A network namespace of the test's own, with a pair of interfaces a and b."""
    home = os.open("/proc/thread-self/ns/net", os.O_RDONLY)
    assert LIBC.unshare(NEW_NETWORK) == 0, os.strerror(ctypes.get_errno())
    try:
        ip("link", "add", "name", "a", "type", "veth", "peer", "name", "b")
        for name in ("a", "b"):
            # Nobody but the test is to send anything.
            with open(f"/proc/sys/net/ipv6/conf/{name}/disable_ipv6", "w") as file:
                file.write("1")
            ip("link", "set", "dev", name, "arp", "off", "up")
        yield
    finally:
        assert LIBC.setns(home, NEW_NETWORK) == 0, os.strerror(ctypes.get_errno())
        os.close(home)


def ip(*words: str) -> str:
    return subprocess.run(["ip", "-json", *words], check=True, capture_output=True, text=True).stdout


def attached() -> dict[str, int] | None:
    """What interface a runs: mode and program id."""
    xdp = json.loads(ip("link", "show", "dev", "a"))[0].get("xdp")
    return {"mode": xdp["mode"], "id": xdp["prog"]["id"]} if xdp else None


def soon_detached() -> bool:
    """The kernel lets go of a dead process's descriptors a moment after it is reaped."""
    for _ in range(100):
        if attached() is None:
            return True
        time.sleep(0.05)
    return False


@pytest.mark.parametrize(("way", "mode"), WAYS)
def test_a_program_counts_real_packets(way: str, mode: str) -> None:
    frame = bytes(6) + bytes(6) + b"\x88\xb5" + bytes(50)
    with kernel.load(elf.read(c("many")), "count") as program:
        with program.attach("a", mode, way=way) as place, socket.socket(socket.AF_PACKET, socket.SOCK_RAW) as wire:
            assert (place.way, place.mode, place.attached) == (way, mode, True)
            assert attached() == {"mode": MODES[mode], "id": program.id}
            wire.bind(("b", 0))
            for _ in range(100):
                wire.send(frame)
            wanted = {bytes(4): (100).to_bytes(8, "little")}
            until = time.monotonic() + 10
            while dict(program.maps["counts"]) != wanted and time.monotonic() < until:
                time.sleep(0.01)
            assert dict(program.maps["counts"]) == wanted
        assert attached() is None
        assert not place.attached


@pytest.mark.parametrize(("way", "mode"), WAYS)
def test_closing_and_errors_detach(way: str, mode: str) -> None:
    compiled = elf.read(c("many"))
    program = kernel.load(compiled, "count")
    program.attach("a", mode, way=way)
    assert attached()
    program.close()
    assert attached() is None
    with pytest.raises(ZeroDivisionError):
        fail_while_attached(way, mode)
    assert attached() is None


def fail_while_attached(way: str, mode: str) -> None:
    with kernel.load(elf.read(c("many")), "count") as program:
        program.attach("a", mode, way=way)
        _ = 1 / 0


@pytest.mark.parametrize("way", ["link", "netlink"])
def test_what_another_attached_stays(way: str) -> None:
    compiled = elf.read(c("many"))
    with kernel.load(compiled, "count") as first, kernel.load(compiled, "second") as other:
        with first.attach("a", way=way):
            with pytest.raises(OSError, match=r"attach to a: .*busy"):
                other.attach("a", way=way)
            assert attached() == {"mode": 1, "id": first.id}
        with first.attach("a", way="netlink") as ours:
            ip("link", "set", "dev", "a", "xdp", "off")
            with other.attach("a", way=way):
                ours.detach()
                assert attached() == {"mode": 1, "id": other.id}


@pytest.mark.parametrize("way", ["link", "netlink"])
def test_an_interface_may_go_first(way: str) -> None:
    with kernel.load(elf.read(c("many")), "count") as program, program.attach("a", way=way):
        ip("link", "del", "dev", "a")


ENDINGS = {
    "exit": ("raise SystemExit(3)", None),
    "error": ("1 / 0", None),
    "interrupt": ("time.sleep(60)", signal.SIGINT),
    "kill": ("time.sleep(60)", signal.SIGKILL),
}


@pytest.mark.parametrize(
    ("way", "ending"),
    [(way, ending) for way in ("link", "netlink") for ending in ENDINGS if (way, ending) != ("netlink", "kill")],
)
def test_nothing_stays_when_the_process_ends(way: str, ending: str, tmp_path: object) -> None:
    """Nothing but a link survives SIGKILL of its owner; the netlink way says so in `attach`."""
    last, sent = ENDINGS[ending]
    path = f"{tmp_path}/object"
    with open(path, "wb") as file:
        file.write(c("many"))
    script = f"""
import time
from lbcore.ebpf import attach, elf, kernel
program = kernel.load(elf.read(open({path!r}, "rb").read()), "count")
program.attach("a", way={way!r})
print("there", flush=True)
{last}
"""
    with subprocess.Popen(
        [sys.executable, "-c", script], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as child:
        try:
            assert child.stdout is not None
            assert child.stdout.readline() == "there\n"
            if sent is not None:
                assert attached()
                child.send_signal(sent)
            assert child.wait(60) != 0
        finally:
            child.kill()
    assert soon_detached()


def test_socket_filters_drop() -> None:
    ip("link", "set", "dev", "lo", "up")
    drop = Object(b"", (Program("drop", "socket", "socket", assemble("r0 = 0\nexit")),))
    with (
        kernel.load(drop) as program,
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as receiver,
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender,
    ):
        receiver.bind(("127.0.0.1", 0))
        receiver.settimeout(10)
        with program.attach(receiver):
            sender.sendto(b"dropped", receiver.getsockname())
        sender.sendto(b"seen", receiver.getsockname())
        assert receiver.recv(100) == b"seen"


ACCEPT = Object(b"", (Program("accept", "tc", "tc", assemble("r0 = 0\nexit")),))


def tc(*words: str) -> str:
    return subprocess.run(["tc", *words], check=True, capture_output=True, text=True).stdout


@pytest.mark.parametrize("way", ["link", "netlink"])
@pytest.mark.parametrize("mode", ["ingress", "egress"])
def test_tc_programs_see_packets(mode: str, way: str) -> None:
    """It runs once for each frame that comes in at a, or goes out there."""
    frame = bytes(12) + b"\x88\xb5" + bytes(50)
    with kernel.load(ACCEPT) as program, kernel.statistics(), socket.socket(socket.AF_PACKET, socket.SOCK_RAW) as wire:
        wire.bind(("b" if mode == "ingress" else "a", 0))
        with program.attach("a", mode, way=way) as place:
            assert (place.way, place.mode) == (way, mode)
            for _ in range(10):
                wire.send(frame)
            until = time.monotonic() + 10
            while program.statistics.runs < 10 and time.monotonic() < until:
                time.sleep(0.01)
            assert program.statistics.runs == 10
        wire.send(frame)
        assert program.statistics.runs == 10
    assert "clsact" not in tc("qdisc", "show", "dev", "a")


def test_a_kernel_without_links_at_tc_is_told_by_netlink(monkeypatch: pytest.MonkeyPatch) -> None:
    def without(*_: object) -> None:
        raise OSError(errno.EINVAL, "no such attachment")

    monkeypatch.setattr(attach, "_link", without)
    with kernel.load(ACCEPT) as program:
        with program.attach("a", "egress") as place:
            assert place.way == "netlink"
            shown = tc("filter", "show", "dev", "a", "egress")
            assert "direct-action" in shown
            assert f"id {program.id} " in shown
        with pytest.raises(OSError, match="no such attachment"):
            program.attach("a", way="link")


def test_filters_of_others_stay() -> None:
    """Ours goes alone where others hang, and clsact stays for them, or if it was there before."""
    with kernel.load(ACCEPT) as one, kernel.load(ACCEPT) as other:
        first, second = (program.attach("a", way="netlink") for program in (one, other))
        first.detach()
        shown = tc("filter", "show", "dev", "a", "ingress")
        assert f"id {other.id} " in shown
        assert f"id {one.id} " not in shown
        second.detach()
        assert not tc("filter", "show", "dev", "a", "ingress")
        tc("qdisc", "replace", "dev", "a", "clsact")
        with one.attach("a", way="netlink"):
            pass
        assert "clsact" in tc("qdisc", "show", "dev", "a")
        with one.attach("a", way="netlink"):
            tc("qdisc", "del", "dev", "a", "clsact")
        with one.attach("a", way="netlink"):
            ip("link", "del", "dev", "a")


def test_what_is_no_tc_program_leaves_no_clsact() -> None:
    with kernel.load(elf.read(c("many")), "count") as program, pytest.raises(OSError, match="attach to a"):
        attach.attach(program.fd, "tc", "a", way="netlink")
    assert "clsact" not in tc("qdisc", "show", "dev", "a")


def test_wrong_places_are_named() -> None:
    with kernel.load(elf.read(c("many")), "count") as program:
        with pytest.raises(OSError, match=r"interface 'eth9': not here; there are: .*a"):
            program.attach("eth9")
        with pytest.raises(ValueError, match="mode is 'fast'; there are: generic, native, offload"):
            program.attach("a", "fast")
        with pytest.raises(ValueError, match="way is 'post'"):
            program.attach("a", way="post")
        with pytest.raises(OSError, match="attach to a"):
            program.attach("a", "offload")
