"""What each layer may read, and what follows from it: on real conversations, with and without the right to capture."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scapy.layers.inet import IP, TCP, UDP
from scapy.layers.l2 import Ether

from lbcore import show
from lbcore.measure.clock import Comparison
from lbcore.show import packet_inspector as page
from lbcore.testbed import flow, inspector, layer_costs, loopback, smallest, tls_open
from lbcore.testbed.inspector import MODES, Tape, inspect
from lbcore.testbed.routes import Rule, Seen, Site
from lbcore.wire import compose
from lbcore.wire.seam import view
from lbcore.wire.verdict import OK, TRUNCATED

SITE = Site(
    (
        Rule("canary", "shop.example", "/video", ("x-canary", "yes")),
        Rule("video", "shop.example", "/video"),
        Rule("api", "shop.example", "/api"),
        Rule("images", "img.example"),
    ),
    {"canary": ("c1",), "video": ("v1", "v2"), "api": ("a1", "a2", "a3"), "images": ("i1", "i2")},
)
PATH = "/video/42?x=<b>"


def tape(tls: bool, path: str = PATH) -> Tape:
    with tls_open.key_log() as secrets:
        talk = loopback.capture_http(path, "shop.example", {"X-Canary": "yes"}, tls=tls, frames=True)
    return inspector.record(talk, secrets if tls else None)


@pytest.fixture(scope="module", params=["as it can", "rebuilt"])
def tapes(request: pytest.FixtureRequest) -> Iterator[dict[str, Tape]]:
    """The request in the clear and over TLS, captured where this machine may, and with rebuilt frames."""
    with pytest.MonkeyPatch.context() as patch:
        if request.param == "rebuilt":
            patch.setenv("LBCORE_TIER", "0")
        yield {"HTTP": tape(False), "HTTPS": tape(True)}


# ------------------------------------------------------------------------------------------------------------- routes
HOSTS, PATHS = ("shop.example", "img.example", "other.example"), ("/", "/video", "/video/1", "/videos", "/api/2?q")
RULES = st.builds(
    Rule,
    st.sampled_from("abcd"),
    st.sampled_from(HOSTS),
    st.sampled_from(("/", "/video", "/api")),
    st.none() | st.just(("x", "1")),
)


@given(st.lists(RULES, max_size=6), st.sampled_from(HOSTS), st.sampled_from(PATHS), st.booleans())
def test_seeing_more_never_opens_what_was_ruled_out(rules: list[Rule], host: str, path: str, header: bool) -> None:
    site = Site(rules, {})
    headers = {"x": "1"} if header else {}
    views = [Seen(), Seen(host), Seen(host, path), Seen(host, path, headers)]
    possible = [set(site.possible(seen)) for seen in views]
    assert all(more <= less for less, more in pairwise(possible))
    assert len(possible[-1]) <= 1
    first = next(  # the rules, read by somebody else
        (
            r.pool
            for r in rules
            if r.host == host
            and (r.prefix == "/" or path.split("?")[0] == r.prefix or path.startswith((r.prefix + "/", r.prefix + "?")))
            and (r.header is None or header)
        ),
        None,
    )
    assert possible[-1] == ({first} if first else set())


def test_no_rule_no_backend() -> None:
    assert SITE.choose(Seen("other.example", "/", {}), 1) == ((), None)
    assert SITE.possible(Seen("SHOP.example:443", "/api", {})) == ("api",)


# --------------------------------------------------------------------------------------------------------------- flows
ADDRESSES, PORTS = st.ip_addresses(v=4).map(str), st.integers(0, 65535)


@settings(max_examples=60)
@given(ADDRESSES, ADDRESSES, PORTS, PORTS, st.sampled_from([TCP, UDP]), st.binary(max_size=40), st.booleans())
def test_the_five_numbers_are_those_scapy_reads(
    source: str, destination: str, sport: int, dport: int, transport: type, data: bytes, options: bool
) -> None:
    ip = IP(src=source, dst=destination, options=[b"\x01\x01\x01\x00"] if options else [])
    frame = bytes(
        Ether(src="02:00:00:00:00:01", dst="02:00:00:00:00:02") / ip / transport(sport=sport, dport=dport) / data
    )
    found = flow.parse(view(frame))
    quads = (int.from_bytes(bytes(map(int, a.split("."))), "big") for a in (source, destination))
    assert found == (OK, {TCP: 6, UDP: 17}[transport], *quads, sport, dport)


@settings(max_examples=200)
@given(st.binary(max_size=80), st.integers(0, 60))
def test_any_bytes_get_a_verdict(noise: bytes, cut: int) -> None:
    for frame in (noise, compose.tcp_frame(source="192.0.2.1:1", destination="192.0.2.2:2")[:cut]):
        assert isinstance(flow.parse(view(frame)), flow.Flow)


def test_a_middle_fragment_has_no_ports() -> None:
    frame = compose.tcp_frame(source="192.0.2.1:1", destination="192.0.2.2:2", fragment_offset=1480)
    assert flow.parse(view(frame)).verdict == TRUNCATED


# ------------------------------------------------------------------------------------------------------- opened records
def test_keys_of_rfc_8448() -> None:
    """RFC 8448 section 3: the client's application traffic secret, and the key and nonce base made of it."""
    secret = bytes.fromhex("9e40646ce79a7f9dc05af8889bce6552875afa0b06df0087f792ebb7c17504a5")
    keys = tls_open.Keys(0x1301, secret)
    assert keys.expand(secret, b"key", 16).hex() == "17422dda596ed5d9acd890e3c63f5051"
    assert f"{keys.base:024x}" == "5b78923dee08579033e523d9"


