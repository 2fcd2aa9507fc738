"""What an open connection costs a server in memory: real ones, over loopback, that say nothing.

Rule of this file: the server is a process of its own, so that its memory is not the client's. It listens on 127.0.0.1,
and ends when its standard input does, so it cannot outlive whoever asked.

Theory. `memory_slope` opens connections in steps and lets the server look up its own resident memory after each. The
slope over the later half is the cost of one more: the first ones are paid from memory that starting up has left free.
What the kernel holds for a socket is nobody's resident memory; `kernel_objects` reads that where it can.

Trap. Memory that was freed is not given back at once, and comes in pages. Slopes are good to tens of percent.
"""

from __future__ import annotations

import asyncio
import gc
import resource
import socket
import ssl
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import trustme

KINDS = {"protocol": 120, "streams": 120, "tls": 30}
"""Servers, and how many connections make a step: asyncio's callbacks, its streams, and streams over TLS."""
STEPS = 6
FILES = STEPS * max(KINDS.values()) + 200
"""How many files a process may have open in the meantime. Some systems let it open 256 unless it asks for more."""
SECONDS = 30.0


def resident() -> int:
    """Bytes of memory that this process has; where the system does not say, the most it ever had."""
    try:
        return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()
    except OSError:
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def kernel_objects(*names: str) -> dict[str, int]:
    """Bytes of one object of each of the kernel's caches that it names; empty where /proc/slabinfo is not readable."""
    try:
        lines = Path("/proc/slabinfo").read_text().splitlines()
    except OSError:
        return {}
    sizes = {fields[0]: int(fields[3]) for fields in map(str.split, lines[2:])}
    return {name: sizes[name] for name in names if name in sizes}


def memory_slope(kind: str) -> float:
    """Bytes of resident memory that one more idle connection costs a server of `kind`, one of KINDS.

    ValueError for another kind; OSError where the system lets this process open too few files.
    """
    if kind not in KINDS:
        raise ValueError(f"kind is {kind!r}, wanted one of: {', '.join(KINDS)}")
    step = KINDS[kind]
    with ExitStack() as stack, many_files(), tempfile.TemporaryDirectory() as folder:
        trust = certificates(Path(folder)) if kind == "tls" else None
        server = stack.enter_context(serving(kind, folder))
        port = int(server.stdout.readline())

        def more() -> int:
            for _ in range(step):
                stack.enter_context(connection(port, trust))
            server.stdin.write("?\n")
            server.stdin.flush()
            return int(server.stdout.readline())

        sizes = [more() for _ in range(STEPS)][STEPS // 2 :]
    return float(np.polyfit(np.arange(len(sizes)) * step, sizes, 1)[0])


@contextmanager
def many_files() -> Iterator[None]:
    """Let this process, and those that it starts, open FILES files, if it may ask for so many."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY or soft >= FILES:
        yield
        return
    resource.setrlimit(resource.RLIMIT_NOFILE, (FILES if hard == resource.RLIM_INFINITY else min(FILES, hard), hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def certificates(folder: Path) -> ssl.SSLContext:
    """Writes a server's key and certificate into `folder`: what its clients trust."""
    authority, trust = trustme.CA(), ssl.create_default_context()
    authority.issue_cert("localhost").private_key_and_cert_chain_pem.write_to_path(str(folder / "server.pem"))
    authority.configure_trust(trust)
    return trust


def connection(port: int, trust: ssl.SSLContext | None) -> socket.socket:
    """An open connection to the server, which has accepted it and finished its handshake: a byte has come back."""
    sock = socket.create_connection(("127.0.0.1", port), SECONDS)
    try:
        if trust is not None:
            sock = trust.wrap_socket(sock, server_hostname="localhost")
        sock.sendall(b"?")
        if sock.recv(1) != b"!":
            raise ConnectionError("the server closed the connection")
    except BaseException:
        sock.close()
        raise
    return sock


@contextmanager
def serving(kind: str, folder: str) -> Iterator[Any]:
    """The server process: its first line is its port, and then one line of bytes for each line it is sent."""
    command = [sys.executable, "-m", __name__, kind, folder]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as server:
        try:
            yield server
        finally:
            server.kill()


class Answering(asyncio.Protocol):
    """Answers a byte with a byte, and keeps the connection."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        assert isinstance(self.transport, asyncio.WriteTransport)
        self.transport.write(b"!")


async def answering(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """The same with streams."""
    try:
        while await reader.read(4096):
            writer.write(b"!")
    finally:
        writer.close()


async def serve(kind: str, folder: str) -> None:
    """The server process from within: until its standard input ends."""
    loop, tls = asyncio.get_running_loop(), None
    if kind == "tls":
        tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        tls.load_cert_chain(Path(folder) / "server.pem")
    if kind == "protocol":
        server: asyncio.Server = await loop.create_server(Answering, "127.0.0.1", 0)
    else:
        server = await asyncio.start_server(answering, "127.0.0.1", 0, ssl=tls)
    print(server.sockets[0].getsockname()[1], flush=True)
    while await loop.run_in_executor(None, sys.stdin.readline):
        gc.collect()
        print(resident(), flush=True)


if __name__ == "__main__":
    asyncio.run(serve(*sys.argv[1:3]))
