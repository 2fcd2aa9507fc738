"""A stage for relays: backends that say who they are, and a relay between, all on 127.0.0.1 and gone afterwards."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from collections.abc import Awaitable, Callable
from contextlib import asynccontextmanager, suppress

from lbcore.l4.relay import Listener, Options, Pool, Relay, Target
from tests.wire.test_tls_hello import openssl_hello

PATIENCE = 60.0
LOOPS = {"asyncio": asyncio.new_event_loop}
with suppress(ImportError):  # uvloop is not everywhere
    import uvloop

    LOOPS["uvloop"] = uvloop.new_event_loop
loop_factory = LOOPS["asyncio"]
"""Makes the event loops that scenes run on."""


def play(scene: Callable[..., Awaitable[None]], *arguments: object) -> None:
    """Run a coroutine; nothing of it may be left: no task, no warning of the loop's."""
    faults: list[object] = []

    async def main() -> None:
        asyncio.get_running_loop().set_exception_handler(lambda loop, context: faults.append(context))
        async with asyncio.timeout(PATIENCE):
            await scene(*arguments)
        await asyncio.sleep(0)
        assert asyncio.all_tasks() == {asyncio.current_task()}

    with asyncio.Runner(loop_factory=loop_factory) as runner:
        runner.run(main())
    assert not faults, faults


class Backend:
    """A TCP backend. answer(reader, writer) speaks; the default echoes after a line with its name."""

    def __init__(self, name: str, answer=None) -> None:
        self.name, self.answer, self.seen, self.open = name, answer, 0, 0
        self.writers: set[asyncio.StreamWriter] = set()

    async def __aenter__(self) -> Backend:
        self.server = await asyncio.start_server(self._handle, "127.0.0.1", 0)
        self.port = self.server.sockets[0].getsockname()[1]
        self.address = f"127.0.0.1:{self.port}"
        return self

    async def __aexit__(self, *_: object) -> None:
        self.server.close()
        for writer in list(self.writers):
            writer.transport.abort()
        for _ in range(200):
            if not self.writers:
                break
            await asyncio.sleep(0.01)

    async def _handle(self, reader, writer) -> None:
        self.seen += 1
        self.writers.add(writer)
        try:
            await (self.answer or self._echo)(reader, writer)
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()
            with suppress(ConnectionError):
                await writer.wait_closed()
            self.writers.discard(writer)

    async def _echo(self, reader, writer) -> None:
        writer.write(self.name.encode() + b"\n")
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()


@asynccontextmanager
async def relay(*backends: Backend, listener=None, pool=None, **options):
    """A relay with one pool, "web", of these backends."""
    made = Pool(**{"name": "web", "targets": [Target(b.address) for b in backends]} | (pool or {}))
    told = Options([Listener(**{"pool": "web"} | (listener or {}))], [made], **options)
    async with Relay(told) as running:
        yield running
    assert running.counters.open == 0


CHILD = """
import json, resource, sys
from lbcore.l4.relay import *
limit = int(sys.argv[2])
if limit:
    resource.setrlimit(resource.RLIMIT_NOFILE, (limit, limit))
running = []
def started(relay):
    running.append(relay)
    print(json.dumps(relay.addresses[0]), flush=True)
run(eval(sys.argv[1]), started=started)
print(json.dumps(vars(running[0].counters)), flush=True)
"""


class Program:
    """A relay as a program of its own, with a limit on descriptors of its own (0: as here)."""

    def __init__(self, options: Options, descriptors: int = 0) -> None:
        command = [sys.executable, "-c", CHILD, repr(options), str(descriptors)]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)

    def __enter__(self) -> Program:
        return self

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.process.communicate()

    def address(self) -> tuple[str, int]:
        """Where it listens."""
        return tuple(json.loads(self.process.stdout.readline()))

    def counters(self) -> dict[str, object]:
        """What it says at its end."""
        return json.loads(self.process.stdout.readline())


async def talk(address, data: bytes = b"", *, end=True) -> bytes:
    """Connect, send, end, and read all."""
    reader, writer = await asyncio.open_connection(*address)
    try:
        writer.write(data)
        if end:
            writer.write_eof()
        return await reader.read()
    finally:
        writer.close()
        with suppress(ConnectionError):
            await writer.wait_closed()


async def until(fact: Callable[[], object]) -> None:
    """Wait for something to become true."""
    while not fact():
        await asyncio.sleep(0.01)


def hello(name: str | None = "shop.example", alpn: tuple[str, ...] = ("h2",)) -> bytes:
    return openssl_hello(name, alpn)


def with_extension(data: bytes, kind: int, body: bytes) -> bytes:
    """The handshake message of a hello of one record, with one more extension at the end, or that one replaced."""
    message = bytearray(data[5:])
    at = 4 + 2 + 32 + 1 + message[38]
    at += 2 + int.from_bytes(message[at : at + 2], "big")
    at += 1 + message[at] + 2
    kept, rest = b"", bytes(message[at:])
    while rest:
        size = 4 + int.from_bytes(rest[2:4], "big")
        if int.from_bytes(rest[:2], "big") != kind:
            kept += rest[:size]
        rest = rest[size:]
    kept += kind.to_bytes(2, "big") + len(body).to_bytes(2, "big") + body
    head = bytes(message[4 : at - 2]) + len(kept).to_bytes(2, "big")
    return b"\x01" + (len(head) + len(kept)).to_bytes(3, "big") + head + kept


def in_records(message: bytes, size: int = 1 << 14) -> bytes:
    """A handshake message in records of `size` bytes."""
    pieces = [message[at : at + size] for at in range(0, len(message), size)]
    return b"".join(b"\x16\x03\x01" + len(piece).to_bytes(2, "big") + piece for piece in pieces)
