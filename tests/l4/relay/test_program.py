"""`lbcore l4` with a section [relay]: started, watched, told of a state, drained; and what it says where it cannot."""

from __future__ import annotations

import asyncio
import errno
import os
import re
import signal
import socket
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from lbcore import cli
from lbcore.l4.relay import Listener, Options, Pool, Relay, Route, Target, console
from lbcore.l4.relay.counters import Counters, Reason
from lbcore.wire.proxy_protocol import parse
from tests.l4.relay.stage import Backend, hello, play, until

TEXT = """\
[relay]
[[relay.listener]]
address = "127.0.0.1:0"
pool = "{pool}"
{listener}
[[relay.pool]]
name = "web"
picker = "round_robin"
target = [{{ address = "{a}" }}, {{ address = "{b}", state = "{state}" }}]
[[relay.pool]]
name = "api"
send_proxy = 2
proxy_extras = ["authority"]
target = [{{ address = "{a}" }}]
[relay.timeouts]
drain = 20
"""


def text_of(a: Backend, b: Backend, state: str = "active", pool: str = "web", listener: str = "") -> str:
    return TEXT.format(a=a.address, b=b.address, state=state, pool=pool, listener=listener)


class Program:
    """The command in a process of its own."""

    def __init__(self, process: asyncio.subprocess.Process, output: Path) -> None:
        self.process, self.output = process, output

    def table(self) -> str:
        """The last whole one."""
        tables = self.output.read_text().split("lbcore l4: ")
        return tables[-2] if len(tables) > 2 else ""

    async def port(self) -> int:
        await until(lambda: "127.0.0.1:" in self.table())
        return int(re.search(r"127\.0\.0\.1:(\d+)  tcp", self.table())[1])

    def shows(self, *words: str) -> Callable[[], bool]:
        return lambda: all(re.search(word, self.table()) for word in words)


@asynccontextmanager
async def started(file: Path) -> AsyncIterator[Program]:
    output = file.with_suffix(".out")
    command = (sys.executable, "-m", "lbcore", "l4", str(file), "--every", "0.05")
    with output.open("wb") as out:
        process = await asyncio.create_subprocess_exec(*command, stdout=out, stderr=out)
    try:
        yield Program(process, output)
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


async def ask(port: int, data: bytes) -> bytes:
    """The first line that comes back."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        writer.write(data)
        return (await reader.readline()).strip()
    finally:
        writer.close()
        await writer.wait_closed()


async def said(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """What a backend is told: its PROXY header's server name, if there is one."""
    data = await reader.read(4096)
    header = parse(data)[0] if data.startswith(b"\r\n\r\n\0") else None
    writer.write(f"{header and header.authority}\n".encode())


def test_it_relays_and_drains(tmp_path: Path) -> None:
    async def scene() -> None:
        async with Backend("a") as a, Backend("b") as b:
            file = tmp_path / "r.toml"
            file.write_text(text_of(a, b))
            async with started(file) as program:
                port = await program.port()
                assert {await ask(port, b"x") for _ in range(4)} == {b"a", b"b"}
                await until(
                    program.shows(rf"web +{a.address} +active +0 +2\b", r"\b4 +\d\S* +accepted", "both ends|broke")
                )

                file.write_text(text_of(a, b, "draining"))
                program.process.send_signal(signal.SIGHUP)
                await until(program.shows(rf"{b.address} +draining"))
                assert {await ask(port, b"x") for _ in range(4)} == {b"a"}

                file.write_text(text_of(a, b).replace("round_robin", "ring"))
                program.process.send_signal(signal.SIGHUP)
                await until(lambda: "more than states has changed" in program.output.read_text())
                file.write_text("[relay]\nx = 1\n")
                program.process.send_signal(signal.SIGHUP)
                await until(lambda: f"{file}:2: relay.x: no such key" in program.output.read_text())
                assert {await ask(port, b"x") for _ in range(4)} == {b"a"}

                reader, writer = await asyncio.open_connection("127.0.0.1", port)
                assert await reader.readline() == b"a\n"
                program.process.send_signal(signal.SIGTERM)
                await until(program.shows("^draining, 1 open"))
                with pytest.raises(ConnectionRefusedError):
                    await asyncio.open_connection("127.0.0.1", port)
                writer.write(b"still here")
                assert await reader.readexactly(10) == b"still here"
                writer.close()
                assert await asyncio.wait_for(program.process.wait(), 10) == 0

    play(scene)


