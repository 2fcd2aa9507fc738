"""Programs for the tests of the verifier: maps to use in them, and what the kernel says of them."""

from __future__ import annotations

import os
from collections.abc import Mapping
from functools import cache

from lbcore.ebpf import isa, kernel, storage
from lbcore.ebpf.assembler import assemble
from lbcore.ebpf.object import MapSpec, Object, Program, Relocation
from lbcore.ebpf.verifier import Verdict, verify

MAPS = (
    MapSpec("counts", "hash", 4, 8, 16),
    MapSpec("cells", "array", 4, 16, 4),
    MapSpec("single", "array", 4, 64, 1),
    MapSpec("ring", "ringbuf", 0, 0, 4096),
    MapSpec("fixed", "array", 4, 16, 1, flags=1 << 7, content=bytes([7, 0, 0, 0, 200, 0, 0, 0]) + bytes(8)),
    MapSpec("programs", "prog_array", 4, 4, 4),
    MapSpec("ports", "devmap", 4, 4, 4),
    MapSpec("tree", "lpm_trie", 8, 4, 16, flags=1),
    MapSpec("sockets", "xskmap", 4, 4, 4),
    MapSpec("outer", "array_of_maps", 4, 4, 2, inner=MapSpec("inner", "hash", 4, 8, 16)),
)
"""By number, as `map_by_fd(n)` in a program names them."""


def program(text: str | bytes, kind: str = "xdp", section: str = "") -> Program:
    """A program whose wide loads name MAPS by number."""
    code = assemble(text) if isinstance(text, str) else text
    try:
        instructions = isa.decode(code)
    except isa.BadCode:
        instructions = []
    wanted = (isa.MAP_FD, isa.MAP_VALUE_FD)
    relocations = [
        Relocation(slot, MAPS[one.low].name)
        for slot, one in zip(isa.slots(instructions), instructions, strict=False)
        if one.wide and one.src in wanted and 0 <= one.low < len(MAPS)
    ]
    return Program("program", section or kind, kind, code, tuple(relocations))


def ours(
    text: str | bytes, kind: str = "xdp", *, uninitialised: bool = True, section: str = "", limit: int = 50_000
) -> Verdict:
    """This book's verdict; as to reading unwritten stack, as the kernel's of root."""
    maps = {one.name: one for one in MAPS}
    return verify(program(text, kind, section), maps, uninitialised=uninitialised, limit=limit)


@cache
def kernel_maps(kind: str) -> Mapping[str, kernel.KernelMap]:
    """For programs of one kind: an array of programs belongs to the first kind that uses it."""
    return kernel.create_maps(Object(b"", (), MAPS))


def kernels(text: str | bytes, kind: str = "xdp", section: str = "") -> str:
    """Empty if the kernel takes it, else its reason."""
    one = program(text, kind, section)
    try:
        kernel.load(Object(b"", (one,), MAPS, license="GPL"), maps=kernel_maps(kind)).close()
    except kernel.Rejected as refused:
        return refused.reason
    except OSError as error:
        return os.strerror(error.errno or 0)
    return ""


def memory() -> dict[str, storage.Map]:
    """MAPS for the machine; those of a kind that it can fill have something in them."""
    made = {}
    for spec in MAPS:
        made[spec.name] = storage.Map(
            spec.kind, spec.key_size, spec.value_size, spec.max_entries, name=spec.name, readonly=bool(spec.flags & 128)
        )
    made["counts"][bytes(4)] = bytes(range(8))
    made["fixed"].table.values[0, :16] = list(MAPS[4].content)
    return made
