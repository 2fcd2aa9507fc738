"""Where TLS is best done: the CPU time of a proxy and of the backend behind it, with TLS in one, the other, or both.

Rule of this file: proxy and backend are processes of their own, so that the kernel keeps their accounts apart; the
client is the caller, and on nobody's bill.

Theory. A mode says what each leg speaks. What differs between modes is where handshakes and bytes are paid for; what is
common, the proxy's and the backend's own work, is measured along, for ratios without it say little about a service.
CPU time of a process counts what the kernel did for it, so the sockets are on the bill.

Traps. The proxy is Python and C in a certain mixture, another proxy is another mixture: shapes travel, numbers do not.
The first requests pay for connections that later ones find open; they are sent before the accounts are read.
"""

from __future__ import annotations

import asyncio
import resource
import socket
import ssl
import subprocess
import sys
from collections.abc import Callable, Coroutine, Iterator, Sequence
from contextlib import AsyncExitStack, ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import IO, Any, NamedTuple, cast

from lbcore.l4 import relay
from lbcore.l7.engine.proxy import Proxy, run
from lbcore.l7.front.door import listen
from lbcore.l7.pools.pool import Backend, Pool, Timeouts
from lbcore.l7.routing.router import Route, Router
from lbcore.testbed.tls_memory import NAME, Identity, only

SECONDS = 20.0
WARM = 4  # requests before the accounts are read
CHUNK = 1 << 18


@dataclass(frozen=True)
class Mode:
    """What each leg speaks. front, back: TLS that the proxy ends and begins. keep: backend connections serve again."""

    front: bool = True
    back: bool = False
    keep: bool = True


PASSED = "pass through"  # the relay's: it hands on what it gets
PROXIED = {
    "no TLS": Mode(front=False),
    "terminate": Mode(),
    "re-encrypt": Mode(back=True),
    "re-encrypt, no reuse": Mode(back=True, keep=False),
}
MODES = {**PROXIED, PASSED: Mode(back=True)}


@dataclass(frozen=True)
class Load:
    """connections, one after the other, with so many requests each, for answers of `size` bytes. resume: a connection
    brings the ticket of the one before."""

    connections: int
    requests: int
    size: int
    resume: bool = False


class Cost(NamedTuple):
    """Microseconds of CPU time a request."""

    proxy: float
    backend: float

    @property
    def total(self) -> float:
        """Of both."""
        return self.proxy + self.backend


