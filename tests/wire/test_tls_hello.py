"""The ClientHello parser against OpenSSL's hellos, scapy's dissector, and every way to cut and spoil the bytes."""

from __future__ import annotations

import ssl
import sys
from functools import cache
from itertools import pairwise

import pytest
import scapy.layers.tls.all  # noqa: F401  (registers the extensions' dissectors)
import trustme
from hypothesis import given, settings
from hypothesis import strategies as st
from scapy.layers.tls.record import TLS

from lbcore.wire import tls_hello
from lbcore.wire.errors import Incomplete, Malformed
from lbcore.wire.tls_hello import ClientHello, KeyShare, Peek, parse

HOST = "shop.example"


# ------------------------------------------------------------------------------------------------------- hellos to read
def openssl_hello(name=HOST, alpn=("h2", "http/1.1"), lowest=None, highest=None, session=None, context=None):
    """The bytes that Python's own TLS client writes first."""
    context = context or ssl.create_default_context()
    if name is None:
        context.check_hostname = False
    if alpn:
        context.set_alpn_protocols(list(alpn))
    if lowest:
        context.minimum_version = lowest
    if highest:
        context.maximum_version = highest
    out = ssl.MemoryBIO()
    client = context.wrap_bio(ssl.MemoryBIO(), out, server_hostname=name, session=session)
    with pytest.raises(ssl.SSLWantReadError):
        client.do_handshake()
    return out.read()


def resumed_hello(version):
    """A hello that offers a session of an earlier handshake with a real server in memory."""
    authority = trustme.CA()
    server_context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert(HOST).configure_cert(server_context)
    context = ssl.create_default_context()
    authority.configure_trust(context)
    context.maximum_version = version
    a, b = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = context.wrap_bio(a, b, server_hostname=HOST)
    server = server_context.wrap_bio(b, a, server_side=True)
    for step in (client.do_handshake, server.do_handshake) * 3:
        try:
            step()
        except ssl.SSLWantReadError:
            continue
    server.write(b"x")
    assert client.read(1) == b"x"  # tickets of TLS 1.3 come after the handshake
    return openssl_hello(session=client.session, context=context)


V12, V13 = ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3
LONG = ".".join(["a" * 63, "b" * 63, "c" * 63, "d" * 61])
SETTINGS = {
    "usual": {},
    "no name": {"name": None},
    "no alpn": {"alpn": ()},
    "many protocols": {"alpn": [f"proto/{i}" for i in range(40)]},
    "1.2 only": {"highest": V12},
    "1.3 only": {"lowest": V13},
    "longest name OpenSSL takes": {"name": LONG[:-1]},
    "A-label": {"name": "xn--bcher-kva.example"},
    "upper case": {"name": "Shop.EXAMPLE"},
    "one label": {"name": "localhost"},
}


@cache
def real_hellos() -> dict[str, bytes]:
    hellos = {label: openssl_hello(**options) for label, options in SETTINGS.items()}
    return hellos | {"resumed 1.2": resumed_hello(V12), "resumed 1.3": resumed_hello(V13)}


def vector(width: int, *items: bytes) -> bytes:
    body = b"".join(items)
    return len(body).to_bytes(width, "big") + body


def words(*values: int) -> bytes:
    return b"".join(value.to_bytes(2, "big") for value in values)


def extension(kind: int, body: bytes) -> bytes:
    return words(kind) + vector(2, body)


def server_name(*names: bytes, kind: int = 0) -> bytes:
    return extension(0, vector(2, *(bytes([kind]) + vector(2, name) for name in names)))


def key_share(*shares: tuple[int, int]) -> bytes:
    return extension(51, vector(2, *(words(group) + vector(2, bytes(size)) for group, size in shares)))


def message(
    *extensions: bytes, version=0x0303, session_id=b"", suites=(0x1301,), methods=b"\0", tail=None, extra=b""
) -> bytes:
    body = words(version) + bytes(range(32)) + vector(1, session_id) + vector(2, words(*suites)) + vector(1, methods)
    body += vector(2, *extensions, extra) if tail is None else tail
    return b"\x01" + vector(3, body)


