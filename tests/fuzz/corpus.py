"""What hunts have kept: an input a line, in hexadecimal digits, the shortest first."""

from __future__ import annotations

import struct
from collections.abc import Iterable
from pathlib import Path
from random import Random

from tests.l4.corpus import frames

FOLDER = Path(__file__).parent / "corpus"
EXAMPLES = Path(__file__).parents[2] / "lbcore/l4/examples"
STREAMS = ("opening", "proxy_protocol", "tls_hello")


def kept(name: str) -> list[bytes]:
    """The inputs of a harness; none if nothing was kept yet."""
    file = FOLDER / f"{name}.txt"
    lines = file.read_text().splitlines() if file.exists() else []
    return [bytes.fromhex(line) for line in lines if not line.startswith("#")]


def keep(name: str, inputs: Iterable[bytes], said: str) -> None:
    """Write them, and in the first line what is to be said of them."""
    lines = sorted({one.hex() for one in inputs}, key=lambda line: (len(line), line))
    (FOLDER / f"{name}.txt").write_text("\n".join([f"# {said}", *lines, ""]))


def seeds(name: str) -> list[bytes]:
    """Where a hunt begins: what is kept, and what is right."""
    made = kept(name)
    if name == "core":
        made += list(of_packets(Random(1)))
    elif name == "config":
        made += [file.read_bytes() for file in sorted(EXAMPLES.glob("*.toml"))]
    elif name == "quic":
        made += [
            first + bytes([8, kind << 6]) + bytes(range(8)) for first in (b"\x40", b"\xe0\0\0\0\1") for kind in range(4)
        ]
    return made


def of_packets(random: Random) -> Iterable[bytes]:
    """Inputs of the harness `core`: a mode, a few frames, now and then a state."""
    for number in range(200):
        parts = [bytes([number])]
        for frame in random.choices(frames(), k=4):
            parts.append(struct.pack("!H", min(len(frame), 2047)) + frame[:2047])
            if random.random() < 0.05:
                parts.append(struct.pack("!H", 0xF000 | random.randrange(3) << 8 | random.randrange(10)))
        yield b"".join(parts)


def changed(random: Random, data: bytes, other: bytes) -> bytes:
    """An input with a few bytes changed, taken out, put in, or the end of another."""
    out = bytearray(data)
    for _ in range(random.randrange(1, 5)):
        at = random.randrange(len(out) + 1)
        out[at : at + random.choice((0, 0, 1, 1, 2, 4, 9))] = random.choice(
            (b"", b"\0", b"\xff", random.randbytes(1), random.randbytes(4), other[at : at + 8])
        )
    if random.random() < 0.1:
        out[random.randrange(len(out) + 1) :] = other[random.randrange(len(other) + 1) :]
    return bytes(out)