def test_what_is_opened_is_what_the_client_sent(tapes: dict[str, Tape]) -> None:
    kinds = [record.kind for record in tapes["HTTPS"].opened]
    assert kinds[:2] == [tls_open.HANDSHAKE, tls_open.APPLICATION_DATA]
    assert tapes["HTTPS"].opened[1].text == tapes["HTTP"].client


def test_a_changed_record_and_foreign_secrets_do_not_open() -> None:
    with tls_open.key_log() as secrets:
        talk = loopback.capture_http(tls=True)
    client, server = talk.sent("client to server"), talk.sent("server to client")
    assert tls_open.open_client(client, server, secrets)
    with pytest.raises(ValueError, match="does not open"):
        tls_open.open_client(client[:-1] + bytes([client[-1] ^ 1]), server, secrets)
    foreign = {label: secret[::-1] for label, secret in secrets.items()}
    with pytest.raises(ValueError, match="does not open"):
        tls_open.open_client(client, server, foreign)
    with pytest.raises(ValueError, match="wanted a ServerHello"):
        tls_open.open_client(client, b"HTTP/1.1 400", secrets)
    with pytest.raises(ValueError, match="suite is 0xc02f"):
        tls_open.Keys(0xC02F, bytes(32))


@given(st.binary(max_size=60))
def test_records_never_leave_the_data(data: bytes) -> None:
    ends = [0]
    for _, start, end in tls_open.records(data):
        assert start == ends[-1] < end <= len(data)
        ends.append(end)


# ------------------------------------------------------------------------------------------------------------ readings
def test_layers_tile_every_frame(tapes: dict[str, Tape]) -> None:
    for one in tapes.values():
        for at, frame in enumerate(one.frames):
            layers = inspect(one, at, "L7", SITE).layers
            ends = [layer.offset + layer.length for layer in layers]
            assert [layer.offset for layer in layers] == [0, *ends[:-1]]
            assert ends[-1] == len(frame)
            for layer in layers:
                for field in layer.fields:
                    assert layer.offset <= field.bit_offset // 8
                    assert field.bit_offset + field.bits <= 8 * (layer.offset + layer.length)


def readable_bytes(one: Tape, mode: inspector.Mode) -> bytes:
    """All bytes that a balancer reads of the conversation."""
    found = b""
    for at in range(len(one.frames)):
        reading = inspect(one, at, mode, SITE)
        for layer in reading.layers:
            if layer.name in reading.readable:
                found += reading.frame[layer.offset : layer.offset + layer.length]
    return found