# ------------------------------------------------------------------------------------------------------ the experiment
def measure(
    loads: Sequence[Load], modes: Sequence[str] = tuple(MODES), key: str = "P-256", rounds: int = 3
) -> dict[str, list[Cost]]:
    """For each mode the cost under each load: the median of `rounds`, in which the modes take turns.

    KeyError for a mode that is none; OSError where a process or a connection fails.
    """
    found: dict[str, list[list[Cost]]] = {mode: [[] for _ in loads] for mode in modes}
    with stage(Identity(key)) as cost:
        for _ in range(rounds):
            for number, load in enumerate(loads):
                for mode in modes:
                    found[mode][number].append(cost(mode, load))
    return {mode: [sorted(some)[len(some) // 2] for some in each] for mode, each in found.items()}


@contextmanager
def stage(site: Identity) -> Iterator[Callable[[str, Load], Cost]]:
    """A backend, a proxy and a relay, with a door for each mode; what it gives measures a mode under a load."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(TemporaryDirectory()))
        site.certificate.private_key_and_cert_chain_pem.write_to_path(str(folder / "site.pem"))
        site.authority.cert_pem.write_to_path(str(folder / "ca.pem"))
        parts = {part: stack.enter_context(process(part, str(folder))) for part in PARTS}
        plain, encrypted = parts["backend"].ports()
        for part in ("proxy", "relay"):
            parts[part].say(f"{plain} {encrypted}")
        doors = dict(zip(PROXIED, parts["proxy"].ports(), strict=True)) | {PASSED: parts["relay"].ports()[0]}
        client_side = site.client()

        def cost(mode: str, load: Load) -> Cost:
            tls = client_side if MODES[mode].front else None
            middle = parts["relay" if mode == PASSED else "proxy"]
            ask(doors[mode], tls, Load(1, WARM, load.size))
            before = middle.spent(), parts["backend"].spent()
            ask(doors[mode], tls, load)
            after = middle.spent(), parts["backend"].spent()
            count = load.connections * load.requests
            return Cost(*((now - then) / count for now, then in zip(after, before, strict=True)))

        yield cost


def ask(port: int, client_side: ssl.SSLContext | None, load: Load) -> None:
    """Be the client. ConnectionError where an answer does not come whole."""
    request = f"GET /{load.size} HTTP/1.1\r\nHost: {NAME}\r\n\r\n".encode()
    session = None
    for _ in range(load.connections):
        with ExitStack() as stack:
            sock = stack.enter_context(socket.create_connection(("127.0.0.1", port), SECONDS))
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if client_side is not None:
                sock = stack.enter_context(client_side.wrap_socket(sock, server_hostname=NAME, session=session))
            for _ in range(load.requests):
                sock.sendall(request)
                whole(sock, load.size)
            if load.resume and isinstance(sock, ssl.SSLSocket):
                session = sock.session


def whole(sock: socket.socket, size: int) -> None:
    """Read one answer with a body of `size` bytes."""
    data = b""
    while b"\r\n\r\n" not in data:
        data += (piece := sock.recv(CHUNK))
        if not piece:
            raise ConnectionError(f"an answer ends in its head: {data[:60]!r}")
    head, _, body = data.partition(b"\r\n\r\n")
    if not head.startswith(b"HTTP/1.1 200 "):
        raise ConnectionError(f"the answer begins {head[:60]!r}, wanted HTTP/1.1 200")
    left = size - len(body)
    while left > 0:
        piece = sock.recv(CHUNK)
        if not piece:
            raise ConnectionError(f"an answer ends {left} bytes before it should")
        left -= len(piece)


# --------------------------------------------------------------------------------------------------------- processes
class Process(NamedTuple):
    """A part of the stage, spoken to in lines."""

    name: str
    words: IO[str]
    answers: IO[str]

    def say(self, line: str) -> None:
        """Tell it something."""
        self.words.write(f"{line}\n")
        self.words.flush()

    def ports(self) -> list[int]:
        """Where it listens."""
        line = self.answers.readline()
        if not line:
            raise OSError(f"the {self.name}'s process ended before it listened")
        return [int(word) for word in line.split()]

    def spent(self) -> float:
        """Microseconds of CPU time so far."""
        self.say("?")
        return float(self.answers.readline())


@contextmanager
def process(part: str, folder: str) -> Iterator[Process]:
    """A child that ends with this block, or when its standard input does."""
    command = [sys.executable, "-m", __name__, part, folder]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as child:
        try:
            assert child.stdin
            assert child.stdout
            yield Process(part, child.stdin, child.stdout)
        finally:
            child.kill()


async def heard() -> str:
    """The next line of standard input, "" at its end."""
    return await asyncio.get_running_loop().run_in_executor(None, sys.stdin.readline)


async def accounts(*ports: int) -> None:
    """Say the ports, then the CPU time whenever asked; ends with standard input."""
    print(*ports, flush=True)
    while await heard():
        used = resource.getrusage(resource.RUSAGE_SELF)
        print((used.ru_utime + used.ru_stime) * 1e6, flush=True)


class Answering(asyncio.Protocol):
    """A backend: GET /N is answered with N bytes."""

    def __init__(self) -> None:
        self.rest = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)  # uvloop's has the methods, not the class

    def data_received(self, data: bytes) -> None:
        *heads, self.rest = (self.rest + data).split(b"\r\n\r\n")
        for head in heads:
            size = int(head.split(b" ", 2)[1][1:])
            self.transport.write(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % size + bytes(size))


async def backend(folder: str) -> None:
    """The backend's process: a door without TLS, and one with."""
    loop = asyncio.get_running_loop()
    plain = await loop.create_server(Answering, "127.0.0.1", 0)
    encrypted = await loop.create_server(Answering, "127.0.0.1", 0, ssl=serving(folder))
    async with plain, encrypted:
        await accounts(*(server.sockets[0].getsockname()[1] for server in (plain, encrypted)))


class Encrypted(Pool):
    """A pool that is spoken to in TLS, and verified."""

    server_name = NAME

    def __init__(self, tls: ssl.SSLContext, backends: Sequence[Backend], timeouts: Timeouts) -> None:
        super().__init__("backend", backends, timeouts)
        self.tls = tls


def pool(mode: Mode, folder: str, plain: int, encrypted: int) -> Pool:
    """The backend, as this mode speaks to it."""
    behind = [Backend("127.0.0.1", encrypted if mode.back else plain)]
    timeouts = Timeouts(life=3600.0 if mode.keep else 1e-6)  # a microsecond: used once
    return Encrypted(calling(folder), behind, timeouts) if mode.back else Pool("backend", behind, timeouts)


async def proxy(folder: str) -> None:
    """The proxy's process: a door for each mode that it does."""
    plain, encrypted = map(int, (await heard()).split())
    async with AsyncExitStack() as stack:
        ports = []
        for mode in (MODES[name] for name in PROXIED):
            chosen = pool(mode, folder, plain, encrypted)
            router = Router([Route("all", lambda request: True, lambda request, chosen=chosen: chosen)])  # type: ignore[misc]
            one = await stack.enter_async_context(Proxy(router))
            ports.append((await listen(one, "127.0.0.1", tls=serving(folder) if mode.front else None))[1])
        await accounts(*ports)


async def passing(folder: str) -> None:
    """The relay's process. The folder has a key in it, and it does not look."""
    _, encrypted = (await heard()).split()
    behind = relay.Pool("backend", [relay.Target(f"127.0.0.1:{encrypted}")])
    async with relay.Relay(relay.Options([relay.Listener("backend")], [behind])) as one:
        await accounts(one.addresses[0][1])


def serving(folder: str) -> ssl.SSLContext:
    """The site's side of a handshake."""
    context = only(ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), "TLS 1.3")
    context.load_cert_chain(Path(folder) / "site.pem")
    return context


def calling(folder: str) -> ssl.SSLContext:
    """The side that asks, and believes the site's authority alone."""
    context = only(ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT), "TLS 1.3")
    context.load_verify_locations(Path(folder) / "ca.pem")
    return context


PARTS: dict[str, Callable[..., Coroutine[Any, Any, None]]] = {"backend": backend, "proxy": proxy, "relay": passing}

if __name__ == "__main__":
    part, folder = sys.argv[1:]
    loop = asyncio.run if part == "relay" else run  # as `lbcore` runs them
    loop(PARTS[part](folder))
