"""Probes are fed by strangers: whatever comes in whatever pieces, there is a verdict and no exception."""

from __future__ import annotations

import itertools

import pytest
from h2.config import H2Configuration
from h2.connection import H2Connection
from hypothesis import given, settings
from hypothesis import strategies as st

from lbcore.l7.pools.options import GrpcProbeOptions, HttpProbeOptions, TcpProbeOptions
from lbcore.l7.pools.probes import GrpcProbe, HttpProbe, TcpProbe, check_request, framed, probe_of, serving, varint

HTTP = (
    b"HTTP/1.1 103 Early\r\nlink: </x>\r\n\r\n"
    b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n4\r\nwell\r\n0\r\n\r\n"
)


def grpc_answer(status="200", code="0", message=b"\x08\x01", trailers_only=False):
    """What an HTTP/2 server sends for a probe's opening, and the opening."""
    probe = GrpcProbe(GrpcProbeOptions(service="a.b"), "10.0.0.1:80")
    server = H2Connection(H2Configuration(client_side=False))
    server.initiate_connection()
    server.receive_data(probe.opening())
    head = [(":status", status), ("content-type", "application/grpc")]
    if trailers_only:
        server.send_headers(1, [*head, ("grpc-status", code)], end_stream=True)
    else:
        server.send_headers(1, head)
        server.send_data(1, framed(message))
        server.send_headers(1, [("grpc-status", code)], end_stream=True)
    return probe, server.data_to_send()


def pieces(data, cuts):
    """`data` cut at these places."""
    at = sorted({0, len(data), *(cut % (len(data) + 1) for cut in cuts)})
    return [data[a:b] for a, b in itertools.pairwise(at)]


@given(st.lists(st.integers(0, 1000), max_size=12))
def test_the_pieces_do_not_matter(cuts):
    http = HttpProbe(HttpProbeOptions(body="well"), "10.0.0.1:80")
    http.opening()
    for piece in pieces(HTTP, cuts):
        http.feed(piece)
    assert http.verdict == ""
    grpc, answer = grpc_answer()
    for piece in pieces(answer, cuts):
        grpc.feed(piece)
    assert grpc.verdict == ""


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=80), st.integers(0, 400), st.integers(0, 40), st.booleans())
def test_damage_is_a_verdict(junk, at, length, grpc):
    if grpc:
        probe, answer = grpc_answer()
    else:
        probe, answer = HttpProbe(HttpProbeOptions(body="well"), "10.0.0.1:80"), HTTP
        probe.opening()
    at %= len(answer) + 1
    for piece in pieces(answer[:at] + junk + answer[at + length :], [at, at + 3]):
        probe.feed(piece)
    probe.closed()
    assert probe.verdict is not None
    stands = probe.verdict
    probe.feed(answer)
    probe.closed()
    assert probe.verdict == stands


@pytest.mark.parametrize(
    ("fields", "why"),
    [
        ({}, ""),
        ({"message": b"\x08\x02"}, "NOT_SERVING"),
        ({"code": "14"}, "grpc-status 14"),
        ({"code": "5", "trailers_only": True}, "grpc-status 5"),
        ({"code": "0", "trailers_only": True}, "not one gRPC message: "),
        ({"status": "503"}, "status 503"),
        ({"message": b"\x08\x09"}, "not a HealthCheckResponse: 0809"),
    ],
)
def test_grpc_verdicts(fields, why):
    probe, answer = grpc_answer(**fields)
    probe.feed(answer)
    assert probe.verdict == why


@given(st.integers(0, 2**40))
def test_varint_is_protobufs(number):
    data = varint(number)
    assert sum((byte & 0x7F) << 7 * i for i, byte in enumerate(data)) == number
    assert all(byte & 0x80 for byte in data[:-1])
    assert not data[-1] & 0x80


@given(st.binary(max_size=20))
def test_only_serving_is_serving(data):
    assert (serving(data) == "") == (data == framed(b"\x08\x01"))


def test_requests():
    assert check_request(b"") == b""
    assert check_request(b"ab") == b"\x0a\x02ab"
    assert len(check_request(b"x" * 200)) == 203
    assert isinstance(probe_of(TcpProbeOptions(), "a:1"), TcpProbe)
    opening = probe_of(HttpProbeOptions(path="/up", method="HEAD", host="shop.example"), "a:1").opening()
    assert opening.startswith(b"HEAD /up HTTP/1.1\r\nhost: shop.example\r\nconnection: close\r\n")
    assert opening.endswith(b"\r\n\r\n")
    mine = HttpProbe(HttpProbeOptions(headers={"User-Agent": "me"}), "a:1").opening()
    assert mine.count(b"user-agent") == 1
