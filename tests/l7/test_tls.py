"""TLS contexts against OpenSSL's own client, in memory; nothing listens."""

from __future__ import annotations

import ssl
from datetime import UTC, datetime, timedelta
from pathlib import Path

import msgspec
import pytest
import trustme

from lbcore.l7.front.tls import BackendTlsOptions, Certificate, KeyPair, Terminator, TlsOptions, backend_context

VERSIONS = [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3]


class Shop:
    """A CA and its files."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.authority = folder, trustme.CA()
        self.ca = str(folder / "ca.pem")
        self.authority.cert_pem.write_to_path(self.ca)

    def pair(self, name: str, *identities: str, **more) -> KeyPair:
        path = str(self.folder / f"{name}.pem")
        self.write(path, self.authority.issue_cert(*identities, **more))
        return KeyPair(chain=path, key=path)

    @staticmethod
    def write(path: str, leaf: trustme.LeafCert) -> None:
        Path(path).write_bytes(leaf.private_key_and_cert_chain_pem.bytes())

    def client(self, version: ssl.TLSVersion = ssl.TLSVersion.TLSv1_3, alpn=("h2", "http/1.1")) -> ssl.SSLContext:
        context = ssl.create_default_context(cafile=self.ca)
        context.minimum_version = context.maximum_version = version
        context.set_alpn_protocols(list(alpn))
        return context


@pytest.fixture
def shop(tmp_path: Path) -> Shop:
    return Shop(tmp_path)


def greet(server: ssl.SSLContext, client: ssl.SSLContext, name: str | None, session=None):
    """A whole handshake and one byte each way. (server's object, client's object)"""
    inward, outward = ssl.MemoryBIO(), ssl.MemoryBIO()
    ends = [
        client.wrap_bio(outward, inward, server_hostname=name, session=session),
        server.wrap_bio(inward, outward, server_side=True),
    ]
    waiting = list(ends)
    for _ in range(8):
        for end in list(waiting):
            try:
                end.do_handshake()
                waiting.remove(end)
            except ssl.SSLWantReadError:
                pass
    assert not waiting, "the handshake hangs"
    ends[1].write(b"x")  # in TLS 1.3 the tickets come before it
    assert ends[0].read(1) == b"x"
    return ends[1], ends[0]


def names(connection: ssl.SSLObject) -> set[str]:
    return {name for _, name in connection.getpeercert()["subjectAltName"]}


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize(
    ("asked", "shown"),
    [
        ("a.example", "a.example"),
        ("A.Example", "a.example"),
        ("b.example", "b.example"),
        ("x.w.example", "*.w.example"),
        ("exact.w.example", "exact.w.example"),
        ("w.example", "a.example"),
        ("x.y.w.example", "a.example"),
        ("nobody.example", "a.example"),
        (None, "a.example"),
    ],
)
def test_the_name_chooses_the_certificate(shop, version, asked, shown):
    """Exact before wildcard, a wildcard for one label, the first for all others."""
    pairs = (
        shop.pair("a", "a.example"),
        shop.pair("b", "b.example"),
        shop.pair("w", "*.w.example"),
        shop.pair("e", "exact.w.example"),
    )
    terminator = Terminator(TlsOptions(certificates=pairs))
    client = shop.client(version)
    client.check_hostname = False
    server, answered = greet(terminator.context, client, asked)
    assert names(answered) == {shown}
    assert server.server_name == (asked.lower() if asked else None)


def test_a_stranger_can_be_refused(shop):
    terminator = Terminator(TlsOptions(certificates=(shop.pair("a", "a.example"),), unknown_name="refuse"))
    with pytest.raises(ssl.SSLError, match="callback failed"):
        greet(terminator.context, shop.client(), "b.example")
    greet(terminator.context, shop.client(), "a.example")


@pytest.mark.parametrize("version", VERSIONS)
def test_reload_gives_the_new_chain_to_new_connections_and_resumes_old_sessions(shop, version):
    pair = shop.pair("a", "a.example")
    terminator = Terminator(TlsOptions(certificates=(pair,)))
    client = shop.client(version)
    server, old = greet(terminator.context, client, "a.example")
    before = old.getpeercert()["serialNumber"]
    shop.write(pair.chain, shop.authority.issue_cert("a.example", "new.example"))
    terminator.reload()
    _, new = greet(terminator.context, client, "a.example")
    assert names(new) == {"a.example", "new.example"}
    assert new.getpeercert()["serialNumber"] != before
    assert terminator.certificates[0].names == ("a.example", "new.example")
    server.write(b"still")  # the old connection goes on
    assert old.read(5) == b"still"
    resumed, _ = greet(terminator.context, client, "a.example", old.session)
    assert resumed.session_reused


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("guarded", [False, True])
def test_tickets_are_sealed_with_a_new_key_now_and_then(shop, version, guarded, monkeypatch):
    """With the old key nothing is resumed and nothing fails; files are not looked at for it, a CA neither."""
    now = [0.0]
    more = {"client_ca": shop.ca, "client_certificate": "required"} if guarded else {}
    options = TlsOptions(certificates=(shop.pair("a", "a.example"),), ticket_life=100.0, **more)
    terminator = Terminator(options, lambda: now[0])
    client = shop.client(version)
    shop.authority.issue_cert("who@a.example").configure_cert(client)
    _, first = greet(terminator.context, client, "a.example")
    now[0] = 99.0
    assert greet(terminator.context, client, "a.example", first.session)[0].session_reused
    terminator.reload()
    assert greet(terminator.context, client, "a.example", first.session)[0].session_reused
    Path(shop.ca).write_text("no CA")
    now[0] = 100.0
    server, second = greet(terminator.context, client, "a.example", first.session)
    assert not server.session_reused
    assert not guarded or server.getpeercert()
    now[0] = 199.0
    assert greet(terminator.context, client, "a.example", second.session)[0].session_reused


def test_a_reload_that_fails_changes_nothing(shop):
    pair = shop.pair("a", "a.example")
    terminator = Terminator(TlsOptions(certificates=(pair,)))
    Path(pair.chain).write_text("no longer a certificate")
    with pytest.raises(ValueError, match=r"certificates\[0\]\.chain"):
        terminator.reload()
    _, client = greet(terminator.context, shop.client(), "a.example")
    assert names(client) == {"a.example"}


@pytest.mark.parametrize("version", VERSIONS)
def test_resumption_is_counted(shop, version):
    terminator = Terminator(TlsOptions(certificates=(shop.pair("a", "a.example"),)))
    client = shop.client(version)
    server, first = greet(terminator.context, client, "a.example")
    terminator.handshakes.count(server)
    server, _ = greet(terminator.context, client, "a.example", first.session)
    terminator.handshakes.count(server)
    assert (terminator.handshakes.full, terminator.handshakes.resumed) == (1, 1)


@pytest.mark.parametrize(
    ("ours", "theirs", "chosen"),
    [
        (("h2", "http/1.1"), ("http/1.1", "h2"), "h2"),
        (("h2", "http/1.1"), ("http/1.1",), "http/1.1"),
        (("http/1.1",), ("h2", "http/1.1"), "http/1.1"),
        (("h2", "http/1.1"), ("spdy/1",), None),
    ],
)
def test_alpn_follows_our_order(shop, ours, theirs, chosen):
    """Also at a name whose certificate is not the first's: the context was exchanged by then."""
    terminator = Terminator(
        TlsOptions(certificates=(shop.pair("a", "a.example"), shop.pair("b", "b.example")), alpn=ours)
    )
    server, _ = greet(terminator.context, shop.client(alpn=theirs), "b.example")
    assert server.selected_alpn_protocol() == chosen


