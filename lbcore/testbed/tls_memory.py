"""TLS handshakes without a network: both ends in one thread, the bytes handed over by hand, each end's CPU time told.

Rule of this file: Python's own TLS on both ends, in memory. What is measured is cryptography and its book-keeping; no
system call, no packet, no scheduler.

Theory. An SSLObject reads from one MemoryBIO and writes to another. Whose turn it is, is ours to say, so the time that
each turn takes is the cost of that end alone. A client that wants bytes it does not have would wait on a network for
one round trip: counting these waits counts round trips.

Traps. In TLS 1.3 the ticket comes behind the handshake: a client that reads nothing has none. A session belongs to the
context it was won with, and its ticket opens only under the server context that sealed it.
"""

from __future__ import annotations

import ssl
from collections.abc import Callable
from statistics import median
from time import thread_time_ns
from typing import Any, NamedTuple

import trustme

NAME = "shop.example"
KEYS = {"RSA-2048": trustme.KeyType.RSA, "P-256": trustme.KeyType.ECDSA}
VERSIONS = {"TLS 1.2": ssl.TLSVersion.TLSv1_2, "TLS 1.3": ssl.TLSVersion.TLSv1_3}

RECORD = 16384  # bytes: the most that a record holds


class Identity:
    """A site's certificate for `names` with a key of `kind` (one of KEYS), from an authority with the same kind."""

    def __init__(self, kind: str = "P-256", *names: str) -> None:
        if kind not in KEYS:
            raise ValueError(f"kind is {kind!r}, wanted one of: {', '.join(KEYS)}")
        self.authority = trustme.CA(key_type=KEYS[kind])
        self.certificate = self.authority.issue_cert(*(names or (NAME,)), key_type=KEYS[kind])

    def server(self, version: str = "TLS 1.3") -> ssl.SSLContext:
        """A context that speaks `version` (one of VERSIONS) and no other. It has ticket keys of its own."""
        context = only(ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), version)
        self.certificate.configure_cert(context)
        return context

    def client(self, version: str = "TLS 1.3") -> ssl.SSLContext:
        """A context that believes this site's authority."""
        context = only(ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT), version)
        self.authority.configure_trust(context)
        return context


def only(context: ssl.SSLContext, version: str) -> ssl.SSLContext:
    """The context, limited to one version of TLS."""
    if version not in VERSIONS:
        raise ValueError(f"version is {version!r}, wanted one of: {', '.join(VERSIONS)}")
    context.minimum_version = context.maximum_version = VERSIONS[version]
    return context


class Handshake(NamedTuple):
    """One handshake. server, client: nanoseconds of CPU time. waits: how often the client had to wait for an answer
    before it could send its request: round trips. session: what to come back with."""

    server: int
    client: int
    waits: int
    resumed: bool
    session: Any


def handshake(server_side: ssl.SSLContext, client_side: ssl.SSLContext, session: Any = None) -> Handshake:
    """A whole handshake, and a byte from the server behind it: what a ticket of TLS 1.3 travels with.

    ssl.SSLError where the two do not agree.
    """
    ends = Ends(server_side, client_side, session)
    spent, waits, (done, client_time) = 0, 0, turn(ends.client.do_handshake)
    while not done:
        waits += 1
        spent += turn(ends.server.do_handshake)[1]
        done, more = turn(ends.client.do_handshake)
        client_time += more
    spent += turn(ends.server.do_handshake)[1]
    ends.server.write(b"!")
    client_time += turn(lambda: ends.client.read(1))[1]
    return Handshake(spent, client_time, waits, bool(ends.client.session_reused), ends.client.session)


class Ends:
    """Two ends of a connection that has not begun."""

    def __init__(self, server_side: ssl.SSLContext, client_side: ssl.SSLContext, session: Any = None) -> None:
        to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.client = client_side.wrap_bio(to_client, to_server, server_hostname=NAME, session=session)
        self.server = server_side.wrap_bio(to_server, to_client, server_side=True)


def turn(work: Callable[[], Any]) -> tuple[bool, int]:
    """(whether it is done, nanoseconds of CPU time) of one end's turn; it may want bytes that are not there."""
    start = thread_time_ns()
    try:
        work()
    except ssl.SSLWantReadError:
        return False, thread_time_ns() - start
    return True, thread_time_ns() - start


class Way(NamedTuple):
    """A kind of handshake."""

    key: str
    version: str
    resumed: bool


WAYS = [Way(key, version, resumed) for key in KEYS for version in VERSIONS for resumed in (False, True)]


def measure_handshakes(rounds: int = 40) -> dict[Way, list[Handshake]]:
    """Handshakes of every kind, taken in turns, so that a slow moment slows all."""
    sites = {key: Identity(key) for key in KEYS}
    contexts = {way[:2]: (sites[way.key].server(way.version), sites[way.key].client(way.version)) for way in WAYS}
    found: dict[Way, list[Handshake]] = {way: [] for way in WAYS}
    sessions: dict[tuple[str, str], Any] = {}
    for _ in range(rounds + 1):
        for way in WAYS:
            pair = way[:2]
            one = handshake(*contexts[pair], sessions[pair] if way.resumed else None)
            sessions[pair] = one.session
            found[way].append(one)
    return {way: some[1:] for way, some in found.items()}


def microseconds(found: dict[Way, list[Handshake]]) -> tuple[dict[Way, float], dict[Way, float]]:
    """Medians of (server's, client's) CPU time by kind."""
    server = {way: median(one.server for one in some) / 1000 for way, some in found.items()}
    return server, {way: median(one.client for one in some) / 1000 for way, some in found.items()}


def count_waits(site: Identity) -> dict[tuple[str, bool], int]:
    """Round trips of a handshake before the request may be sent, by (version, resumed)."""
    found = {}
    for version in VERSIONS:
        contexts = site.server(version), site.client(version)
        full = handshake(*contexts)
        found[version, False] = full.waits
        found[version, True] = handshake(*contexts, full.session).waits
    return found


def bulk(size: int, version: str = "TLS 1.3") -> tuple[float, float]:
    """Nanoseconds of CPU time per byte to (encrypt, decrypt) `size` bytes, in records as large as TLS has them."""
    site = Identity()
    ends = Ends(site.server(version), site.client(version))
    while not all([turn(ends.client.do_handshake)[0], turn(ends.server.do_handshake)[0]]):
        pass
    data, buffer = bytes(RECORD), bytearray(RECORD)
    encrypt = decrypt = 0
    for _ in range(size // RECORD):
        encrypt += turn(lambda: ends.server.write(data))[1]
        decrypt += turn(lambda: ends.client.read(RECORD, buffer))[1]
    return encrypt / size, decrypt / size
