"""TLS on a real socket: curl, OpenSSL and httpx in front, TLS and plain backends behind, names passed on beside it."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
import subprocess

import httpx
import pytest
import trustme

from lbcore.l7.config.options import ListenOptions, PassOptions
from lbcore.l7.engine.proxy import Proxy
from lbcore.l7.filters.filter import Filter
from lbcore.l7.front.door import listen
from lbcore.l7.front.listening import Listener, opened
from lbcore.l7.front.tls import BackendTlsOptions, Terminator, TlsOptions, backend_context
from lbcore.l7.limits import Limits
from lbcore.l7.message import text
from lbcore.l7.pools.options import BackendOptions, PoolOptions
from lbcore.l7.pools.pool import Backend, Pool
from lbcore.l7.routing.router import Route, Router
from tests.l7.live import OK, answering, backend, together
from tests.l7.test_tls import Shop
from tests.wire.test_tls_hello import openssl_hello


@pytest.fixture
def shop(tmp_path) -> Shop:
    return Shop(tmp_path)


class Who(Filter):
    """Answers with what is known of the client."""

    def on_request(self, exchange):
        peer, request = exchange.request.peer, exchange.request
        known = f"{request.version} {request.scheme.decode()} {peer.tls} {peer.server_name} {peer.subject}"
        return text(200, known)


@contextlib.asynccontextmanager
async def gate(terminator: Terminator, *, passthrough=(), filters=None, pool=None, limits=None):
    route = Route("all", lambda request: True, lambda request: pool, (Who(),) if filters is None else filters)
    async with Proxy(Router([route]), limits) as proxy:
        if not passthrough:
            _, port = await listen(proxy, "127.0.0.1", 0, terminator)
            yield proxy, port
            return
        names, beyond = passthrough
        options = ListenOptions(port=0, passthrough=(PassOptions(names=names, pool=beyond.name),))
        listener = Listener(proxy, options, opened(options), terminator, {beyond.name: beyond})
        await listener.start()
        try:
            yield proxy, listener.sock.getsockname()[1]
        finally:
            listener.close()


def beyond(*ports: int) -> Pool:
    """Where TLS goes that is passed on."""
    backends = tuple(BackendOptions(address=f"127.0.0.1:{port}") for port in ports)
    return Pool.build(PoolOptions(name="beyond", backends=backends))


async def curl(port: int, name: str, shop: Shop, *options: str) -> str:
    command = ["curl", "-sS", "--cacert", shop.ca, "--resolve", f"{name}:{port}:127.0.0.1", *options]
    process = await asyncio.create_subprocess_exec(
        *command, f"https://{name}:{port}/", stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )
    return (await asyncio.wait_for(process.communicate(), 60))[0].decode().strip()


def test_curl_over_both_versions_of_http_and_of_tls(shop):
    terminator = Terminator(TlsOptions(certificates=(shop.pair("a", "a.example"), shop.pair("b", "b.example"))))

    async def scene():
        async with gate(terminator) as (_, port):
            for http, version in (("--http1.1", "1.1"), ("--http2", "2")):
                for tls, found in (("--tls-max=1.2", "TLSv1.2"), ("--tlsv1.3", "TLSv1.3")):
                    said = await curl(port, "b.example", shop, http, *tls.split("="))
                    assert said == f"{version} https {found} b.example None"

    together(scene)
    assert terminator.handshakes.full == 4


def test_httpx_resumes_nothing_and_speaks_http2(shop):
    terminator = Terminator(TlsOptions(certificates=(shop.pair("a", "localhost"),)))

    async def scene():
        async with gate(terminator) as (_, port):
            context = ssl.create_default_context(cafile=shop.ca)
            async with httpx.AsyncClient(http2=True, verify=context) as client:
                answers = await asyncio.gather(*(client.get(f"https://localhost:{port}/") for _ in range(20)))
                assert {answer.http_version for answer in answers} == {"HTTP/2"}
                assert {answer.text for answer in answers} == {"2 https TLSv1.3 localhost None\n"}

    together(scene)


def test_a_certificate_is_exchanged_while_a_connection_is_used(shop):
    pair = shop.pair("a", "localhost")
    terminator = Terminator(TlsOptions(certificates=(pair,)))

    async def scene():
        async with gate(terminator) as (_, port):
            context = ssl.create_default_context(cafile=shop.ca)

            async def serial(writer) -> str:
                return writer.get_extra_info("ssl_object").getpeercert()["serialNumber"]

            reader, writer = await asyncio.open_connection("localhost", port, ssl=context)
            before = await serial(writer)
            writer.write(b"GET / HTTP/1.1\r\nhost: localhost\r\n\r\n")
            await reader.readuntil(b"None\n")
            shop.write(pair.chain, shop.authority.issue_cert("localhost"))
            terminator.reload()
            _, second = await asyncio.open_connection("localhost", port, ssl=context)
            assert await serial(second) != before
            writer.write(b"GET / HTTP/1.1\r\nhost: localhost\r\n\r\n")
            await reader.readuntil(b"None\n")
            writer.close()
            second.close()

    together(scene)


def test_sessions_are_resumed_and_counted(shop):
    terminator = Terminator(TlsOptions(certificates=(shop.pair("a", "localhost"),)))
    context = ssl.create_default_context(cafile=shop.ca)

    def talk(port: int, session=None):
        with (
            socket.create_connection(("localhost", port)) as sock,
            context.wrap_socket(sock, server_hostname="localhost", session=session) as tls,
        ):
            tls.sendall(b"GET / HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n")
            while tls.recv(1000):
                pass
            return tls.session

    async def scene():
        async with gate(terminator) as (_, port):
            session = await asyncio.to_thread(talk, port)
            for _ in range(3):
                session = await asyncio.to_thread(talk, port, session)

    together(scene)
    assert (terminator.handshakes.full, terminator.handshakes.resumed) == (1, 3)


def test_the_subject_of_a_client_is_known_to_filters(shop, tmp_path):
    options = TlsOptions(certificates=(shop.pair("a", "a.example"),), client_ca=shop.ca, client_certificate="optional")
    mine = shop.pair("me", "me@a.example", organization_name="Acme")

    async def scene():
        async with gate(Terminator(options)) as (_, port):
            for http in ("--http1.1", "--http2"):
                assert "O=Acme" in await curl(port, "a.example", shop, http, "--cert", mine.chain)
                assert (await curl(port, "a.example", shop, http)).endswith("None")
            stranger = tmp_path / "stranger.pem"
            shop.write(str(stranger), trustme.CA().issue_cert("me@a.example"))
            assert "https" not in await curl(port, "a.example", shop, "--cert", str(stranger))

    together(scene)


# ------------------------------------------------------------------------------------------------------------ backends
def test_a_backend_that_proves_who_it_is_and_one_that_does_not(shop):
    """Re-encryption: verified, or the client gets 502."""
    theirs = Terminator(TlsOptions(certificates=(shop.pair("b", "b.internal"),)))
    ours = Terminator(TlsOptions(certificates=(shop.pair("a", "localhost"),)))

    async def scene():
        async with gate(theirs) as (_, backend_port):
            for name, protocol, status in (
                ("b.internal", "h1", 200),
                ("b.internal", "h2", 200),
                ("c.internal", "h1", 502),
                ("c.internal", "h2", 502),
            ):
                pool = Pool("p", [Backend("127.0.0.1", backend_port)], protocol=protocol)
                alpn = ("h2",) if protocol == "h2" else ("http/1.1",)
                pool.tls, pool.server_name = backend_context(BackendTlsOptions(ca=shop.ca), alpn), name
                context = ssl.create_default_context(cafile=shop.ca)
                async with gate(ours, filters=(), pool=pool) as (_, port), httpx.AsyncClient(verify=context) as client:
                    answer = await client.get(f"https://localhost:{port}/")
                    assert answer.status_code == status, name
                    if status == 200:
                        assert (
                            answer.text
                            == f"{protocol[1]}{'.1' if protocol == 'h1' else ''} https TLSv1.3 b.internal None\n"
                        )

    together(scene)


def test_a_backend_without_http2_is_not_spoken_to_in_it(shop):
    theirs = Terminator(TlsOptions(certificates=(shop.pair("b", "b.internal"),), alpn=("http/1.1",)))
    ours = Terminator(TlsOptions(certificates=(shop.pair("a", "localhost"),)))

    async def scene():
        async with gate(theirs) as (_, backend_port):
            pool = Pool("p", [Backend("127.0.0.1", backend_port)], protocol="h2")
            pool.tls, pool.server_name = backend_context(BackendTlsOptions(ca=shop.ca), ("h2",)), "b.internal"
            async with gate(ours, filters=(), pool=pool) as (_, port):
                context = ssl.create_default_context(cafile=shop.ca)
                async with httpx.AsyncClient(verify=context) as client:
                    assert (await client.get(f"https://localhost:{port}/")).status_code == 502

    together(scene)


# --------------------------------------------------------------------------------------------------------- passing on
def test_one_name_is_ended_here_and_another_passed_on(shop):
    """On one port. What is passed on shows the backend's own certificate, and was never ours to read."""
    theirs = Terminator(TlsOptions(certificates=(shop.pair("b", "b.example", "x.b.example"),)))
    ours = Terminator(TlsOptions(certificates=(shop.pair("a", "a.example"),), minimum="TLSv1.3"))

    async def scene():
        async with gate(theirs) as (_, there):
            pool = beyond(there)
            async with gate(ours, passthrough=(("b.example", "*.b.example"), pool)) as (_, port):
                assert await curl(port, "a.example", shop) == "2 https TLSv1.3 a.example None"
                for name in ("b.example", "x.b.example"):
                    said = await curl(port, name, shop, "--tls-max", "1.2")
                    assert said == f"2 https TLSv1.2 {name} None"
                assert pool.requests == 2

    together(scene)
    assert theirs.handshakes.full == 2
    assert ours.handshakes.full == 1


