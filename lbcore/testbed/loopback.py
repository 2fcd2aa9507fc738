"""One real conversation over loopback, every byte of it kept: real traffic to look at, on any machine.

Rule of this file: sockets and threads live here and end here. HTTP and TLS are the standard library's.

Theory. A relay stands between client and server and writes down what passes: that needs no privilege. The client's
connection to the relay is the one that is told about: its addresses, its frames. All sockets are connected before any
thread starts (a listener's backlog completes TCP handshakes by itself), so no thread waits in `accept`; and when the
relay hangs up, both ends wake, so nobody is left behind, whatever went wrong.

Frames: with the right to open AF_PACKET the very frames on `lo` are kept; without it, headers are rebuilt around the
captured payload. `Conversation.frames_origin` says which.

Traps
- TCP has no messages. What one side wrote before the other side answered is one segment here, however often it wrote:
  so the number of segments does not depend on the scheduler.
- The kernel does not compute TCP checksums on `lo`: captured frames hold the sum of the pseudo-header only (what
  checksum offload would finish in a network card). Rebuilt ones are right.
- Ports, times, sequence numbers, TLS randoms, certificates and the sizes of signatures differ from run to run. The
  bytes of `capture_http(..., tls=False)` do not.
"""

from __future__ import annotations

import http.client
import socket
import ssl
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from contextlib import ExitStack, closing, contextmanager, suppress
from dataclasses import dataclass, field, replace
from http import HTTPStatus
from itertools import groupby
from typing import Any

from lbcore.testbed.frames import (
    CAPTURED,
    REBUILT,
    TO_CLIENT,
    TO_SERVER,
    Address,
    Direction,
    Segment,
    Tap,
    payload_of,
    rebuild_frames,
)

CHUNK = 65536
NO_BODY = (204, 304)  # RFC 9110 sections 15.3.5 and 15.4.5
BACKSTOP = 5.0  # seconds that a single socket call may outlast the whole: only if hanging up did not wake it
LOST = (OSError, http.client.HTTPException)  # but a refused certificate, an OSError too, is a ValueError besides


@dataclass(frozen=True)
class Conversation:
    """All bytes of one connection, in order.

    client, server: the addresses really used (the server's is the one that the client dialled).
    frames: whole Ethernet frames, handshake to last ACK; empty if they were not asked for.
    frames_origin: how they were made; frames_why: why not captured, if they were not.
    """

    client: Address
    server: Address
    segments: tuple[Segment, ...]
    frames: tuple[bytes, ...] = ()
    frames_origin: str = "not asked for"
    frames_why: str = ""

    def sent(self, direction: Direction) -> bytes:
        """All bytes of one direction."""
        return b"".join(segment.payload for segment in self.segments if segment.direction == direction)


@dataclass(frozen=True)
class Request:
    """What the server understood. headers: in order, names as they were sent."""

    method: str
    path: str
    headers: tuple[tuple[str, str], ...]
    body: bytes


@dataclass(frozen=True)
class Response:
    """What the server shall answer. Content-Length and Connection are added; no Date or Server, nothing that varies."""

    status: int = 200
    headers: Mapping[str, str] = field(default_factory=lambda: {"Content-Type": "application/json"})
    body: bytes = b'{"order": 7}\n'


def capture_http(
    path: str = "/api/orders?id=7",
    host: str = "shop.example",
    headers: Mapping[str, str] | None = None,
    tls: bool = False,
    *,
    method: str = "GET",
    body: bytes = b"",
    respond: Callable[[Request], Response] = lambda request: Response(),
    alpn: tuple[str, ...] = ("http/1.1",),
    frames: bool = False,
    timeout: float = 10.0,
) -> Conversation:
    """One HTTP/1.1 request for `host` and its response, by the standard library's client and server.

    headers: sent in this order after Host. tls: with a certificate for `host` that exists for this call only.
    Raises what the server or the client raised (see `exchange`); TimeoutError after `timeout` seconds.
    """
    client_tls, server_tls = _tls_contexts(host, alpn) if tls else (None, None)

    def client(connection: socket.socket) -> None:
        with _secured(connection, client_tls, server_hostname=host) as stream:
            _ask(stream, method, path, {"Host": host, **(headers or {})}, body)

    def server(connection: socket.socket) -> None:
        with _secured(connection, server_tls, server_side=True) as stream:
            _answer(stream, respond)

    return exchange(client, server, frames=frames, timeout=timeout)


