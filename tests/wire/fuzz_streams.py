"""What must hold for any bytes at all that reach the stream parsers: the PROXY protocol and the ClientHello.

`check(data)` raises AssertionError where it does not. test_fuzz_streams.py calls it in every run, with the inputs that
a long hunt has kept and with new ones; the hunt itself is hunt_streams.py.
"""

from __future__ import annotations

from pathlib import Path

from lbcore.l4.relay.opening import Opening
from lbcore.wire import proxy_protocol, tls_hello
from lbcore.wire.errors import Incomplete, Malformed
from lbcore.wire.proxy_tlv import CRC32C

KEPT = Path(__file__).parent / "fuzz_streams.txt"
MORE = b"\0\xff\r\n"


def kept() -> list[bytes]:
    """The inputs that reached something new, a line of hexadecimal digits each."""
    return [bytes.fromhex(line) for line in KEPT.read_text().splitlines() if not line.startswith("#")]


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


def check(data: bytes) -> None:
    """Bytes after a header or a hello change nothing; a refusal stays; a result is the shortest that there is."""
    for read, size_of in (
        (proxy_protocol.parse, lambda result: result[1]),
        (tls_hello.parse, lambda hello: hello.size),
    ):
        said = outcome(read, data)
        if said == "incomplete":
            continue
        assert outcome(read, data + MORE) == said
        if said != "malformed":
            size = size_of(said)
            assert 0 < size <= len(data)
            assert outcome(read, data[:size]) == said
            assert outcome(read, data[: size - 1]) == "incomplete"
    header = outcome(proxy_protocol.parse, data)
    if isinstance(header, tuple) and header[0].value(CRC32C) is None:  # a checksum covers bytes that are not kept
        written = proxy_protocol.encode(header[0])
        assert proxy_protocol.parse(written) == (header[0], len(written))
    for at in {0, len(data) // 2, max(0, len(data) - 1)}:
        chunks, opening = [data[:at], data[at:]], Opening(proxy=True, hello=True)
        try:
            done = [opening.feed(chunk) for chunk in chunks][-1]
        except Malformed:
            continue
        if done:
            assert opening.hello == tls_hello.parse(bytes(opening.pending))
            assert data.endswith(bytes(opening.pending))