@pytest.mark.parametrize(
    ("protocol", "mode", "host", "path"),
    [
        ("HTTP", "L4", False, False),
        ("HTTP", "L4 + SNI", False, False),
        ("HTTP", "L7", True, True),
        ("HTTPS", "L4", False, False),
        ("HTTPS", "L4 + SNI", True, False),
        ("HTTPS", "L7", True, False),
    ],
)
def test_who_can_read_the_host_and_who_the_path(
    tapes: dict[str, Tape], protocol: str, mode: inspector.Mode, host: bool, path: bool
) -> None:
    seen = readable_bytes(tapes[protocol], mode)
    assert (b"shop.example" in seen, PATH.encode() in seen) == (host, path)


def test_only_the_end_of_the_tls_session_has_the_text(tapes: dict[str, Tape]) -> None:
    one = tapes["HTTPS"]
    at = one.moments()["request"]
    opened = {mode: inspect(one, at, mode, SITE).opened for mode in MODES}
    assert opened == {"L4": b"", "L4 + SNI": b"", "L7": tapes["HTTP"].client}
    blind = replace(one, opened=())  # the same packets without the secrets
    assert inspect(blind, len(one.frames) - 1, "L7", SITE).choice is None


@pytest.mark.parametrize(
    ("protocol", "mode", "left"),
    [
        ("HTTP", "L4", [8, 8, 8]),
        ("HTTP", "L4 + SNI", [0, 8, 8]),
        ("HTTP", "L7", [0, 1, 1]),
        ("HTTPS", "L4", [8, 8, 8]),
        ("HTTPS", "L4 + SNI", [0, 6, 6]),
        ("HTTPS", "L7", [0, 0, 1]),
    ],
)
def test_when_each_decides_and_among_how_many(
    tapes: dict[str, Tape], protocol: str, mode: inspector.Mode, left: list[int]
) -> None:
    one = tapes[protocol]
    moments = [one.moments()[name] for name in ("SYN", "first bytes", "request")]
    choices = [inspect(one, at, mode, SITE).choice for at in moments]
    assert [len(choice.candidates) if choice else 0 for choice in choices] == left
    after = [inspect(one, at, mode, SITE).choice for at in range(moments[-1], len(one.frames))]
    assert set(after) == {choices[-1]}, "once decided, decided"


def test_layer4_does_not_care_what_is_inside(tapes: dict[str, Tape]) -> None:
    one = tapes["HTTP"]
    frames = list(one.frames)
    at = one.moments()["request"]
    start = one.pieces[at].offset
    frames[at] = frames[at][:start] + bytes(len(frames[at]) - start)
    other = replace(one, frames=tuple(frames), client=bytes(len(one.client)))
    for i in range(len(frames)):
        before, after = inspect(one, i, "L4", SITE), inspect(other, i, "L4", SITE)
        assert (before.choice, before.words, before.used, before.work) == (
            after.choice,
            after.words,
            after.used,
            after.work,
        )


def test_layer7_refuses_what_is_not_http_and_sni_sends_it_on() -> None:
    def client(connection: object) -> None:
        connection.sendall(b"PING\r\n\r\n")  # type: ignore[attr-defined]

    def server(connection: object) -> None:
        connection.recv(100)  # type: ignore[attr-defined]

    one = inspector.record(loopback.exchange(client, server, frames=True))
    last = len(one.frames) - 1
    assert "does not" not in inspect(one, 0, "L7", SITE).words
    refused = inspect(one, last, "L7", SITE)
    assert refused.choice is None
    assert "400" in refused.words
    sent_on = inspect(one, last, "L4 + SNI", SITE).choice
    assert sent_on is not None
    assert len(sent_on.candidates) == 8


def test_a_hello_in_pieces_is_waited_for(tapes: dict[str, Tape]) -> None:
    """The client's first segment cut in two: SNI decides with the second."""
    one = tapes["HTTPS"]
    at = one.moments()["first bytes"]
    piece = one.pieces[at]
    first, second = piece._replace(end=100), piece._replace(start=100, offset=piece.offset + 100)
    cut = replace(
        one,
        frames=(*one.frames[: at + 1], *one.frames[at:]),
        pieces=(*one.pieces[:at], first, second, *one.pieces[at + 1 :]),
    )
    waiting, decided = (inspect(cut, i, "L4 + SNI", SITE) for i in (at, at + 1))
    assert waiting.choice is None
    assert "not whole" in waiting.words
    assert decided.choice is not None
    assert len(decided.choice.candidates) == 6


