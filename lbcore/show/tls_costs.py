"""The drawings of chapter 10: what handshakes, bytes, round trips and places of TLS cost.

Rule of this file: it draws numbers that it was given; it measures nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from lbcore.measure.table import Table
from lbcore.measure.tls_placement import Cost
from lbcore.show.bar_chart import bars
from lbcore.show.curves import lines
from lbcore.show.parts_chart import parts as chart_of_parts
from lbcore.show.style import Picture
from lbcore.sim.round_trips import first_byte
from lbcore.sim.tls_bill import BYTES, FULL, RESUMED, Prices, bill
from lbcore.testbed.tls_memory import KEYS, VERSIONS, WAYS, Way

Costs = Mapping[Way, float]
REQUESTS = (1, 2, 5, 10, 20, 50, 100)
SETUPS = ("TLS 1.2", "TLS 1.3", "TLS 1.3 early data", "kept connection")


def handshake_table(server: Costs, client: Costs, caption: str) -> Table:
    """Both ends' CPU time (µs) for each kind of handshake."""
    rows = [
        (way.key, way.version, "resumed" if way.resumed else "full", f"{server[way]:.0f}", f"{client[way]:.0f}")
        for way in WAYS
    ]
    return Table(("key", "version", "handshake", "server (µs)", "client (µs)"), tuple(rows), caption)


def handshake_bars(server: Costs) -> Picture:
    """The server's CPU time (µs): full and resumed side by side."""
    kinds = [(key, version) for key in KEYS for version in VERSIONS]
    return bars(
        [f"{key}\n{version}" for key, version in kinds],
        {name: [server[Way(*kind, name == "resumed")] for kind in kinds] for name in ("full", "resumed")},
        x_label="the certificate's key, and the version of TLS",
        y_label="server's CPU time (µs a handshake)",
        title="The signature is what costs; whoever resumes does without",
        alt="Bars of the server's CPU time for a handshake. Full ones with RSA are the tallest, with P-256 lower; "
        "resumed ones are lower than all of them, and lowest in TLS 1.2.",
    )


def per_request(server: Costs) -> Picture:
    """A request's share of its connection's handshake (µs), by requests on each connection; TLS 1.3."""
    kinds = {
        "RSA-2048, new visitors": Way("RSA-2048", "TLS 1.3", False),
        "P-256, new visitors": Way("P-256", "TLS 1.3", False),
        "P-256, resumed": Way("P-256", "TLS 1.3", True),
    }
    return lines(
        REQUESTS,
        {name: [server[way] / count for count in REQUESTS] for name, way in kinds.items()},
        x_label="requests on each connection",
        y_label="server's CPU time (µs a request)",
        title="Ten requests on a connection save more than any choice of key",
        alt="CPU time for handshakes per request against requests per connection, TLS 1.3. Three falling curves, RSA "
        "on top, P-256 below, resumed lowest; from about ten requests on all are close to the floor.",
        x_log=True,
    )


def masked(factor: Mapping[str, float]) -> Picture:
    """How many times dearer each operation is without the processor's AES instructions."""
    return bars(
        [name.replace("-P", "-\nP").replace(" ", "\n") for name in factor],
        {"": list(factor.values())},
        x_label="one record of 16 kB sealed; one signature made",
        y_label="CPU time without AES instructions\n(times that with them)",
        title="AES instructions speed up AES, and not one signature",
        alt="Bars of the factor by which each operation slows down when the processor's AES instructions are masked: "
        "AES-128-GCM many times, ChaCha20-Poly1305 and both signatures not at all.",
    )


def distance(most: int = 200) -> Picture:
    """Time to the first byte against the round-trip time (ms), for several ways to begin."""
    times = [0, most // 8, most // 4, most // 2, most * 3 // 4, most]
    return lines(
        times,
        {name: [first_byte(name, time) for time in times] for name in SETUPS},
        x_label="round-trip time between client and TLS end (ms)",
        y_label="until the first byte (ms)",
        title="The slope is the number of round trips",
        alt="Time to first byte against round-trip time, straight lines from the origin: TLS 1.2 slope 4, TLS 1.3 "
        "slope 3, early data slope 2, a kept connection slope 1.",
    )


def beyond(to_edge: int = 20, most: int = 150) -> Picture:
    """Time to the first byte against the distance from edge to backend (ms); TLS 1.3."""
    times = [0, most // 6, most // 3, most * 2 // 3, most]
    places: dict[str, Callable[[float], float]] = {
        "passed through": lambda far: first_byte("TLS 1.3", to_edge, far),
        "ended at the edge, new backend connection": lambda far: first_byte(
            "TLS 1.3", to_edge, far, ends_at="edge", warm=False
        ),
        "ended at the edge, kept backend connection": lambda far: first_byte("TLS 1.3", to_edge, far, ends_at="edge"),
    }
    return lines(
        times,
        {name: [place(time) for time in times] for name, place in places.items()},
        x_label="round-trip time between edge and backend (ms)",
        y_label="until the first byte (ms)",
        title="Passed through, every round trip goes all the way",
        alt=f"Time to first byte against the distance from edge to backend, TLS 1.3, client {to_edge} ms from the "
        f"edge. All start at {3 * to_edge} ms. Passed through rises with slope 3, ended at the edge with slope 2, or "
        "1 with a kept connection.",
    )


def places(costs: Mapping[str, Sequence[Cost]], loads: Sequence[str]) -> Picture:
    """CPU time a request (µs) of proxy and backend: a panel for each load, a bar for each mode."""
    panels = {
        load: {mode: {"proxy": each[number].proxy, "backend": each[number].backend} for mode, each in costs.items()}
        for number, load in enumerate(loads)
    }
    return chart_of_parts(
        panels,
        x_label="CPU time (µs a request)",
        y_label="where TLS ends",
        title="Which place is cheap depends on connections and bytes",
        alt="Three panels of bars, one bar for each mode, made of proxy and backend. New connections: TLS costs "
        "several times plain, and re-encryption without reuse the most. Kept connections: all near plain except "
        "without reuse. 1 MB: re-encryption above terminate, without reuse the most.",
    )


def bill_of(prices: Mapping[str, Prices], key: str, requests: float, size: float, resumed: float) -> Picture:
    """One request's TLS bill by part (µs), for both kinds of key; `key` is the one that the title speaks of."""
    panel = {}
    for name, price in prices.items():
        parts = bill(price, requests, size, resumed)
        panel[name] = {part: parts[part] for part in (FULL, RESUMED, BYTES)}
    largest = max(panel[key], key=panel[key].__getitem__)
    said = {part: f"{value:.0f} µs" for part, value in panel[key].items()}
    return chart_of_parts(
        {"": panel},
        x_label="CPU time where TLS ends (µs a request)",
        y_label="certificate's key",
        title=f"With {key}, {largest} cost the most".replace("encryption cost", "encryption costs"),
        alt=f"{key}: " + ", ".join(f"{part} {value}" for part, value in said.items()),
    )
