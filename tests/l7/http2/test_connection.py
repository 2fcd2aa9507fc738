"""Both ends of HTTP/2 against the `h2` package, and against frames that no decent peer sends."""

from __future__ import annotations

import struct

import h2.events
import h2.settings
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lbcore.l7.http2 import frames
from lbcore.l7.http2.frames import Code
from lbcore.l7.http2.limits import Http2Limits
from lbcore.l7.limits import Limits
from tests.l7.http2.peers import GET, OK, POST, Ours, exchange, fault, head, raw, split, theirs

WORD = struct.Struct(">L").pack
PING = frames.frame(frames.PING, 0, 0, b"12345678")


def of(events, kind):
    return [event for event in events if isinstance(event, kind)]


def echo(stream) -> None:
    stream.put_head(OK)
    stream.put_data(bytes(stream.data))
    stream.put_end(stream.trailers or [])


# ------------------------------------------------------------------------------------------------------ with a library
@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, 100_000), st.booleans()), min_size=1, max_size=6),
    st.sampled_from([0, 1000, 65_535, 1 << 20]),
    st.sampled_from([16_384, 20_000]),
)
def test_bodies_come_back_as_they_went_whatever_the_windows(bodies, window, largest):
    """h2 raises if we send more than its windows take, or frames that are too long."""
    ours, client = Ours(answer=echo), theirs()
    client.update_settings({h2.settings.SettingCodes.INITIAL_WINDOW_SIZE: window, 5: largest})
    wanted, pending, got = {}, {}, {}
    exchange(ours, client)
    for size, with_trailers in bodies:
        stream = client.get_next_available_stream_id()
        client.send_headers(stream, POST)
        wanted[stream] = pending[stream] = bytes(range(256)) * (size // 256) + b"x" * (size % 256)
        got[stream] = b""
        if with_trailers:
            pending[stream] += b""
    ends = {stream: with_trailers for stream, (_, with_trailers) in zip(pending, bodies, strict=True)}
    done = set()
    for _ in range(3000):
        for stream, rest in pending.items():
            if stream in done:
                continue
            size = min(len(rest), client.local_flow_control_window(stream), client.max_outbound_frame_size)
            if size:
                client.send_data(stream, rest[:size])
                pending[stream] = rest[size:]
            if not pending[stream]:
                done.add(stream)
                if ends[stream]:
                    client.send_headers(stream, [(b"x-end", b"1")], end_stream=True)
                else:
                    client.end_stream(stream)
        events = exchange(ours, client)
        for event in of(events, h2.events.DataReceived):
            got[event.stream_id] += event.data
        if window < 1000:
            for stream in list(ours.streams):
                client.increment_flow_control_window(50_000, stream)
        if len(done) == len(pending) and not ours.streams:
            break
    assert got == wanted
    assert ours.completed == len(bodies)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(1, 400), max_size=60))
def test_any_cut_of_the_bytes_says_the_same(cuts):
    client = theirs()
    for number in range(3):
        stream = client.get_next_available_stream_id()
        client.send_headers(stream, POST)
        client.send_data(stream, b"body %d" % number * 30)
        client.send_headers(stream, [(b"x-end", b"%d" % number)], end_stream=True)
    data, ours = client.data_to_send(), Ours()
    for cut in cuts:
        ours.receive(data[:cut])
        data = data[cut:]
    ours.receive(data)
    assert [bytes(one.data) for one in ours.all.values()] == [b"body %d" % number * 30 for number in range(3)]
    assert [one.trailers for one in ours.all.values()] == [[(b"x-end", b"%d" % number)] for number in range(3)]


@settings(max_examples=200, deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, 12), st.integers(0, 255), st.integers(0, 9), st.binary(max_size=40)), max_size=12)
)
def test_any_frames_end_in_faults_at_worst(found):
    """And what goes out next can be read by a peer."""
    ours = raw()
    data = b"".join(frames.frame(kind, flags, stream, payload) for kind, flags, stream, payload in found)
    wrong = fault(ours, data)
    if wrong is not None:
        ours.fail(wrong)
        assert not ours.streams
    split(ours.everything())


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_a_whole_session_with_bytes_changed_ends_in_faults_at_worst(data):
    client = theirs()
    for _ in range(3):
        stream = client.get_next_available_stream_id()
        client.send_headers(stream, POST)
        client.send_data(stream, b"x" * 50, end_stream=True)
    session = bytearray(client.data_to_send())
    for _ in range(data.draw(st.integers(1, 4))):
        session[data.draw(st.integers(24, len(session) - 1))] = data.draw(st.integers(0, 255))
    ours = Ours(answer=echo)
    if wrong := fault(ours, bytes(session)):
        ours.fail(wrong)
    split(ours.everything())


