"""The TLS ClientHello: all that a balancer without the key may read of an HTTPS request.

Rule of this file: it reads bytes that someone else received. It never answers, decrypts or waits.

Theory. The hello is a handshake message (RFC 8446 section 4.1.2) cut into records of at most 2**14 bytes (section 5.1)
cut into TCP segments, and neither cut minds the fields. So two cursors: one over the input, which takes records apart,
and one over the message they carry, which reads fields and asks the first for more. Whatever says where it lies (the
spans, the faults) is translated back into offsets of the input.

Cost. `Peek.feed` handles each byte a constant number of times, however the bytes arrive. `parse` starts anew: each call
is linear in its input. Who calls again only after `Incomplete.needed` more bytes makes at most one call a record and
two more; who calls at every byte pays the square, and should use a Peek.

Traps
- "The hello is one packet" was never promised, and a post-quantum key share (X25519MLKEM768: 1216 bytes) ends it.
- The server name is what the client says. With Encrypted Client Hello (RFC 9849) it names the client-facing server
  only. Real ECH and GREASE ECH (section 6.2) are made to look the same: `ech` says that the extension is there, and no
  observer without the key can say more. (An *inner* hello has a mark of its own but is seen only behind the server
  that decrypted it.)
- A name is checked for letters, digits, hyphens and lengths (the LDH labels of RFC 5890 section 2.3.1), not for being
  decodable Punycode; an underscore is refused. Routes are looked up by this name: refusing is the safe side.
- Fields that only the server needs (signature algorithms, tickets, binders, shares) are measured, not judged.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from string import ascii_letters, digits
from typing import Any, NamedTuple

from lbcore.wire.errors import Incomplete, Malformed
from lbcore.wire.stream import Wait
from lbcore.wire.tls_record import Records, Span

LIMIT = 65536  # bytes of records that a hello may take, unless the caller says otherwise (large ones are near 2,000)
CLIENT_HELLO = 1  # RFC 8446 section 4
LEAST = 4 + 2 + 32 + 1 + (2 + 2) + (1 + 1)  # the smallest hello: one cipher suite, one compression method, no extension
X25519MLKEM768 = 0x11EC
SERVER_NAME, ALPN, PRE_SHARED_KEY, ECH = 0, 16, 41, 0xFE0D
HYPHEN, DOT = ord("-"), ord(".")
LDH = frozenset((ascii_letters + digits + "-").encode())
NAME_LIMIT, LABEL_LIMIT = 253, 63  # RFC 1035 section 2.3.4, without the length bytes and the root


class KeyShare(NamedTuple):
    """One offered share: the group (RFC 8446 section 4.2.7) and the key's size in bytes."""

    group: int
    size: int


@dataclass(frozen=True)
class ClientHello:
    """What a ClientHello says, in the order in which it says it. GREASE values (RFC 8701) are left in: see `is_grease`.

    server_name: lower-cased, or None when the client named nobody.
    alpn: protocol names, one character a byte (RFC 7301 calls them opaque).
    versions: those offered (0x0304 is TLS 1.3); a hello without the extension offers up to its legacy_version.
    ech: encrypted_client_hello is there, real or GREASE. session_ticket: a ticket is offered, not merely asked for.
    extensions: their types. size: bytes of the records that carry the hello; what follows in the input is not of it.
    spans: byte ranges of the input, ascending and disjoint; a field that lies in several records has several.
    """

    legacy_version: int
    random: bytes
    session_id: bytes
    cipher_suites: tuple[int, ...]
    compression_methods: bytes
    size: int
    spans: tuple[Span, ...]
    versions: tuple[int, ...]
    extensions: tuple[int, ...] = ()
    server_name: str | None = None
    alpn: tuple[str, ...] = ()
    groups: tuple[int, ...] = ()
    key_shares: tuple[KeyShare, ...] = ()
    ech: bool = False
    pre_shared_key: bool = False
    session_ticket: bool = False


def is_grease(value: int) -> bool:
    """Whether a 16-bit value is one of those that mean nothing and must be ignored (RFC 8701 section 2)."""
    return value & 0x0F0F == 0x0A0A and value >> 8 == value & 0xFF