@pytest.mark.filterwarnings("ignore:.*TLSv1_1.*:DeprecationWarning")
def test_old_versions_are_refused(shop):
    terminator = Terminator(TlsOptions(certificates=(shop.pair("a", "a.example"),)))
    client = shop.client(ssl.TLSVersion.TLSv1_2)
    client.minimum_version = client.maximum_version = ssl.TLSVersion.TLSv1_1
    client.set_ciphers("ALL:@SECLEVEL=0")
    with pytest.raises(ssl.SSLError):
        greet(terminator.context, client, "a.example")
    strict = Terminator(TlsOptions(certificates=(shop.pair("a", "a.example"),), minimum="TLSv1.3"))
    with pytest.raises(ssl.SSLError):
        greet(strict.context, shop.client(ssl.TLSVersion.TLSv1_2), "a.example")


def test_two_kinds_of_key_serve_one_name(shop):
    pairs = (
        shop.pair("r", "a.example", key_type=trustme.KeyType.RSA),
        shop.pair("e", "a.example", key_type=trustme.KeyType.ECDSA),
    )
    terminator = Terminator(TlsOptions(certificates=pairs))
    for wanted, suite in (("ECDHE-RSA-AES128-GCM-SHA256", "RSA"), ("ECDHE-ECDSA-AES128-GCM-SHA256", "ECDSA")):
        client = shop.client(ssl.TLSVersion.TLSv1_2)
        client.set_ciphers(wanted)
        server, _ = greet(terminator.context, client, "a.example")
        assert suite in server.cipher()[0]


