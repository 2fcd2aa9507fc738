"""TLS as a proxy needs it: who it is to its clients, whom it believes among its backends.

Rule of this file: options in, contexts out. No sockets, no event loop; files are read when told to, never in between.

Theory. A listener has one context, the front, which knows the rules (versions, ALPN, whose certificates of clients are
believed) and no certificate. When a client has named the server it wants (SNI, RFC 6066 section 3) a callback puts a
context in its place that carries the certificate for that name. So certificates can be exchanged under a running
listener: the next handshake finds the new ones, and connections that stand have no more use for any. The front also
keeps the keys that tickets are sealed with, so sessions are resumed across an exchange of certificates.

Traps
- Whose certificate was verified is sealed in the ticket too. When it changes whom we believe, old tickets must die:
  `reload` makes a new front then. And all names of one listener share one rule for clients' certificates, or a
  ticket won at an open name would open a guarded one (nginx CVE-2025-23419).
- Who has the key that a ticket is sealed with can read what was said under it, with TLS 1.2 (with TLS 1.3 each
  resumption exchanges new shares, RFC 8446 section 2.2). So it has to be changed regularly (RFC 9325 section 3.4). The
  key is the front's and Python shows it to nobody: a new key is a new front (`ticket_life`), the old tickets are then
  worth a full handshake and nothing fails. It cannot be given, so two processes do not resume each other's sessions,
  and there is no time in which two keys are good.
- A wildcard stands for one label only, the whole first one (RFC 9525 section 6.3).
- The subject's common name is nobody's server name: only subjectAltName counts (RFC 9525 section 6.1).
- There is no option to skip verification of a backend. Whoever has a private CA names its file.
"""

from __future__ import annotations

import logging
import ssl
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final, Literal

import msgspec
from cryptography import x509

log = logging.getLogger(__name__)

CIPHERS: Final = "ECDHE+AESGCM:ECDHE+CHACHA20"  # of TLS 1.2: what RFC 9113 section 9.2.2 leaves
VERSIONS: Final = {"TLSv1.2": ssl.TLSVersion.TLSv1_2, "TLSv1.3": ssl.TLSVersion.TLSv1_3}
VERIFY: Final = {"none": ssl.CERT_NONE, "optional": ssl.CERT_OPTIONAL, "required": ssl.CERT_REQUIRED}
SOON: Final = timedelta(days=14)

Version = Literal["TLSv1.2", "TLSv1.3"]