def test_a_client_of_ours_with_a_server_of_theirs():
    ours, server = Ours(server=False), theirs(client=False)
    streams = [ours.request(POST, b"x" * 100_000), ours.request(GET, b"")]
    got = {1: b"", 3: b""}
    for event in exchange(ours, server):
        if isinstance(event, h2.events.DataReceived):
            got[event.stream_id] += event.data
        elif isinstance(event, h2.events.StreamEnded):
            server.send_headers(event.stream_id, OK)
            server.send_data(event.stream_id, b"answer")
            server.send_headers(event.stream_id, [(b"x-end", b"1")], end_stream=True)
    exchange(ours, server)
    assert got == {1: b"x" * 100_000, 3: b""}
    for stream in streams:
        assert stream.heads[0] == OK
        assert (bytes(stream.data), stream.trailers) == (b"answer", [(b"x-end", b"1")])
    assert not ours.streams


def test_small_bodies_do_not_wait_behind_a_big_one():
    ours, client = Ours(answer=lambda stream: None), theirs()
    for _ in range(2):
        client.send_headers(client.get_next_available_stream_id(), GET, end_stream=True)
    ours.receive(client.data_to_send())
    for stream, size in ((ours.all[1], 60_000), (ours.all[3], 10)):
        stream.put_head(OK)
        stream.put_data(b"x" * size)
        stream.put_end([])
    order = [(stream, len(payload)) for kind, _, stream, payload in split(ours.emit()) if kind == frames.DATA]
    assert order[:2] == [(1, 16_384), (3, 10)]


# --------------------------------------------------------------------------------------------------------- backpressure
def test_a_paused_stream_keeps_a_window_and_no_more():
    own = Http2Limits(window=30_000, connection_window=100_000)
    ours, client = Ours(own=own), theirs()
    stream = client.get_next_available_stream_id()
    client.send_headers(stream, POST)
    exchange(ours, client)
    ours.all[stream].pause()
    sent = 0
    while (size := min(client.local_flow_control_window(stream), 1000)) > 0:
        client.send_data(stream, b"x" * size)
        exchange(ours, client)
        sent += size
    assert sent == 30_000
    assert not ours.all[stream].data
    ours.all[stream].resume()
    exchange(ours, client)
    assert len(ours.all[stream].data) == 30_000
    assert client.local_flow_control_window(stream) == 30_000


def test_the_connections_window_comes_back_when_a_stream_goes_with_what_it_kept():
    own = Http2Limits(window=60_000, connection_window=100_000)
    ours, client = Ours(own=own), theirs()
    for _ in range(5):
        stream = client.get_next_available_stream_id()
        client.send_headers(stream, POST)
        exchange(ours, client)
        ours.all[stream].pause()
        for _ in range(4):
            client.send_data(stream, b"x" * 15_000)
        exchange(ours, client)
        ours.all[stream].reset(Code.CANCEL)
        exchange(ours, client)
    assert client.outbound_flow_control_window >= 50_000


def test_a_writer_is_told_to_wait_and_to_go_on():
    ours, client = Ours(answer=lambda stream: None), theirs()
    client.send_headers(1, GET, end_stream=True)
    exchange(ours, client)
    stream = ours.all[1]
    stream.put_head(OK)
    stream.put_data(b"x" * 65_535)
    assert stream.writable
    stream.put_data(b"x" * 65_537)
    assert not stream.writable
    exchange(ours, client, acknowledge=False)
    assert not stream.writable
    assert stream.unsent == 65_537
    client.increment_flow_control_window(40_000, 1)
    client.increment_flow_control_window(40_000)
    exchange(ours, client, acknowledge=False)
    assert stream.writable
    assert stream.ready == 1


