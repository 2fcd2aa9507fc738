"""What a check sends, and what answer is a good one.

Rule of this file: bytes in, bytes out; no sockets, no time. A probe lives for one check.

    probe = HttpProbe(options, "10.0.0.1:80")
    send(probe.opening())
    while probe.verdict is None:
        send(probe.feed(received))          # or probe.closed() at the end

`verdict` is None until there is one; then empty for a good answer, or why it is none.

gRPC: the health checking protocol, version 1 (grpc.health.v1.Health/Check). Its two messages have one field each, so
their protocol buffers are written and read here by hand.

Trap. The other end may be broken or somebody else altogether: nothing that it sends may do more than fail the check.
"""

from __future__ import annotations

from typing import Literal, Protocol, TypeAlias

import httptools
from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.events import DataReceived, ResponseReceived, StreamEnded, StreamReset, TrailersReceived
from h2.exceptions import ProtocolError
from msgspec import field

from lbcore.l7.pools.checks import Checked, at_least, is_token, want

LONGEST = 1 << 20  # bytes of an answer, its head and its framing included, over which it is none
STATUSES = ("UNKNOWN", "SERVING", "NOT_SERVING", "SERVICE_UNKNOWN")  # HealthCheckResponse.ServingStatus


class TcpProbeOptions(Checked, frozen=True, kw_only=True, tag_field="kind", tag="tcp"):
    """A connection that stands is a good answer. It shows that the kernel lives, not that the program does."""


class HttpProbeOptions(Checked, frozen=True, kw_only=True, tag_field="kind", tag="http"):
    """A response with one of these statuses, and `body` somewhere in the first `limit` bytes of its body.

    statuses: numbers, or pairs of first and last. host: of the Host field; empty: the backend's name.
    """

    path: str = "/"
    """What is asked for."""
    host: str = ""
    method: Literal["GET", "HEAD"] = "GET"
    """GET, or HEAD, which has no body."""
    headers: dict[str, str] = field(default_factory=dict)
    """Further fields of the request."""
    statuses: tuple[int | tuple[int, int], ...] = ((200, 399),)
    body: str = ""
    """Text that has to be in the body; empty: none has."""
    limit: int = 65536
    """Bytes of the body that are looked through."""

    def __post_init__(self) -> None:
        right = self.path.startswith("/") and self.path.isascii() and self.path.isprintable() and " " not in self.path
        want(right, "path", self.path, "a path such as /health, in ASCII, without spaces")
        right = self.host.isascii() and self.host.isprintable() and " " not in self.host
        want(right, "host", self.host, "a host such as shop.example, or left out")
        for name, value in self.headers.items():
            want(is_token(name), "headers", name, "the name of a field")
            reserved = name.lower() in ("host", "connection", "content-length", "transfer-encoding")
            want(not reserved, "headers", name, "no field that the check itself writes")
            right = value.isascii() and value.isprintable()
            want(right, f"headers.{name}", value, "printable ASCII, in one line")
        want(bool(self.statuses), "statuses", self.statuses, "one status at least")
        for status in self.statuses:
            first, last = (status, status) if isinstance(status, int) else status
            want(100 <= first <= last <= 599, "statuses", status, "a status from 100 to 599, or [first, last]")
        want(not (self.body and self.method == "HEAD"), "body", self.body, "left out with HEAD, which has none")
        at_least(1, limit=self.limit)


class GrpcProbeOptions(Checked, frozen=True, kw_only=True, tag_field="kind", tag="grpc"):
    """SERVING, said by grpc.health.v1.Health/Check. service: empty asks for the server as a whole."""

    service: str = ""
    authority: str = ""
    """Of the request; empty: the backend's name."""

    def __post_init__(self) -> None:
        right = self.authority.isascii() and self.authority.isprintable() and " " not in self.authority
        want(right, "authority", self.authority, "a host such as shop.example, or left out")


ProbeOptions: TypeAlias = TcpProbeOptions | HttpProbeOptions | GrpcProbeOptions


class Probe(Protocol):
    """One check's side of the conversation."""

    verdict: str | None

    def opening(self) -> bytes:
        """What is sent as soon as the connection stands. A verdict may stand with it."""
        ...

    def feed(self, data: bytes) -> bytes:
        """What is sent for what was received; may be nothing."""
        ...

    def closed(self) -> None:
        """The other end sends no more. There is a verdict now."""
        ...


def probe_of(options: ProbeOptions, name: str, *, tls: bool = False) -> Probe:
    """A probe for one check of the backend called `name` (host:port)."""
    if isinstance(options, HttpProbeOptions):
        return HttpProbe(options, name)
    if isinstance(options, GrpcProbeOptions):
        return GrpcProbe(options, name, tls=tls)
    return TcpProbe()


class TcpProbe:
    """The connection stands: that is all."""

    verdict: str | None = None

    def opening(self) -> bytes:
        """Nothing is sent."""
        self.verdict = ""
        return b""

    def feed(self, data: bytes) -> bytes:
        """What it says does not matter."""
        return b""

    def closed(self) -> None:
        """It did stand."""