def test_a_second_signal_does_not_wait(tmp_path: Path) -> None:
    async def scene() -> None:
        async with Backend("a") as a, Backend("b") as b:
            file = tmp_path / "r.toml"
            file.write_text(text_of(a, b))
            async with started(file) as program:
                reader, writer = await asyncio.open_connection("127.0.0.1", await program.port())
                await reader.readline()
                program.process.send_signal(signal.SIGTERM)
                await until(program.shows("^draining, 1 open"))
                program.process.send_signal(signal.SIGINT)
                assert await asyncio.wait_for(program.process.wait(), 10) == 0
                with pytest.raises(ConnectionResetError):
                    await reader.read()
                writer.close()

    play(scene)


def test_names_lead_to_pools_and_headers_go_along(tmp_path: Path) -> None:
    """SNI, PROXY protocol in (refused without) and out."""

    async def scene() -> None:
        async with Backend("a", said) as a, Backend("b", said) as b:
            file = tmp_path / "r.toml"
            route = '[[relay.listener.route]]\npool = "api"\nnames = ["*.example"]'
            file.write_text(text_of(a, b, pool="web", listener=route))
            async with started(file) as program:
                port = await program.port()
                assert await ask(port, hello("shop.example")) == b"shop.example"
                assert await ask(port, hello("shop.test")) == b"None"
                with pytest.raises(ConnectionResetError):
                    await ask(port, b"GET / HTTP/1.1\r\n\r\n")
                await until(program.shows("1  a ClientHello was due and this is none"))

            file.write_text(text_of(a, b, pool="api", listener='accept_proxy = ["127.0.0.1"]'))
            async with started(file) as program:
                port = await program.port()
                assert await ask(port, b"PROXY TCP4 192.0.2.1 192.0.2.2 1 2\r\nx") == b"None"
                with pytest.raises(ConnectionResetError):
                    await ask(port, b"x" * 200)
                await until(program.shows("1  a PROXY header was due and this is none"))

    play(scene)


def test_one_table_and_the_end(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "r.toml"
    text = '[relay]\n[[relay.listener]]\naddress = "127.0.0.1:{}"\npool = "p"\n[[relay.pool]]\nname = "p"\n'
    text += 'target = [{{ address = "127.0.0.1:9" }}]\n'
    file.write_text(text.format(0))
    handlers = [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)]
    assert cli.main(["l4", str(file), "--once", "--every", "0.01"]) == 0
    shown = capsys.readouterr().out
    assert shown.startswith("lbcore l4: relay, 0 open  ")
    assert shown.count("lbcore l4") == 1
    assert [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)] == handlers

    assert cli.main(["l4", str(file), "--check"]) == 0
    assert capsys.readouterr().out == f"{file}: right\n"
    with socket.create_server(("127.0.0.1", 0)) as taken:
        file.write_text(text.format(taken.getsockname()[1]))
        assert cli.main(["l4", str(file), "--once"]) == 1
    assert os.strerror(errno.EADDRINUSE) in capsys.readouterr().err
    file.write_text(text.format(70_000))
    assert cli.main(["l4", str(file)]) == 2
    assert f"{file}:3: relay.listener[1].address is '127.0.0.1:70000', wanted " in capsys.readouterr().err


def test_the_table_says_what_was_counted() -> None:
    async def scene() -> None:
        listeners = (Listener(address="127.0.0.1:0", routes=(Route("web"),)), Listener("web", "[::1]:0", "udp"))
        async with Relay(Options(listeners, (Pool("web", (Target("10.0.0.1:80"),)),))) as relay:
            before = console.Look(1.0, Counters(accepted=10, from_clients=1000))
            now = Counters(accepted=30, open=3, connected=29, from_clients=5000, ech=2)
            now.ended[Reason.IDLE] = 7
            now.by_backend["10.0.0.1:80"] = 29
            lines = console.state(relay, console.Look(3.0, now), before).split("\n")
            rows = [tuple(re.split("  +", line.strip())) for line in lines if line]
            assert rows[0] == ("lbcore l4: relay, 3 open", "3 s")
            assert rows[2][1:] == ("tcp", "(none)", "1")
            assert rows[3][0].startswith("[::1]:")
            assert {("30", "10", "accepted"), ("5.00k", "2.00k", "bytes from clients")} <= set(rows)
            assert ("web", "10.0.0.1:80", "active", "0", "29") in rows
            assert ("7", "no byte either way for the idle time") in rows
            assert not any("pauses" in line for line in lines)  # what never happened takes no line

    play(scene)
