"""A wire between two ports: what comes in here goes out there, unseen by the network stack.

Theory. The program only names an entry of a device map; the driver moves the frame when the program has returned, many
at a time. The map, not the program, knows the other port: load it once for each direction, each with its own map. An
entry that is missing is no error: then the verdict is the one given, and the stack gets the packet.

Trap. Nothing in the frame changes. A wire has no addresses; a router would write new ones and lower the TTL.
"""

from __future__ import annotations

from typing import Any

from lbcore.ebpf import maps
from lbcore.ebpf.compiler import xdp
from lbcore.ebpf.contexts import XDP_PASS

other_port = maps.devmap("other_port", 1)


@xdp
def redirect(context: Any) -> int:
    return other_port.redirect(0, XDP_PASS)
