"""Lab 08's drawings: what a student's functions say, beside what OpenSSL does.

Rule of this file: it draws what it was given, right or wrong. Where there is nothing to draw it gives back the reason
in words.

Theory. Tickets and names have a judge that knows no lab: a real handshake. `show_resumed` makes a TLS context for each
ticket key and lets a client come back; `show_certificate` lets a client look at the certificate that was chosen.
"""

from __future__ import annotations

import ssl
from typing import Any

from lbcore.labs.drawing import called, refused
from lbcore.labs.judge import Verdict
from lbcore.labs.sandbox import Outcome
from lbcore.labs.tls_bill import names, paying, placing
from lbcore.measure.table import Table
from lbcore.show.curves import lines
from lbcore.show.style import Picture
from lbcore.testbed import tls_memory
from lbcore.testbed.tls_memory import Identity, handshake

DAY = [(0, "a"), (10, "a"), (20, "b"), (30, "c"), (40, "a"), (50, "b")]
KEYS = {"a": "k1", "b": "k1", "c": "k2"}
ASKED = ["shop.example", "www.shop.example", "a.b.shop.example", "PAY.example", "evilshop.example", "a.eu.shop.example"]
MORNING = [(200, 400), (900, 1500), (2600, 5200), (3000, 6500), (2100, 4800), (800, 2500), (300, 900)]
NEEDED = [
    [], ["route by path"], ["route by path", "encrypted on the inside"], ["unreadable in the middle"],
    ["cache answers", "backends without certificates"], ["cache answers", "unreadable in the middle"],
]  # fmt: skip


def told(outcome: Outcome) -> str:
    """An outcome in a word or two."""
    return "refused" if refused(outcome) else str(outcome.value)[:40]


def show_cpu(cpu: Any) -> Table | Verdict:
    """Three kinds of traffic a second, at prices measured just now on this machine."""
    server, _ = tls_memory.microseconds(tls_memory.measure_handshakes(5))
    full, again = (round(1000 * server[tls_memory.Way("P-256", "TLS 1.3", resumed)]) for resumed in (False, True))
    kilobyte = round(1000 * tls_memory.bulk(1 << 22)[0])
    traffic = {
        "login: 3000 new, 2 requests, 30 kB": (3000, 0, 2, 30),
        "browsing: 200 new, 800 returning, 40 requests, 30 kB": (200, 800, 40, 30),
        "films: 50 returning, 1 request, 5 MB": (0, 50, 1, 5000),
    }
    outcomes, reason = called(cpu, *(([mix], full, again, kilobyte, 0) for mix in traffic.values()), refusals=True)
    if reason:
        return reason
    rows = [
        (name, f"{one.value / paying.SECOND:.2f}" if type(one.value) is int else told(one))
        for name, one in zip(traffic, outcomes, strict=False)
    ]
    caption = f"P-256, TLS 1.3, measured here: full {full} ns, resumed {again} ns, a kilobyte {kilobyte} ns"
    return Table(("each second", "yours: cores for TLS"), tuple(rows), caption)


def show_resumed(resumed: Any) -> Table | Verdict:
    """A client's day: your answer, and what OpenSSL does with backends that have these ticket keys."""
    outcomes, reason = called(resumed, (DAY, KEYS, 3600), refusals=True)
    if reason:
        return reason
    site = Identity()
    sealed = {key: site.server() for key in sorted(set(KEYS.values()))}
    client, session, real = site.client(), None, []
    for _, backend in DAY:
        one = handshake(sealed[KEYS[backend]], client, session)
        session = one.session
        real.append(one.resumed)
    said = outcomes[0].value if isinstance(outcomes[0].value, list) else []
    yours = [*map(str, said), *["(nothing)"] * len(DAY)]
    rows = [
        (second, f"{backend} ({KEYS[backend]})", mine, does)
        for (second, backend), mine, does in zip(DAY, yours, real, strict=False)
    ]
    return Table(("second", "backend (key)", "yours: resumed", "OpenSSL"), tuple(rows))


def show_certificate(certificate: Any) -> Table | Verdict:
    """Names that clients ask for: the certificate that you choose, and what OpenSSL's client says to it."""
    outcomes, reason = called(certificate, *((name, names.SHOP) for name in ASKED), refusals=True)
    if reason:
        return reason
    sites = [Identity("P-256", *some) for some in names.SHOP]
    rows = []
    for name, one in zip(ASKED, outcomes, strict=False):
        chosen = one.value if type(one.value) is int and 0 <= one.value < len(sites) else None
        says = "-" if chosen is None else "believes it" if believed(sites[chosen], name) else "refuses it"
        rows.append((name, "-" if chosen is None else ", ".join(names.SHOP[chosen]), says))
    return Table(("asked for", "your certificate", "OpenSSL's client"), tuple(rows))


def believed(site: Identity, name: str) -> bool:
    """Whether a client that wants `name` goes on when it is shown this site's certificate."""
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = site.client().wrap_bio(to_client, to_server, server_hostname=name)
    server = site.server().wrap_bio(to_server, to_client, server_side=True)
    tls_memory.turn(client.do_handshake)
    tls_memory.turn(server.do_handshake)
    try:
        client.do_handshake()
    except ssl.SSLCertVerificationError:
        return False
    return True


def show_place(place: Any) -> Table | Verdict:
    """A few sets of needs."""
    outcomes, reason = called(place, *((needs,) for needs in NEEDED), refusals=True)
    if reason:
        return reason
    rows = [(", ".join(needs) or "(nothing)", told(one)) for needs, one in zip(NEEDED, outcomes, strict=False)]
    return Table(("needed", "yours"), tuple(rows), f"modes: {', '.join(placing.CANNOT)}")


def show_machines(machines: Any) -> Picture | Verdict:
    """A morning with working tickets and after a restart, and what your machines get through with one missing."""
    full, again, cores, busy = 500_000, 200_000, 4, 50
    outcomes, reason = called(machines, (MORNING, full, again, cores, busy), refusals=True)
    if reason:
        return reason
    count = outcomes[0].value if type(outcomes[0].value) is int else 0
    able = max(0, count - 1) * cores * busy / 100
    return lines(
        range(len(MORNING)),
        {
            "tickets work": [(new * full + back * again) / paying.SECOND for new, back in MORNING],
            "after a restart": [(new + back) * full / paying.SECOND for new, back in MORNING],
            "yours, one missing": [able] * len(MORNING),
        },
        x_label="time (s)",
        y_label="handshakes (busy cores)",
        title=f"{count} machines with {cores} cores, one of them missing",
        alt=f"Cores busy with handshakes through a morning, with tickets and without, both with a peak in the "
        f"middle; a level line at {able:g} cores is what {count} machines get through with one missing.",
    )