def test_errors_say_what_would_be_right(tapes: dict[str, Tape]) -> None:
    with pytest.raises(ValueError, match=r"at is 99, wanted a frame of this conversation: 0 to \d+"):
        inspect(tapes["HTTP"], 99, "L4", SITE)
    with pytest.raises(ValueError, match="frames=True"):
        inspector.record(loopback.capture_http())


# --------------------------------------------------------------------------------------------------- costs and pictures
def test_each_timed_step_does_its_work(tapes: dict[str, Tape]) -> None:
    suite = tls_open.suite_of(tapes["HTTPS"].server)
    steps = layer_costs.steps(tapes["HTTP"], tapes["HTTPS"], suite, SITE, "shop.example")
    results = {name: step.work() for name, step in steps.items()}
    buffer, sizes, stride = layer_costs.batch(tapes["HTTP"].frames[0])
    flows = [flow.parse(view(bytes(buffer[i * stride : i * stride + sizes[i]]))) for i in range(layer_costs.BATCH)]
    assert len(set(flows)) == layer_costs.BATCH
    assert {f.verdict for f in flows} == {OK}
    fold = np.bitwise_xor.reduce([f.source_port ^ f.destination ^ f.verdict for f in flows])
    assert layer_costs.read_headers(buffer, sizes, stride) == fold
    assert layer_costs.hash_flows(np.array(flows, np.int64)).tolist() == [flow.hash64(f) for f in flows]
    assert set(results[inspector.TABLE]) <= set(range(8))
    request = smallest.parse_request(tapes["HTTP"].client)
    assert results[layer_costs.HEAD_PYTHON] == request
    assert results[inspector.HEAD].url.decode() == request.path
    assert {k.lower().decode(): v.decode() for k, v in results[inspector.HEAD].headers.items()} == request.headers
    assert results[inspector.HELLO].server_name == "shop.example"
    assert results[inspector.RULES] == ("canary",)
    assert results[inspector.DECRYPT] == tapes["HTTP"].client + bytes([23])
    assert results[inspector.HANDSHAKE_WORK][5] == 2, "a ServerHello"
    assert {step for mode in MODES for one in tapes.values() for i in range(len(one.frames))
            for step in inspect(one, i, mode, SITE).work} <= set(steps)  # fmt: skip


def explorer(tapes: dict[str, Tape]) -> object:
    suite = tls_open.suite_of(tapes["HTTPS"].server)
    steps = layer_costs.steps(tapes["HTTP"], tapes["HTTPS"], suite, SITE, "shop.example")
    measured = Comparison(dict.fromkeys(steps, (1.0, 2.0, 3.0)), next(iter(steps)), facts="")
    return show.inspector(tapes, SITE, steps, measured)  # type: ignore[arg-type]


def test_every_state_of_the_widget_has_its_own_words_and_no_markup_of_strangers(tapes: dict[str, Tape]) -> None:
    assert explorer(tapes) is not explorer(tapes), "a cell can be run twice"
    widget = explorer(tapes)
    controls = widget.controls  # type: ignore[attr-defined]
    shown = {}
    for mode in MODES:
        for protocol in tapes:
            for moment in page.MOMENTS:
                controls["balancer"].value, controls["protocol"].value, controls["packet"].value = (
                    mode,
                    protocol,
                    moment,
                )
                shown[mode, protocol, moment] = widget.view.value  # type: ignore[attr-defined]
    assert all(html.startswith(f"<p><b>{mode} · packet ") for (mode, _, _), html in shown.items())
    assert not any("x=<b>" in html for html in shown.values()), "the path is text, not markup"
    assert "After decryption" in shown["L7", "HTTPS", "request"]
    assert sum("After decryption" in html for html in shown.values()) == 1
    assert "x=&lt;b&gt;" in shown["L7", "HTTPS", "request"]
    assert len({shown[mode, "HTTPS", "request"] for mode in MODES}) == 3


@pytest.mark.parametrize(
    ("ns", "text"),
    [(0.4, "0.4 ns"), (5.44, "5.4 ns"), (29.2, "29 ns"), (1440, "1.4 µs"), (217_000, "220 µs"), (3e6, "3.0 ms")],
)
def test_times_have_two_digits_and_a_unit(ns: float, text: str) -> None:
    assert page.rounded(ns) == text