# --------------------------------------------------------------------------------------------------------------- faults
@pytest.mark.parametrize(
    ("data", "code"),
    [
        (frames.frame(frames.DATA, 0, 0, b"x"), Code.PROTOCOL_ERROR),
        (frames.frame(frames.DATA, 0, 1, b"x"), Code.PROTOCOL_ERROR),  # idle
        (head(1, GET) + frames.frame(frames.DATA, 0, 1, b"x"), Code.STREAM_CLOSED),  # half-closed
        (head(1, POST, False) + frames.frame(frames.DATA, frames.PADDED, 1, b"\x05abc"), Code.PROTOCOL_ERROR),
        (head(1, POST, False) + frames.frame(frames.DATA, frames.PADDED, 1, b""), Code.FRAME_SIZE_ERROR),
        (frames.HEADER.pack(0, 16_385, frames.DATA, 0, 1), Code.FRAME_SIZE_ERROR),
        (head(2, GET), Code.PROTOCOL_ERROR),  # a client's streams are odd
        (head(0, GET), Code.PROTOCOL_ERROR),
        (head(3, GET) + head(1, GET), Code.PROTOCOL_ERROR),
        (head(1, GET) + head(3, GET) + head(1, GET), Code.STREAM_CLOSED),
        (frames.frame(frames.HEADERS, frames.END_HEADERS | frames.PADDED, 1, b"\xff"), Code.PROTOCOL_ERROR),
        (frames.frame(frames.HEADERS, 0x25, 1, WORD(1) + b"\0\x82"), Code.PROTOCOL_ERROR),
        (frames.frame(frames.HEADERS, 0x25, 1, WORD(3)), Code.FRAME_SIZE_ERROR),
        (frames.frame(frames.HEADERS, frames.END_HEADERS, 1, b"\xbe"), Code.COMPRESSION_ERROR),
        (frames.frame(frames.HEADERS, 0, 1, b"\x82") + PING, Code.PROTOCOL_ERROR),
        (
            frames.frame(frames.HEADERS, 0, 1, b"\x82") + frames.frame(frames.CONTINUATION, 4, 3, b""),
            Code.PROTOCOL_ERROR,
        ),
        (frames.frame(frames.CONTINUATION, 4, 1, b""), Code.PROTOCOL_ERROR),
        (frames.frame(frames.PRIORITY, 0, 1, WORD(0)), Code.FRAME_SIZE_ERROR),
        (frames.frame(frames.PRIORITY, 0, 1, WORD(1) + b"\0"), Code.PROTOCOL_ERROR),
        (frames.frame(frames.RST_STREAM, 0, 1, WORD(8)), Code.PROTOCOL_ERROR),  # idle
        (frames.frame(frames.RST_STREAM, 0, 0, WORD(8)), Code.PROTOCOL_ERROR),
        (head(1, GET) + frames.frame(frames.RST_STREAM, 0, 1, b"\0"), Code.FRAME_SIZE_ERROR),
        (frames.frame(frames.SETTINGS, 0, 1), Code.PROTOCOL_ERROR),
        (frames.frame(frames.SETTINGS, 0, 0, b"12345"), Code.FRAME_SIZE_ERROR),
        (frames.frame(frames.SETTINGS, frames.ACK, 0, b"123456"), Code.FRAME_SIZE_ERROR),
        (frames.settings({frames.ENABLE_PUSH: 2}), Code.PROTOCOL_ERROR),
        (frames.settings({frames.INITIAL_WINDOW: 1 << 31}), Code.FLOW_CONTROL_ERROR),
        (frames.settings({frames.MAX_FRAME: 16_383}), Code.PROTOCOL_ERROR),
        (frames.settings({frames.MAX_FRAME: 1 << 24}), Code.PROTOCOL_ERROR),
        (frames.frame(frames.PUSH_PROMISE, 4, 1, WORD(2)), Code.PROTOCOL_ERROR),
        (frames.frame(frames.PING, 0, 0, b"1234567"), Code.FRAME_SIZE_ERROR),
        (frames.frame(frames.PING, 0, 1, b"12345678"), Code.PROTOCOL_ERROR),
        (frames.frame(frames.GOAWAY, 0, 1, b"12345678"), Code.PROTOCOL_ERROR),
        (frames.frame(frames.GOAWAY, 0, 0, b"1234567"), Code.FRAME_SIZE_ERROR),
        (frames.window_update(0, 0), Code.PROTOCOL_ERROR),
        (frames.window_update(1, 1), Code.PROTOCOL_ERROR),  # idle
        (frames.frame(frames.WINDOW_UPDATE, 0, 0, b"123"), Code.FRAME_SIZE_ERROR),
        (frames.window_update(0, frames.MOST), Code.FLOW_CONTROL_ERROR),
        (head(1, GET) + frames.settings({4: 70_000}) + frames.window_update(1, 1) + frames.settings({4: frames.MOST}),
         Code.FLOW_CONTROL_ERROR),
    ],
)  # fmt: skip
def test_faults_of_the_connection(data, code):
    """RFC 9113 sections 4 to 6, as h2spec asks for them."""
    ours = raw()
    wrong = fault(ours, data)
    assert wrong is not None
    assert wrong.code == code
    ours.fail(wrong)
    kind, _, _, payload = split(ours.everything())[-1]
    assert kind == frames.GOAWAY
    assert struct.unpack(">LL", payload[:8])[1] == code


