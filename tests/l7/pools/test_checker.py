"""Checks for real: against servers on loopback, others' among them, good and bad."""

from __future__ import annotations

import asyncio
import socket
import ssl
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, contextmanager
from random import Random

import grpc
import pytest
import trustme

from lbcore.l7.pools.checker import Checker, check
from lbcore.l7.pools.health import Health
from lbcore.l7.pools.options import (
    BackendOptions,
    GrpcProbeOptions,
    HealthOptions,
    HttpProbeOptions,
    PoolOptions,
    TcpProbeOptions,
)
from lbcore.l7.pools.pool import Backend, Pool
from tests.l7.pools.stage import a_request

HOST = "127.0.0.1"


def one_check(port, probe, timeout=5.0, tls=None):
    """What one check of 127.0.0.1:port says."""
    options = HealthOptions(probe=probe, interval=10, timeout=timeout, tls=tls is not None)
    health = Health(options, Random(1), 0.0)
    return asyncio.run(check(Backend(HOST, port), health, tls))


@contextmanager
def answering(answer, tls=None, then_close=True):
    """A server in a thread that reads once and says `answer` to everybody; gives its port."""
    listener = socket.create_server((HOST, 0))

    def serve():
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            with connection:
                try:
                    with tls.wrap_socket(connection, server_side=True) if tls else connection as talk:
                        talk.recv(65536)
                        talk.sendall(answer)
                        if not then_close:
                            talk.recv(65536)
                except OSError:
                    continue

    with ThreadPoolExecutor(1) as threads:
        threads.submit(serve)
        try:
            yield listener.getsockname()[1]
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            listener.close()


def http(status, body=b"", extra=b""):
    return b"HTTP/1.1 %d X\r\n%scontent-length: %d\r\n\r\n%s" % (status, extra, len(body), body)


# ------------------------------------------------------------------------------------------------------------------ tcp
def test_tcp_sees_that_somebody_listens():
    with socket.create_server((HOST, 0)) as listener:
        port = listener.getsockname()[1]
        assert one_check(port, TcpProbeOptions()) == ""  # nobody ever accepts: the kernel answers
    assert "refused" in one_check(port, TcpProbeOptions()).lower()


def test_a_hung_program_passes_a_tcp_check_and_fails_an_http_check():
    with socket.create_server((HOST, 0)) as listener:
        port = listener.getsockname()[1]
        assert one_check(port, TcpProbeOptions()) == ""
        assert one_check(port, HttpProbeOptions(), timeout=0.2) == "no answer within 0.2 s"


