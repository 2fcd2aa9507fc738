"""The verdict of the book's verifier on a linked program, and its log as a kernel would write it.

Rule of this file: it asks `lbcore.ebpf.verifier` and nobody else.
"""

from __future__ import annotations

import functools

from lbcore.ebpf import isa
from lbcore.ebpf.object import MapSpec


def judged(code: bytes, maps: dict[int, MapSpec]) -> tuple[bool, str]:
    """Whether the verifier takes a program whose wide loads hold descriptors of `maps`, and its log.

    Numbers of descriptors mean nothing to it, so programs that differ in these alone are judged once.
    """
    neutral, known = bytearray(code), list[MapSpec]()
    instructions = isa.decode(code)
    for slot, one in zip(isa.slots(instructions), instructions, strict=False):
        if one.wide and one.src == isa.MAP_FD:
            if maps[one.low] not in known:
                known.append(maps[one.low])
            neutral[slot * isa.SLOT + 4 : slot * isa.SLOT + 8] = known.index(maps[one.low]).to_bytes(4, "little")
    return _judged(bytes(neutral), tuple(known))


@functools.cache
def _judged(code: bytes, maps: tuple[MapSpec, ...]) -> tuple[bool, str]:
    raise NotImplementedError
