"""An object's maps in the book's own memory, for the book's machine.

Rule of this file: from `MapSpec` to `storage.Map`, as `maps_kernel` goes to the kernel.
"""

from __future__ import annotations

import numpy as np

from lbcore.ebpf.object import PROGRAM_READS_ONLY, MapSpec, Object
from lbcore.ebpf.storage import Map


def create(source: Object) -> dict[str, Map]:
    """The object's maps by name. Raises ValueError for a kind or size that the machine does not have."""
    return {spec.name: _create(spec) for spec in source.maps}


def _create(spec: MapSpec) -> Map:
    readonly = bool(spec.flags & PROGRAM_READS_ONLY)
    made = Map(spec.kind, spec.key_size, spec.value_size, spec.max_entries, name=spec.name, readonly=readonly)
    if spec.content:
        made.table.values[0, : len(spec.content)] = np.frombuffer(spec.content, np.uint8)
    return made
