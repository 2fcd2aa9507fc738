"""`lbcore l4` as a program: started, watched, told of a state, ended; and what it says where it cannot."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from lbcore import cli
from lbcore.ebpf import kernel
from lbcore.ebpf.programs.pass_all import pass_all
from lbcore.l4 import console
from lbcore.l4.config import Balancer
from lbcore.l4.drivers import pcap
from lbcore.testbed.hosts import Host
from lbcore.wire.compose import tcp_frame
from tests import needs
from tests.ebpf.wire import until
from tests.l4.lan import DIRECT, OWN, PORT, SERVERS, THROUGH, VIP, Lan, fetch, lan, mac

DRIVERS = {
    "xdp": 'kind = "xdp"\nmode = "native"',
    "xdp generic": 'kind = "xdp"\nmode = "generic"',
    "af_xdp": 'kind = "af_xdp"',
    "af_packet": 'kind = "af_packet"',
}


def text_of(net: Lan, driver: str, *, state: str = "active") -> str:
    lines = [f'source4 = "{OWN[4]}"', "ring_size = 4099", "[driver]", DRIVERS[driver], 'interface = "eth0"']
    lines += ["[[service]]", f'address = "{VIP[4]}"', "port = 80", 'protocol = "tcp"', 'mode = "nat"']
    for address, host in zip(SERVERS[4], net.servers, strict=True):
        lines += ["[[service.backend]]", f'address = "{address}"', f"port = {PORT}", f'ethernet = "{mac(host)}"']
    return "\n".join([*lines, f'state = "{state}"', ""])  # the last one's


@pytest.fixture(scope="module")
def net() -> Iterator[Lan]:
    with lan() as made:
        yield made


def servers(net: Lan) -> set[str]:
    """Who answers."""
    return {answer["backend"] for answer in fetch(net, THROUGH[4], VIP[4], 80, 30)}


class Program:
    """The command in a process of its own, in a host."""

    def __init__(self, process: subprocess.Popen[bytes], output: Path) -> None:
        self.process = process
        self.output = output

    def shows(self, *words: str) -> bool:
        """Is this in the last whole table? Words of one line, or of several."""
        assert self.process.poll() is None, self.output.read_text()
        tables = self.output.read_text().split("lbcore l4: ")
        return len(tables) > 2 and all(word in tables[-2] for word in words)


@contextmanager
def started(host: Host, file: Path, output: Path, *options: str) -> Iterator[Program]:
    command = [sys.executable, "-m", "lbcore", "l4", str(file), "--every", "0.05", *options]
    with output.open("wb") as out, host.inside():
        process = subprocess.Popen(command, stdout=out, stderr=subprocess.STDOUT)
    with process:
        try:
            yield Program(process, output)
        finally:
            process.kill()


@needs.tier(2)
@pytest.mark.parametrize(
    ("driver", "end"),
    [("xdp generic", "SIGTERM"), ("af_xdp", "SIGINT"), ("af_packet", "SIGTERM")],
)
def test_it_balances_and_ends_cleanly(net: Lan, tmp_path: Path, driver: str, end: str) -> None:
    file = tmp_path / "lb.toml"
    file.write_text(text_of(net, driver))
    with started(net.balancer, file, tmp_path / "out") as program:
        until(lambda: program.shows("203.0.113.1:80/tcp"))
        assert {answer["backend"] for answer in fetch(net, THROUGH[4], VIP[4], 80, 30)} == {
            "server1",
            "server2",
            "server3",
        }
        until(lambda: program.shows("a backend's reply, sent to its client", "active"))

        file.write_text(text_of(net, driver, state="draining"))
        program.process.send_signal(signal.SIGHUP)
        until(lambda: program.shows("draining"))
        assert servers(net) == {"server1", "server2"}

        file.write_text("nonsense = 1\n")
        program.process.send_signal(signal.SIGHUP)
        until(lambda: f"{file}:1: nonsense: no such key" in program.output.read_text())
        assert servers(net) == {"server1", "server2"}

        program.process.send_signal(getattr(signal, end))
        assert program.process.wait(60) == 0
    with net.balancer.inside(), kernel.load(pass_all.object) as loaded, loaded.attach("eth0"):
        pass  # nobody else's program is in the way


@needs.tier(2)
def test_one_table_and_the_end(net: Lan, tmp_path: Path) -> None:
    file = tmp_path / "lb.toml"
    file.write_text(text_of(net, "af_packet"))
    with started(net.balancer, file, tmp_path / "out", "--once") as program:
        assert program.process.wait(120) == 0
    shown = program.output.read_text()
    assert shown.startswith("lbcore l4: af_packet on eth0  ")
    assert shown.count("lbcore l4") == 1


@needs.tier(2)
def test_what_the_machine_refuses_is_said(net: Lan, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "lb.toml"
    for driver in ("af_xdp", "af_packet", "xdp"):
        file.write_text(text_of(net, driver).replace("eth0", "eth9"))
        with net.balancer.inside():
            assert cli.main(["l4", str(file)]) == 1
        assert "lbcore l4: [Errno 19] interface 'eth9': not here; there are: lo, eth0" in capsys.readouterr().err


# ---- without a network ----


PCAP = """\
gateway = "02:00:00:00:00:fe"
ring_size = 4099
[driver]
kind = "pcap"
input = "{folder}/in.pcap"
output = "{folder}/out.pcap"
[[service]]
address = "203.0.113.1"
port = 80
protocol = "tcp"
mode = "dsr"
backend = [{{ address = "10.0.0.11", ethernet = "02:00:00:00:00:11" }}, {{ address = "10.0.0.12" }}]
"""


def test_a_capture_is_converted(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    frames = [tcp_frame(source=f"{DIRECT[4]}:{2000 + i}", destination="203.0.113.1:80") for i in range(200)]
    frames += [tcp_frame(destination="203.0.113.9:80")] * 7
    (tmp_path / "in.pcap").write_bytes(pcap.write(pcap.Packet(frame) for frame in frames))
    (tmp_path / "lb.toml").write_text(PCAP.format(folder=tmp_path))
    assert cli.main(["l4", str(tmp_path / "lb.toml")]) == 0
    sent = [packet.data for packet in pcap.read((tmp_path / "out.pcap").read_bytes())]
    assert len(sent) == 200
    assert {frame[:6].hex(":") for frame in sent} == {"02:00:00:00:00:11", "02:00:00:00:00:fe"}
    shown = capsys.readouterr().out
    for words in ("203.0.113.1:80/tcp  dsr          200", "      7  for no virtual address", "received 207"):
        assert words in shown


def test_wrong_files_and_command_lines(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "lb.toml"
    assert cli.main(["l4", str(file)]) == 1
    assert f"No such file or directory: '{file}'" in capsys.readouterr().err
    file.write_text(PCAP.format(folder=tmp_path).replace("dsr", "drs"))
    assert cli.main(["l4", str(file), "--check"]) == 2
    assert f"{file}:11: service[1].mode is 'drs'" in capsys.readouterr().err
    file.write_text(PCAP.format(folder=tmp_path))
    assert cli.main(["l4", str(file), "--check"]) == 0
    assert capsys.readouterr().out == f"{file}: right\n"
    assert cli.main(["l4", str(file)]) == 1  # there is no in.pcap
    (tmp_path / "in.pcap").write_bytes(b"this is no capture")
    assert cli.main(["l4", str(file)]) == 1
    assert "lbcore l4: magic number is 74686973" in capsys.readouterr().err
    with pytest.raises(SystemExit, match="2"):
        cli.main(["l4", str(file), "--every", "0"])


@pytest.mark.parametrize(
    ("number", "text"),
    [(0, "0"), (999, "999"), (1000, "1.00k"), (12_340, "12.3k"), (999_600, "1.00M"), (0.5, "0.50"), (10**19, "10.0E"),
     (9.996, "10.0"), (99.97, "100"), (2**63, "9.22E"), (10**22, "10000E")],
)  # fmt: skip
def test_numbers_keep_three_digits(number: float, text: str) -> None:
    assert console.scaled(number) == text


def test_rates_are_since_the_last_look() -> None:
    from tests.l4.test_data_plane import config

    balancer = Balancer(config())
    counters = balancer.counters()
    counters["vips"][0] = (300, 30_000, 0, 0)
    before = console.Look(1.0, balancer.counters(), {})
    table = console.state("title", balancer, console.Look(3.0, counters, {"received": 5}), before)
    assert "          300  30.0k        150" in table
    assert table.endswith("driver: received 5\n")
