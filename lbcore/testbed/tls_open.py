"""Opening the records of a TLS 1.3 session whose secrets one has: what a terminating balancer does, by hand.

Rule of this file: it reads recorded bytes with secrets that an end of the session wrote down. It guesses nothing and
breaks nothing; without the key log there is nothing to be had here.

Theory. Each direction has a secret for the handshake and another for application data (RFC 8446 section 7.1). A secret
gives a key and a nonce base (section 7.3); the nonce of record n is the base XOR n, counted anew for each key
(section 5.3). A record's true type hides behind its text, before the padding of zeros; on the wire all look like
application data (section 5.2), the client's Finished too. Key log: the format that Wireshark reads (RFC 9850).

Trap. No key update, no early data, no client certificate: a session that uses them is refused, not misread.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM, ChaCha20Poly1305
from cryptography.hazmat.primitives.kdf.hkdf import HKDFExpand

APPLICATION_DATA, HANDSHAKE, FINISHED = 23, 22, 20
RECORD_HEADER = 5
SUITES: dict[int, tuple[Any, int, hashes.HashAlgorithm]] = {  # RFC 8446 appendix B.4: cipher, key bytes, hash
    0x1301: (AESGCM, 16, hashes.SHA256()),
    0x1302: (AESGCM, 32, hashes.SHA384()),
    0x1303: (ChaCha20Poly1305, 32, hashes.SHA256()),
}


class Opened(NamedTuple):
    """A record that was encrypted: where it lies in its direction's bytes, its true type, its text."""

    start: int
    end: int
    kind: int
    text: bytes


class Keys:
    """The key of one direction and phase; `open` takes records in order."""

    def __init__(self, suite: int, secret: bytes) -> None:
        if suite not in SUITES:
            raise ValueError(f"suite is 0x{suite:04x}, wanted one of TLS 1.3's: {', '.join(map(hex, SUITES))}")
        self.cipher, size, self.hash = SUITES[suite]
        self.aead = self.cipher(self.expand(secret, b"key", size))
        self.base = int.from_bytes(self.expand(secret, b"iv", 12), "big")
        self.count = 0

    def expand(self, secret: bytes, label: bytes, size: int) -> bytes:
        """HKDF-Expand-Label with an empty context (RFC 8446 section 7.1)."""
        full = b"tls13 " + label
        info = size.to_bytes(2, "big") + bytes([len(full)]) + full + b"\0"
        return HKDFExpand(self.hash, size, info).derive(secret)

    def open(self, record: bytes) -> tuple[int, bytes]:
        """(true type, text) of the next record, header included. ValueError when it is not whole or not this key's."""
        nonce = (self.base ^ self.count).to_bytes(12, "big")
        try:
            inner = self.aead.decrypt(nonce, record[RECORD_HEADER:], record[:RECORD_HEADER])
        except InvalidTag:
            raise ValueError(f"record {self.count} does not open: another key's, or changed on the way") from None
        self.count += 1
        inner = inner.rstrip(b"\0")
        return inner[-1], inner[:-1]


@contextmanager
def key_log() -> Iterator[dict[str, bytes]]:
    """While this lasts, new default TLS contexts write their secrets down (SSLKEYLOGFILE); at the end the dictionary
    holds them by label, such as "CLIENT_TRAFFIC_SECRET_0". One session at a time."""
    found: dict[str, bytes] = {}
    before = os.environ.get("SSLKEYLOGFILE")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "keys"
        os.environ["SSLKEYLOGFILE"] = str(path)
        try:
            yield found
        finally:
            if before is None:
                del os.environ["SSLKEYLOGFILE"]
            else:
                os.environ["SSLKEYLOGFILE"] = before
        for line in path.read_text().splitlines() if path.exists() else ():
            if not line.startswith("#"):
                label, _, secret = line.split(" ")
                found[label] = bytes.fromhex(secret)


def records(data: bytes) -> Iterator[tuple[int, int, int]]:
    """(type, start, end) of each whole record in one direction's bytes, header included (RFC 8446 section 5.1)."""
    start = 0
    while start + RECORD_HEADER <= len(data):
        end = start + RECORD_HEADER + int.from_bytes(data[start + 3 : start + 5], "big")
        if end > len(data):
            return
        yield data[start], start, end
        start = end


def suite_of(from_server: bytes) -> int:
    """The cipher suite that a ServerHello at the start of the server's bytes has chosen (RFC 8446 section 4.1.3)."""
    at = RECORD_HEADER + 4 + 2 + 32
    if len(from_server) < at + 1 or from_server[0] != HANDSHAKE or from_server[RECORD_HEADER] != 2:
        raise ValueError(
            f"the server's bytes begin {from_server[:6].hex(' ')}, wanted a ServerHello: 16 .. .. .. .. 02"
        )
    at += 1 + from_server[at]
    return int.from_bytes(from_server[at : at + 2], "big")


def open_client(from_client: bytes, from_server: bytes, secrets: dict[str, bytes]) -> list[Opened]:
    """The encrypted records that the client sent, opened: its Finished, its requests, its alerts.

    ValueError when the secrets are not this session's.
    """
    suite = suite_of(from_server)
    keys = Keys(suite, secrets["CLIENT_HANDSHAKE_TRAFFIC_SECRET"])
    found = []
    for kind, start, end in records(from_client):
        if kind != APPLICATION_DATA:
            continue  # the hello, and a change_cipher_spec that means nothing (RFC 8446 appendix D.4)
        true_kind, text = keys.open(from_client[start:end])
        found.append(Opened(start, end, true_kind, text))
        if true_kind == HANDSHAKE and text[0] == FINISHED:
            keys = Keys(suite, secrets["CLIENT_TRAFFIC_SECRET_0"])
    return found
