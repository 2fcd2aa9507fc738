"""What the verifier has to know of a map, from whichever kind of map it is given.

Rule of this file: facts. What may be done with a map of some kind is a table in `calls`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from lbcore.ebpf.object import PROGRAM_READS_ONLY, MapSpec

DEVICES = ("devmap", "devmap_hash")
"""Their values are the kernel's own: programs only read them."""


@dataclass(frozen=True)
class Facts:
    """Sizes in bytes. readonly: programs may not write. content: a value that nobody can change any more, or empty.
    inner: what a map of maps holds; None where that is not known."""

    name: str
    kind: str
    key_size: int
    value_size: int
    max_entries: int
    readonly: bool = False
    content: bytes = b""
    inner: Facts | None = None


def facts(given: Any, name: str = "") -> Facts:
    """The facts of a MapSpec (`object`), or of a map: the machine's, the kernel's, or the compiler's."""
    if isinstance(given, Facts):
        return given
    given = getattr(given, "storage", given)
    spec = given if isinstance(given, MapSpec) else getattr(given, "spec", None)
    if isinstance(spec, MapSpec):
        fixed = bool(spec.flags & PROGRAM_READS_ONLY)
        return Facts(
            name or spec.name, spec.kind, spec.key_size, spec.value_size, spec.max_entries,
            readonly=fixed or spec.kind in DEVICES,
            content=spec.content.ljust(spec.value_size, b"\0") if fixed and spec.content else b"",
            inner=facts(spec.inner) if spec.inner else None,
        )  # fmt: skip
    try:
        return Facts(
            name or given.name, given.kind, given.key_size, given.value_size, given.max_entries,
            readonly=given.readonly or given.kind in DEVICES,
        )  # fmt: skip
    except AttributeError:
        raise TypeError(f"map {name!r} is {given!r:.100}: a MapSpec or a map was expected") from None


def listed(maps: Mapping[str, Any] | Sequence[Any]) -> list[Facts]:
    """Facts of maps in their order, each with the name it is given by."""
    if isinstance(maps, Mapping):
        return [facts(one, name) for name, one in maps.items()]
    return [facts(one) for one in maps]
