"""Real conversations on loopback: nothing lost, nothing left behind, failures told."""

from __future__ import annotations

import os
import signal
import socket
import ssl
import threading
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scapy.layers.inet import IP, TCP
from scapy.layers.l2 import Ether

from lbcore.testbed import frames, loopback
from lbcore.testbed.frames import CAPTURED, REBUILT, TO_CLIENT, TO_SERVER, Segment, payload_of, rebuild_frames
from lbcore.testbed.loopback import Response, capture_http, exchange
from lbcore.wire import tls_hello
from tests.holding import holding

SECRET = "/api/orders?id=7"


@pytest.fixture(autouse=True)
def _nothing_is_left_behind():
    capture_http(tls=True, frames=True)  # whatever libraries open once for all is open now
    before = holding()
    yield
    assert holding() <= before


# --------------------------------------------------------------------------------------------------------- what passes
def test_http_bytes_are_those_the_server_read():
    seen = []

    def respond(request):
        seen.append(request)
        return Response(status=404, headers={"X-A": "1", "X-B": "2"}, body=b"nothing here")

    headers = {"User-Agent": "book/1", "Accept": "*/*"}
    talk = capture_http("/missing?q=1", "shop.example", headers, method="POST", body=b"\0\1\2", respond=respond)
    ask, answer = talk.segments
    assert (ask.direction, answer.direction) == (TO_SERVER, TO_CLIENT)
    assert ask.payload == (
        b"POST /missing?q=1 HTTP/1.1\r\nHost: shop.example\r\nUser-Agent: book/1\r\nAccept: */*\r\n"
        b"Content-Length: 3\r\nConnection: close\r\n\r\n\0\1\2"
    )
    assert answer.payload == (
        b"HTTP/1.1 404 Not Found\r\nX-A: 1\r\nX-B: 2\r\nContent-Length: 12\r\nConnection: close\r\n\r\nnothing here"
    )
    assert [(r.method, r.path, r.body) for r in seen] == [("POST", "/missing?q=1", b"\0\1\2")]
    assert seen[0].headers[:2] == (("Host", "shop.example"), ("User-Agent", "book/1"))
    assert 0 <= ask.when <= answer.when
    assert talk.client[0] == talk.server[0] == "127.0.0.1"
    assert talk.frames == ()


def test_http_is_the_same_each_time():
    first, second = capture_http(), capture_http()
    assert [(s.direction, s.payload) for s in first.segments] == [(s.direction, s.payload) for s in second.segments]


@pytest.mark.parametrize("_", range(3))
def test_tls_shows_the_host_and_hides_the_path(_):
    talk = capture_http(SECRET, "shop.example", tls=True, alpn=("h2", "http/1.1"))
    hello = tls_hello.parse(talk.segments[0].payload)
    assert hello.server_name == "shop.example"
    assert hello.alpn == ("h2", "http/1.1")
    everything = talk.sent(TO_SERVER) + talk.sent(TO_CLIENT)
    assert b"shop.example" in everything
    assert SECRET.encode() not in everything
    assert b"order" not in everything
    # hello; server's flight; finished and request; response and close_notify; close_notify
    assert [s.direction for s in talk.segments] == [TO_SERVER, TO_CLIENT, TO_SERVER, TO_CLIENT, TO_SERVER]
    close_notify = b"\x17\x03\x03\x00\x13"  # a record with 2 bytes of alert, its type, and 16 of authentication
    assert [s.payload[-24:-19] for s in talk.segments[3:]] == [close_notify, close_notify]


def test_two_large_streams_at_once():
    size = 3_000_000

    def end(byte):
        def run(connection):
            writer = threading.Thread(target=lambda: (connection.sendall(byte * size), finish(connection)))
            writer.start()
            got = 0
            while chunk := connection.recv(65536):
                got += len(chunk)
            writer.join()
            assert got == size

        return run

    def finish(connection):
        connection.shutdown(socket.SHUT_WR)

    talk = exchange(end(b"c"), end(b"s"))
    assert talk.sent(TO_SERVER) == b"c" * size
    assert talk.sent(TO_CLIENT) == b"s" * size


def test_nothing_listens_while_they_talk():
    def client(connection):
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(connection.getpeername(), 1).close()

    exchange(client, lambda connection: connection.recv(1))


# ------------------------------------------------------------------------------------------------------------ failures
def refuse(request):
    raise LookupError("no such order")


