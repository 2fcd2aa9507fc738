"""What a PROXY protocol v2 header says besides addresses: type, length, value, one after the other.

Rule of this file: it knows the values; where they lie in a header is `proxy_protocol`.

Theory (proxy-protocol.txt section 2.2). One byte of type, two of length, the value. The list must fill its room to the
byte: a length that points outside is a fault, and so is a tail too short to be an entry. The value of SSL is five bytes
and then such a list again, whose types are another space of numbers.

Traps
- A receiver skips types it does not know, and must not skip a registered one that is wrong: who forwards it makes it
  somebody else's fault.
- CRC32C covers the whole header with its own four bytes at zero. Twice in one header it would be neither.
- "verify" is 0 when the client's certificate was verified, and also when none was asked for: look at `client` first.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import NamedTuple

from lbcore.wire.errors import Malformed

ALPN, AUTHORITY, CRC32C, NOOP, UNIQUE_ID, SSL, NETNS = 0x01, 0x02, 0x03, 0x04, 0x05, 0x20, 0x30
SSL_VERSION, SSL_CN, SSL_CIPHER, SSL_SIG_ALG, SSL_KEY_ALG = 0x21, 0x22, 0x23, 0x24, 0x25
SSL_GROUP, SSL_SIG_SCHEME, SSL_CLIENT_CERT = 0x26, 0x27, 0x28
CLIENT_SSL, CLIENT_CERT_CONN, CLIENT_CERT_SESS = 1, 2, 4  # bits of Ssl.client
HEADER = 3
UNIQUE_ID_LIMIT = 128

NAMES = {
    ALPN: "ALPN", AUTHORITY: "AUTHORITY", CRC32C: "CRC32C", NOOP: "NOOP", UNIQUE_ID: "UNIQUE_ID", SSL: "SSL",
    SSL_VERSION: "SSL_VERSION", SSL_CN: "SSL_CN", SSL_CIPHER: "SSL_CIPHER", SSL_SIG_ALG: "SSL_SIG_ALG",
    SSL_KEY_ALG: "SSL_KEY_ALG", SSL_GROUP: "SSL_GROUP", SSL_SIG_SCHEME: "SSL_SIG_SCHEME",
    SSL_CLIENT_CERT: "SSL_CLIENT_CERT", NETNS: "NETNS",
}  # fmt: skip


class Tlv(NamedTuple):
    """One entry. kind: 0 to 255 (see NAMES; 0xE0 to 0xEF are for applications). value: up to 65535 bytes."""

    kind: int
    value: bytes


class Ssl(NamedTuple):
    """The value of SSL. client: CLIENT_ bits. verify: 32 bits, 0 for verified. tlvs: SSL_ entries, as they came."""

    client: int
    verify: int
    tlvs: tuple[Tlv, ...] = ()

    def text(self, kind: int) -> str | None:
        """The first entry of a kind as text; None if there is none."""
        return next((tlv.value.decode() for tlv in self.tlvs if tlv.kind == kind), None)

    def encode(self) -> Tlv:
        """As an entry of a header. ValueError as for `encode`."""
        if not (0 <= self.client <= 0xFF and 0 <= self.verify <= 0xFFFFFFFF):
            raise ValueError(f"SSL client {self.client}, verify {self.verify}: 8 and 32 bits wide")
        return Tlv(SSL, bytes([self.client]) + self.verify.to_bytes(4, "big") + encode(self.tlvs))


def decode(data: bytes, at: int = 0) -> tuple[Tlv, ...]:
    """The entries that fill data[at:]; registered kinds are checked. Malformed if they do not fill it or are wrong."""
    found = []
    while at < len(data):
        room = len(data) - at - HEADER
        size = int.from_bytes(data[at + 1 : at + HEADER], "big")
        if room < size:
            shown = size if room >= 0 else f"cut after {len(data) - at} bytes"
            raise Malformed(
                "TLV length", shown, f"at most {max(room, 0)}: TLVs fill what they are in (section 2.2)", at
            )
        tlv = Tlv(data[at], data[at + HEADER : at + HEADER + size])
        wrong = CHECKS.get(tlv.kind, fine)(tlv.value)
        if wrong:
            raise Malformed(f"TLV {NAMES[tlv.kind]}", shorten(tlv.value), wrong, at + HEADER)
        found.append(tlv)
        at += HEADER + size
    return tuple(found)


def encode(tlvs: Iterable[Tlv]) -> bytes:
    """The bytes of a list. ValueError names the entry that cannot be."""
    out = bytearray()
    for kind, value in tlvs:
        wrong = CHECKS.get(kind, fine)(value)
        if not 0 <= kind <= 0xFF:
            wrong = f"its kind is {kind}, and must be 0 to 255"
        if len(value) > 0xFFFF:
            wrong = f"its value takes {len(value)} bytes, and may take 65535"
        if wrong:
            raise ValueError(f"TLV {NAMES.get(kind, kind)} is {shorten(value)}: {wrong}")
        out += bytes([kind]) + len(value).to_bytes(2, "big") + value
    return bytes(out)


def decode_ssl(value: bytes) -> Ssl:
    """The value of an SSL entry. Malformed if it is shorter than five bytes or its list is wrong."""
    if len(value) < 5:
        raise Malformed("SSL", shorten(value), "at least 5 bytes, client and verify (section 2.2.6)")
    return Ssl(value[0], int.from_bytes(value[1:5], "big"), decode(value, 5))


# ---------------------------------------------------------------------------------- what is wrong with a value, or ""
def fine(value: bytes) -> str:
    return ""


def text(encoding: str) -> Callable[[bytes], str]:
    def check(value: bytes) -> str:
        try:
            value.decode(encoding)
        except UnicodeDecodeError as error:
            return f"must be {encoding.upper()} text, and byte {error.start} is not"
        return ""

    return check


def crc(value: bytes) -> str:
    return "" if len(value) == 4 else "must be 4 bytes (section 2.2.3)"


def unique_id(value: bytes) -> str:
    return "" if len(value) <= UNIQUE_ID_LIMIT else f"must be at most {UNIQUE_ID_LIMIT} bytes (section 2.2.5)"


def ssl(value: bytes) -> str:
    try:
        decode_ssl(value)
    except Malformed as error:
        return f"wrong within: {error}"
    return ""


def shorten(value: bytes) -> str:
    """Bytes for an error message: the first 16, in hexadecimal."""
    return f"0x{value[:16].hex()}{'..' if len(value) > 16 else ''} ({len(value)} bytes)"


ASCII, UTF8 = text("ascii"), text("utf-8")
CHECKS: dict[int, Callable[[bytes], str]] = {
    AUTHORITY: UTF8,
    CRC32C: crc,
    UNIQUE_ID: unique_id,
    SSL: ssl,
    NETNS: ASCII,
    SSL_VERSION: ASCII,
    SSL_CN: UTF8,
    SSL_CIPHER: ASCII,
    SSL_SIG_ALG: ASCII,
    SSL_KEY_ALG: ASCII,
    SSL_GROUP: ASCII,
    SSL_SIG_SCHEME: ASCII,
}
