"""A frame in one line, as a capture tool would print it.

Rule of this file: words for what `dissect` has found; no byte is read here.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from lbcore.wire.dissect import Layer, dissect
from lbcore.wire.verdict import TEXT


def summary(frame: bytes, *, first: str = "ethernet") -> str:
    """A frame in one line: "10.0.0.1:40000 > 10.0.0.2:80 TCP SYN 60 bytes"."""
    said, trouble = [], []
    layers = dissect(frame, first=first)
    for at, layer in enumerate(layers):
        kind = layer.name.removeprefix("quoted ")
        text = {field.name: field.text for field in layer.fields}
        if kind in ("ipv4", "ipv6") and "destination" in text:
            said += ["about"] * (kind != layer.name) + [_ends(text, layers[at + 1 :])]
        elif kind in _WORDS:
            said.append(_WORDS[kind](text))
        elif kind == "payload" and layer.note:
            said.append(f"({layer.note})")
        if layer.note in TEXT.values():
            trouble.append(f"({kind}: {layer.note})")
    return " ".join([*said, *trouble, f"{sum(layer.length for layer in layers)} bytes"])


def _ends(text: dict[str, str], below: Sequence[Layer]) -> str:
    """Source and destination of an IP header, with ports if the headers below it have any."""
    ends = [text["source"], text["destination"]]
    for layer in below:
        name = layer.name.removeprefix("quoted ")
        if name in ("ipv4", "ipv6", "icmp", "icmpv6"):
            break
        if name in ("tcp", "udp") and len(layer.fields) >= 2:
            ends = [f"[{end}]" if ":" in end else end for end in ends]
            ends = [f"{end}:{port.value}" for end, port in zip(ends, layer.fields, strict=False)]
    return " > ".join(ends)


def _arp_words(text: dict[str, str]) -> str:
    if "target_address" not in text:
        return "ARP"
    if text["operation"].startswith("1 "):
        return f"ARP who has {text['target_address']}, tell {text['sender_address']}"
    return f"ARP {text['sender_address']} is at {text['sender_mac']}"


def _name(text: str) -> str:
    """The name in "8 (echo request)", or the number if there is no name."""
    return text.partition(" (")[2].rstrip(")") or text


_WORDS: dict[str, Callable[[dict[str, str]], str]] = {
    "vlan": lambda text: f"VLAN {text.get('vlan_id', '')}".strip(),
    "arp": _arp_words,
    "tcp": lambda text: f"TCP {text.get('flags', '')}".strip(),
    "udp": lambda text: "UDP",
    "icmp": lambda text: f"ICMP {_name(text.get('type', ''))}".strip(),
    "icmpv6": lambda text: f"ICMPv6 {_name(text.get('type', ''))}".strip(),
}