class KeyPair(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A certificate with those that vouch for it, and its private key: paths of PEM files (may be one and the same)."""

    chain: str
    """The certificate, and those that vouch for it after it."""
    key: str


class TlsOptions(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What a listener is to its clients.

    certificates: chosen by server name; two of the same names and different kinds of key serve together. The first is
    for clients that name nobody, or somebody else if `unknown_name` is "default" ("refuse": unrecognized_name).
    client_ca: PEM file of those who may vouch for clients. hello_limit: bytes of a ClientHello, where it is looked at.
    """

    certificates: tuple[KeyPair, ...]
    minimum: Version = "TLSv1.2"
    """The oldest version that is spoken."""
    alpn: tuple[Literal["h2", "http/1.1"], ...] = ("h2", "http/1.1")
    """What is offered to clients, the most wanted first (RFC 7301)."""
    unknown_name: Literal["default", "refuse"] = "default"
    """What of a client that asks for a name that no certificate is for."""
    client_certificate: Literal["none", "optional", "required"] = "none"
    """Must clients show one, may they, or is none asked for?"""
    client_ca: str | None = None
    handshake_timeout: float = 10.0
    """Seconds that a handshake may take."""
    hello_limit: int = 16384
    ticket_life: float = 86400.0
    """Seconds that tickets are sealed with the same key; what an earlier one has sealed is a full handshake again."""

    def __post_init__(self) -> None:
        if not self.certificates:
            raise ValueError("certificates is empty: a listener with TLS needs one at least")
        if (self.client_certificate == "none") != (self.client_ca is None):
            raise ValueError(
                f"client_ca is {self.client_ca!r} with client_certificate {self.client_certificate!r}: "
                "a CA goes with optional or required, and neither goes without one"
            )
        if not 0 < self.handshake_timeout < float("inf"):
            raise ValueError(f"handshake_timeout is {self.handshake_timeout}: seconds, more than 0")
        if not 0 < self.ticket_life < float("inf"):
            raise ValueError(f"ticket_life is {self.ticket_life}: seconds, more than 0")
        if not 512 <= self.hello_limit <= 65536:
            raise ValueError(f"hello_limit is {self.hello_limit}: 512 to 65536 bytes")


class BackendTlsOptions(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """How a pool's backends prove who they are, always.

    ca: PEM file of those who may vouch for them; None: those whom the system believes. server_name: the name that
    their certificate must have; None: the host they are dialled by. certificate: what we show if asked for one.
    """

    ca: str | None = None
    server_name: str | None = None
    certificate: KeyPair | None = None
    minimum: Version = "TLSv1.2"
    """The oldest version that is spoken."""


@dataclass(frozen=True, slots=True)
class Certificate:
    """What is told of a certificate, to people. expires: UTC. names: DNS names and addresses it is for, lower case."""

    chain: str
    subject: str
    issuer: str
    names: tuple[str, ...]
    expires: datetime

    @classmethod
    def read(cls, path: str, field: str) -> Certificate:
        """The first certificate of a PEM file. Raises ValueError naming the field and the path."""
        try:
            leaf = x509.load_pem_x509_certificate(_bytes(path, field))
        except ValueError as error:
            raise ValueError(f"{field} is {path!r}: {error}") from None
        names: tuple[str, ...] = ()
        try:
            found = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
            names = (
                *(name.lower() for name in found.get_values_for_type(x509.DNSName)),
                *map(str, found.get_values_for_type(x509.IPAddress)),
            )
        except x509.ExtensionNotFound:
            pass
        return cls(path, leaf.subject.rfc4514_string(), leaf.issuer.rfc4514_string(), names, leaf.not_valid_after_utc)

    def warning(self, now: datetime) -> str:
        """What a person should be told about its age, "" if nothing."""
        if self.expires <= now:
            return f"certificate {self.chain} ({self.subject}) expired {self.expires:%Y-%m-%d %H:%M} UTC"
        if self.expires <= now + SOON:
            return f"certificate {self.chain} ({self.subject}) expires {self.expires:%Y-%m-%d %H:%M} UTC"
        return ""


class Connection(ssl.SSLObject):
    """A connection's TLS on the server's side; it remembers what the client called us."""

    server_name: str | None = None

    @property
    def subject(self) -> str | None:
        """Subject of the verified client certificate (RFC 4514), None without one."""
        shown = self.getpeercert(binary_form=True)
        return x509.load_der_x509_certificate(shown).subject.rfc4514_string() if shown else None


@dataclass(slots=True)
class Handshakes:
    """Counts of a listener."""

    full: int = 0
    resumed: int = 0
    failed: int = 0
    """Handshakes, or connections before one, that came to nothing."""

    def count(self, connection: ssl.SSLObject | ssl.SSLSocket) -> None:
        """One that went well."""
        if connection.session_reused:
            self.resumed += 1
        else:
            self.full += 1


class Terminator:
    """The TLS of one listener. `context` is for the next connection: ask for it each time.

    Raises ValueError, naming field and value, for whatever is wrong with the files; `reload` too, and then all stays
    as it was. clock: seconds, never going back.
    """

    def __init__(self, options: TlsOptions, clock: Callable[[], float] = time.monotonic) -> None:
        self.options: Final = options
        self._clock = clock
        self.handshakes: Final = Handshakes()
        self.certificates: tuple[Certificate, ...] = ()
        self._by_name: Mapping[str, ssl.SSLContext] = {}
        self._default: ssl.SSLContext
        self._believed: bytes | None = None
        self._front: ssl.SSLContext
        self._front_made = 0.0
        self.reload()

    @property
    def context(self) -> ssl.SSLContext:
        """The front."""
        if self._clock() - self._front_made >= self.options.ticket_life:
            self._new_front(self._believed)
        return self._front

    def _new_front(self, believed: bytes | None) -> None:
        """And with it a new key for tickets."""
        self._front, self._front_made = self._rules(believed), self._clock()
        self._front.sni_callback = self._named

    def reload(self) -> None:
        """Read all files again; what was read holds from the next handshake on."""
        self.read()()

    def read(self) -> Callable[[], None]:
        """Read all files again. They hold once what this gives is called, which cannot fail any more."""
        believed = _bytes(self.options.client_ca, "client_ca") if self.options.client_ca else None
        certificates = []
        together: dict[frozenset[str], ssl.SSLContext] = {}
        by_name: dict[str, ssl.SSLContext] = {}
        for number, pair in enumerate(self.options.certificates):
            certificate = Certificate.read(pair.chain, f"certificates[{number}].chain")
            names = frozenset(certificate.names)
            if names not in together:
                together[names] = self._rules(believed)
            _load(together[names], pair, f"certificates[{number}]")
            for name in certificate.names:
                by_name.setdefault(name, together[names])
            certificates.append(certificate)

        def take() -> None:
            if not self.certificates or believed != self._believed:
                self._new_front(believed)
            self._by_name, self._default = by_name, next(iter(together.values()))
            self.certificates, self._believed = tuple(certificates), believed
            for certificate in certificates:
                if words := certificate.warning(datetime.now(UTC)):
                    log.warning("%s", words)

        return take

    def _rules(self, believed: bytes | None) -> ssl.SSLContext:
        """A context without a certificate, alike for all names. believed: PEM of who may vouch for clients."""
        options = self.options
        context = _context(ssl.PROTOCOL_TLS_SERVER, options.minimum)
        context.options |= ssl.OP_NO_RENEGOTIATION | ssl.OP_CIPHER_SERVER_PREFERENCE
        context.set_alpn_protocols(list(options.alpn))
        context.sslobject_class = Connection
        context.verify_mode = VERIFY[options.client_certificate]
        if believed is not None:
            _believe(context, options.client_ca or "", "client_ca", believed)
        return context

    def _named(self, connection: ssl.SSLObject, name: str | None, _: ssl.SSLContext) -> int | None:
        """The client said whom it wants: from here on this context is its own."""
        found: ssl.SSLContext | None = None
        if name is not None:
            name = name.lower()
            if isinstance(connection, Connection):
                connection.server_name = name
            found = self._by_name.get(name) or self._by_name.get("*." + name.partition(".")[2])
            if found is None and self.options.unknown_name == "refuse":
                return ssl.ALERT_DESCRIPTION_UNRECOGNIZED_NAME
        connection.context = found or self._default
        return None


def backend_context(options: BackendTlsOptions, alpn: tuple[str, ...] = ("http/1.1",)) -> ssl.SSLContext:
    """A context for dialling backends; give `server_hostname` (the name wanted) with it. Raises ValueError."""
    context = _context(ssl.PROTOCOL_TLS_CLIENT, options.minimum)
    context.set_alpn_protocols(list(alpn))
    if options.ca:
        _believe(context, options.ca, "ca", _bytes(options.ca, "ca"))
    else:
        context.load_default_certs()
    if options.certificate:
        _load(context, options.certificate, "certificate")
    return context


def _context(side: int, minimum: Version) -> ssl.SSLContext:
    context = ssl.SSLContext(side)
    context.minimum_version = VERSIONS[minimum]
    context.set_ciphers(CIPHERS)
    context.options |= ssl.OP_NO_COMPRESSION
    return context


def _bytes(path: str, field: str) -> bytes:
    try:
        return Path(path).read_bytes()
    except OSError as error:
        raise ValueError(f"{field} is {path!r}: {error.strerror}; the path of a readable PEM file") from None


def _believe(context: ssl.SSLContext, path: str, field: str, pem: bytes) -> None:
    try:
        context.load_verify_locations(cadata=pem.decode("ascii", "replace"))
    except OSError as error:  # SSLError is one
        raise ValueError(f"{field} is {path!r}: {error.strerror}; a PEM file of CA certificates") from None


def _load(context: ssl.SSLContext, pair: KeyPair, field: str) -> None:
    _bytes(pair.chain, f"{field}.chain")
    _bytes(pair.key, f"{field}.key")
    try:
        context.load_cert_chain(pair.chain, pair.key, password=_nobody)
    except ssl.SSLError as error:
        why = "does not belong to the certificate" if error.reason == "KEY_VALUES_MISMATCH" else str(error.reason)
        wanted = f"the private key, unencrypted PEM, of {pair.chain!r}"
        raise ValueError(f"{field}.key is {pair.key!r}: {why}; {wanted}") from None


def _nobody() -> str:
    """Asked for a key's password: a proxy that starts at night must not wait at a prompt."""
    return ""