def exchange(
    client: Callable[[socket.socket], Any],
    server: Callable[[socket.socket], Any],
    *,
    frames: bool = False,
    timeout: float = 10.0,
) -> Conversation:
    """Run both ends, each in a thread with its own connected socket (closed for it), and keep what they wrote.

    The whole gives up after `timeout` seconds (TimeoutError); an end must not wait for anything but its socket. Raises
    what an end raised, with notes on what else went wrong: when one end fails, the other's connection breaks too.
    """
    failures: list[BaseException] = []
    passed: list[Segment] = []

    def noted(task: Callable[..., Any], *arguments: Any) -> None:
        try:
            task(*arguments)
        except BaseException as error:
            failures.append(error)
            raise

    def end(role: Callable[[socket.socket], Any], connection: socket.socket) -> None:
        with connection:
            noted(role, connection)

    overtime = False
    tap, why = _open_tap() if frames else (None, "")
    with ExitStack() as stack:  # left from the bottom up: wake all, then pumps, relay's sockets, ends, ends' sockets
        if tap:
            stack.callback(tap.close)
        client_end, client_side = _connect(stack, timeout)
        server_side, server_end = _connect(stack, timeout)
        talk = Conversation(client_end.getsockname(), client_end.getpeername(), ())
        start = time.monotonic()
        with ExitStack() as running:
            ends = running.enter_context(ThreadPoolExecutor(2, "end"))
            running.enter_context(client_side)
            running.enter_context(server_side)
            pumps = running.enter_context(ThreadPoolExecutor(2, "pump"))
            running.callback(_hang_up, client_side, server_side)
            tasks = [
                pumps.submit(noted, _pump, client_side, server_side, TO_SERVER, passed, start),
                pumps.submit(noted, _pump, server_side, client_side, TO_CLIENT, passed, start),
                ends.submit(end, server, server_end),
                ends.submit(end, client, client_end),
            ]
            overtime = bool(wait(tasks, timeout, FIRST_EXCEPTION).not_done) and not failures
        if overtime:
            raise TimeoutError(f"the conversation was not over after {timeout} s")
        if failures:
            raise _cause(failures)
        talk = replace(talk, segments=_turns(passed))
        return _with_frames(talk, tap, why) if frames else talk


def _cause(failures: list[BaseException]) -> BaseException:
    """The first that is not a lost connection, which is what the others see of it; the rest become its notes."""
    cause = min(failures, key=lambda error: isinstance(error, LOST) and not isinstance(error, ValueError))
    for other in failures:
        if other is not cause:
            cause.add_note(f"and: {other!r}")
    return cause


