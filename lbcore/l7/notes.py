"""What filters tell each other about an exchange: keys of `exchange.notes`, and how to read them.

Rule of this file: names and defaults. Whoever writes a note is one filter; whoever reads it works without that filter.

Trap. The address of the peer is the address of whoever opened the connection: of the last proxy, if there is one.
Limits, logs and rules that mean the client ask `client`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from lbcore.l7.filters.filter import Exchange

CLIENT: Final = "client"
"""A `Client`; written by the filter `forwarded`."""
REQUEST_ID: Final = "request_id"
"""bytes, a legal field value; written by the filter `request_id`."""
TRACE_ID: Final = "trace_id"
"""bytes, 32 hexadecimal digits in lower case; written by the filter `traceparent`."""


class Client(NamedTuple):
    """Who asks and how, as far as it is believed."""

    address: str
    """In canonical form; of the peer if no trusted proxy names another."""
    scheme: bytes
    """b"http" or b"https" of the client's own connection."""
    host: bytes
    """Host, and port if it is not the scheme's own, that the client asked for."""
    port: int
    """The port that the client connected to; 0 if not known."""


def client(exchange: Exchange) -> str:
    """Address of the client, as far as it is believed."""
    note: Client | None = exchange.notes.get(CLIENT)
    return note.address if note else exchange.request.peer.address


def scheme(exchange: Exchange) -> bytes:
    """Scheme of the client's own connection, as far as it is believed."""
    note: Client | None = exchange.notes.get(CLIENT)
    return note.scheme if note else exchange.request.scheme
