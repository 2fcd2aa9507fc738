"""`lbcore proxy` as a program: checked, started, told to reload, ended; and what it says where it cannot."""

from __future__ import annotations

import http.client
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import ClassVar

import pytest

from lbcore import cli
from lbcore.l7.program import command
from tests.l7.test_config import RIGHT

PATIENCE = 60.0


class Answers(BaseHTTPRequestHandler):
    """`name`, after `pause` seconds for /slow."""

    protocol_version = "HTTP/1.1"
    name: ClassVar[str] = ""
    asked: ClassVar[threading.Event]

    def do_GET(self) -> None:
        if self.path == "/slow":
            self.asked.set()
            time.sleep(1)
        self.send_response(200)
        self.send_header("content-length", str(len(self.name)))
        self.end_headers()
        self.wfile.write(self.name.encode())

    def log_message(self, *_: object) -> None:
        """Nothing."""


@contextmanager
def backend(name: str) -> Iterator[ThreadingHTTPServer]:
    kind = type(name, (Answers,), {"name": name, "asked": threading.Event()})
    with ThreadingHTTPServer(("127.0.0.1", 0), kind) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()


def text(server: ThreadingHTTPServer, more: str = "") -> str:
    address = f"127.0.0.1:{server.server_port}"
    return (
        f'[[listen]]\nport = 0\n[[route]]\npool = "web"\n'
        f'[[pool]]\nname = "web"\nbackend = [{{ address = "{address}" }}]\n{more}'
    )


class Program:
    """The command in a process of its own, and what it has said."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process
        self.lines: list[str] = []
        self.news = threading.Condition()
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self) -> None:
        assert self.process.stdout
        for line in self.process.stdout:
            with self.news:
                self.lines.append(line.rstrip("\n"))
                self.news.notify_all()

    def says(self, words: str) -> str:
        """Wait for a line with these words."""
        with self.news:
            found = self.news.wait_for(lambda: any(words in line for line in self.lines), PATIENCE)
            assert found, self.lines
            return next(line for line in self.lines if words in line)

    @property
    def port(self) -> int:
        return int(self.says("listen 127.0.0.1:").split(":")[1])

    def get(self, path: str = "/") -> str:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=PATIENCE)
        try:
            connection.request("GET", path)
            return connection.getresponse().read().decode()
        finally:
            connection.close()


@contextmanager
def started(file: Path, *options: str) -> Iterator[Program]:
    words = [sys.executable, "-m", "lbcore", "proxy", str(file), *options]
    process = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    try:
        yield Program(process)
    finally:
        process.kill()
        process.wait()


def test_from_start_to_end(tmp_path: Path) -> None:
    file = tmp_path / "proxy.toml"
    with backend("one") as one, backend("two") as two:
        file.write_text(text(one))
        with started(file) as program:
            assert program.get() == "one"

            file.write_text(text(two).replace("pool =", "pol =", 1))
            program.process.send_signal(signal.SIGHUP)
            program.says("not reloaded, all stays as it was")
            program.says(f"{file}:4: route[1].pol: no such key; did you mean pool?")
            assert program.get() == "one"

            file.write_text(text(two))
            program.process.send_signal(signal.SIGHUP)
            program.says("reloaded")
            deadline = time.monotonic() + PATIENCE
            while program.get() != "two":
                assert time.monotonic() < deadline

            slow: list[str] = []
            client = threading.Thread(target=lambda: slow.append(program.get("/slow")))
            client.start()
            assert two.RequestHandlerClass.asked.wait(PATIENCE)  # type: ignore[attr-defined]
            program.process.send_signal(signal.SIGTERM)
            client.join(PATIENCE)
            assert slow == ["two"]
            assert program.process.wait(PATIENCE) == 0
            program.says("ended")


def test_the_second_signal_does_not_ask(tmp_path: Path) -> None:
    file = tmp_path / "proxy.toml"
    with socket.create_server(("127.0.0.1", 0)) as silent:
        address = f"127.0.0.1:{silent.getsockname()[1]}"
        file.write_text(
            '[[listen]]\nport = 0\n[[route]]\npool = "web"\n'
            f'[[pool]]\nname = "web"\nbackend = [{{ address = "{address}" }}]\n'
        )
        with started(file) as program, socket.create_connection(("127.0.0.1", program.port)) as client:
            client.sendall(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n")
            with silent.accept()[0] as there:
                there.recv(1000)
                program.process.send_signal(signal.SIGTERM)
                with pytest.raises(subprocess.TimeoutExpired):
                    program.process.wait(0.5)
                program.process.send_signal(signal.SIGTERM)
                assert program.process.wait(PATIENCE) == command.REFUSED
                program.says("has been cut off")


def test_a_first_start_says_why_it_takes_long(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where nothing is compiled yet it says so; the second time there is nothing to say."""
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(tmp_path / "compiled"))
    file = tmp_path / "proxy.toml"
    with backend("one") as one:
        file.write_text(text(one))
        with started(file) as program:
            assert program.get() == "one"
            assert "compiling" in program.lines[0]
        with started(file) as program:
            assert program.get() == "one"
            assert "listen" in program.lines[0]


