"""What a balancer may read of each packet of a recorded conversation, and what it can decide with that.

Rule of this file: bytes in, readings out; sockets were elsewhere before (`loopback`), pictures are elsewhere after.

Theory. Three balancers look at the same packets. "L4" reads headers and decides by five numbers when the first packet
comes. "L4 + SNI" waits for the client's first bytes and reads a TLS ClientHello, which is not encrypted: it learns the
host. "L7" waits for a whole HTTP request; on a TLS connection it must be the TLS server for that, and what it then
reads is not in the packet. To wait for a client's bytes is to have answered its SYN: only L4 decides before it answers.

Trap. That a byte is not read has two reasons. Plain HTTP stands open, and L4 leaves it alone: when it decides, no byte
of it has come. Ciphertext is locked for everyone in between.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Literal, NamedTuple, get_args

from lbcore.testbed import flow, smallest, tls_open
from lbcore.testbed.loopback import Conversation
from lbcore.testbed.routes import Choice, Seen, Site
from lbcore.testbed.tls_open import APPLICATION_DATA, HANDSHAKE, Opened
from lbcore.wire import tls_hello
from lbcore.wire.dissect import Field, Layer, dissect, find
from lbcore.wire.errors import Incomplete, Malformed
from lbcore.wire.seam import view

Mode = Literal["L4", "L4 + SNI", "L7"]
MODES: tuple[Mode, ...] = get_args(Mode)
READABLE: Mapping[Mode, frozenset[str]] = {
    "L4": frozenset({"ethernet", "ipv4", "tcp"}),
    "L4 + SNI": frozenset({"ethernet", "ipv4", "tcp", "tls"}),
    "L7": frozenset({"ethernet", "ipv4", "tcp", "tls", "http"}),
}
# What a packet can ask of a balancer; `layer_costs` measures each.
HEADERS, HASH, TABLE = "read the headers", "hash the five numbers", "look up the table"
HELLO, HANDSHAKE_WORK, DECRYPT = "read the ClientHello", "answer the ClientHello", "decrypt the record"
HEAD, RULES = "read the HTTP head", "match the rules"

FIVE = ("ipv4.protocol", "ipv4.source", "ipv4.destination", "tcp.source_port", "tcp.destination_port")


class Mark(NamedTuple):
    """A field of one direction's bytes: byte offsets, and what it says."""

    name: str
    start: int
    end: int
    text: str


class Part(NamedTuple):
    """A stretch of one direction's bytes that belongs to a layer above TCP."""

    layer: str
    start: int
    end: int
    marks: tuple[Mark, ...]


class Piece(NamedTuple):
    """Where a frame's payload lies: in the frame, and in the bytes of its direction."""

    from_client: bool
    offset: int
    start: int
    end: int


@dataclass(frozen=True)
class Tape:
    """A recorded conversation, ready to be inspected. `opened` is what only an end of it knows: the client's encrypted
    records with their text, placed by offsets in the client's bytes."""

    frames: tuple[bytes, ...]
    pieces: tuple[Piece, ...]
    client: bytes
    server: bytes
    opened: tuple[Opened, ...] = ()

    @property
    def tls(self) -> bool:
        """Does the client begin with a TLS handshake record?"""
        return self.client[:1] == bytes([HANDSHAKE])

    def data_frames(self, from_client: bool) -> list[int]:
        """The frames with payload of one direction."""
        return [i for i, p in enumerate(self.pieces) if p.from_client == from_client and p.end > p.start]

    def moments(self) -> dict[str, int]:
        """The frames worth stopping at. Without TLS the request is in the client's first bytes."""
        first = self.data_frames(True)[0]
        ends = [record.end for record in self.opened if record.kind == APPLICATION_DATA]
        request = next((i for i in self.data_frames(True) if ends and self.pieces[i].end >= ends[0]), first)
        response = next((i for i in self.data_frames(False) if i > request), len(self.frames) - 1)
        return {"SYN": 0, "first bytes": first, "request": request, "response": response}

    def client_bytes(self, at: int) -> int:
        """How many of the client's bytes have come when frame `at` has."""
        return max((p.end for p in self.pieces[: at + 1] if p.from_client), default=0)


@dataclass(frozen=True)
class Reading:
    """One frame to one balancer. `readable` and `used` name layers or "layer.field" of `layers`; `used` are those that
    the decision (or finding the connection again) rests on. `opened`: text of the frame's encrypted records, for a
    balancer that is the TLS server. `work` names what the packet cost, beside TCP itself. `choice` is None while there
    is nothing to choose with."""

    frame: bytes
    layers: tuple[Layer, ...]
    readable: frozenset[str]
    used: frozenset[str]
    opened: bytes
    work: tuple[str, ...]
    words: str
    choice: Choice | None


