"""What happened to a packet between two places: the fields that differ, and how its checksums were brought along.

Rule of this file: it compares two frames of one packet. Which of them came first, and who did it, the caller knows.

Theory. A tunnel puts headers in front, so layers are told apart from the inside: the last IP header is the packet's
own, and those before it are "outer". A checksum need not be computed anew after a rewrite: `repairs` takes each word
that changed out of the old one and puts the new word in (RFC 1624, equation 3), word by word, as one would by hand.

Trap. The checksums of TCP and UDP cover the addresses of the IP header too. A repair that forgets them is right for
the port and wrong for the packet.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from lbcore.wire import checksum
from lbcore.wire.dissect import Layer, dissect

IP = ("ipv4", "ipv6")
ENDS = ("source", "destination", "source_port", "destination_port")


@dataclass(frozen=True)
class Change:
    """What differs, as people read it; "" where the layer was not there."""

    layer: str
    field: str
    before: str
    after: str


@dataclass(frozen=True)
class Step:
    """One 16-bit word taken out, another put in, and the checksum after that."""

    what: str
    old: int
    new: int
    result: int


@dataclass(frozen=True)
class Repair:
    """A checksum brought from `start` to its new value, one changed word after the other."""

    layer: str
    start: int
    steps: tuple[Step, ...]

    @property
    def end(self) -> int:
        value = self.steps[-1].result if self.steps else self.start
        return 0xFFFF if self.layer == "udp" and value == 0 else value  # RFC 768: 0 says that there is none


def labelled(frame: bytes) -> list[Layer]:
    """The layers of a frame; the IP and UDP headers of a tunnel are called "outer ipv4", "outer ipv6", "outer udp"."""
    layers = dissect(frame)
    own = max((at for at, layer in enumerate(layers) if layer.name in IP), default=0)
    return [
        replace(layer, name=f"outer {layer.name}") if at < own and layer.name in (*IP, "udp") else layer
        for at, layer in enumerate(layers)
    ]


def changes(before: bytes, after: bytes) -> list[Change]:
    """The fields that differ between two frames of one packet, in their order; of a header that came or went, its ends.

    Such a header is one change: its field is "header", and what it says stands in `after` or in `before`.
    """
    old, new = ({layer.name: layer for layer in labelled(frame)} for frame in (before, after))
    found = []
    for name, layer in new.items():
        if name not in old:
            found.append(Change(name, "header", "", told(layer)))
            continue
        for was, field in zip(old[name].fields, layer.fields, strict=False):
            if was.value != field.value:
                found.append(Change(name, field.name, was.text, field.text))
    return found + [Change(name, "header", told(layer), "") for name, layer in old.items() if name not in new]


def told(layer: Layer) -> str:
    """A header in a few words: how long it is, and its ends."""
    ends = [field.text for field in layer.fields if field.name in ENDS]
    return " ".join([f"{layer.length} bytes:", *ends]) if ends else f"{layer.length} bytes"


def repairs(before: bytes, after: bytes) -> list[Repair]:
    """The checksums of the packet's own headers (IPv4, TCP, UDP) from one frame to the other, where they changed.

    Right as long as no data and no length changed: that is what a rewrite on the way may do.
    """
    old, new = ({layer.name: layer for layer in labelled(frame)} for frame in (before, after))
    found = []
    for name in ("ipv4", "tcp", "udp"):
        if name not in old or name not in new or checksum_of(old[name]) == checksum_of(new[name]):
            continue
        if name == "udp" and checksum_of(old[name]) == 0:
            continue  # none was sent, so none is repaired
        words = list(own_words(old, new, name)) + (list(address_words(old, new)) if name != "ipv4" else [])
        value, steps = checksum_of(old[name]), []
        for what, at, to in words:
            was, now = (int.from_bytes(f[i : i + 2], "big") for f, i in ((before, at), (after, to)))
            if was != now:
                value = checksum.update16(value, was, now)
                steps.append(Step(what, was, now, value))
        found.append(Repair(name, checksum_of(old[name]), tuple(steps)))
    return found


def checksum_of(layer: Layer) -> int:
    """The checksum that a layer carries."""
    return layer.field("checksum").value


def own_words(old: dict[str, Layer], new: dict[str, Layer], name: str) -> Iterator[tuple[str, int, int]]:
    """(name, offset before, offset after) of each word of a header, its checksum left out."""
    before, after = old[name], new[name]
    skip = before.field("checksum").bit_offset // 8 - before.offset
    for at in range(0, min(before.length, after.length) - 1, 2):
        if at != skip:
            yield words_name(before, at), before.offset + at, after.offset + at


def address_words(old: dict[str, Layer], new: dict[str, Layer]) -> Iterator[tuple[str, int, int]]:
    """The same of the two addresses of the packet's own IP header."""
    name = next(name for name in IP if name in old)
    before, after = old[name], new[name]
    start, end = (12, 20) if name == "ipv4" else (8, 40)
    for at in range(start, end, 2):
        yield words_name(before, at), before.offset + at, after.offset + at


def words_name(layer: Layer, at: int) -> str:
    """What the word at an offset of a layer is: "ipv4 source, word 1", "ipv4 ttl and protocol"."""
    start = 8 * (layer.offset + at)
    fields = [f for f in layer.fields if f.bit_offset < start + 16 and f.bit_offset + f.bits > start]
    if len(fields) == 1 and fields[0].bits > 16:
        return f"{layer.name} {fields[0].name}, word {(start - fields[0].bit_offset) // 16 + 1}"
    return f"{layer.name} {' and '.join(field.name for field in fields)}"