def records(handshake: bytes, *sizes: int, version: int = 0x0301) -> bytes:
    """The message in records of these sizes, and then of as many bytes as are allowed."""
    out, at = b"", 0
    for size in (*sizes, *[2**14] * (len(handshake) // 2**14 + 1)):
        if chunk := handshake[at : at + size]:
            out += b"\x16" + words(version) + vector(2, chunk)
        at += size
    return out


def payload(data: bytes) -> bytes:
    """The handshake message out of well-formed records."""
    out, at = b"", 0
    while at < len(data):
        size = int.from_bytes(data[at + 3 : at + 5], "big")
        out, at = out + data[at + 5 : at + 5 + size], at + 5 + size
    return out


ECH_OUTER = extension(0xFE0D, b"\0" + words(1, 1) + b"\x2a" + vector(2, bytes(32)) + vector(2, bytes(144)))
POST_QUANTUM = key_share((0x8A8A, 1), (tls_hello.X25519MLKEM768, 1216), (29, 32))
LIKE_A_BROWSER = message(
    extension(0x8A8A, b""),
    server_name(b"public.example"),
    extension(10, vector(2, words(0x8A8A, 0x11EC, 29))),
    extension(16, vector(2, vector(1, b"h2"), vector(1, b"http/1.1"))),
    extension(35, b""),
    extension(43, vector(1, words(0x8A8A, 0x0304, 0x0303))),
    POST_QUANTUM,
    ECH_OUTER,
    suites=(0x8A8A, 0x1301, 0x1302),
    session_id=bytes(32),
)


def same_but_place(hello: ClientHello) -> dict:
    return {name: value for name, value in vars(hello).items() if name not in ("size", "spans")}


def covered(hello: ClientHello, data: bytes, name: str) -> bytes:
    return b"".join(data[span.start : span.end] for span in hello.spans if span.name == name)


def outcome(data, **options):
    """ClientHello, or what was raised, in a form that can be compared."""
    try:
        return parse(data, **options)
    except Incomplete as error:
        return ("incomplete", error.needed)
    except Malformed as error:
        return ("malformed", error.field, error.at, error.wanted)


# ------------------------------------------------------------------------------------------------ two other opinions
@pytest.mark.parametrize("label", [*SETTINGS, "resumed 1.2", "resumed 1.3"])
def test_openssl_client_and_scapy_agree(label):
    data = real_hellos()[label]
    hello = parse(data)
    assert_like_scapy(hello, data)
    if label in SETTINGS:
        options = {"name": HOST, "alpn": ("h2", "http/1.1")} | SETTINGS[label]
        assert hello.server_name == (options["name"].lower() if options["name"] else None)
        assert hello.alpn == tuple(options["alpn"])
    assert not hello.ech
    assert hello.size == len(data)
    assert (0x0304 in hello.versions) == ("1.2" not in label)
    assert hello.pre_shared_key == (label == "resumed 1.3")
    assert hello.session_ticket == (label == "resumed 1.2")


def assert_like_scapy(hello: ClientHello, data: bytes) -> None:
    theirs = TLS(data).msg[0]
    found = {item.type: item for item in theirs.ext or []}
    assert hello.legacy_version == theirs.version
    assert hello.random == theirs.gmt_unix_time.to_bytes(4, "big") + theirs.random_bytes
    assert hello.session_id == theirs.sid
    assert hello.cipher_suites == tuple(theirs.ciphers)
    assert tuple(hello.compression_methods) == tuple(theirs.comp)
    assert hello.extensions == tuple(item.type for item in theirs.ext or [])
    assert hello.server_name == (found[0].servernames[0].servername.decode().lower() if 0 in found else None)
    assert hello.alpn == (tuple(p.protocol.decode("latin-1") for p in found[16].protocols) if 16 in found else ())
    assert hello.groups == (tuple(found[10].groups) if 10 in found else ())
    assert hello.versions == (tuple(found[43].versions) if 43 in found else (theirs.version,))
    shares = tuple(KeyShare(s.group, s.kxlen) for s in found[51].client_shares) if 51 in found else ()
    assert hello.key_shares == shares


label_text = st.text("abXYZ09-", max_size=20).map(lambda inside: f"a{inside}9")
host_names = st.lists(label_text, min_size=1, max_size=5).map(".".join)
word = st.integers(0, 0xFFFF)
some_words = st.lists(word, min_size=1, max_size=8)
known = {
    0: host_names.map(lambda name: server_name(name.encode())),
    10: some_words.map(lambda values: extension(10, vector(2, words(*values)))),
    16: st.lists(st.binary(min_size=1, max_size=12), min_size=1, max_size=5).map(
        lambda names: extension(16, vector(2, *(vector(1, name) for name in names)))
    ),
    43: some_words.map(lambda values: extension(43, vector(1, words(*values)))),
    # scapy makes keys of the shares it knows, and fails on random ones: groups that it does not know, then
    51: st.lists(st.tuples(st.sampled_from([0x11EC, 0x8A8A, 0x6399]), st.integers(1, 1300)), max_size=4).map(
        lambda shares: key_share(*shares)
    ),
    0xFE0D: st.just(ECH_OUTER),
    0x1234: st.binary(max_size=50).map(lambda body: extension(0x1234, body)),
}
extensions = st.sets(st.sampled_from(sorted(known)), max_size=len(known)).flatmap(
    lambda kinds: st.permutations(sorted(kinds)).flatmap(lambda order: st.tuples(*(known[kind] for kind in order)))
)
messages = st.builds(
    lambda items, **fields: message(*items, **fields),
    extensions,
    version=st.sampled_from([0x0301, 0x0302, 0x0303]),
    session_id=st.binary(max_size=32),
    suites=some_words,
    methods=st.sampled_from([b"\0", b"\x01\0"]),
)


@given(messages)
def test_built_hellos_read_as_scapy_reads_them(handshake):
    data = records(handshake)
    assert_like_scapy(parse(data), data)


def test_browser_like_hello_with_ech_and_post_quantum_share():
    data = records(LIKE_A_BROWSER)
    hello = parse(data)
    assert hello.server_name == "public.example"
    assert hello.ech
    assert KeyShare(tls_hello.X25519MLKEM768, 1216) in hello.key_shares
    assert len(data) > 1460, "the point of the share: it does not fit in one segment"
    assert [v for v in hello.versions if not tls_hello.is_grease(v)] == [0x0304, 0x0303]
    inner = parse(records(message(extension(0xFE0D, b"\x01"))))
    assert inner.ech


def test_hello_without_extensions_is_an_old_client():
    hello = parse(records(message(tail=b"", version=0x0301)))
    assert (hello.versions, hello.extensions, hello.server_name) == ((0x0301,), (), None)


def test_grease_values_are_the_sixteen_of_rfc_8701():
    assert [v for v in range(0x10000) if tls_hello.is_grease(v)] == [0x0A0A + 0x1010 * i for i in range(16)]


# ------------------------------------------------------------------------------------------------- cut in every place
@pytest.mark.parametrize("label", ["usual", "no name", "1.2 only", "resumed 1.3", "browser"])
def test_every_prefix_is_incomplete_and_a_drip_gives_the_same(label):
    data = records(LIKE_A_BROWSER, 1, 3, 700) if label == "browser" else real_hellos()[label]
    whole, peek = parse(data), Peek()
    for end in range(len(data)):
        kind, needed = outcome(data[:end])
        assert kind == "incomplete"
        assert 1 <= needed <= len(data) - end, "needed is a lower bound, never more than what was missing"
        with pytest.raises(Incomplete) as caught:
            peek.feed(data[end - 1 : end] if end else b"")
        assert caught.value.needed == needed
    assert peek.feed(data[-1:]) == whole
    assert peek.feed(b"later bytes") == whole


@given(messages, st.lists(st.integers(1, 400), max_size=30), st.binary(max_size=30))
def test_records_and_later_bytes_do_not_matter(handshake, sizes, later):
    plain, data = parse(records(handshake)), records(handshake, *sizes)
    hello = parse(data + later)
    assert same_but_place(hello) == same_but_place(plain)
    assert hello.size == len(data)


@given(messages, st.lists(st.integers(1, 400), max_size=30))
def test_waiting_for_what_is_needed_takes_one_call_a_record_and_two(handshake, sizes):
    data = records(handshake, *sizes)
    start, end, calls, peek = 0, 0, 0, Peek()
    while True:
        calls += 1
        try:
            assert peek.feed(data[start:end]).size == end == len(data), "not a byte too many was asked for"
            break
        except Incomplete as error:
            start, end = end, end + error.needed
    assert calls <= len(records_of(data)) + 2


def records_of(data: bytes) -> list[int]:
    starts, at = [], 0
    while at < len(data):
        starts.append(at)
        at += 5 + int.from_bytes(data[at + 3 : at + 5], "big")
    return starts


def test_one_byte_a_record():
    handshake = payload(real_hellos()["usual"])
    data = records(handshake, *[1] * len(handshake))
    hello = parse(data)
    assert same_but_place(hello) == same_but_place(parse(real_hellos()["usual"]))
    assert covered(hello, data, "server name") == HOST.encode()
    assert len([span for span in hello.spans if span.name == "server name"]) == len(HOST)


@given(messages, st.lists(st.integers(1, 60), max_size=40))
def test_spans_are_disjoint_ascending_and_hold_their_fields(handshake, sizes):
    data = records(handshake, *sizes)
    hello = parse(data)
    places = [(span.start, span.end) for span in hello.spans]
    assert all(start < end for start, end in places)
    assert all(end <= start for (_, end), (start, _) in pairwise(places))
    assert places[-1][1] <= hello.size
    assert covered(hello, data, "random") == hello.random
    assert covered(hello, data, "session id") == hello.session_id
    assert covered(hello, data, "cipher suites") == words(*hello.cipher_suites)
    assert covered(hello, data, "server name").decode().lower() == (hello.server_name or "")
    assert covered(hello, data, "handshake header") == handshake[:4]
    headers = [span for span in hello.spans if span.name == "record header"]
    assert [span.start for span in headers] == records_of(data)
    names = b"".join(vector(1, name.encode("latin-1")) for name in hello.alpn)
    assert covered(hello, data, "ALPN") == (vector(2, names) if names else b"")
    assert (len(covered(hello, data, "key share")) > 0) == (51 in hello.extensions)


def test_a_drip_costs_linear_work():
    def calls(size: int) -> int:
        data = records(message(extension(21, bytes(size)), key_share((29, 32))))
        peek, count = Peek(), 0

        def profile(frame, event, argument):
            nonlocal count
            count += event in ("call", "c_call")

        sys.setprofile(profile)
        try:
            for i in range(len(data) - 1):
                try:
                    peek.feed(data[i : i + 1])
                except Incomplete:
                    continue
        finally:
            sys.setprofile(None)
        assert peek.feed(data[-1:]).size == len(data)
        return count

    small, large = calls(1000), calls(8000)
    assert large < 9 * small


# ------------------------------------------------------------------------------------------------------------- spoiled
@pytest.mark.parametrize("mask", [0x01, 0x80, 0xFF])
def test_any_corrupt_byte_gives_an_answer_or_a_reason(mask):
    for data in (real_hellos()["usual"], records(LIKE_A_BROWSER, 100)):
        for i in range(len(data)):
            bad = bytearray(data)
            bad[i] ^= mask
            verdict = outcome(bad)
            assert isinstance(verdict, ClientHello) or verdict[0] in ("malformed", "incomplete")
            if not isinstance(verdict, ClientHello) and verdict[0] == "malformed":
                assert 0 <= verdict[2] <= len(bad)


@settings(max_examples=300)
@given(st.data())
def test_whole_message_with_spoiled_inside_never_waits_for_more(data):
    """The records and the handshake length say that all is here: nothing inside may ask for bytes behind the end."""
    handshake = bytearray(data.draw(messages))
    for _ in range(data.draw(st.integers(1, 4))):
        handshake[data.draw(st.integers(4, len(handshake) - 1))] = data.draw(st.integers(0, 255))
    verdict = outcome(records(bytes(handshake)))
    assert isinstance(verdict, ClientHello) or verdict[0] == "malformed"


@settings(max_examples=300)
@given(st.sampled_from(sorted(tls_hello.EXTENSIONS)), st.binary(max_size=24), st.booleans())
def test_any_body_of_a_known_extension_is_read_or_refused(kind, body, more):
    if kind == tls_hello.PRE_SHARED_KEY:
        body += bytes(44)
        more = False
    verdict = outcome(records(message(extension(kind, body), *[extension(0x1234, b"")] * more)))
    assert isinstance(verdict, ClientHello) or verdict[0] == "malformed"


@given(st.binary(max_size=200))
def test_arbitrary_bytes(data):
    assert isinstance(outcome(data), ClientHello | tuple)
    assert isinstance(outcome(b"\x16\x03\x01" + data), ClientHello | tuple)


@settings(max_examples=200)
@given(messages, st.data())
def test_once_malformed_always_malformed(handshake, data):
    """A drip and one call name the same fault, and nothing that follows mends it."""
    bad = bytearray(records(handshake, *data.draw(st.lists(st.integers(1, 90), max_size=9))))
    bad[data.draw(st.integers(0, len(bad) - 1))] = data.draw(st.integers(0, 255))
    whole, peek, verdict = outcome(bad), Peek(), None
    for i in range(len(bad)):
        try:
            verdict = peek.feed(bad[i : i + 1])
        except Incomplete as error:
            verdict = ("incomplete", error.needed)
        except Malformed as error:
            verdict = ("malformed", error.field, error.at, error.wanted)
        if isinstance(verdict, ClientHello) or verdict[0] == "malformed":
            break
    assert verdict == whole
    if isinstance(whole, tuple) and whole[0] == "malformed":
        with pytest.raises(Malformed):
            peek.feed(b"more")


def spoiled(name: bytes, kind: int = 0):
    return records(message(server_name(name, kind=kind)))


NAME_AT = len(records(message())) + 4 + 2 + 3  # where the name starts when it is the first extension

NO_SESSION_ROOM = ("session id length", "must be 0", 44)

# what is wrong: the bytes, the field, a word of the explanation, and after how many bytes it is certain
CERTAIN = {
    "plain HTTP": (b"GET / HTTP/1.1\r\n", "record type", "plain HTTP", 1),
    "SSLv2": (b"\x80\x2e\x01\x03\x01", "record type", "SSLv2", 1),
    "PROXY v2": (b"\r\n\r\n\0\r\nQUIT\n", "record type", "PROXY protocol", 1),
    "alert": (b"\x15\x03\x03\0\x02\x02\x28", "record type", "alert", 1),
    "DTLS": (b"\x16\xfe\xfd\0\0", "record version", "3.x", 2),
    "empty record": (b"\x16\x03\x01\0\0", "record length", "1 to 16384", 5),
    "long record": (b"\x16\x03\x01\x40\x01", "record length", "1 to 16384", 5),
    "very long record": (b"\x16\x03\x01\x41", "record length", "1 to 16384", 4),
    "server hello": (records(b"\x02" + message()[1:]), "handshake type", "must be 1", 6),
    "huge hello": (b"\x16\x03\x01\x40\0\x01\x01", "handshake length", "our limit", 7),
    "tiny hello": (records(b"\x01\0\0\x28" + bytes(40)), "handshake length", "41", 9),
    "legacy version": (records(message(version=0x0203)), "legacy version", "3.x", 10),
    "session id": (
        records(b"\x01\0\0\x50" + words(0x303) + bytes(32) + b"\x21" + bytes(45)),
        "session id length",
        "32",
        44,
    ),
    "odd suites": (
        records(b"\x01\0\0\x2a" + words(0x303) + bytes(33) + words(3) + bytes(5)),
        "cipher suites length",
        "even",
        46,
    ),
    "no null compression": (records(message(methods=b"\x01")), "compression methods", "null", 50),
    "session id overruns": (records(b"\x01\0\0\x29" + words(0x303) + bytes(32) + b"\x01" + bytes(6)), *NO_SESSION_ROOM),
    "suites overrun": (records(message(tail=b"")[:39] + words(4) + bytes(4)), "cipher suites length", "must be 2", 46),
    "byte after compression": (records(message(tail=b"\0")), "compression methods length", "another", 49),
    "extensions too short": (records(message(tail=vector(2, bytes(3)))), "extensions length", "at least 4", 50),
    "extension leaves 3": (records(message(extension(9, b""), extra=bytes(3))), "extension length", "another", 56),
    "protocol leaves 1": (
        records(message(extension(16, vector(2, vector(1, b"h2"), b"\0")))),
        "ALPN name length",
        "another",
        NAME_AT - 2,
    ),
    "share list of 4": (
        records(message(extension(51, vector(2, bytes(4))))),
        "key share list length",
        "at least 5",
        56,
    ),
    "share leaves 4": (
        records(message(extension(51, vector(2, words(29) + vector(2, b"x"), bytes(4))))),
        "key share size",
        "another",
        NAME_AT - 3 + 4,
    ),
    "ECH key overruns": (
        records(message(extension(0xFE0D, bytes(6) + words(3) + bytes(5)))),
        "ECH key length",
        "0 to 2",
        NAME_AT + 3,
    ),
    "odd groups": (records(message(extension(10, vector(2, bytes(5))))), "supported groups list length", "even", 58),
    "record goes on": (records(message() + b"\0"), "record's end in the message", "must end", 9),
    "name twice": (
        records(message(server_name(HOST.encode()), server_name(b"b"))),
        "extension type",
        "once",
        NAME_AT + 14,
    ),
    "two names": (records(message(server_name(b"a.example", b"b.example"))), "host name length", "must be", NAME_AT),
    "name type": (spoiled(b"a.example", 1), "server name type", "must be 0", NAME_AT - 2),
    "empty name": (records(message(extension(0, b"\0\x03\0\0\0"))), "server name length", "at least 6", NAME_AT - 7),
    "reply's form": (records(message(extension(0, b""))), "server name length", "at least 6", NAME_AT - 7),
    "final dot": (spoiled(b"shop.example."), "server name", "final dot", NAME_AT + 13),
    "leading dot": (spoiled(b".example"), "server name", "empty label", NAME_AT + 1),
    "two dots": (spoiled(b"a..example"), "server name", "empty label", NAME_AT + 3),
    "underscore": (spoiled(b"a_b.example"), "server name", "letters", NAME_AT + 2),
    "UTF-8": (spoiled("bücher.example".encode()), "server name", "letters", NAME_AT + 2),
    "NUL": (spoiled(b"good.example\0.bad.example"), "server name", "letters", NAME_AT + 13),
    "space": (spoiled(b"a example"), "server name", "letters", NAME_AT + 2),
    "IPv6": (spoiled(b"2001:db8::1"), "server name", "letters", NAME_AT + 5),
    "IPv4": (spoiled(b"192.0.2.7"), "server name", "address", NAME_AT + 9),
    "hyphen first": (spoiled(b"a.-b"), "server name", "starts with a hyphen", NAME_AT + 3),
    "hyphen last": (spoiled(b"a-.b"), "server name", "ends with a hyphen", NAME_AT + 3),
    "hyphen at the end": (spoiled(b"a.b-"), "server name", "ends with a hyphen", NAME_AT + 4),
    "long label": (spoiled(b"a" * 64 + b".example"), "server name", "63", NAME_AT + 64),
    "long name": (spoiled((LONG + "x").encode()), "server name length", "258", NAME_AT - 5),
    "key before its end": (
        records(message(extension(41, bytes(44)), extension(0x1234, b""))),
        "pre-shared key",
        "last",
        NAME_AT - 5,
    ),
    "empty protocol": (
        records(message(extension(16, vector(2, vector(1, b""), vector(1, b"h2"))))),
        "ALPN name length",
        "1 to",
        NAME_AT - 2,
    ),
    "ECH type": (records(message(extension(0xFE0D, b"\x02" + bytes(20)))), "ECH type", "must be 0", NAME_AT - 4),
    "ECH cut": (records(message(extension(0xFE0D, bytes(5)))), "ECH type", "no value fits", NAME_AT - 5),
}


@pytest.mark.parametrize("label", CERTAIN)
def test_refused_with_words_and_as_soon_as_certain(label):
    data, field, wanted, certain = CERTAIN[label]
    with pytest.raises(Malformed) as caught:
        parse(data)
    assert caught.value.field == field
    assert wanted in str(caught.value)
    first = next(end for end in range(len(data) + 1) if outcome(data[:end])[0] == "malformed")
    assert first == certain


def test_other_record_inside_the_hello():
    data = records(message(server_name(HOST.encode())), 20)
    spoilt = data[:25] + b"\x15\x03\x03\0\x02\x01\0" + data[25:]
    with pytest.raises(Malformed, match=r"record type is 0x15 at byte 25.*alert"):
        parse(spoilt)


def test_longest_name_and_longest_label_pass():
    assert len(LONG) == 253
    assert parse(spoiled(LONG.encode())).server_name == LONG


# -------------------------------------------------------------------------------------------------------------- limits
def test_limit_counts_everything_on_the_wire():
    data = records(message(extension(21, bytes(300))), *[7] * 20)
    assert parse(data, limit=len(data)).size == len(data)
    verdict = outcome(data, limit=len(data) - 1)
    assert verdict[:2] == ("malformed", "handshake message size")


def test_largest_hello_and_one_more():
    room = tls_hello.LIMIT - len(records(message(extension(21, b"")))) - 4 * 5
    largest = records(message(extension(21, bytes(room + 5))))
    assert len(largest) in range(tls_hello.LIMIT - 5, tls_hello.LIMIT + 1)
    assert parse(largest).size == len(largest)
    over = records(message(extension(21, bytes(room + 11))))
    assert outcome(over)[0] == "malformed"
    assert outcome(over[:9])[0] == "malformed", "the handshake length says it; nobody has to receive 64 KiB"


def test_a_declared_record_is_waited_for_as_a_whole():
    data = records(message(extension(21, bytes(300))))
    assert outcome(data[:5]) == ("incomplete", len(data) - 5)
    assert outcome(b"") == ("incomplete", len(records(message(tail=b""))))


def test_input_types():
    data = real_hellos()["usual"]
    assert parse(bytearray(data)) == parse(memoryview(data)) == parse(data)