# -------------------------------------------------------------------------------------------------------- mutual TLS
@pytest.mark.parametrize("version", VERSIONS)
def test_a_clients_subject_is_known_and_also_after_resumption(shop, version):
    options = TlsOptions(certificates=(shop.pair("a", "a.example"),), client_ca=shop.ca, client_certificate="required")
    terminator = Terminator(options)
    client = shop.client(version)
    shop.authority.issue_cert("who@a.example", organization_name="Acme").configure_cert(client)
    server, first = greet(terminator.context, client, "a.example")
    assert "O=Acme" in server.subject
    server, _ = greet(terminator.context, client, "a.example", first.session)
    assert server.session_reused
    assert "O=Acme" in server.subject


def test_optional_and_required_certificates(shop):
    pair = shop.pair("a", "a.example")
    stranger = shop.client()
    trustme.CA().issue_cert("who@a.example").configure_cert(stranger)
    for mode, bare in (("optional", True), ("required", False)):
        context = Terminator(TlsOptions(certificates=(pair,), client_ca=shop.ca, client_certificate=mode)).context
        with pytest.raises(ssl.SSLError):
            greet(context, stranger, "a.example")
        if bare:
            assert greet(context, shop.client(), "a.example")[0].subject is None
        else:
            with pytest.raises(ssl.SSLError):
                greet(context, shop.client(), "a.example")


def test_who_is_no_longer_believed_cannot_come_back_with_a_ticket(shop):
    """Tickets keep a verified client's certificate: with another CA file they must not be honoured (the mistake
    behind nginx CVE-2025-23419, over time instead of over names)."""
    options = TlsOptions(certificates=(shop.pair("a", "a.example"),), client_ca=shop.ca, client_certificate="required")
    believed = Path(shop.ca).read_bytes()
    client = shop.client()
    shop.authority.issue_cert("who@a.example").configure_cert(client)
    terminator = Terminator(options)
    _, first = greet(terminator.context, client, "a.example")
    other = trustme.CA()
    other.cert_pem.write_to_path(shop.ca)
    terminator.reload()
    with pytest.raises(ssl.SSLError):
        greet(terminator.context, client, "a.example", first.session)
    Path(shop.ca).write_bytes(believed)
    terminator.reload()
    server, _ = greet(terminator.context, client, "a.example", first.session)
    assert not server.session_reused


