"""A ClientHello written by hand: of a kind that no TLS library at hand would send, and the same at every run.

Rule of this file: it writes bytes; `tls_hello` reads them. Nobody has the keys to it: a server answers such a hello,
and that is as far as the conversation gets.

Theory. The fields are those of RFC 8446 section 4.1.2, the values those that a browser sends. What a balancer meets
in the wild and a library may not give: a post-quantum key share (X25519MLKEM768, 1216 bytes), extensions in random
order (as Chrome's are, but for the pre-shared key, which is last), Encrypted Client Hello (RFC 9849 section 5).

Trap. The ECH payload is random: GREASE, as section 6.2 has it. A real one would look the same, that is the point of it.
"""

from __future__ import annotations

import random
from collections.abc import Sequence

from lbcore.wire.tls_hello import ALPN, CLIENT_HELLO, ECH, SERVER_NAME, X25519MLKEM768
from lbcore.wire.tls_record import HANDSHAKE, RECORD_LIMIT

X25519, P256, P384 = 29, 23, 24
KEY_SIZES = {X25519MLKEM768: 1216, X25519: 32}
SUITES = (
    0x1301,
    0x1302,
    0x1303,
    0xC02B,
    0xC02F,
    0xC02C,
    0xC030,
    0xCCA9,
    0xCCA8,
    0xC013,
    0xC014,
    0x9C,
    0x9D,
    0x2F,
    0x35,
)
SIGNATURES = (0x0403, 0x0804, 0x0401, 0x0503, 0x0805, 0x0501, 0x0806, 0x0601)
ECH_PAYLOAD = 144  # bytes; an inner hello padded to a multiple of 32 and its authentication tag


def client_hello(
    name: str | None = "shop.example",
    *,
    alpn: Sequence[str] = ("h2", "http/1.1"),
    post_quantum: bool = False,
    ech: bool = False,
    shuffled: bool = False,
    session_id: bool = True,
    seed: int = 0,
) -> bytes:
    """The handshake message of a TLS 1.3 client, without records. seed: of all that is random in it.

    name: what goes into server_name, as it is; None leaves the extension out, as () does for alpn.
    """
    rng = random.Random(seed)
    groups = [X25519MLKEM768] * post_quantum + [X25519]
    shares = b"".join(_words(group) + _sized(2, rng.randbytes(KEY_SIZES[group])) for group in groups)
    extensions = [
        (23, b""),  # extended master secret, RFC 7627
        (0xFF01, b"\0"),  # renegotiation, RFC 5746
        (10, _sized(2, _words(*groups, P256, P384))),
        (11, b"\1\0"),  # uncompressed points, RFC 8422
        (35, b""),  # asks for a ticket
        (5, b"\1\0\0\0\0"),  # OCSP, RFC 6066
        (13, _sized(2, _words(*SIGNATURES))),
        (18, b""),  # certificate timestamps, RFC 6962
        (51, _sized(2, shares)),
        (45, b"\1\1"),  # resumption with a key exchange
        (43, _sized(1, _words(0x0304, 0x0303))),
    ]
    if alpn:
        extensions.insert(7, (ALPN, _sized(2, b"".join(_sized(1, one.encode()) for one in alpn))))
    if name is not None:
        extensions.insert(0, (SERVER_NAME, _sized(2, b"\0" + _sized(2, name.encode()))))
    if ech:
        body = bytes([0, 0, 1, 0, 1, rng.randrange(256)]) + _sized(2, rng.randbytes(32))
        extensions.append((ECH, body + _sized(2, rng.randbytes(ECH_PAYLOAD))))
    fixed = (
        b"\3\3" + rng.randbytes(32) + _sized(1, rng.randbytes(32 * session_id)) + _sized(2, _words(*SUITES)) + b"\1\0"
    )
    if shuffled:
        rng.shuffle(extensions)
    return handshake(fixed + _sized(2, b"".join(_words(kind) + _sized(2, body) for kind, body in extensions)))


def handshake(body: bytes, kind: int = CLIENT_HELLO) -> bytes:
    """A handshake message (RFC 8446 section 4) around a body."""
    return bytes([kind]) + _sized(3, body)


def records(message: bytes, size: int = RECORD_LIMIT) -> bytes:
    """A handshake message in records of at most `size` bytes of it each (RFC 8446 section 5.1)."""
    pieces = (message[at : at + size] for at in range(0, len(message), size))
    return b"".join(bytes([HANDSHAKE, 3, 1]) + _sized(2, piece) for piece in pieces)


def _sized(width: int, body: bytes) -> bytes:
    """A vector: its length in `width` bytes, then itself."""
    return len(body).to_bytes(width, "big") + body


def _words(*values: int) -> bytes:
    return b"".join(value.to_bytes(2, "big") for value in values)