# ------------------------------------------------------------------------------------------------------- the recording
def record(talk: Conversation, secrets: Mapping[str, bytes] | None = None) -> Tape:
    """A conversation with frames (TCP over IPv4); for TLS with the session's secrets, to know what its end knows."""
    if not talk.frames:
        raise ValueError("the conversation has no frames, wanted one that was captured with frames=True")
    client, server = (talk.sent(way) for way in ("client to server", "server to client"))
    opened = tls_open.open_client(client, server, dict(secrets)) if secrets else []
    return Tape(tuple(talk.frames), tuple(_pieces(talk)), client, server, tuple(opened))


def _pieces(talk: Conversation) -> Iterator[Piece]:
    """Frame by frame; the SYN of each direction says where its sequence numbers start (RFC 9293 section 3.4)."""
    first: dict[bool, int] = {}
    for frame in talk.frames:
        layers = dissect(frame)
        tcp = find(layers, "tcp")
        from_client = tcp.field("source_port").value == talk.client[1]
        sequence = tcp.field("sequence").value
        start = (sequence - first.setdefault(from_client, sequence + 1)) % 2**32
        size = sum(layer.length for layer in layers if layer.name == "payload")
        yield Piece(from_client, tcp.offset + tcp.length, start if size else 0, start + size if size else 0)


# -------------------------------------------------------------------------------------------------- what has been seen
def seen(tape: Tape, at: int, mode: Mode) -> Seen | smallest.Refused | None:
    """What a balancer knows once frame `at` has come: None while it waits, Refused where it gives up."""
    if mode == "L4":
        return Seen()
    have = tape.client_bytes(at)
    if mode == "L4 + SNI":
        return _from_hello(tape.client[:have])
    if not tape.tls:
        return _from_request(tape.client[:have])
    texts = (record.text for record in tape.opened if record.end <= have and record.kind == APPLICATION_DATA)
    return _from_request(b"".join(texts))


def _from_hello(data: bytes) -> Seen | None:
    try:
        return Seen(host=tls_hello.parse(data).server_name)
    except Incomplete:
        return None
    except Malformed:
        return Seen()  # not TLS, or not as it should be: no name, and the flow is sent on unnamed


def _from_request(data: bytes) -> Seen | smallest.Refused | None:
    head, end, _ = data.partition(b"\r\n\r\n")
    if not end:
        return None
    try:
        request = smallest.parse_request(head + end)
    except smallest.Refused as refusal:
        return refusal
    return Seen(request.headers["host"], request.path, request.headers)


# --------------------------------------------------------------------------------------------------------- the reading
def inspect(tape: Tape, at: int, mode: Mode, site: Site) -> Reading:
    """Frame `at` (0 is the SYN) as a balancer of this mode reads it, and its decision so far."""
    if not 0 <= at < len(tape.frames):
        raise ValueError(f"at is {at}, wanted a frame of this conversation: 0 to {len(tape.frames) - 1}")
    frame = tape.frames[at]
    layers = (*(layer for layer in dissect(frame) if layer.name != "payload"), *_payload_layers(tape, at))
    states = [seen(tape, i, mode) for i in range(at + 1)]
    decided = next((i for i, state in enumerate(states) if state is not None), None)
    choice = None
    if isinstance(states[-1], Seen):
        choice = site.choose(states[-1], flow.hash64(flow.parse(view(tape.frames[0]))))
    fields = {f"{layer.name}.{field.name}" for layer in layers for field in layer.fields}
    wanted = _decisive(mode, site) & fields if decided == at else set()
    opened = b""
    if mode == "L7":
        mine = tape.pieces[at]
        inside = (r for r in tape.opened if mine.from_client and mine.start < r.end <= mine.end)
        opened = b"".join(r.text for r in inside if r.kind == APPLICATION_DATA)
    return Reading(
        frame,
        layers,
        READABLE[mode],
        frozenset(wanted or fields & set(FIVE)),
        opened,
        _work(tape, at, mode, decided),
        _words(tape, at, mode, states[-1], decided),
        choice,
    )


def _decisive(mode: Mode, site: Site) -> set[str]:
    """The fields that this mode routes by."""
    if mode == "L4":
        return set(FIVE)
    if mode == "L4 + SNI":
        return {"tls.server name"}
    return {"http.request line", "http.host", *(f"http.{rule.header[0]}" for rule in site.rules if rule.header)}


