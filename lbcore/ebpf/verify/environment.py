"""What the walk's rules have in common: the kind of program, its maps, and how strict to be.

Rule of this file: nothing is decided here.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from lbcore.ebpf.verify.maps import Facts


@dataclass
class Environment:
    """kind: "xdp", "tc" or "socket"; attach: the kernel's expected_attach_type (33: a program of a devmap);
    trusting: the stack may be read where nothing was written; free: the licence allows helpers under the GPL;
    depths: bytes of stack that each function was seen to use, by where it starts;
    decisive: the places (`state`) by which the running instruction decided something."""

    kind: str
    maps: list[Facts]
    attach: int = 0
    trusting: bool = False
    free: bool = True
    depths: dict[int, int] = field(default_factory=dict)
    last_id: int = 0
    decisive: int = 0

    def fresh(self) -> int:
        """An id that nothing has yet."""
        self.last_id += 1
        return self.last_id