def test_the_bytes_passed_on_are_the_clients_from_the_first_to_the_last(shop):
    hello = openssl_hello("b.example")

    async def echo(reader, writer):
        while data := await reader.read(1000):
            writer.write(data)

    async def scene():
        async with backend(echo) as there:
            pool = beyond(1, there)  # the first one refuses
            ours = Terminator(TlsOptions(certificates=(shop.pair("a", "a.example"),)))
            async with gate(ours, passthrough=(("b.example",), pool)) as (_, port):
                reader, writer = await asyncio.open_connection("127.0.0.1", port)
                for at in range(0, len(hello), 100):  # in pieces, as a network may cut it
                    writer.write(hello[at : at + 100])
                    await asyncio.sleep(0.005)
                assert await reader.readexactly(len(hello)) == hello
                writer.write(b"and more")
                assert await reader.readexactly(8) == b"and more"
                writer.write_eof()
                assert await reader.read() == b""
                writer.close()

    together(scene)


@pytest.mark.parametrize("passing", [False, True])
@pytest.mark.parametrize("what", ["nothing", "half a hello", "half a hello and the end", "plain", "too long"])
def test_what_does_not_come_to_a_handshake_is_let_go(shop, what, passing):
    """Within the handshake's time; the listener serves others meanwhile, and nobody is told of it by a traceback."""
    options = TlsOptions(certificates=(shop.pair("a", "a.example"),), handshake_timeout=0.4, hello_limit=512)
    hello = openssl_hello("a.example")
    data = {
        "nothing": b"",
        "plain": b"GET / HTTP/1.1\r\nhost: a\r\n\r\n",
        "too long": b"\x16\x03\x01\x3f\xff\x01\x00\xff\xff" + b"x" * 600,
    }.get(what, hello[:100])

    async def scene():
        faults = []
        asyncio.get_running_loop().set_exception_handler(lambda loop, context: faults.append(context))
        terminator = Terminator(options)
        async with gate(terminator, passthrough=(("b.example",), beyond(1)) if passing else ()) as (proxy, port):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(data)
            if what.endswith("end"):
                writer.write_eof()
            with contextlib.suppress(ConnectionError):
                await asyncio.wait_for(reader.read(), 5)
            writer.close()
            await asyncio.sleep(0.02)
            assert terminator.handshakes.failed == 1
            assert not proxy.clients
        assert not faults

    together(scene)


