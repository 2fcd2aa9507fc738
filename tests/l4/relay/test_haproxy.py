"""The PROXY protocol against HAProxy: what it sends we read, what we send it reads, and the values are the same."""

from __future__ import annotations

import asyncio
import json
import shutil
import socket
import ssl
import subprocess
from contextlib import asynccontextmanager

import pytest
import trustme

from lbcore.l4.relay import Listener, Options, Pool, Relay, Target
from lbcore.wire import proxy_protocol, proxy_tlv
from lbcore.wire.errors import Incomplete
from lbcore.wire.proxy_protocol import Header, Inet, encode
from lbcore.wire.proxy_tlv import Tlv
from tests import needs
from tests.l4.relay.stage import Backend, play, relay, talk

pytestmark = needs.command("haproxy")

HEAD = """
global
    maxconn 100
    nbthread 1
defaults
    mode tcp
    timeout connect 5s
    timeout client 20s
    timeout server 20s
"""
# What HAProxy believes of a connection, as JSON: the addresses of the header, and TLVs that it understands.
TELLS = """
listen tells
    mode http
    bind fd@{fd} accept-proxy
    http-request return status 200 content-type application/json lf-string '{{\
"source":"%[src]","source_port":%[src_port],"destination":"%[dst]","destination_port":%[dst_port],\
"proxied":%[fc_rcvd_proxy],"authority":"%[fc_pp_authority]","unique_id":"%[fc_pp_unique_id,hex]"}}'
"""
GET = b"GET / HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n"


@asynccontextmanager
async def haproxy(tmp_path, body):
    """A HAProxy with one listener, whose descriptor it is given open; yields where it listens."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        config = tmp_path / "haproxy.cfg"
        config.write_text(HEAD + body.format(fd=listener.fileno()))
        command = [shutil.which("haproxy"), "-db", "-f", str(config)]
        process = subprocess.Popen(
            command, pass_fds=[listener.fileno()], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
        try:
            yield listener.getsockname()
        finally:
            process.kill()
            said = process.communicate()[0]
            assert "[ALERT]" not in said, said


class Reads:
    """A backend that keeps the header that came, and answers HTTP."""

    def __init__(self):
        self.headers = []

    async def __call__(self, reader, writer):
        data = b""
        while True:
            more = await reader.read(1)
            if not more:
                return
            data += more
            try:
                header, _ = proxy_protocol.parse(data)
                break
            except Incomplete:
                continue
        self.headers.append(header)
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 2\r\n\r\nok")


async def connected(address, data, **tls):
    """(what came back, our address)"""
    reader, writer = await asyncio.open_connection(*address, **tls)
    writer.write(data)
    answer = await reader.read()
    me = Inet(*writer.get_extra_info("sockname"))
    writer.close()
    return answer, me


@pytest.mark.parametrize(
    ("options", "version", "kinds"),
    [
        ("send-proxy", 1, []),
        ("send-proxy-v2", 2, []),
        ("send-proxy-v2 proxy-v2-options crc32c", 2, [proxy_tlv.CRC32C]),
        ("send-proxy-v2 proxy-v2-options crc32c,unique-id", 2, [proxy_tlv.CRC32C, proxy_tlv.UNIQUE_ID]),
    ],
)
def test_what_haproxy_sends_of_a_plain_connection(tmp_path, options, version, kinds):
    body = """
listen sends
    mode http
    unique-id-format id-%pid
    bind fd@{{fd}}
    server one {address} {options}
"""

    async def scene():
        reads = Reads()
        async with (
            Backend("reads", reads) as backend,
            haproxy(tmp_path, body.format(address=backend.address, options=options)) as where,
        ):
            answer, me = await connected(where, GET)
            assert answer.endswith(b"ok")
            (header,) = reads.headers
            assert (header.version, header.protocol) == (version, "TCP4")
            assert (header.source, header.destination) == (me, Inet(*where))
            assert [tlv.kind for tlv in header.tlvs] == kinds
            if proxy_tlv.UNIQUE_ID in kinds:
                assert header.unique_id.startswith(b"id-")
            if version == 2:  # its bytes are ours
                assert proxy_protocol.parse(encode(header))[0] == header

    play(scene)


def test_what_haproxy_sends_of_tls(tmp_path):
    authority = trustme.CA()
    server, client = authority.issue_cert("shop.example"), authority.issue_cert("ann.example", common_name="ann")
    server.private_key_and_cert_chain_pem.write_to_path(tmp_path / "server.pem")
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    context = ssl.create_default_context()
    authority.configure_trust(context)
    client.configure_cert(context)
    context.set_alpn_protocols(["http/1.1"])
    body = """
listen sends
    bind fd@{{fd}} ssl crt {path}/server.pem ca-file {path}/ca.pem verify required alpn http/1.1
    server one {address} send-proxy-v2 proxy-v2-options ssl,cert-cn,ssl-cipher,cert-sig,cert-key,authority,crc32c