@pytest.mark.parametrize("data", [b"GET / HTTP/1.1\r\n\r\n", b"PRI * HTTP/1.1", frames.PREFACE + PING])
def test_what_is_no_http2_at_all(data):
    assert fault(Ours(), data).code == Code.PROTOCOL_ERROR


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (frames.window_update(1, 0), Code.PROTOCOL_ERROR),
        (frames.window_update(1, frames.MOST), Code.FLOW_CONTROL_ERROR),
        (b"".join(frames.frame(frames.DATA, 0, 1, b"x" * 16_384) for _ in range(17)), Code.FLOW_CONTROL_ERROR),
    ],
)
def test_faults_of_a_stream_leave_the_others(data, code):
    ours = raw()
    ours.receive(head(1, POST, False) + head(3, POST, False))
    ours.all[1].pause()
    ours.receive(data)
    assert ours.all[1].broken.startswith("garbage")
    assert list(ours.streams) == [3]
    assert (frames.RST_STREAM, 0, 1, WORD(code)) in split(ours.emit())
    ours.receive(frames.frame(frames.DATA, 1, 1, b"late") + frames.frame(frames.DATA, 1, 3, b"x"))
    assert bytes(ours.all[3].data) == b"x"


@pytest.mark.parametrize("pieces", [(b"abc",), (b"abcde", b"f"), (b"",)])
def test_content_length_agrees_with_data(pieces):
    """RFC 9113 section 8.1.1."""
    ours = raw()
    ours.receive(head(1, POST, False))
    ours.all[1].expected = 5
    for piece in pieces[:-1]:
        ours.receive(frames.frame(frames.DATA, 0, 1, piece))
    ours.receive(frames.frame(frames.DATA, frames.END_STREAM, 1, pieces[-1]))
    assert ours.all[1].broken
    assert ours.all[1].trailers is None


def test_a_server_that_pushes_is_left():
    ours = raw(server=False)
    ours.request(GET, b"")
    ours.emit()
    assert fault(ours, frames.frame(frames.PUSH_PROMISE, 4, 1, WORD(2) + b"\x82")).code == Code.PROTOCOL_ERROR
    assert fault(raw(server=False), frames.settings({frames.ENABLE_PUSH: 1})).code == Code.PROTOCOL_ERROR


# --------------------------------------------------------------------------------------------------------------- floods
def until_calm(ours: Ours, piece, most: int = 100_000) -> int:
    """How many of these pieces it takes until the connection is ended for it."""
    for number in range(most):
        wrong = fault(ours, piece(number))
        if wrong:
            assert wrong.code == Code.ENHANCE_YOUR_CALM
            return number
        ours.emit()
    raise AssertionError("no end")


