"""What must hold for any bytes at all that a relay's client begins with: the PROXY protocol and the ClientHello."""

from __future__ import annotations

from lbcore.l4.relay.opening import Opening
from lbcore.l4.relay.options import Route
from lbcore.l4.relay.router import Router
from lbcore.wire import proxy_protocol as pp
from lbcore.wire import tls_hello as hello
from lbcore.wire.errors import Incomplete, Malformed
from lbcore.wire.proxy_tlv import CRC32C

MORE = b"\0\xff\r\n"
ROUTER = Router([Route("a", ["shop.example", "*.shop.example"], ["h2"]), Route("b", ech=True)], "c")


def outcome(read, data):
    """What a parser says: its result, or the kind of refusal."""
    try:
        return read(data)
    except Incomplete as refusal:
        right, said = refusal.needed >= 1, "incomplete"
    except Malformed as refusal:
        right, said = 0 <= refusal.at <= len(data) and bool(refusal.field), "malformed"
    assert right
    return said


def shortest(read, size_of, data: bytes) -> None:
    """Bytes after a header or a hello change nothing; a refusal stays; a result is the shortest that there is."""
    said = outcome(read, data)
    if said == "incomplete":
        return
    assert outcome(read, data + MORE) == said
    if said != "malformed":
        size = size_of(said)
        assert 0 < size <= len(data)
        assert outcome(read, data[:size]) == said
        assert outcome(read, data[: size - 1]) == "incomplete"


def tls_hello(data: bytes) -> None:
    """The shortest, or a refusal that stays."""
    shortest(lambda data: hello.parse(data), lambda found: found.size, data)


def proxy_protocol(data: bytes) -> None:
    """The same; and what was read can be written, and read again."""
    shortest(lambda data: pp.parse(data), lambda result: result[1], data)
    header = outcome(pp.parse, data)
    if isinstance(header, tuple) and header[0].value(CRC32C) is None:  # a checksum covers bytes that are not kept
        written = pp.encode(header[0])
        assert pp.parse(written) == (header[0], len(written))


def opened(chunks: list[bytes], proxy: bool, peek: bool) -> object:
    """What an opening comes to."""
    opening, rest = Opening(proxy=proxy, hello=peek), b""
    try:
        for chunk in chunks:
            if opening.done:
                rest += chunk
            else:
                opening.feed(chunk)
    except Malformed:
        return "malformed"
    if not opening.done:
        return opening.missing
    return opening.header, opening.hello, bytes(opening.pending) + rest, ROUTER.pool(opening.hello)


def opening(data: bytes) -> None:
    """The first byte says what is awaited, the second where the bytes are cut: it is the same however they are cut."""
    if len(data) < 2:
        return
    proxy, peek, size, data = bool(data[0] & 1), bool(data[0] & 2), data[1] + 1, data[2:]
    whole = opened([data], proxy, peek)
    assert opened([data[at : at + size] for at in range(0, len(data), size)], proxy, peek) == whole
    assert opened([data[: len(data) // 2], data[len(data) // 2 :]], proxy, peek) == whole
    if isinstance(whole, tuple):
        assert data.endswith(whole[2])
        assert not peek or whole[1] == hello.parse(whole[2])