def test_who_is_passed_on_to_nobody_is_closed_and_others_are_served(shop):
    pool = beyond(1)
    ours = Terminator(TlsOptions(certificates=(shop.pair("a", "a.example"),)))

    async def scene():
        async with gate(ours, passthrough=(("b.example",), pool)) as (_, port):
            assert "https" not in await curl(port, "b.example", shop)
            assert await curl(port, "a.example", shop) == "2 https TLSv1.3 a.example None"

    together(scene)
    assert (pool.in_flight, pool.backends[0].errors) == (0, 1)


def test_more_clients_than_allowed_are_turned_away(shop):
    ours = Terminator(TlsOptions(certificates=(shop.pair("a", "localhost"),)))

    async def scene():
        async with gate(ours, limits=Limits(connections=2)) as (_, port):
            context = ssl.create_default_context(cafile=shop.ca)
            first = [await asyncio.open_connection("localhost", port, ssl=context) for _ in range(2)]
            with contextlib.suppress(OSError):
                reader, writer = await asyncio.open_connection("localhost", port, ssl=context)
                assert await reader.read() == b""
                writer.close()
            for _, writer in first:
                writer.close()

    together(scene)


def test_a_body_over_tls_both_ways(shop):
    ours = Terminator(TlsOptions(certificates=(shop.pair("a", "localhost"),)))

    async def scene():
        async with backend(answering(OK)) as there:
            pool = Pool("p", [Backend("127.0.0.1", there)])
            context = ssl.create_default_context(cafile=shop.ca)
            async with gate(ours, filters=(), pool=pool) as (_, port):
                for http2 in (False, True):
                    async with httpx.AsyncClient(verify=context, http2=http2) as client:
                        answer = await client.post(f"https://localhost:{port}/", content=b"x" * 300_000)
                        assert answer.text == "ok"

    together(scene)
