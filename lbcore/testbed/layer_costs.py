"""The steps of one balancing decision as callables to be timed, each on the bytes of recorded conversations.

Rule of this file: it prepares work and does it; timing is `lbcore.measure`'s.

Theory. Layer 4's steps are compiled and run over a batch of packets that differ in their ports, as a driver hands them
over; layer 7's run over one request at a time, as they come. A step's result is used (folded into a number that is
returned), or the compiler would leave the step out. What belongs to the operating system is not here: neither the
network card's queue nor a proxy's system calls.

Trap. Some steps are compiled and some are Python, and that difference alone is a factor of ten and more. Names say it.
"""

from __future__ import annotations

import ssl
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import httptools
import numpy as np
import trustme
from numpy.typing import NDArray

from lbcore.balance.maglev import Maglev, look_up_many
from lbcore.jit import kernel
from lbcore.testbed import flow, inspector, smallest
from lbcore.testbed.inspector import Tape
from lbcore.testbed.routes import Seen, Site
from lbcore.testbed.tls_open import Keys
from lbcore.wire import tls_hello
from lbcore.wire.seam import view
from lbcore.wire.seam_numba import memory_context, new_cell, place

BATCH = 256  # packets handed over at a time
TABLE = 65537
HEAD_PYTHON = f"{inspector.HEAD} (in Python)"
COMPILED = frozenset(
    {inspector.HEADERS, inspector.HASH, inspector.TABLE, inspector.HEAD, inspector.DECRYPT, inspector.HANDSHAKE_WORK}
)


@dataclass(frozen=True)
class Step:
    """`work()` does the step `operations` times; `compiled` says whether it is machine code or Python."""

    work: Callable[[], Any]
    operations: int
    compiled: bool


@kernel
def read_headers(buffer, sizes, stride):  # type: ignore[no-untyped-def]
    """Fold of the ports of frames at multiples of `stride` in `buffer` (uint8), whose lengths are `sizes`."""
    cell = new_cell()
    fold = 0
    for i in range(sizes.size):
        place(cell, buffer, i * stride, i * stride + sizes[i])
        found = flow.parse(view(memory_context(cell)))
        fold ^= found.source_port ^ found.destination ^ found.verdict
    return fold


@kernel
def hash_flows(flows):  # type: ignore[no-untyped-def]
    """uint64[n] hashes of flows, int64[n, 6]: the fields of `flow.Flow`."""
    hashes = np.empty(flows.shape[0], np.uint64)
    for i in range(flows.shape[0]):
        f = flows[i]
        hashes[i] = flow.hash64(flow.Flow(f[0], f[1], f[2], f[3], f[4], f[5]))
    return hashes


def batch(frame: bytes) -> tuple[NDArray[np.uint8], NDArray[np.int64], int]:
    """(buffer, sizes, stride): `BATCH` copies of an IPv4 and TCP frame, each from another client port."""
    stride = -(-len(frame) // 64) * 64
    buffer = np.zeros((BATCH, stride), np.uint8)
    buffer[:, : len(frame)] = np.frombuffer(frame, np.uint8)
    port = 14 + 4 * (frame[14] & 15)
    buffer[:, port], buffer[:, port + 1] = 0xC0 | np.arange(BATCH) >> 8, np.arange(BATCH) & 255
    return buffer.reshape(-1), np.full(BATCH, len(frame), np.int64), stride


def steps(plain: Tape, tls: Tape, suite: int, site: Site, host: str) -> dict[str, Step]:
    """The steps by name. `plain` and `tls` are the same request without and with TLS; `suite` is the cipher to use."""
    buffer, sizes, stride = batch(plain.frames[plain.moments()["request"]])
    frames = [bytes(buffer[i * stride : i * stride + sizes[i]]) for i in range(BATCH)]
    flows = np.array([flow.parse(view(frame)) for frame in frames], np.int64)
    hashes = hash_flows(flows)
    table = Maglev([name for pool in site.pools.values() for name in pool], size=TABLE).table
    head = plain.client
    request = smallest.parse_request(head)
    known = Seen(host, request.path, request.headers)
    hello = tls.client[: tls_hello.parse(tls.client).size]
    work: dict[str, tuple[Callable[[], Any], int]] = {
        inspector.HEADERS: (lambda: read_headers(buffer, sizes, stride), BATCH),
        inspector.HASH: (lambda: hash_flows(flows), BATCH),
        inspector.TABLE: (lambda: look_up_many(table, hashes), BATCH),
        inspector.HELLO: (lambda: tls_hello.parse(hello), 1),
        inspector.HEAD: (lambda: httptools_head(head), 1),
        HEAD_PYTHON: (lambda: smallest.parse_request(head), 1),
        inspector.RULES: (lambda: site.possible(known), 1),
        inspector.DECRYPT: (decryption(head, suite), 1),
        inspector.HANDSHAKE_WORK: (handshake(hello, host), 1),
    }
    return {name: Step(*pair, name in COMPILED) for name, pair in work.items()}


class Head:
    """What httptools calls while it reads a head: the fields are kept, as a balancer would."""

    def __init__(self) -> None:
        self.url = b""
        self.headers: dict[bytes, bytes] = {}

    def on_url(self, url: bytes) -> None:
        self.url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        self.headers[name] = value


def httptools_head(head: bytes) -> Head:
    """A head read by a compiled parser."""
    found = Head()
    httptools.HttpRequestParser(found).feed_data(head)
    return found


def decryption(text: bytes, suite: int) -> Callable[[], Any]:
    """One TLS 1.3 record that holds `text` (RFC 8446 section 5.2), opened again and again under a key of our own."""
    keys = Keys(suite, bytes(48 if suite == 0x1302 else 32))
    header = bytes([23, 3, 3]) + (len(text) + 1 + 16).to_bytes(2, "big")
    nonce = keys.base.to_bytes(12, "big")
    record = keys.aead.encrypt(nonce, text + bytes([23]), header)
    return lambda: keys.aead.decrypt(nonce, record, header)


def handshake(hello: bytes, host: str) -> Callable[[], Any]:
    """A server's answer to a recorded ClientHello: key exchange, certificate, signature; all but the last check."""
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    trustme.CA().issue_cert(host).configure_cert(server)

    def answer() -> bytes:
        incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        incoming.write(hello)
        session = server.wrap_bio(incoming, outgoing, server_side=True)
        try:
            session.do_handshake()
        except ssl.SSLWantReadError:  # it has answered, and waits for the client's Finished
            return outgoing.read()
        raise AssertionError("a handshake cannot end with the client's hello")

    return answer