# ----------------------------------------------------------------------------------------------------------------- http
@pytest.mark.parametrize(
    ("answer", "fields", "why"),
    [
        (http(200), {}, ""),
        (http(399), {}, ""),
        (http(400), {}, "status 400"),
        (http(503), {"statuses": (200, (500, 503))}, ""),
        (http(103, extra=b"link: </a>\r\n").replace(b"content-length: 0\r\n", b"") + http(500), {}, "status 500"),
        (http(200, b"all is well"), {"body": "is well"}, ""),
        (http(200, b"all is lost"), {"body": "is well"}, "no 'is well' in the body's first 11 bytes"),
        (b"HTTP/1.0 200 OK\r\n\r\nall is well", {"body": "is well"}, ""),
        (b"HTTP/1.0 200 OK\r\n\r\n", {"body": "is well"}, "closed before the answer was whole"),
        (b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\nwel\r\n1\r\nl\r\n0\r\n\r\n", {"body": "well"}, ""),
        (http(200, b"x" * 100 + b"well"), {"body": "well", "limit": 100}, "no 'well' in the body's first 100 bytes"),
        (http(200), {"method": "HEAD"}, ""),
        (b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\n", {"method": "HEAD"}, ""),
        (b"HTTP/1.1 200", {}, "closed before the answer was whole"),
        (b"", {}, "closed before the answer was whole"),
        (b"SSH-2.0-x\r\n", {}, "not HTTP"),
        (b"HTTP/1.1 200 OK\r\n" + b"a: b\r\n" * 400_000, {}, "more than 1048576 bytes and no end"),
    ],
)
def test_http_judges_status_and_body(answer, fields, why):
    with answering(answer) as port:
        assert one_check(port, HttpProbeOptions(**fields)).startswith(why)
        assert (one_check(port, HttpProbeOptions(**fields)) == "") == (why == "")


def test_http_over_tls_is_verified():
    authority = trustme.CA()
    server, client = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), ssl.create_default_context()
    authority.issue_cert(HOST).configure_cert(server)
    with answering(http(200), server) as port:
        assert "CERTIFICATE_VERIFY_FAILED" in one_check(port, HttpProbeOptions(), tls=ssl.create_default_context())
        authority.configure_trust(client)
        assert one_check(port, HttpProbeOptions(), tls=client) == ""
        assert one_check(port, GrpcProbeOptions(), tls=client) == "ALPN chose None, gRPC needs h2"


# ----------------------------------------------------------------------------------------------------------------- gRPC
@contextmanager
def grpc_server(answers, tls=None):
    """The grpcio project's server with a health service that says `answers[service]`: bytes, or a status code."""

    def say(request, context):
        service = request[2:].decode() if request else ""
        answer = answers.get(service, grpc.StatusCode.NOT_FOUND)
        if isinstance(answer, bytes):
            return answer
        return context.abort(answer, "so it is")

    handler = grpc.method_handlers_generic_handler(
        "grpc.health.v1.Health", {"Check": grpc.unary_unary_rpc_method_handler(say)}
    )
    server = grpc.server(ThreadPoolExecutor(2), handlers=(handler,))
    port = server.add_secure_port(f"{HOST}:0", tls) if tls else server.add_insecure_port(f"{HOST}:0")
    server.start()
    try:
        yield port
    finally:
        server.stop(None).wait()


def test_grpc_asks_the_health_service():
    answers = {
        "": b"\x08\x01",
        "ill": b"\x08\x02",
        "unknown": b"",
        "never heard": b"\x08\x03",
        "odd": b"\x08\x01\x10\x01",
        "huge": b"\x08" * 2_000_000,
        "down": grpc.StatusCode.UNAVAILABLE,
    }
    wanted = {
        "": "",
        "ill": "NOT_SERVING",
        "unknown": "UNKNOWN",
        "never heard": "SERVICE_UNKNOWN",
        "odd": "not a HealthCheckResponse: 08011001",
        "down": "grpc-status 14",
        "nobody": "grpc-status 5",
    }
    with grpc_server(answers) as port:
        assert {service: one_check(port, GrpcProbeOptions(service=service)) for service in wanted} == wanted
        assert one_check(port, GrpcProbeOptions(service="huge"), timeout=1.0) != ""


def test_grpc_over_tls():
    authority = trustme.CA()
    issued = authority.issue_cert(HOST)
    keys = [(issued.private_key_pem.bytes(), issued.cert_chain_pems[0].bytes())]
    client = ssl.create_default_context()
    authority.configure_trust(client)
    client.set_alpn_protocols(["h2"])
    with grpc_server({"": b"\x08\x01"}, grpc.ssl_server_credentials(keys)) as port:
        assert one_check(port, GrpcProbeOptions(), tls=client) == ""


@pytest.mark.parametrize("answer", [http(200), b"", b"\x00" * 9, b"\x00\x00\x00\x04\x01\x00\x00\x00\x01"])
def test_grpc_is_not_impressed_by_anything_else(answer):
    with answering(answer) as port:
        assert one_check(port, GrpcProbeOptions()) != ""


# ----------------------------------------------------------------------------------------------------------- the runner
@asynccontextmanager
async def backend_that_can_be_ill():
    """An HTTP server; gives its port and a list whose first entry is the status that it answers."""
    status, asked = [200], []

    async def serve(reader, writer):
        asked.append(await reader.readuntil(b"\r\n\r\n"))
        writer.write(http(status[0]))
        writer.close()

    server = await asyncio.start_server(serve, HOST, 0)
    async with server:
        yield server.sockets[0].getsockname()[1], status, asked


async def until(condition):
    """Wait for it, up to ten seconds."""
    async with asyncio.timeout(10):
        while not condition():
            await asyncio.sleep(0.005)


def test_the_checker_takes_a_backend_out_and_in_again():
    async def scene():
        async with backend_that_can_be_ill() as (port, status, asked):
            health = HealthOptions(
                probe=HttpProbeOptions(path="/health", headers={"X-Check": "1"}),
                interval=0.03,
                timeout=0.02,
                rise=2,
                fall=2,
                jitter=0.1,
            )
            told = PoolOptions(name="web", backends=(BackendOptions(address=f"{HOST}:{port}"),), health=health)
            pool, checker = Pool.build(told), Checker()
            (backend,) = pool.backends
            checker.watch(pool)
            assert pool.pick(a_request()) is backend  # up until it is known to be down
            status[0] = 500
            await until(lambda: pool.pick(a_request()) is None)
            assert "status 500" in pool.why_not(backend) or "no answer" in pool.why_not(backend)
            status[0] = 200
            await until(lambda: pool.pick(a_request()) is backend)
            checker.forget(pool)
            await asyncio.sleep(0.1)
            so_far = len(asked)
            await asyncio.sleep(0.1)
            assert len(asked) == so_far
            assert asked[0].startswith(b"GET /health HTTP/1.1\r\n")
            assert b"\r\nx-check: 1\r\n" in asked[0]
            assert b"\r\nhost: %s\r\n" % backend.name.encode() in asked[0]
            await checker.close()

    asyncio.run(scene())


def test_checks_over_tls_need_a_context():
    async def scene():
        told = PoolOptions(
            name="web", backends=(BackendOptions(address="127.0.0.1:1"),), health=HealthOptions(tls=True)
        )
        with pytest.raises(ValueError, match=r"health\.tls of pool web is true"):
            Checker().watch(Pool.build(told))

    asyncio.run(scene())
