"""What one client, or one fault of the machine, can cost: the proxy as a program, measured from outside.

Rule of this file: an attack is a row: what a hostile client does, and the most that it may cost. Memory is the peak of
the process (VmHWM) over what it had before. CPU time is counted in plain requests of the same process in the same
minute, so that a slow machine excuses nothing and a fast one hides nothing. After each attack, and during it, somebody
else is served.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import resource
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import hpack
import pytest

from lbcore.l7.http2 import frames
from tests import needs
from tests.l7.live import backend, get, read_request, say, together

pytestmark = needs.linux()

PATIENCE = 30.0
MB = 1 << 20
CONFIG = """
[limits]
head_time = 1.0
idle_time = 20.0

[[listen]]
port = 0

[[route]]
pool = "web"
{filters}
[[pool]]
name = "web"
backend = [{{ address = "127.0.0.1:{there}" }}]
[pool.timeouts]  # the backend shares a process with the attack
connect = 30.0
"""


# --------------------------------------------------------------------------------------------------------- the program
class Program:
    """`lbcore proxy` in a process of its own, seen through /proc."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.process, self.pid = process, process.pid
        self.port = 0

    def memory(self, which: str) -> int:
        """VmRSS: bytes now. VmHWM: the most since `forget_peak`."""
        status = Path(f"/proc/{self.pid}/status").read_text()
        return next(int(line.split()[1]) * 1024 for line in status.splitlines() if line.startswith(which + ":"))

    def forget_peak(self) -> None:
        Path(f"/proc/{self.pid}/clear_refs").write_text("5")

    def cpu(self) -> float:
        """Seconds of all its threads so far."""
        tasks = Path(f"/proc/{self.pid}/task").iterdir()
        return sum(int((task / "schedstat").read_text().split()[0]) for task in tasks) / 1e9

    def descriptors(self) -> int:
        return len(os.listdir(f"/proc/{self.pid}/fd"))

    async def serves(self) -> None:
        """A good client gets what it asks for."""
        answer = await asyncio.wait_for(say(self.port, get("/good")), PATIENCE)
        assert answer.startswith(b"HTTP/1.1 200 "), answer[:200]
        assert answer.endswith(b"\r\n\r\nok")