def _work(tape: Tape, at: int, mode: Mode, decided: int | None) -> tuple[str, ...]:
    """What this packet is worked on with. A proxy's TCP is the kernel's work, and not counted here."""
    if mode == "L4":
        return (HEADERS, HASH, TABLE)
    hello = tape.tls and at == tape.moments()["first bytes"]
    if mode == "L4 + SNI":
        return (HELLO, RULES, HASH, TABLE) if hello else (RULES, HASH, TABLE) if decided == at else ()
    if hello:
        return (HELLO, HANDSHAKE_WORK)
    return (*[DECRYPT] * tape.tls, HEAD, RULES, HASH, TABLE) if decided == at else ()


def _words(tape: Tape, at: int, mode: Mode, state: Seen | smallest.Refused | None, decided: int | None) -> str:
    """The state of the decision in a sentence or two."""
    if isinstance(state, smallest.Refused):
        return f"This is not a protocol that it speaks. It answers {state}."
    if state is None or decided is None:
        if tape.client_bytes(at) == 0:
            return (
                "Nothing to decide with yet: a client speaks after its SYN has been answered. "
                "So the balancer answers it, and is from now on one end of this connection."
            )
        if mode == "L7" and tape.tls:
            return (
                "Still waiting, for the path. It is the TLS server: it reads the name, "
                "shows the certificate for it, and agrees on keys."
            )
        return "Still waiting: what has come is not whole."
    if decided < at:
        if mode == "L4":
            return "The same five numbers, the same hash, the same backend. It looks at nothing else."
        if tape.pieces[at].end == 0:
            return f"Decided at packet {decided + 1}. This one has no payload: it stays with the balancer's own TCP."
        return f"Decided at packet {decided + 1}. What this one holds is passed on."
    if mode == "L4":
        return "Decided, with the very first packet, before the client has sent a byte: five numbers, hashed."
    if mode == "L7":
        where = "after decryption, not in the packet" if tape.tls else "in the packet"
        return f"Decided by {state.host}{state.path} and the headers, read {where}."
    if state.host is None:
        return "Not a ClientHello, so there is no name to read: decided by the five numbers, like L4."
    return f"Decided by the name {state.host} in the ClientHello. The path will come encrypted."


# ------------------------------------------------------------------------------------------- layers above TCP, by name
def _payload_layers(tape: Tape, at: int) -> Iterator[Layer]:
    """The parts of the direction's bytes that lie in this frame, as layers of the frame."""
    piece = tape.pieces[at]
    data = tape.client if piece.from_client else tape.server
    shift = piece.offset - piece.start  # from offsets in the direction's bytes to offsets in the frame
    for part in _tls_parts(data) if tape.tls else _http_parts(data):
        start, end = max(part.start, piece.start), min(part.end, piece.end)
        if start >= end:
            continue
        fields = []
        for mark in part.marks:
            low, high = max(mark.start, start), min(mark.end, end)
            if low < high:
                value = int.from_bytes(data[low:high], "big")
                fields.append(Field(mark.name, 8 * (low + shift), 8 * (high - low), value, mark.text))
        yield Layer(part.layer, start + shift, end - start, tuple(fields))


def _http_parts(data: bytes) -> Iterator[Part]:
    """The head of one message, line by line, and what follows it."""
    head, _, body = data.partition(b"\r\n\r\n")
    marks, at = [], 0
    for line in head.split(b"\r\n"):
        name, colon, value = line.decode("latin-1").partition(":")
        if at == 0:
            name, colon, value = (
                ("status line" if line.startswith(b"HTTP/") else "request line"),
                ":",
                name + colon + value,
            )
        marks.append(Mark(name.lower(), at, at + len(line), value.strip()))
        at += len(line) + 2
    if body:
        marks.append(Mark("body", len(data) - len(body), len(data), f"{len(body)} bytes"))
    yield Part("http", 0, len(data), tuple(marks))


def _tls_parts(data: bytes) -> Iterator[Part]:
    """Records: their headers and the first handshake messages stand open, the rest is ciphertext."""
    for kind, start, end in tls_open.records(data):
        body = start + tls_open.RECORD_HEADER
        header = Mark("record header", start, body, f"type {kind}, {end - body} bytes")
        if kind == APPLICATION_DATA:
            yield Part("tls", start, body, (header,))
            yield Part("ciphertext", body, end, ())
        else:
            hello = _hello_marks(data) if start == 0 else ()
            yield Part("tls", start, end, hello or (header,))


def _hello_marks(data: bytes) -> tuple[Mark, ...]:
    """The fields of a ClientHello at the start of `data`; of a ServerHello, none by name."""
    try:
        hello = tls_hello.parse(data)
    except (Incomplete, Malformed):
        return ()
    texts = {"server name": hello.server_name or "", "ALPN": ", ".join(hello.alpn)}
    return tuple(Mark(span.name, span.start, span.end, texts.get(span.name, "")) for span in hello.spans)
