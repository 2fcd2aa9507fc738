"""A ClientHello as bytes with its fields coloured, and as a bar to scale: what the first segment brings of it.

Rule of this file: `lbcore.wire.tls_hello` finds the fields; here they are drawn.

Trap. Colour must not be the only difference: large fields have their names written into them, the server name above.
"""

from __future__ import annotations

from collections.abc import Mapping

from matplotlib.patches import Rectangle

from lbcore.show.packet_diagram import PacketDiagram, Span, packet
from lbcore.show.style import BLACK, GREEN, PURPLE, SKY, VERMILION, Picture, figure, finish
from lbcore.wire import tls_hello

SEGMENT = 1460  # bytes of payload: 1500 of Ethernet less 40 of IPv4 and TCP headers
LOCKED = "encrypted client hello"
TINTS = {"server name": VERMILION, "key share": SKY, "ALPN": GREEN, LOCKED: PURPLE}
OTHER, WIDE = "#d4d4d4", 130
SHORT = {LOCKED: "ECH"}
Spans = Mapping[str, tuple[int, int]]


def places(hello: bytes) -> Spans:
    """The first and last offset (excluded) of each field of a whole ClientHello."""
    found: dict[str, tuple[int, int]] = {}
    for name, start, end in tls_hello.parse(hello).spans:
        found[name] = (found.get(name, (start, end))[0], end)
    return found


def verdict(hello: bytes, segment: int = SEGMENT) -> str:
    """What is to be had of the server name from the first segment alone."""
    start, end = places(hello).get("server name", (-1, -1))
    if start < 0:
        return "there is no name"
    if len(hello) <= segment:
        return "all in the first segment"
    if end <= segment:
        return "the name in the first segment, the rest in the next"
    return "no name in the first segment"


def hello_bytes(hello: bytes, *, max_rows: int = 24, caption: str = "") -> PacketDiagram:
    """A hello byte by byte. Framed: name and ALPN. Locked: what nobody on the way can read. Raises as `parse` does."""
    parsed = tls_hello.parse(hello)
    spans = [Span(0, parsed.size, "lengths, other fields", "TLS")]
    spans += [Span(s.start, s.end, s.name, s.name if s.name in TINTS else "TLS") for s in parsed.spans]
    there = {span.kind for span in spans}
    return packet(
        hello,
        spans,
        highlight=[name for name in ("server name", "ALPN") if name in there],
        readable=sorted(there - {LOCKED}),
        max_rows=max_rows,
        caption=caption or f"a ClientHello, {len(hello)} bytes",
    )


def hello_map(hellos: Mapping[str, bytes], *, segment: int = SEGMENT, title: str = "", alt: str = "") -> Picture:
    """Hellos to scale, one a row, by label. segment: bytes that a TCP segment holds.

    title and alt are made up from the verdicts unless they are given. Raises what `tls_hello.parse` raises.
    """
    fig, ax = figure(height=1.35 + 0.58 * len(hellos))
    longest = max(map(len, hellos.values()))
    for row, hello in enumerate(hellos.values()):
        ax.add_patch(Rectangle((0, row - 0.3), len(hello), 0.6, facecolor=OTHER, edgecolor=BLACK, linewidth=0.8))
        for name, (start, end) in places(hello).items():
            if name in TINTS:
                ax.add_patch(Rectangle((start, row - 0.3), end - start, 0.6, facecolor=TINTS[name], linewidth=0))
            if name == "server name":
                ax.text((start + end) / 2, row - 0.36, "name", ha="center", fontsize=8, color=VERMILION, weight="bold")
            elif name in TINTS and end - start > WIDE:
                ax.text((start + end) / 2, row, SHORT.get(name, name), ha="center", va="center", fontsize=8)
    for cut in range(segment, longest, segment):
        ax.axvline(cut, color=BLACK, linestyle="--", linewidth=1.4, marker="")
        ax.annotate("next segment →", (cut, -0.7), (4, 0), textcoords="offset points", fontsize=8, va="top")
    ax.set(yticks=range(len(hellos)), ylim=(len(hellos) - 0.5, -0.8), xlim=(0, max(longest, segment) * 1.12))
    ax.set_yticklabels(hellos)
    ax.grid(visible=False)
    ax.set(xlabel="bytes of the TCP stream", ylabel="ClientHello")
    keys = {**TINTS, "everything else": OTHER}
    patches = [Rectangle((0, 0), 1, 1, facecolor=tint, label=name) for name, tint in keys.items()]
    fig.legend(handles=patches, loc="outside lower center", ncols=len(keys), fontsize=8)
    said = {label: verdict(hello, segment) for label, hello in hellos.items()}
    words = "; ".join(f"{label}: {len(hellos[label])} bytes, {said[label]}" for label in hellos)
    return finish(fig, title=title or said[next(iter(said))].capitalize(), alt=alt or f"Bars to scale. {words}.")
