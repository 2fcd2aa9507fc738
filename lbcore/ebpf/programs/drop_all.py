"""The fastest a program can do: every packet is gone before the kernel has spent anything on it.

Theory. In native mode the driver hands over its own buffer and takes it back at once: nothing was allocated, so nothing
is freed. That is why floods are fought here.

Trap. It drops ARP too: who attaches this to the interface they work through has locked themselves out.
"""

from __future__ import annotations

from typing import Any

from lbcore.ebpf.compiler import xdp
from lbcore.ebpf.contexts import XDP_DROP


@xdp
def drop_all(context: Any) -> int:
    return XDP_DROP
