"""Lab 05: write the loader, from the bytes of a compiled file to a program in a kernel.

Rule of this file: the names that the notebook uses.

The parts: `objects` (the files), `reading`, `definitions`, `linking`, `loading`, `mending` (exercises: specifications,
cases, hints), `kernels` (a pretended one and the real one), `whole` (all of it together), `drawings`.
"""

from lbcore.labs.loader.definitions import check_maps
from lbcore.labs.loader.drawings import (
    show_blame,
    show_holes,
    show_load,
    show_maps,
    show_mended,
    show_patch,
    show_program,
    show_sections,
)
from lbcore.labs.loader.kernels import Kernel, Unlinked
from lbcore.labs.loader.linking import check_holes, check_patch
from lbcore.labs.loader.loading import Refused, check_load
from lbcore.labs.loader.mending import check_blame, check_mended
from lbcore.labs.loader.objects import Section, Type, compiled, types
from lbcore.labs.loader.reading import check_program, check_sections
from lbcore.labs.loader.whole import check_whole, in_kernel

__all__ = [
    "Kernel", "Refused", "Section", "Type", "Unlinked", "check_blame", "check_holes", "check_load", "check_maps",
    "check_mended", "check_patch", "check_program", "check_sections", "check_whole", "compiled", "in_kernel",
    "show_blame", "show_holes", "show_load", "show_maps", "show_mended", "show_patch", "show_program", "show_sections",
    "types",
]  # fmt: skip