# ----------------------------------------------------------------------------------------------------------- the relay
def _connect(stack: ExitStack, timeout: float) -> tuple[socket.socket, socket.socket]:
    """Both ends of a new TCP connection on 127.0.0.1: who dialled, who was dialled. `stack` closes them."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(timeout)
        dialled = stack.enter_context(socket.create_connection(listener.getsockname(), timeout))
        while True:
            accepted, peer = listener.accept()
            if peer == dialled.getsockname():
                break
            accepted.close()  # somebody else on this machine was quicker: none of our business
        stack.enter_context(accepted)
    for end in (dialled, accepted):
        end.settimeout(timeout + BACKSTOP)
        end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return dialled, accepted


def _pump(source: socket.socket, target: socket.socket, way: Direction, passed: list[Segment], start: float) -> None:
    """Hand on what `source` sends until it ends. Written down before it is handed on: so answers follow questions."""
    while chunk := source.recv(CHUNK):
        passed.append(Segment(way, chunk, time.monotonic() - start))
        target.sendall(chunk)
    with suppress(OSError):  # the target may have closed already
        target.shutdown(socket.SHUT_WR)


def _hang_up(*sides: socket.socket) -> None:
    """Wake whoever waits on these sockets, on either end."""
    for side in sides:
        with suppress(OSError):  # not connected any more: nobody waits
            side.shutdown(socket.SHUT_RDWR)


def _turns(passed: list[Segment]) -> tuple[Segment, ...]:
    """Neighbours of one direction joined."""
    groups = [list(group) for _, group in groupby(passed, key=lambda segment: segment.direction)]
    return tuple(replace(group[0], payload=b"".join(segment.payload for segment in group)) for group in groups)


# ---------------------------------------------------------------------------------------------------------- the frames
def _open_tap() -> tuple[Tap | None, str]:
    """A tap, or why there is none."""
    try:
        return Tap(), ""
    except OSError as error:
        return None, str(error)


def _with_frames(talk: Conversation, tap: Tap | None, why: str) -> Conversation:
    if tap:
        frames = tap.collect(talk.client, talk.server)
        if all(payload_of(frames, end) == talk.sent(way) for end, way in _ways(talk)):
            return replace(talk, frames=frames, frames_origin=CAPTURED)
        why = "the capture has lost frames: too much went over lo meanwhile"
    rebuilt = rebuild_frames(talk.segments, talk.client, talk.server)
    return replace(talk, frames=rebuilt, frames_origin=REBUILT, frames_why=why)


def _ways(talk: Conversation) -> tuple[tuple[Address, Direction], ...]:
    return (talk.client, TO_SERVER), (talk.server, TO_CLIENT)


# -------------------------------------------------------------------------------------------------------- HTTP and TLS
def _ask(stream: socket.socket, method: str, path: str, headers: Mapping[str, str], body: bytes) -> None:
    request = http.client.HTTPConnection("unused")
    request.sock = stream
    request.putrequest(method, path, skip_host=True, skip_accept_encoding=True)
    size = {"Content-Length": str(len(body))} if body else {}
    for name, value in {**headers, **size, "Connection": "close"}.items():
        request.putheader(name, value)
    request.endheaders(body or None)
    with closing(http.client.HTTPResponse(stream, method=method)) as response:
        response.begin()
        response.read()
    stream.recv(1)  # nothing comes but the end: the server ends first, so that the order of the last bytes is settled


def _answer(stream: socket.socket, respond: Callable[[Request], Response]) -> None:
    with stream.makefile("rb") as reader:
        method, path, _ = reader.readline(CHUNK).decode("latin-1").split()
        headers = http.client.parse_headers(reader)
        body = reader.read(int(headers.get("Content-Length", 0)))
    response = respond(Request(method, path, tuple(headers.items()), body))
    if (response.body and response.status in NO_BODY) or response.status < 200:
        raise ValueError(f"status is {response.status}: a final one is needed, with a body only if it may have one")
    head = {**response.headers, "Content-Length": str(len(response.body)), "Connection": "close"}
    lines = [
        f"HTTP/1.1 {response.status} {HTTPStatus(response.status).phrase}",
        *(f"{k}: {v}" for k, v in head.items()),
    ]
    stream.sendall("\r\n".join([*lines, "", ""]).encode("latin-1") + (b"" if method == "HEAD" else response.body))


def _tls_contexts(host: str, alpn: tuple[str, ...]) -> tuple[ssl.SSLContext, ssl.SSLContext]:
    """Client's and server's, around a certificate authority that is forgotten afterwards."""
    import trustme

    authority = trustme.CA()
    client, server = ssl.create_default_context(), ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.configure_trust(client)
    authority.issue_cert(host).configure_cert(server)
    server.num_tickets = 0  # tickets would pass at a moment of their own choice, and this client never comes again
    for context in (client, server):
        context.set_alpn_protocols(list(alpn))
    return client, server


@contextmanager
def _secured(connection: socket.socket, context: ssl.SSLContext | None, **options: Any) -> Iterator[socket.socket]:
    """The connection itself, or TLS on it, ended with a close_notify (RFC 8446 section 6.1)."""
    if context is None:
        yield connection
        return
    with context.wrap_socket(connection, **options) as stream:
        yield stream
        stream.unwrap()