@contextlib.asynccontextmanager
async def program(there: int, folder: Path, filters: str = "", before: tuple[str, ...] = ()) -> AsyncIterator[Program]:
    """It, with that backend; it must end as it should when told to, whatever it went through."""
    file = folder / "proxy.toml"
    file.write_text(CONFIG.format(there=there, filters=filters))
    command = (*before, sys.executable, "-m", "lbcore", "proxy", str(file))
    process = await asyncio.create_subprocess_exec(*command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    made, said = Program(process), b""
    assert process.stdout is not None
    try:
        while b"listen 127.0.0.1:" not in said:
            said = await asyncio.wait_for(process.stdout.readline(), PATIENCE)
            assert said, "it ended"
        made.port = int(said.split(b"127.0.0.1:")[1].split(b":")[0])
        reading = asyncio.create_task(process.stdout.read())
        yield made
        assert process.returncode is None, await reading
        process.terminate()
        assert await asyncio.wait_for(process.wait(), PATIENCE) == 0, await reading
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.wait()


# ------------------------------------------------------------------------------------------------------------- attacks
GET = [(b":method", b"GET"), (b":scheme", b"http"), (b":authority", b"a"), (b":path", b"/")]
POST = [(b":method", b"POST"), *GET[1:]]
GREETING = frames.PREFACE + frames.settings({})


def head(stream: int, lines, ended: bool = True) -> bytes:
    block = hpack.Encoder().encode([hpack.NeverIndexedHeaderTuple(*line) for line in lines])
    return frames.head(stream, block, ended, frames.LARGEST)


async def pour(port: int, pieces, read: bool = True, pause: float = 0.0) -> bytes:
    """Send these on one connection until the proxy has had enough; what it said. read: take what comes meanwhile."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    heard = bytearray()

    async def listen() -> None:
        while data := await reader.read(1 << 16):
            heard.extend(data)

    listening = asyncio.create_task(listen()) if read else None
    try:
        for piece in pieces:
            writer.write(piece)
            await writer.drain()
            await asyncio.sleep(pause)
            if writer.is_closing() or (listening is not None and listening.done()):
                break
        if listening is not None:
            await asyncio.wait({listening}, timeout=PATIENCE)
        else:
            await asyncio.sleep(1)
    except ConnectionError:
        pass
    finally:
        if listening is not None:
            listening.cancel()
            await asyncio.gather(listening, return_exceptions=True)
        writer.transport.abort()
    return bytes(heard)


async def many(count: int, one: Callable[[], Awaitable[object]]) -> None:
    await asyncio.gather(*(one() for _ in range(count)))


async def hpack_bomb(port: int) -> None:
    """12,000 bytes for 48 MB of fields (CVE-2016-6581), two hundred times if anybody listened for so long."""
    large = b"\x40\x01x\x7f\xa1\x1e" + b"v" * 4000  # into the table: x: vvv...
    bomb = hpack.Encoder().encode(GET) + large + b"\xbe" * 12_000
    heard = await pour(port, [GREETING, *(frames.head(2 * at + 1, bomb, True, frames.LARGEST) for at in range(200))])
    assert calm(heard)


async def continuation_flood(port: int) -> None:
    """A header block without end (CVE-2024-27316): 32 MB, if anybody took them."""
    more = frames.frame(frames.CONTINUATION, 0, 1, b"\0\x01a\x7f\x81\x7f" + b"x" * 16_000)
    heard = await pour(port, [GREETING, frames.frame(frames.HEADERS, 0, 1, b"\x82"), *[more] * 2000])
    assert calm(heard)


async def rapid_reset(port: int) -> None:
    """CVE-2023-44487."""
    reset = frames.WORD.pack(8)
    pieces = (head(2 * at + 1, GET) + frames.frame(frames.RST_STREAM, 0, 2 * at + 1, reset) for at in range(20_000))
    assert calm(await pour(port, [GREETING, *pieces]))


async def pings_unread(port: int) -> None:
    """Answers that nobody fetches (CVE-2019-9512)."""
    await pour(port, [GREETING, *[frames.frame(frames.PING, 0, 0, bytes(8)) * 1000] * 200], read=False)


async def settings_unread(port: int) -> None:
    """The same with SETTINGS (CVE-2019-9515)."""
    await pour(port, [GREETING, *[frames.settings({4: 1}) * 1000] * 200], read=False)


async def many_streams(port: int) -> None:
    """On each of 8 connections 128 uploads that the backend does not read, as far as the windows go."""
    pieces = [GREETING]
    for at in range(128):
        pieces.append(head(2 * at + 1, [(b":path", b"/deaf") if one == GET[3] else one for one in POST], False))
    pieces += [frames.frame(frames.DATA, 0, 2 * at % 256 + 1, bytes(8000)) for at in range(128)]
    await many(8, lambda: pour(port, pieces, read=False))


async def huge_cookie(port: int) -> None:
    """Ten megabytes in one field of HTTP/1.1."""
    heard = await pour(port, [b"GET / HTTP/1.1\r\nhost: a\r\ncookie: ", *[b"a=" + b"x" * 100_000] * 100])
    assert heard.startswith(b"HTTP/1.1 431 ")


async def cookie_crumbs(port: int) -> None:
    """HTTP/2 may cut a cookie into crumbs (RFC 9113 8.2.3), of one byte in the table each: 14,000 in a head."""
    crumbs = hpack.Encoder().encode(GET) + b"\x40\x06cookie\x01a" + b"\xbe" * 14_000
    heard = await pour(port, [GREETING, *(frames.head(2 * at + 1, crumbs, True, frames.LARGEST) for at in range(200))])
    assert calm(heard)


async def slow_heads(port: int) -> None:
    """Slowloris: 300 clients that say a byte now and then. All are told, and let go, after `head_time`."""

    slowly = [bytes((byte,)) for byte in b"GET / HTTP/1.1\r\nhost: a\r\nx-slow: " + b"a" * 60]

    async def one() -> None:
        assert (await pour(port, slowly, pause=0.05)).startswith(b"HTTP/1.1 408 ")

    await many(300, one)


async def slow_readers(port: int) -> None:
    """60 clients that ask for 50 MB each and take nothing."""
    await many(60, lambda: pour(port, [get("/large")], read=False))


async def small_chunks(port: int) -> None:
    """A body of 100,000 bytes, each a chunk of its own."""
    ask = b"POST / HTTP/1.1\r\nhost: a\r\nconnection: close\r\ntransfer-encoding: chunked\r\n\r\n"
    heard = await pour(port, [ask, *[b"1\r\nx\r\n" * 1000] * 100, b"0\r\n\r\n"])
    assert heard.startswith(b"HTTP/1.1 200 ")


async def gzip_bomb(port: int) -> None:
    """A body that would be a gigabyte: nobody here unpacks it."""
    bomb = b"\x1f\x8b" + bytes(1_000_000)
    ask = b"POST / HTTP/1.1\r\nhost: a\r\nconnection: close\r\ncontent-encoding: gzip\r\ncontent-length: %d\r\n\r\n"
    heard = await pour(port, [ask % len(bomb), bomb])
    assert heard.startswith(b"HTTP/1.1 200 ")


def calm(heard: bytes) -> bool:
    """Was it sent away with GOAWAY, ENHANCE_YOUR_CALM?"""
    return any(
        kind == frames.GOAWAY and payload[4:8] == frames.WORD.pack(frames.Code.ENHANCE_YOUR_CALM)
        for kind, payload in split(heard)
    )


def split(data: bytes):
    at = 0
    while at + 9 <= len(data):
        end = at + 9 + int.from_bytes(data[at : at + 3], "big")
        yield data[at + 3], data[at + 9 : end]
        at = end


@dataclass(frozen=True)
class Cost:
    """The most that an attack may cost: bytes of memory, CPU time in plain requests, requests that a backend sees."""

    memory: int
    cpu: int
    seen: int = 0


# About three times what was measured; without its limit each would cost hundreds of megabytes, or has no end.
ATTACKS: dict[Callable[[int], Awaitable[None]], Cost] = {
    hpack_bomb: Cost(4 * MB, 20_000),
    continuation_flood: Cost(4 * MB, 200),
    rapid_reset: Cost(4 * MB, 1_000, seen=201),
    pings_unread: Cost(4 * MB, 200),
    settings_unread: Cost(4 * MB, 300),
    many_streams: Cost(40 * MB, 10_000, seen=8 * 128),
    huge_cookie: Cost(4 * MB, 300),
    cookie_crumbs: Cost(4 * MB, 20_000),
    slow_heads: Cost(8 * MB, 5_000),
    slow_readers: Cost(48 * MB, 20_000, seen=60),  # half a megabyte each, a full buffer and a read; and a grown heap
    small_chunks: Cost(16 * MB, 30_000, seen=1),
    gzip_bomb: Cost(4 * MB, 200, seen=1),
}


class Counting:
    """The backend: it counts, answers `ok`, reads nothing of /deaf, and never ends /large."""

    def __init__(self) -> None:
        self.seen = 0

    async def __call__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            line = await reader.readuntil(b"\r\n")
            self.seen += b"/good" not in line
            if b"/deaf" in line:
                reader._transport.pause_reading()  # type: ignore[attr-defined]
                await asyncio.sleep(PATIENCE)
            elif b"/large" in line:
                await reader.readuntil(b"\r\n\r\n")
                writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 50000000\r\n\r\n")
                for _ in range(500):
                    writer.write(bytes(100_000))
                    await writer.drain()
            else:
                fields = await reader.readuntil(b"\r\n\r\n")
                if b"content-length: " in fields:
                    await reader.readexactly(int(fields.split(b"content-length: ")[1].split()[0]))
                elif b"transfer-encoding: " in fields:
                    await reader.readuntil(b"\r\n0\r\n\r\n")
                writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok")


async def plain_request(made: Program, count: int = 2000) -> float:
    """CPU seconds of one, on a connection that is kept."""
    reader, writer = await asyncio.open_connection("127.0.0.1", made.port)
    began = made.cpu()
    for _ in range(count):
        writer.write(get("/good", close=False))
        await reader.readuntil(b"\r\n\r\nok")
    writer.close()
    return (made.cpu() - began) / count


@dataclass
class Stage:
    """One program and its backend for all attacks: what one of them leaves behind would tell in the next."""

    runner: asyncio.Runner
    made: Program
    counting: Counting
    unit: float


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    stack, counting = contextlib.AsyncExitStack(), Counting()
    with asyncio.Runner() as runner:
        try:
            there = runner.run(stack.enter_async_context(backend(counting)))
            made = runner.run(stack.enter_async_context(program(there, tmp_path_factory.mktemp("costs"))))
            yield Stage(runner, made, counting, runner.run(plain_request(made)))
        finally:
            runner.run(stack.aclose())


@pytest.mark.parametrize("attack", ATTACKS, ids=lambda attack: attack.__name__)
def test_attack(attack, stage):
    """Nothing of it is left afterwards, either: descriptors are as many as before."""
    allowed, made, counting = ATTACKS[attack], stage.made, stage.counting

    async def test():
        await made.serves()
        descriptors = made.descriptors()
        made.forget_peak()
        memory, cpu, seen = made.memory("VmRSS"), made.cpu(), counting.seen
        attacking = asyncio.create_task(attack(made.port))
        while not attacking.done():
            await made.serves()
            await asyncio.sleep(0.1)
        await attacking
        cost = Cost(made.memory("VmHWM") - memory, round((made.cpu() - cpu) / stage.unit), counting.seen - seen)
        async with asyncio.timeout(PATIENCE):
            while made.descriptors() > descriptors + 1:
                await asyncio.sleep(0.05)
        await made.serves()
        assert cost.memory <= allowed.memory
        assert cost.cpu <= allowed.cpu
        assert cost.seen <= allowed.seen

    stage.runner.run(test())


# ----------------------------------------------------------------------------------------------- faults of the machine
def test_out_of_descriptors(tmp_path):
    """300 clients of a proxy that may have some 20 descriptors more: those who are in get an answer, a clear status if
    no backend can be reached, nobody spins, and when the crowd has gone all is as before."""

    async def test():
        async with backend(Counting()) as there, program(there, tmp_path) as made:
            reader, writer = await asyncio.open_connection("127.0.0.1", made.port)
            await asyncio.sleep(0.1)
            before = made.descriptors()
            resource.prlimit(made.pid, resource.RLIMIT_NOFILE, (before + 20, before + 20))
            crowd = [await asyncio.open_connection("127.0.0.1", made.port) for _ in range(300)]
            async with asyncio.timeout(PATIENCE):
                while made.descriptors() < before + 20:
                    await asyncio.sleep(0.01)
            writer.write(get("/good", close=False))
            answer = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), PATIENCE)
            assert answer.startswith((b"HTTP/1.1 200 ", b"HTTP/1.1 502 ")), answer
            cpu = made.cpu()
            await asyncio.sleep(1)
            assert made.cpu() - cpu < 0.5  # of this second: a listener that is readable and cannot be read must wait
            for _, one in crowd:
                one.transport.abort()
            writer.close()
            async with asyncio.timeout(PATIENCE):
                while made.descriptors() > before:
                    await asyncio.sleep(0.05)
            for _ in range(5):
                await made.serves()

    together(test)


@needs.tier(1)
@needs.command("unshare")
def test_a_full_disk(tmp_path):
    """Cache and log on a disk of 256 KB: what does not fit is not kept, and every client gets all that it asked for."""
    disk = tmp_path / "disk"
    disk.mkdir()
    filters = f'''
[[route.filter]]
kind = "access_log"
path = "{disk}/log"
flush = 0.05
[[route.filter]]
kind = "cache"
path = "{disk}/cache"
'''
    mount = f'mount -t tmpfs -o size=256k none {disk} && exec "$@"'
    before = ("unshare", "--mount", *(() if os.geteuid() == 0 else ("--map-root-user",)), "sh", "-c", mount, "sh")

    async def talk(reader, writer):
        while True:
            request = await read_request(reader)
            body = request.split()[1] * 5000
            head = b"HTTP/1.1 200 OK\r\ncache-control: max-age=600\r\ncontent-length: %d\r\n\r\n" % len(body)
            writer.write(head + body)

    async def test():
        async with backend(talk) as there, program(there, tmp_path, filters, before) as made:
            hits = 0
            for turn in range(2):
                for at in range(40):
                    path = f"/{at:03}"
                    head, _, body = (await say(made.port, get(path))).partition(b"\r\n\r\n")
                    assert head.startswith(b"HTTP/1.1 200 "), head
                    assert body == path.encode() * 5000
                    hits += turn and b"; hit" in head
            assert 0 < hits < 40  # the disk is full, and what was stored before it was is still good
            inside = Path(f"/proc/{made.pid}/root{disk}")
            assert sum(file.stat().st_size for file in inside.iterdir()) <= 256 << 10

    together(test)