class HttpProbe:
    """HTTP/1.1: one request, one connection (RFC 9112). Responses 1xx are passed over."""

    def __init__(self, options: HttpProbeOptions, name: str) -> None:
        self.verdict: str | None = None
        self._options = options
        self._host = options.host or name
        self._parser = httptools.HttpResponseParser(self)
        self._body = bytearray()
        self._read = 0

    def opening(self) -> bytes:
        """The request."""
        lines = [f"{self._options.method} {self._options.path} HTTP/1.1", f"host: {self._host}", "connection: close"]
        lines += [f"{name.lower()}: {value}" for name, value in self._options.headers.items()]
        if not any(line.startswith("user-agent:") for line in lines):
            lines.append("user-agent: lbcore-health")
        return "\r\n".join([*lines, "", ""]).encode("ascii")

    def feed(self, data: bytes) -> bytes:
        """Read on, until it is clear what the answer is."""
        self._read += len(data)
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            self._conclude("it answered with an upgrade")
        except httptools.HttpParserError as error:
            self._conclude(f"not HTTP: {error}")
        if self._read > LONGEST:
            self._conclude(f"more than {LONGEST} bytes and no end")
        return b""

    def closed(self) -> None:
        """What was wanted would have been found by now."""
        if self._body:
            self._judge_body()
        self._conclude("closed before the answer was whole")

    def on_headers_complete(self) -> None:
        """The parser read a head."""
        status = self._parser.get_status_code()
        if 100 <= status < 200:
            return
        if not any(_fits(status, wanted) for wanted in self._options.statuses):
            self._conclude(f"status {status}")
        elif not self._options.body:
            self._conclude("")

    def on_body(self, data: bytes) -> None:
        """The parser read a piece of a body."""
        self._body += data[: self._options.limit - len(self._body)]
        if self._options.body.encode() in self._body:
            self._conclude("")
        elif len(self._body) >= self._options.limit:
            self._judge_body()

    def on_message_complete(self) -> None:
        """The parser read all of a response."""
        if self._parser.get_status_code() >= 200:
            self._judge_body()

    def _judge_body(self) -> None:
        found = self._options.body.encode() in self._body
        self._conclude("" if found else f"no {self._options.body!r} in the body's first {len(self._body)} bytes")

    def _conclude(self, why: str) -> None:
        if self.verdict is None:
            self.verdict = why


def _fits(status: int, wanted: int | tuple[int, int]) -> bool:
    return status == wanted if isinstance(wanted, int) else wanted[0] <= status <= wanted[1]


class GrpcProbe:
    """gRPC over HTTP/2, with prior knowledge (RFC 9113, 3.3) or over TLS."""

    def __init__(self, options: GrpcProbeOptions, name: str, *, tls: bool = False) -> None:
        self.verdict: str | None = None
        self._scheme = "https" if tls else "http"
        self._service = options.service.encode()
        self._authority = options.authority or name
        self._connection = H2Connection(H2Configuration(client_side=True, header_encoding=None))
        self._message = bytearray()
        self._read = 0

    def opening(self) -> bytes:
        """Preface, settings, and the call."""
        self._connection.initiate_connection()
        head = [
            (":method", "POST"),
            (":scheme", self._scheme),
            (":path", "/grpc.health.v1.Health/Check"),
            (":authority", self._authority),
            ("te", "trailers"),
            ("content-type", "application/grpc"),
            ("user-agent", "lbcore-health"),
        ]
        self._connection.send_headers(1, head)
        self._connection.send_data(1, framed(check_request(self._service)), end_stream=True)
        return bytes(self._connection.data_to_send())

    def feed(self, data: bytes) -> bytes:
        """Read on, until the trailers are there."""
        self._read += len(data)
        try:
            for event in self._connection.receive_data(data):
                if isinstance(event, DataReceived):
                    self._message += event.data
                elif isinstance(event, ResponseReceived | TrailersReceived):
                    head = {bytes(name): bytes(value) for name, value in event.headers}
                    self._read_head(head, last=isinstance(event, TrailersReceived))
                elif isinstance(event, StreamReset):
                    self._conclude(f"stream reset, code {event.error_code}")
                elif isinstance(event, StreamEnded):
                    self._conclude("ended without a grpc-status")
        except (ProtocolError, ValueError) as error:
            self._conclude(f"not HTTP/2: {error}")
        if self._read > LONGEST:
            self._conclude(f"more than {LONGEST} bytes and no end")
        return bytes(self._connection.data_to_send())

    def closed(self) -> None:
        """It was cut off, if there is no verdict."""
        self._conclude("closed before the answer was whole")

    def _read_head(self, head: dict[bytes, bytes], last: bool) -> None:
        status, code = head.get(b":status", b""), head.get(b"grpc-status")
        if not last and status != b"200":
            self._conclude(f"status {status.decode('ascii', 'replace')}")
        elif code is not None:
            told = code.decode("ascii", "replace")
            self._conclude(serving(bytes(self._message)) if told == "0" else f"grpc-status {told}")

    def _conclude(self, why: str) -> None:
        if self.verdict is None:
            self.verdict = why


def framed(message: bytes) -> bytes:
    """A gRPC message with its prefix: not compressed, length as uint32, big-endian."""
    return b"\x00" + len(message).to_bytes(4, "big") + message


def varint(number: int) -> bytes:
    """A protocol buffer's whole number: seven bits a byte, low ones first."""
    pieces = bytearray()
    while number > 0x7F:
        pieces.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes([*pieces, number])


def check_request(service: bytes) -> bytes:
    """HealthCheckRequest: string service = 1."""
    return b"\x0a" + varint(len(service)) + service if service else b""


def serving(data: bytes) -> str:
    """Empty if `data` is one framed HealthCheckResponse (ServingStatus status = 1) that says SERVING; else why not."""
    if len(data) < 5 or data[0] != 0 or int.from_bytes(data[1:5], "big") != len(data) - 5:
        return f"not one gRPC message: {data[:16].hex()}"
    message = data[5:]
    if not message:
        return "UNKNOWN"  # a field that is 0 is not sent
    if len(message) != 2 or message[0] != 0x08 or message[1] >= len(STATUSES):
        return f"not a HealthCheckResponse: {message[:16].hex()}"
    return "" if STATUSES[message[1]] == "SERVING" else STATUSES[message[1]]
