"""Frames of HTTP/2 in the bytes of one direction of a connection: byte by byte, and as lanes of streams.

Rule of this file: `lbcore.l7.http2.frames` takes bytes apart; here they are drawn.

Trap. A frame with a header block has some dozen bytes beside others of thousands: to scale it is invisible, so it is
drawn as a mark.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from matplotlib.patches import Rectangle

from lbcore.l7.http2 import frames
from lbcore.show.packet_diagram import PacketDiagram, Span, packet
from lbcore.show.style import BLACK, PALETTE, Picture, figure, finish

NARROW = 0.03  # of all bytes: frames below it are marks
GREY = "#c8c8c8"


class Placed(NamedTuple):
    """A frame and its place in the bytes."""

    start: int
    end: int
    kind: str
    flags: int
    stream: int

    @property
    def lane(self) -> str:
        """Whose it is."""
        return f"stream {self.stream}" if self.stream else "connection"


def placed(data: bytes) -> Iterator[Placed]:
    """The frames in `data`, which may begin with a client's preface."""
    at = len(frames.PREFACE) if data.startswith(frames.PREFACE) else 0
    for kind, flags, stream, payload in frames.split(data[at:]):
        end = at + frames.HEADER.size + len(payload)
        yield Placed(at, end, frames.KINDS[kind] if kind < len(frames.KINDS) else f"type {kind}", flags, stream)
        at = end


def frame_bytes(data: bytes, *, locked: bool = False, max_rows: int = 24, caption: str = "") -> PacketDiagram:
    """All bytes, coloured by stream. locked: as somebody sees them who does not know what they mean."""
    if locked:
        return packet(data, [Span(0, len(data), "payload", "TCP")], readable=(), max_rows=max_rows, caption=caption)
    found = list(placed(data))
    spans = [Span(0, found[0].start if found else len(data), "preface", "connection", "PRI * HTTP/2.0")]
    for one in found:
        fields = (("length", 3, one.end - one.start - 9), ("type", 1, one.kind), ("flags", 1, one.flags))
        at = one.start
        for name, size, value in (*fields, ("stream", 4, one.stream)):
            spans.append(Span(at, at + size, name, one.lane, str(value)))
            at += size
        spans.append(Span(at, one.end, f"{one.kind} payload", one.lane))
    return packet(
        data,
        [span for span in spans if span.end > span.start],
        highlight=["type"] if found else (),
        max_rows=max_rows,
        caption=caption or f"{len(data)} bytes, framed: the type of each frame",
    )


def frame_lanes(data: bytes, *, title: str, alt: str) -> Picture:
    """The frames of streams, one lane for each, to scale; below them what is left of it for layer 4."""
    found = [one for one in placed(data) if one.stream]
    first, last = found[0].start, found[-1].end
    lanes = sorted({one.stream for one in found})
    fig, ax = figure(height=1.9 + 0.5 * len(lanes))
    for one in found:
        row = lanes.index(one.stream)
        if one.end - one.start < NARROW * (last - first):
            ax.plot([one.start - first], [row - 0.45], "v", color=BLACK, markersize=6, clip_on=False)
        else:
            width = one.end - one.start
            box = Rectangle((one.start - first, row - 0.3), width, 0.6, facecolor=PALETTE[row], edgecolor="white")
            ax.add_patch(box)
            ax.text(one.start - first + width / 2, row, one.kind, ha="center", va="center", fontsize=8, color="white")
    ax.add_patch(Rectangle((0, len(lanes) - 0.3), last - first, 0.6, facecolor=GREY, hatch="//", edgecolor="white"))
    ax.text((last - first) / 2, len(lanes), "bytes", ha="center", va="center", fontsize=9,
            bbox={"facecolor": GREY, "edgecolor": "none"})  # fmt: skip
    ax.plot([], [], "v", color=BLACK, linestyle="none", label="HEADERS (head or trailers)")
    ax.set(xlabel="bytes of the TCP stream", ylabel="as seen by")
    ax.set_yticks(range(len(lanes) + 1), [*(f"L7: stream {number}" for number in lanes), "L4"])
    ax.set(xlim=(0, last - first), ylim=(len(lanes) + 0.5, -0.7))
    ax.xaxis.set_major_formatter("{x:,.0f}")
    ax.grid(False)
    fig.legend(frameon=False, loc="outside lower right")
    return finish(fig, title=title, alt=alt)