FLOODS = {
    "ping, CVE-2019-9512": lambda number: PING,
    "settings, CVE-2019-9515": lambda number: frames.settings({}),
    "priority, CVE-2019-9513": lambda number: frames.frame(frames.PRIORITY, 0, 1, WORD(3) + b"\0"),
    "empty data, CVE-2019-9518": lambda number: (
        (head(1, POST, False) if not number else b"") + frames.frame(frames.DATA, 0, 1)
    ),
    "window updates, CVE-2019-9511": lambda number: frames.window_update(0, 1),
    "unknown frames": lambda number: frames.frame(0x77, 0, 0),
    "reset streams, CVE-2023-44487": lambda number: (
        head(2 * number + 1, GET) + frames.frame(frames.RST_STREAM, 0, 2 * number + 1, WORD(8))
    ),
    "streams beyond the limit": lambda number: head(2 * number + 1, POST, False),
}


@pytest.mark.parametrize("flood", FLOODS)
def test_frames_that_ask_for_nothing_are_borne_for_a_while(flood):
    assert 20 < until_calm(raw(), FLOODS[flood]) < 3000


@pytest.mark.parametrize("expected", [1, None])  # more than content-length said; more than the stream's window
def test_data_that_breaks_its_stream_is_given_back_to_the_connection(expected):
    now = [0.0]
    ours = raw(own=Http2Limits(window=1000, connection_window=65_535), clock=lambda: now[0])
    for number in range(1, 200, 2):
        now[0] += 10  # what it costs has come back
        ours.receive(head(number, POST, False))
        ours.all[number].expected = expected
        assert not fault(ours, frames.frame(frames.DATA, 0, number, bytes(1000 if expected else 5000)))
        assert ours.all[number].broken
        ours.emit()


def test_a_ping_after_each_message_is_no_flood():
    """grpc-go sends one, and a WINDOW_UPDATE, with each DATA that it gets, to learn how wide its window should be."""
    ours = raw()
    ours.receive(head(1, POST, False))
    ours.all[1].put_head(OK)
    for _ in range(3000):
        ours.all[1].put_data(b"x")
        ours.emit()
        ours.receive(frames.window_update(0, 1) + PING)
    assert until_calm(ours, lambda number: PING) < 300


def test_rapid_reset_cve_2023_44487():
    """Streams opened and reset at once: never more at a time than allowed, so only proportion tells. Such a client is
    sent away after some hundreds; one that resets every other of its streams never is."""
    ours = raw()
    assert until_calm(ours, FLOODS["reset streams, CVE-2023-44487"]) <= 201
    fair = raw(answer=lambda stream: echo(stream) if stream.id % 4 == 1 else None)
    for number in range(3000):
        stream = 2 * number + 1
        fair.receive(head(stream, GET))
        fair.emit()
        if stream % 4 != 1:
            fair.receive(frames.frame(frames.RST_STREAM, 0, stream, WORD(8)))
    assert fair.completed == 1500


def test_patience_comes_back_with_time():
    now = [0.0]
    ours = raw(clock=lambda: now[0])
    for _ in range(3000):
        now[0] += 1.1
        ours.receive(PING)
        ours.emit()


def test_a_header_block_without_end_cve_2024_27316():
    """The CONTINUATION flood: neither many frames nor many bytes are gathered."""
    for piece, most in ((b"", 20), (b"\x00\x01a\x7f\xff\xff\x00" + b"x" * 16_000, 3)):
        ours = raw()
        assert not fault(ours, frames.frame(frames.HEADERS, 0, 1, b"\x82"))
        more = frames.frame(frames.CONTINUATION, 0, 1, piece)
        count = next(number for number in range(most + 1) if fault(ours, more))
        assert count < most


def test_a_stream_too_many_is_refused_and_can_be_tried_again():
    ours = raw(own=Http2Limits(streams=2))
    ours.receive(head(1, GET) + head(3, GET) + head(5, GET))
    assert (frames.RST_STREAM, 0, 5, WORD(Code.REFUSED_STREAM)) in split(ours.emit())
    assert list(ours.streams) == [1, 3]


def test_what_a_client_can_make_us_keep_is_bounded():
    """128 streams that nobody reads, each full: one window of the connection, and no byte more."""
    own = Http2Limits(window=262_144, connection_window=1_048_576)
    ours = raw(own=own)
    taken, wrong = 0, None
    for number in range(128 * 16):
        stream = number // 16 * 2 + 1
        if number % 16 == 0:
            ours.receive(head(stream, POST, False))
            ours.all[stream].pause()
        if wrong := fault(ours, frames.frame(frames.DATA, 0, stream, b"x" * 16_384)):
            break
        taken += 16_384
    assert wrong.code == Code.FLOW_CONTROL_ERROR
    assert taken <= own.connection_window