# ---------------------------------------------------------------------------------------------------------- backends
def test_a_backend_is_verified(shop):
    server = Terminator(TlsOptions(certificates=(shop.pair("a", "a.internal"),))).context
    good = backend_context(BackendTlsOptions(ca=shop.ca), ("h2",))
    assert greet(server, good, "a.internal")[1].selected_alpn_protocol() == "h2"
    with pytest.raises(ssl.SSLCertVerificationError, match="mismatch"):
        greet(server, good, "b.internal")
    with pytest.raises(ssl.SSLCertVerificationError):
        greet(server, backend_context(BackendTlsOptions()), "a.internal")
    with pytest.raises(msgspec.ValidationError, match="verify"):
        msgspec.convert({"verify": False}, BackendTlsOptions)


def test_we_show_a_backend_our_certificate(shop):
    backend = Terminator(
        TlsOptions(certificates=(shop.pair("b", "b.internal"),), client_ca=shop.ca, client_certificate="required")
    )
    us = BackendTlsOptions(ca=shop.ca, certificate=shop.pair("us", "proxy@internal", organization_name="Proxy"))
    server, _ = greet(backend.context, backend_context(us), "b.internal")
    assert "O=Proxy" in server.subject


# ------------------------------------------------------------------------------------------------------------ faults
def test_faults_name_the_field_and_the_value(shop, tmp_path):
    pair, other = shop.pair("a", "a.example"), shop.pair("b", "b.example")
    junk = tmp_path / "junk.pem"
    junk.write_text("junk")
    cases = [
        (KeyPair(chain="/nowhere.pem", key=pair.key), r"certificates\[0\]\.chain is '/nowhere\.pem': No such file"),
        (KeyPair(chain=pair.chain, key="/nowhere.pem"), r"certificates\[0\]\.key is '/nowhere\.pem': No such file"),
        (KeyPair(chain=pair.chain, key=other.key), r"certificates\[0\]\.key is .*does not belong to the certificate"),
        (KeyPair(chain=str(junk), key=pair.key), r"certificates\[0\]\.chain is .*junk\.pem"),
        (KeyPair(chain=pair.chain, key=str(junk)), r"certificates\[0\]\.key is .*junk\.pem"),
    ]
    for broken, words in cases:
        with pytest.raises(ValueError, match=words):
            Terminator(TlsOptions(certificates=(broken,)))
    with pytest.raises(ValueError, match=r"client_ca is .*junk\.pem"):
        Terminator(TlsOptions(certificates=(pair,), client_ca=str(junk), client_certificate="optional"))
    with pytest.raises(ValueError, match=r"ca is '/nowhere"):
        backend_context(BackendTlsOptions(ca="/nowhere"))
    for fields, words in (
        ({"certificates": ()}, "certificates is empty"),
        ({"client_certificate": "required"}, "client_ca is None"),
        ({"client_ca": shop.ca}, "client_certificate 'none'"),
        ({"handshake_timeout": 0.0}, "handshake_timeout is 0"),
        ({"hello_limit": 1}, "hello_limit is 1"),
    ):
        with pytest.raises(ValueError, match=words):
            TlsOptions(**{"certificates": (pair,), **fields})


def test_an_expired_certificate_is_served_with_a_warning(shop, caplog):
    yesterday = datetime.now(UTC) - timedelta(days=1)
    old = shop.pair("old", "a.example", not_after=yesterday)
    terminator = Terminator(TlsOptions(certificates=(old,)))
    assert "expired" in caplog.text
    assert terminator.certificates[0].expires == yesterday.replace(microsecond=0)
    with pytest.raises(ssl.SSLCertVerificationError, match="expired"):
        greet(terminator.context, shop.client(), "a.example")


def test_the_listing_says_what_a_person_wants_to_know(shop):
    pair = shop.pair("a", "A.Example", "127.0.0.1", common_name="a.example")
    found = Certificate.read(pair.chain, "chain")
    assert found.names == ("a.example", "127.0.0.1")
    assert found.subject.startswith("CN=a.example")
    assert "trustme" in found.issuer
    assert found.warning(found.expires - timedelta(days=15)) == ""
    assert "expires" in found.warning(found.expires - timedelta(days=13))
    assert "expired" in found.warning(found.expires)