def test_what_takes_long_is_said_and_what_does_not_is_not(capsys: pytest.CaptureFixture[str]) -> None:
    with command.said("quick", after=60.0):
        pass
    with command.said("slow", after=0.01):
        time.sleep(0.2)
    assert capsys.readouterr().out == "slow\n"


def test_check_says_what_would_listen_and_opens_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "proxy.toml"
    file.write_text(RIGHT.replace("10.0.0.0/8", "127.0.0.0/8"))
    assert cli.main(["proxy", str(file), "--check"]) == 0
    assert capsys.readouterr().out.split("\n") == [
        "listen 127.0.0.1:8080: HTTP/2 and HTTP/1.1",
        "listen 0.0.0.0:8443: passes on *.bank.example, behind 127.0.0.0/8 (PROXY protocol)",
        f"{file}: right",
        "",
    ]


def test_what_is_wrong_is_told_and_nothing_is_started(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "proxy.toml"
    file.write_text(RIGHT.replace("prefix =", "prefx =").replace("8443", "80443"))
    assert cli.main(["proxy", str(file)]) == command.WRONG
    said = capsys.readouterr().err
    assert f"{file}:9: listen[2].port is 80443, wanted" in said
    assert f"{file}:26: route[1].prefx: no such key; did you mean prefix?" in said


def test_what_does_nothing_is_warned_of(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "proxy.toml"
    file.write_text(f'{RIGHT}[[pool]]\nname = "spare"\nbackend = [{{ address = "127.0.0.1:9" }}]\n')
    assert cli.main(["proxy", str(file), "--check"]) == 0
    assert "pool 'spare' is named by no route (warning)" in capsys.readouterr().err


def test_a_port_that_is_taken_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "proxy.toml"
    with socket.create_server(("127.0.0.1", 0)) as taken, backend("one") as one:
        port = taken.getsockname()[1]
        file.write_text(text(one).replace("port = 0", f"port = {port}"))
        assert cli.main(["proxy", str(file)]) == command.REFUSED
        assert f"cannot listen on 127.0.0.1:{port}: Address already in use" in capsys.readouterr().err
        file.write_text(text(one, f"[admin]\nport = {port}\n"))
        assert cli.main(["proxy", str(file)]) == command.REFUSED
        assert f"cannot listen on 127.0.0.1:{port}" in capsys.readouterr().err


def test_no_file_and_no_arguments(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["proxy", str(tmp_path / "none.toml")]) == command.REFUSED
    assert "none.toml" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        cli.main(["proxy"])
    assert "CONFIG.toml" in capsys.readouterr().err


def test_keys_are_printed(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["proxy", "--keys"]) == 0
    lines = capsys.readouterr().out.strip().split("\n")
    assert len(lines) > 150
    assert any(line.startswith("| `pool[].health.probe(http).path` |") for line in lines)


def test_the_proxys_own_log_goes_where_it_is_wanted(tmp_path: Path) -> None:
    file, log = tmp_path / "proxy.toml", tmp_path / "proxy.log"
    with backend("one") as one:
        file.write_text(text(one, f'[log]\nfile = "{log}"\nlevel = "info"\n'))
        with started(file) as program:
            with socket.create_connection(("127.0.0.1", program.port)) as client:
                client.sendall(b"nonsense\r\n\r\n")
                assert b" 400 " in client.recv(1000)
            program.process.send_signal(signal.SIGTERM)
            assert program.process.wait(PATIENCE) == 0
    assert ": 400: " in log.read_text()


def test_logs_that_were_moved_away_are_begun_anew(tmp_path: Path) -> None:
    """As logrotate does it: rename, then SIGHUP."""
    file, log, access = tmp_path / "proxy.toml", tmp_path / "proxy.log", tmp_path / "access.log"
    with backend("one") as one:
        lines = f'[[route.filter]]\nkind = "access_log"\npath = "{access}"\nflush = 0.05\n'
        file.write_text(text(one, f'[log]\nfile = "{log}"\n').replace("[[pool]]", f"{lines}[[pool]]"))
        with started(file) as program:
            assert program.get("/before") == "one"
            for path in (log, access):
                path.rename(f"{path}.1")
            program.process.send_signal(signal.SIGHUP)
            program.says("reloaded")
            assert program.get("/after") == "one"
            program.process.send_signal(signal.SIGTERM)
            assert program.process.wait(PATIENCE) == 0
    old, new = Path(f"{access}.1").read_text(), access.read_text()
    assert ("/before" in old, "/after" in old) == (True, False)
    assert ("/before" in new, "/after" in new) == (False, True)
    assert "reloaded" in log.read_text()