"""

    async def scene():
        reads = Reads()
        async with (
            Backend("reads", reads) as backend,
            haproxy(tmp_path, body.format(address=backend.address, path=tmp_path)) as where,
        ):
            reader, writer = await asyncio.open_connection(*where, ssl=context, server_hostname="shop.example")
            writer.write(GET)
            assert (await reader.read()).endswith(b"ok")
            tls = writer.get_extra_info("ssl_object")
            (header,) = reads.headers
            assert header.source == Inet(*writer.get_extra_info("sockname"))
            assert (header.authority, header.alpn) == ("shop.example", b"http/1.1")
            said = header.ssl
            assert said.client & proxy_tlv.CLIENT_SSL
            assert said.client & proxy_tlv.CLIENT_CERT_CONN
            assert said.verify == 0
            assert said.text(proxy_tlv.SSL_VERSION) == tls.version()
            assert said.text(proxy_tlv.SSL_CIPHER) == tls.cipher()[0]
            assert said.text(proxy_tlv.SSL_CN) == "ann"
            assert said.text(proxy_tlv.SSL_KEY_ALG)[:2] in ("EC", "RS")
            assert said.text(proxy_tlv.SSL_GROUP) is None
            assert proxy_protocol.parse(encode(header))[0] == header
            writer.close()

    play(scene)


def test_a_health_check_of_haproxy_is_local(tmp_path):
    body = """
listen sends
    bind fd@{{fd}}
    option httpchk
    server one {address} send-proxy-v2 check-send-proxy check inter 100ms
"""

    async def scene():
        reads = Reads()
        async with Backend("reads", reads) as backend, haproxy(tmp_path, body.format(address=backend.address)):
            while not reads.headers:
                await asyncio.sleep(0.02)
            header = reads.headers[0]
            assert (header.command, header.protocol, header.source) == ("LOCAL", "UNKNOWN", None)

    play(scene)


SIX = Inet("2001:db8::1", 50000), Inet("2001:db8::2", 443)
FOUR = Inet("192.0.2.1", 56324), Inet("198.51.100.9", 443)
CRC = Tlv(proxy_tlv.CRC32C, bytes(4))


@pytest.mark.parametrize(
    "header",
    [
        Header(1, "TCP4", *FOUR),
        Header(1, "TCP6", *SIX),
        Header(2, "TCP4", *FOUR),
        Header(2, "TCP6", *SIX, (CRC,)),
        Header(
            2,
            "TCP4",
            *FOUR,
            (Tlv(proxy_tlv.NOOP, b"pad"), Tlv(2, b"shop.example"), CRC, Tlv(5, b"\1\2\3"), Tlv(0xE5, b"x")),
        ),
        Header(2, command="LOCAL"),
        Header(2, command="LOCAL", tlvs=(CRC,)),
        Header(1),
    ],
    ids=str,
)
def test_what_we_send_haproxy_reads(tmp_path, header):
    async def scene():
        async with haproxy(tmp_path, TELLS) as where:
            answer, me = await connected(where, encode(header) + GET)
            told = json.loads(answer.partition(b"\r\n\r\n")[2])
            source, destination = (header.source, header.destination) if header.source else (me, Inet(*where))
            assert Inet(told["source"], told["source_port"]) == source
            assert Inet(told["destination"], told["destination_port"]) == destination
            assert told["authority"] == (header.authority or "")
            assert told["unique_id"] == (header.unique_id or b"").hex().upper()

    play(scene)


def test_haproxy_refuses_a_wrong_checksum_as_we_do(tmp_path):
    async def scene():
        data = bytearray(encode(Header(2, "TCP4", *FOUR, (CRC,))))
        data[-1] ^= 1
        async with haproxy(tmp_path, TELLS) as where:
            try:
                answer, _ = await connected(where, bytes(data) + GET)
            except ConnectionResetError:
                answer = b""
            assert answer == b""
        with pytest.raises(proxy_protocol.Malformed):
            proxy_protocol.parse(data)

    play(scene)


@pytest.mark.parametrize("version", [1, 2])
def test_client_haproxy_relay_haproxy(tmp_path, version):
    """A chain: HAProxy tells the relay, the relay tells another HAProxy, and that one knows the client."""
    first, second = tmp_path / "first", tmp_path / "second"
    first.mkdir(), second.mkdir()
    sends = """
listen sends
    bind fd@{{fd}}
    server one {address} send-proxy-v2 proxy-v2-options crc32c
"""

    async def scene():
        async with haproxy(second, TELLS) as last:
            pool = Pool("last", [Target(f"127.0.0.1:{last[1]}")], send_proxy=version)
            listener = Listener("last", accept_proxy=["127.0.0.1"])
            async with Relay(Options([listener], [pool])) as running:
                address = f"127.0.0.1:{running.addresses[0][1]}"
                async with haproxy(first, sends.format(address=address)) as where:
                    answer, me = await connected(where, GET)
            told = json.loads(answer.partition(b"\r\n\r\n")[2])
            assert Inet(told["source"], told["source_port"]) == me
            assert Inet(told["destination"], told["destination_port"]) == Inet(*where)

    play(scene)


def test_the_relay_introduces_its_own_clients_to_haproxy(tmp_path):
    async def scene():
        async with haproxy(tmp_path, TELLS) as last:
            pool = {
                "targets": [Target(f"127.0.0.1:{last[1]}")],
                "send_proxy": 2,
                "proxy_extras": ["crc32c", "unique_id"],
            }
            async with relay(pool=pool) as running:
                answer, me = await connected(running.addresses[0], GET)
                told = json.loads(answer.partition(b"\r\n\r\n")[2])
                assert Inet(told["source"], told["source_port"]) == me
                assert Inet(told["destination"], told["destination_port"]) == Inet(*running.addresses[0])
                assert len(told["unique_id"]) == 32
                assert b"200 OK" in await talk(running.addresses[0], GET, end=False)

    play(scene)
