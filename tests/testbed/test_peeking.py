"""Callers with addresses of their own, sites with certificates, proxies in a row: each tells what it really saw."""

from __future__ import annotations

import asyncio
import socket
import ssl
import struct

import pytest

from lbcore.testbed import callers, hops, smallest, tls_sites, whoami
from lbcore.testbed.capabilities import machine
from lbcore.wire import proxy_protocol, tls_hello
from lbcore.wire.proxy_protocol import Header, Inet
from tests import needs

RANGE = machine()["loopback range"].available
ME = "127.0.0.9" if RANGE else "127.0.0.1"
LIE = proxy_protocol.encode(Header(1, "TCP4", Inet("10.0.0.1", 1), Inet("10.0.0.2", 443)))


def play(scene):
    """Run a coroutine; no task of it may be left."""

    async def main():
        async with asyncio.timeout(20):
            result = await scene
        assert asyncio.all_tasks() == {asyncio.current_task()}
        return result

    return asyncio.run(main())


async def knock(backend, data=b"", **how):
    async with smallest.listening(backend) as door:
        return await callers.ask(door, data, source=ME, **how)


def test_a_caller_has_its_own_address():
    assert play(knock(whoami.by_socket)) == ME


def test_an_address_that_is_not_here_is_explained():
    async def scene():
        async with callers.calling(("127.0.0.1", 9), "192.0.2.1"):
            pass

    with pytest.raises(OSError, match=r"ifconfig lo0 alias 192\.0\.2\.1"):
        play(scene())


def test_what_came_of_it_is_told_in_words():
    async def breaks_off(reader, writer):
        no_goodbye = struct.pack("ii", 1, 0)
        writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, no_goodbye)
        writer.transport.abort()

    async def says_nothing(reader, writer):
        await reader.read()

    assert play(knock(breaks_off)) == callers.RESET
    assert play(knock(says_nothing, end=False, seconds=0.1)) == callers.SILENCE
    assert play(knock(whoami.mail, end=False, seconds=0.1)) == "220 ready\r\n"


@pytest.mark.parametrize("version", [1, 2])
def test_a_header_is_required_or_guessed_or_taken_for_a_command(version):
    header = proxy_protocol.encode(Header(version, "TCP4", Inet("10.0.0.1", 1), Inet("10.0.0.2", 443)))
    assert play(knock(whoami.by_header, header)) == "10.0.0.1"
    assert play(knock(whoami.by_guess, header)) == "10.0.0.1"
    assert play(knock(whoami.by_guess, b"hello")) == ME
    assert play(knock(whoami.mail, header + b"HELO me\r\n")).endswith("500 what?\r\n")
    assert play(knock(whoami.mail_told, header)).startswith("220")
    assert play(knock(whoami.by_header, proxy_protocol.encode(Header(version)))) == ME


@pytest.mark.parametrize("data", [b"", b"GET / HTTP/1.1\r\n\r\n", LIE[:-1]])
def test_no_header_no_word(data):
    assert play(knock(whoami.by_header, data)) in ("", callers.RESET)


def test_the_web_server_knows_a_request():
    assert play(knock(whoami.web, b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")).startswith("HTTP/1.1 200")
    assert play(knock(whoami.web, LIE + b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")).startswith("HTTP/1.1 400")


@needs.linux()  # all of 127.0.0.0/8
@pytest.mark.parametrize(
    ("policies", "wanted"),
    [
        ((), "1.2.3.4"),
        (("append",), "1.2.3.4, 127.0.0.9"),
        (("append", "append"), "1.2.3.4, 127.0.0.9, 127.0.0.11"),
        (("overwrite", "append"), "127.0.0.9, 127.0.0.11"),
        (("append", "overwrite"), "127.0.0.11"),
        (("pass on", "pass on"), "1.2.3.4"),
    ],
)
def test_proxies_do_with_the_field_what_they_were_told(policies, wanted):
    async def scene():
        async with hops.row(policies) as doors:
            return await hops.fetch(doors[0], "X-Forwarded-For: 1.2.3.4", "Accept: x", source=ME)

    peer, values = play(scene())
    assert peer == f"127.0.0.{10 + len(policies)}" if policies else peer == ME
    assert values == [wanted]


def test_the_field_in_several_lines_is_one_list_and_the_rest_of_the_head_stays():
    head = b"POST / HTTP/1.1\r\nx-forwarded-FOR: a\r\nHost: b\r\nX-Forwarded-For: c, d\r\nContent-Length: 0\r\n\r\n"
    made = hops.rewritten(head, b"9", "append").split(b"\r\n")
    assert made == [b"POST / HTTP/1.1", b"Host: b", b"Content-Length: 0", b"X-Forwarded-For: a, c, d, 9", b"", b""]


def test_a_site_proves_itself_and_pieces_make_no_difference():
    async def scene():
        async with tls_sites.sites(["a.example", "b.example"], alpn=("h2",)) as (doors, authority):
            seen = []
            for name, piece in (("a.example", 0), ("b.example", 0), ("b.example", 50), (None, 0)):
                how = {"alpn": ("h2", "x"), "piece": piece, "source": ME}
                seen.append(await tls_sites.visit(doors["b.example"], name, authority, **how))
            return seen

    visits = play(scene())
    assert {visit.certificate for visit in visits} == {"b.example"}
    assert {visit.alpn for visit in visits} == {"h2"}
    assert {visit.text for visit in visits} == {f"b.example, called by {ME}"}


def test_a_stranger_s_certificate_is_refused():
    async def scene():
        async with tls_sites.sites(["a.example"]) as (doors, _), tls_sites.sites(["b.example"]) as (_, stranger):
            await tls_sites.visit(doors["a.example"], "a.example", stranger)

    with pytest.raises(ssl.SSLCertVerificationError):
        play(scene())


def test_no_tls_is_an_os_error():
    async def scene():
        async with smallest.listening(whoami.mail) as door, tls_sites.sites(["a.example"]) as (_, authority):
            await tls_sites.visit(door, "a.example", authority)

    with pytest.raises(OSError, match=r".+"):
        play(scene())


def test_a_tls_server_hangs_up_on_a_header():
    async def scene():
        async with tls_sites.sites(["a.example"]) as (doors, _):
            return await callers.ask(doors["a.example"], LIE + tls_sites.first_flight("a.example"))

    assert "called by" not in play(scene())


def test_the_first_flight_is_a_hello():
    hello = tls_hello.parse(tls_sites.first_flight("Shop.example", ["x"]))
    assert (hello.server_name, hello.alpn) == ("shop.example", ("x",))