# -------------------------------------------------------------------------------------------------------------- the end
def test_a_server_says_goodbye_and_lets_streams_end():
    """RFC 9113 section 6.8: the warning, and the last stream's number once the warning has come round."""
    ours = raw(answer=echo)
    ours.receive(head(1, POST, False))
    ours.say_goodbye()
    sent = split(ours.emit())
    assert [(kind, payload[:4]) for kind, _, _, payload in sent if kind == frames.GOAWAY] == [
        (frames.GOAWAY, WORD(frames.MOST))
    ]
    ping = next(payload for kind, _, _, payload in sent if kind == frames.PING)
    ours.receive(head(3, GET))  # was on its way
    ours.receive(frames.frame(frames.PING, frames.ACK, 0, ping))
    assert (frames.GOAWAY, 0, 0, WORD(3) + WORD(0)) in split(ours.emit())
    ours.receive(head(5, GET))
    assert (frames.RST_STREAM, 0, 5, WORD(Code.REFUSED_STREAM)) in split(ours.emit())
    assert not ours.left
    ours.receive(frames.frame(frames.DATA, frames.END_STREAM, 1, b"last"))
    assert b"last" in ours.emit()
    assert ours.left == 1


def test_a_backend_says_goodbye():
    """Streams up to the one it names go on; those behind it can be tried elsewhere."""
    ours = raw(server=False)
    first, second = ours.request(GET, b""), ours.request(GET, b"")
    ours.emit()
    ours.receive(frames.goaway(1, 0))
    assert second.broken == "refused stream"
    assert not first.broken
    ours.receive(head(1, OK, False) + frames.frame(frames.DATA, 1, 1, b"all of it"))
    assert bytes(first.data) == b"all of it"
    assert ours.left == 1


def test_a_stream_given_up_before_it_began_costs_nothing():
    ours = raw(server=False)
    stream = ours.request(GET, b"")
    stream.reset(Code.CANCEL)
    assert ours.everything() == b""
    assert not ours.streams


def test_an_answer_before_the_end_of_the_request():
    """The client is told that it need not go on (RFC 9113 section 8.1); what was on its way is no fault."""
    ours = raw()
    ours.receive(head(1, POST, False))
    stream = ours.all[1]
    stream.put_head([(b":status", b"413")])
    stream.put_end([])
    sent = split(ours.emit())
    assert sent[0][1] & frames.END_STREAM
    assert sent[1] == (frames.RST_STREAM, 0, 1, WORD(Code.NO_ERROR))
    for _ in range(40):
        ours.receive(frames.frame(frames.DATA, 0, 1, b"x" * 16_000))
    assert any(kind == frames.WINDOW_UPDATE for kind, *_ in split(ours.emit()))


def test_heads_longer_than_a_frame():
    ours, client = Ours(answer=echo, common=Limits(head=100_000)), theirs()
    client.send_headers(1, [*GET, (b"x-long", b"a" * 40_000)], end_stream=True)
    exchange(ours, client)
    assert ours.all[1].heads[0][-1] == (b"x-long", b"a" * 40_000)
    ours, server = Ours(server=False), theirs(client=False)
    ours.request([*GET, (b"x-long", b"~" * 40_000)], b"")
    [event] = of(exchange(ours, server), h2.events.RequestReceived)
    assert len(event.headers[-1][1]) == 40_000


@given(
    st.lists(
        st.tuples(st.integers(0, 9), st.integers(0, 255), st.integers(0, frames.MOST), st.binary(max_size=40)),
        max_size=8,
    ),
    st.binary(max_size=8),
)
def test_frames_come_apart_as_they_were_put_together(wanted, rest):
    data = b"".join(frames.frame(*one) for one in wanted)
    assert list(frames.split(data + rest)) == wanted  # eight bytes are no frame
    assert list(frames.split(data[:-1])) == wanted[:-1]
