"""The least a program can do: every packet goes on to the network stack.

Theory. The verdict is a number, and 2 means: as if I were not here. A program that only passes is still of use: a veth
sends on what its peer transmits or redirects by XDP only if something runs at both ends.
"""

from __future__ import annotations

from typing import Any

from lbcore.ebpf.compiler import xdp
from lbcore.ebpf.contexts import XDP_PASS


@xdp
def pass_all(context: Any) -> int:
    return XDP_PASS