def parse(data: bytes | bytearray | memoryview, *, limit: int = LIMIT) -> ClientHello:
    """The ClientHello at the start of `data`; bytes after its last record are left alone. See Cost above.

    Raises Incomplete (`.needed` more bytes at least) or, as soon as no further byte could help, Malformed.
    """
    return Peek(limit).feed(data)


class Peek:
    """Reads one ClientHello out of bytes as they arrive."""

    def __init__(self, limit: int = LIMIT) -> None:
        self._limit = limit
        self._records = Records(limit, LEAST, limit - 5)
        self._message = self._records.message
        self._fields: list[Span] = []  # in offsets of the message
        self._found: dict[str, Any] = {}
        self._reading = self._hello()
        self._outcome: ClientHello | Malformed | None = None

    def feed(self, data: bytes | bytearray | memoryview) -> ClientHello:
        """The hello, now that `data` has arrived too. Raises like `parse`; an outcome once reached stays."""
        if self._outcome is None:
            self._records.wire.bytes += data
            try:
                next(self._reading)
            except StopIteration as finished:
                self._outcome = finished.value
            except Malformed as fault:
                self._outcome = fault
        if isinstance(self._outcome, Malformed):
            raise self._outcome
        if self._outcome is None:
            raise Incomplete("TLS ClientHello", self._records.missing)
        return self._outcome

    def _hello(self) -> Wait[ClientHello]:
        message, mark = self._message, self._mark
        why = "client_hello, RFC 8446 section 4"
        yield from message.number("handshake type", 1, CLIENT_HELLO, CLIENT_HELLO, why)
        why = f"the fields of a hello take {LEAST - 4} bytes, and our limit is {self._limit} with all headers"
        end = 4 + (yield from message.number("handshake length", 3, LEAST - 4, self._limit - 9, why))
        self._records.expect(end, end)
        mark("handshake header", 0, 4)
        version = yield from message.number("legacy version", 2, 0x0300, 0x03FF, "3.x, RFC 8446 section 4.1.2")
        mark("legacy version", 4, 6)
        random = yield from message.take(32)
        mark("random", 6, 38)
        why = "at most 32, and the rest of the hello must fit: RFC 8446 section 4.1.2"
        size = yield from message.number("session id length", 1, 0, min(32, end - 39 - 6), why)
        session_id = yield from self._bytes("session id", size)
        why = "16-bit values, at least one, and a compression method must follow: RFC 8446 section 4.1.2"
        size = yield from message.number("cipher suites length", 2, 2, end - message.at - 4, why)
        mark("cipher suites", message.at, message.at + size)
        cipher_suites = yield from self._words("cipher suites", size)
        size = yield from self._length("compression methods length", 1, end, 1, 2)
        methods = yield from self._bytes("compression methods", size)
        if 0 not in methods:
            at = message.place(message.at - size)
            raise Malformed("compression methods", methods.hex(), "must have 0, null (RFC 8446 section 4.1.2)", at)
        if message.at < end:
            yield from self._extensions(end)
        spans = list(self._records.headers)
        for field in self._fields:
            spans += self._records.places(*field)
        return ClientHello(
            legacy_version=version,
            random=random,
            session_id=session_id,
            cipher_suites=cipher_suites,
            compression_methods=methods,
            size=self._records.wire.at,
            spans=tuple(sorted(spans, key=lambda span: span.start)),
            **{"versions": (version,), **self._found},
        )

    def _extensions(self, end: int) -> Wait[None]:
        """RFC 8446 section 4.2. A list of (type, length, body) that fills the hello."""
        message = self._message
        yield from self._fill("extensions length", 2, end, 4)
        seen: dict[int, None] = {}
        while message.at < end:
            start = message.at
            kind = yield from message.number("extension type", 2, 0, 0xFFFF, "RFC 8446 section 4.2")
            if kind in seen:
                wanted = "must be there once only (RFC 8446 section 4.2)"
                raise Malformed("extension type", f"0x{kind:04x} again", wanted, message.place(start))
            seen[kind] = None
            extension = EXTENSIONS.get(kind, OTHER)
            size = yield from self._length(f"{extension.name} length", 2, end, extension.least, 4, extension.most)
            body = message.at
            if kind == PRE_SHARED_KEY and body + size < end:
                wanted = "must be the last extension (RFC 8446 section 4.2.11)"
                raise Malformed(extension.name, "followed by others", wanted, message.place(start))
            yield from extension.read(self, body + size)
            if kind != SERVER_NAME and kind in EXTENSIONS:
                self._mark(extension.name, body, body + size)
        self._found["extensions"] = tuple(seen)

    def _server_name(self, end: int) -> Wait[None]:
        """RFC 6066 section 3: a list whose one entry is a host name."""
        yield from self._fill("server name list length", 2, end)
        why = "host_name, RFC 6066 section 3"
        yield from self._message.number("server name type", 1, 0, 0, why)
        size = yield from self._fill("host name length", 2, end)
        start = self._message.at
        name = yield from self._host_name(size)
        self._mark("server name", start, end)
        self._found["server_name"] = name.lower().decode("ascii")

    def _host_name(self, size: int) -> Wait[bytes]:
        """LDH labels (RFC 5890 section 2.3.1), judged character by character; not an address."""
        message = self._message
        start = message.at
        label, before = 0, DOT  # characters of this label so far, and the one before
        for i in range(size):
            char = (yield from message.take(1))[0]
            if char in LDH:
                label += 1
            fault = (
                (char not in LDH and char != DOT and "has letters, digits, hyphens and dots only")
                or (char == DOT == before and "has no empty label")
                or (char == HYPHEN and before == DOT and "has no label that starts with a hyphen")
                or (before == HYPHEN and char == DOT and "has no label that ends with a hyphen")
                or (label > LABEL_LIMIT and f"has labels of at most {LABEL_LIMIT} characters")
                or (i == size - 1 and char == DOT and "is written without a final dot")
                or (i == size - 1 and char == HYPHEN and "has no label that ends with a hyphen")
            )
            if fault:
                shown = ascii(bytes(message.bytes[start : message.at]).decode("latin-1"))
                wanted = f"a host name {fault} (RFC 6066 section 3)"
                raise Malformed("server name", shown, wanted, message.place(start + i))
            label, before = (0 if char == DOT else label), char
        name = bytes(message.bytes[start : message.at])
        if name.rpartition(b".")[2].isdigit():
            wanted = "an address is not a host name (RFC 6066 section 3); clients that dial one send no server name"
            raise Malformed("server name", ascii(name.decode()), wanted, self._message.place(start))
        return name

    def _alpn(self, end: int) -> Wait[None]:
        """RFC 7301 section 3.1."""
        yield from self._fill("ALPN list length", 2, end)
        names = []
        while self._message.at < end:
            size = yield from self._length("ALPN name length", 1, end, 1, 2)
            names.append((yield from self._message.take(size)).decode("latin-1"))
        self._found["alpn"] = tuple(names)

    def _supported_versions(self, end: int) -> Wait[None]:
        """RFC 8446 section 4.2.1."""
        size = yield from self._fill("supported versions list length", 1, end)
        self._found["versions"] = yield from self._words("supported versions list", size)

    def _supported_groups(self, end: int) -> Wait[None]:
        """RFC 8446 section 4.2.7."""
        size = yield from self._fill("supported groups list length", 2, end)
        self._found["groups"] = yield from self._words("supported groups list", size)

    def _key_share(self, end: int) -> Wait[None]:
        """RFC 8446 section 4.2.8. The list may be empty: the client wants to be told a group."""
        yield from self._fill("key share list length", 2, end, 5)
        shares = []
        while self._message.at < end:
            group = yield from self._message.number("key share group", 2, 0, 0xFFFF, "RFC 8446 section 4.2.8")
            size = yield from self._length("key share size", 2, end, 1, 5)
            yield from self._message.take(size)
            shares.append(KeyShare(group, size))
        self._found["key_shares"] = tuple(shares)

    def _encrypted_client_hello(self, end: int) -> Wait[None]:
        """RFC 9849 section 5: outer (0) with suite, config id, encapsulated key, payload; or inner (1) with nothing."""
        message = self._message
        why = "0 outer, 1 inner and empty: RFC 9849 section 5"
        size = end - message.at
        kind = yield from message.number("ECH type", 1, 1 if size < 11 else 0, 1 if size == 1 else 0, why)
        if kind == 0:
            yield from message.take(5)  # HPKE KDF, AEAD, config id: any value, for GREASE makes them up
            why = "the payload must fit behind it: RFC 9849 section 5"
            size = yield from message.number("ECH key length", 2, 0, end - message.at - 2 - 3, why)
            yield from message.take(size)
            yield from self._fill("ECH payload length", 2, end)
            yield from message.take(end - message.at)
        self._found["ech"] = True

    def _pre_shared_key(self, end: int) -> Wait[None]:
        yield from self._message.take(end - self._message.at)
        self._found["pre_shared_key"] = True

    def _session_ticket(self, end: int) -> Wait[None]:
        """RFC 5077 section 3.2: empty asks for a ticket."""
        ticket = yield from self._message.take(end - self._message.at)
        self._found["session_ticket"] = bool(ticket)

    def _skip(self, end: int) -> Wait[None]:
        yield from self._message.take(end - self._message.at)

    # ------------------------------------------------------------------------------------------------------ what recurs
    def _mark(self, name: str, start: int, end: int) -> None:
        """Message bytes start..end, perhaps none, are this field's."""
        self._fields.append(Span(name, start, end))

    def _bytes(self, name: str, size: int) -> Wait[bytes]:
        """A marked field of `size` bytes."""
        self._mark(name, self._message.at, self._message.at + size)
        return (yield from self._message.take(size))

    def _words(self, name: str, size: int) -> Wait[tuple[int, ...]]:
        """`size` bytes as 16-bit values."""
        if size % 2:
            wanted = "must be even, for 16-bit values"
            raise Malformed(f"{name} length", size, wanted, self._message.place(self._message.at))
        raw = yield from self._message.take(size)
        return tuple(int.from_bytes(raw[i : i + 2], "big") for i in range(0, size, 2))

    def _fill(self, field: str, width: int, end: int, entry: int = 0) -> Wait[int]:
        """A length that must reach exactly to `end`: nothing, or at least `entry` bytes."""
        room = end - self._message.at - width
        if 0 < room < entry:
            wanted = f"must be 0 or at least {entry}, an entry's size"
            raise Malformed(field, room, wanted, self._message.place(self._message.at))
        return (yield from self._message.number(field, width, room, room, "it fills what it is in"))

    def _length(self, field: str, width: int, end: int, least: int, another: int, most: int = 0xFFFF) -> Wait[int]:
        """A length that reaches to `end`, or leaves at least `another` bytes for what must come then."""
        start = self._message.at
        room = end - start - width
        why = f"{room} bytes are left and it takes at least {least}"
        size = yield from self._message.number(field, width, least, min(room, most), why)
        if 0 < room - size < another:
            wanted = f"must be {room}, or at most {room - another} so that another entry fits"
            raise Malformed(field, size, wanted, self._message.place(start))
        return size


class Extension(NamedTuple):
    """How an extension's body is read, and the sizes it may have."""

    name: str
    read: Callable[[Peek, int], Wait[None]]
    least: int = 0
    most: int = 0xFFFF


OTHER = Extension("extension", Peek._skip)
EXTENSIONS = {
    SERVER_NAME: Extension("server name", Peek._server_name, 2 + 3 + 1, 2 + 3 + NAME_LIMIT),
    10: Extension("supported groups", Peek._supported_groups, 2 + 2),
    ALPN: Extension("ALPN", Peek._alpn, 2 + 2),
    35: Extension("session ticket", Peek._session_ticket),
    PRE_SHARED_KEY: Extension("pre-shared key", Peek._pre_shared_key, 2 + 7 + 2 + 33),
    43: Extension("supported versions", Peek._supported_versions, 1 + 2, 1 + 254),
    51: Extension("key share", Peek._key_share, 2),
    ECH: Extension("encrypted client hello", Peek._encrypted_client_hello, 1),
}
