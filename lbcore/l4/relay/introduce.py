"""The PROXY header that a backend gets: who the client is, as far as we know.

Rule of this file: facts in, bytes out.

Theory. If an earlier proxy has told us of the client, its word is handed on: a chain of proxies shows the first one's
client to the last one's backend. A LOCAL or UNKNOWN header tells nothing; then it is the connection itself.

Trap. What an earlier proxy said in TLVs is handed on only if that is asked for ("forward"), and its checksum never: it
covered another header.
"""

from __future__ import annotations

from collections.abc import Sequence
from uuid import uuid4

from lbcore.wire import proxy_tlv
from lbcore.wire.proxy_protocol import Endpoint, Header, Inet, encode
from lbcore.wire.proxy_tlv import Tlv
from lbcore.wire.tls_hello import ClientHello

EXTRAS = {
    "crc32c": "a checksum of the header",
    "authority": "the server name of the ClientHello, if one was looked at",
    "unique_id": "16 random bytes; an earlier proxy's, if it sent one",
    "forward": "whatever else an earlier proxy said",
}
MADE_HERE = (proxy_tlv.CRC32C, proxy_tlv.NOOP, proxy_tlv.UNIQUE_ID, proxy_tlv.AUTHORITY)


def ends(header: Header | None, peer: Inet, here: Inet) -> tuple[Endpoint, Endpoint, str]:
    """(source, destination, family) of the client's connection; family is "TCP4", "TCP6", "UNIX_STREAM", ..."""
    if header and header.source is not None and header.destination is not None:
        return header.source, header.destination, header.protocol
    return peer, here, "TCP6" if ":" in peer.address else "TCP4"


def introduction(
    version: int,
    extras: Sequence[str],
    header: Header | None,
    hello: ClientHello | None,
    peer: Inet,
    here: Inet,
    *,
    udp: bool = False,
) -> bytes:
    """The bytes to send before anything else; b"" for version 0."""
    if not version:
        return b""
    source, destination, protocol = ends(header, peer, here)
    if udp:
        protocol = protocol.replace("TCP", "UDP")
    tlvs = []
    if version == 2:
        earlier = header.tlvs if header else ()
        if "forward" in extras:
            tlvs += [tlv for tlv in earlier if tlv.kind not in MADE_HERE]
        name = hello.server_name if hello and "authority" in extras else None
        if not name and header and "forward" in extras:
            name = header.authority
        if name:
            tlvs.append(Tlv(proxy_tlv.AUTHORITY, name.encode()))
        if "unique_id" in extras:
            said = header.unique_id if header else None
            tlvs.append(Tlv(proxy_tlv.UNIQUE_ID, said if said is not None else uuid4().bytes))
        if "crc32c" in extras:
            tlvs.append(Tlv(proxy_tlv.CRC32C, bytes(4)))
    return encode(Header(version, protocol, source, destination, tuple(tlvs)))
