"""The opening handshake of WebSocket (RFC 6455 section 4), in its two forms.

Rule of this file: fields of heads; what flows afterwards is nobody's business here but the two ends'.

Theory. Over HTTP/1.1 a client asks with `Upgrade: websocket` and a random key; a server that answers 101 proves with a
hash of it that it knows what it agreed to, and is no cache that repeats an old answer. Over HTTP/2 (RFC 8441) a client
asks with CONNECT and `:protocol`, the answer is 200, and there is no key: framing already tells who speaks what.

Inside the proxy a request for a WebSocket has the form of HTTP/1.1, with a key. Where HTTP/2 begins, on either side,
the key is added or taken away, and whoever added it checks the proof.
"""

from __future__ import annotations

import re
from base64 import b64decode, b64encode
from hashlib import sha1
from secrets import token_bytes
from typing import Final

from lbcore.l7.errors import Malformed
from lbcore.l7.message import Headers

PROTOCOL: Final = b"websocket"
KEY, ACCEPT, VERSION = b"sec-websocket-key", b"sec-websocket-accept", b"sec-websocket-version"
GUID: Final = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"  # RFC 6455 section 1.3
KEYS: Final = re.compile(rb"[A-Za-z0-9+/]{22}==")


def proof(key: bytes) -> bytes:
    """What a server answers to a key (section 4.2.2, 5.4)."""
    return b64encode(sha1(key + GUID).digest())


def new_key() -> bytes:
    """A client's key: 16 random bytes in Base64 (section 4.1, 7)."""
    return b64encode(token_bytes(16))


def check_request(method: bytes, headers: Headers) -> None:
    """Is this, over HTTP/1.1, a request for a WebSocket (section 4.2.1)? Malformed, 426 for another version."""
    if method != b"GET":
        raise Malformed(f"a WebSocket is asked for by GET, not {method!r}")
    if headers.all(VERSION) != [b"13"]:
        raise Malformed(f"{VERSION.decode()} is {headers.all(VERSION)}: 13 (RFC 6455)", 426)
    keys = headers.all(KEY)
    if len(keys) != 1 or not KEYS.fullmatch(keys[0]) or len(b64decode(keys[0])) != 16:
        raise Malformed(f"{KEY.decode()} is {keys}: one, 16 bytes in Base64")


def check_response(key: bytes, headers: Headers) -> None:
    """Does a 101 prove that it answers this key (section 4.1)? Malformed if not."""
    found = headers.all(ACCEPT)
    if found != [proof(key)]:
        raise Malformed(f"{ACCEPT.decode()} is {found}: {proof(key)!r} answers this key")