@pytest.mark.parametrize("tls", [False, True])
def test_a_failing_server_is_heard(tls):
    with pytest.raises(LookupError, match="no such order") as caught:
        capture_http(tls=tls, respond=refuse)
    assert caught.value.__notes__, "what the client made of it is noted"


def test_a_server_that_fails_before_it_reads():
    def server(connection):
        raise LookupError("asleep")

    with pytest.raises(LookupError, match="asleep"):
        exchange(lambda connection: connection.sendall(b"x" * 1_000_000), server)


def test_a_failing_client_is_heard():
    def client(connection):
        raise LookupError("changed its mind")

    with pytest.raises(LookupError, match="changed its mind"):
        exchange(client, lambda connection: connection.recv(1))


@pytest.mark.parametrize("status", [100, 204, 304])
def test_a_body_where_none_may_be_is_refused(status):
    with pytest.raises(ValueError, match=f"status is {status}"):
        capture_http(respond=lambda request: Response(status=status, body=b"x"))


@pytest.mark.parametrize(("method", "status"), [("HEAD", 200), ("GET", 204), ("GET", 304)])
def test_answers_without_a_body(method, status):
    talk = capture_http(method=method, respond=lambda request: Response(status, {}, b"x" if status == 200 else b""))
    assert talk.sent(TO_CLIENT).endswith(b"\r\nConnection: close\r\n\r\n")


def test_an_untrusted_certificate_is_refused(monkeypatch):
    contexts = loopback._tls_contexts
    monkeypatch.setattr(loopback, "_tls_contexts", lambda host, alpn: contexts("other.example", alpn))
    with pytest.raises(ssl.SSLCertVerificationError, match=r"shop\.example"):
        capture_http(tls=True)


def test_a_client_that_leaves_bytes_unread_is_an_error():
    ready = threading.Event()

    def client(connection):
        assert ready.wait(5)
        connection.recv(1)  # and goes, with the rest unread

    def server(connection):
        connection.sendall(b"x" * 5_000)
        ready.set()
        while connection.recv(1):
            pass

    with pytest.raises(OSError, match=r"reset|Broken pipe"):
        exchange(client, server)


def stare(connection):
    connection.recv(1)


def talk_on(connection):
    connection.sendall(bytes(50_000_000))


def quarrel(connection):
    stare(connection)
    raise AssertionError("it hung up on me")


@pytest.mark.parametrize("end", [stare, talk_on, quarrel])
def test_two_that_wait_for_each_other_are_parted(end):
    with pytest.raises(TimeoutError, match=r"not over after 0\.3 s"):
        exchange(end, end, timeout=0.3)


@pytest.mark.parametrize("end", [stare, talk_on])
def test_interrupt_parts_them_too(end):
    timer = threading.Timer(0.3, os.kill, [os.getpid(), signal.SIGINT])
    timer.start()
    started = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        exchange(end, end, timeout=60)
    timer.join()
    assert time.monotonic() - started < 30, "woken, not waited for"


# -------------------------------------------------------------------------------------------------------------- frames
def why_no_tap() -> str:
    try:
        frames.Tap().close()
    except OSError as error:
        return str(error)
    return ""


@pytest.mark.parametrize("tls", [False, True])
def test_frames_are_captured_where_they_can_be_and_rebuilt_elsewhere(tls):
    talk = capture_http(tls=tls, frames=True)
    assert (talk.frames_origin, talk.frames_why) == ((REBUILT, why) if (why := why_no_tap()) else (CAPTURED, ""))
    assert_tells_the_same(talk.frames, talk)


@pytest.mark.parametrize("tls", [False, True])
def test_rebuilt_without_privileges(tls, monkeypatch):
    monkeypatch.setenv("LBCORE_TIER", "0")
    talk = capture_http(tls=tls, frames=True)
    assert talk.frames_origin == REBUILT
    assert "LBCORE_TIER" in talk.frames_why
    assert_tells_the_same(talk.frames, talk)


def test_a_capture_with_holes_is_not_passed_off_as_whole(monkeypatch):
    class Leaky:
        close = staticmethod(lambda: None)

        def collect(self, client, server):
            whole = rebuild_frames([Segment(TO_SERVER, b"GET", 0.0)], client, server)
            return whole[:3] + whole[4:]

    monkeypatch.setattr(loopback, "Tap", Leaky)
    talk = capture_http(frames=True)
    assert talk.frames_origin == REBUILT
    assert "lost" in talk.frames_why


def assert_tells_the_same(kept, talk):
    """Scapy reads a whole TCP connection with the payload that the relay saw."""
    packets = [Ether(frame) for frame in kept]
    assert all(packet.haslayer(TCP) for packet in packets)
    flags = [str(packet[TCP].flags) for packet in packets]
    assert flags[:3] == ["S", "SA", "A"]
    assert sum("F" in f for f in flags) == 2
    assert flags[-1] == "A"
    ends = {(p[IP].src, p[TCP].sport, p[IP].dst, p[TCP].dport) for p in packets}
    assert ends == {talk.client + talk.server, talk.server + talk.client}
    for way, address in ((TO_SERVER, talk.client), (TO_CLIENT, talk.server)):
        assert payload_of(kept, address) == talk.sent(way)


CLIENT, SERVER = ("192.0.2.10", 51000), ("203.0.113.5", 443)
segments = st.lists(
    st.builds(Segment, st.sampled_from([TO_SERVER, TO_CLIENT]), st.binary(min_size=1, max_size=120), st.just(0.0)),
    max_size=6,
)


@given(segments, st.integers(20, 100), st.tuples(st.integers(0, 2**32 - 1), st.integers(0, 2**32 - 1)))
def test_rebuilt_frames_hold_the_payload_with_right_checksums(talk, mss, first_seq):
    kept = rebuild_frames(talk, CLIENT, SERVER, mss=mss, first_seq=first_seq)
    for way, address in ((TO_SERVER, CLIENT), (TO_CLIENT, SERVER)):
        assert payload_of(kept, address) == b"".join(s.payload for s in talk if s.direction == way)
    for frame in kept:
        packet = Ether(frame)
        again = packet.copy()
        del again[IP].chksum, again[TCP].chksum
        assert bytes(again) == frame
        assert len(packet[TCP].payload) <= mss
    expected = dict(zip((CLIENT, SERVER), first_seq, strict=True))
    for tcp in map(frames.read_frame, kept):
        assert tcp is not None
        assert tcp.seq == expected[tcp.source], "each frame starts where its sender's last one ended"
        if tcp.flags & frames.ACK:
            assert tcp.ack == expected[tcp.target], "and acknowledges all that the other has sent"
        expected[tcp.source] += len(tcp.payload) + bool(tcp.flags & (frames.SYN | frames.FIN))
        expected[tcp.source] %= 2**32


def test_overlapping_retransmissions():
    payload = bytes(range(200))
    small, large = (rebuild_frames([Segment(TO_SERVER, payload, 0.0)], CLIENT, SERVER, mss=mss) for mss in (50, 130))
    for kept in (small + large[3:], large + small[3:], large[:4] + small[4:]):
        assert payload_of(kept, CLIENT) == payload
    assert payload_of(large[:4] + small[4:6], CLIENT) == payload[:150]
    assert payload_of(large[:4] + small[4:5], CLIENT) == payload[:130], "an old piece takes nothing away"


@given(segments, st.data())
def test_missing_reordered_and_repeated_frames(talk, data):
    kept = list(rebuild_frames(talk, CLIENT, SERVER, mss=50))
    again = rebuild_frames(talk, CLIENT, SERVER, mss=data.draw(st.integers(20, 130)))[3:]
    sent = b"".join(s.payload for s in talk if s.direction == TO_SERVER)
    mixed = kept[:3] + data.draw(st.permutations([*kept[3:], *again]))
    assert payload_of(mixed, CLIENT) == sent
    some = kept[:3] + [frame for frame in kept[3:] if data.draw(st.booleans())]
    assert sent.startswith(payload_of(some, CLIENT))


@given(st.binary(max_size=120))
def test_any_frame_is_read_or_refused(noise):
    assert frames.read_frame(noise) is None or len(noise) >= 54
    start = rebuild_frames([], CLIENT, SERVER)[0][:34]
    tcp = frames.read_frame(start[:16] + (20 + len(noise)).to_bytes(2, "big") + start[18:] + noise)
    assert (tcp is None) == (len(noise) < 20)


def test_cut_and_padded_frames():
    frame = rebuild_frames([Segment(TO_SERVER, b"GET / HTTP/1.1", 0.0)], CLIENT, SERVER)[3]
    assert all(frames.read_frame(frame[:cut]) is None for cut in range(len(frame)))
    padded = frames.read_frame(frame + bytes(6))
    assert padded is not None
    assert padded.payload == b"GET / HTTP/1.1", "an Ethernet trailer is not payload"
