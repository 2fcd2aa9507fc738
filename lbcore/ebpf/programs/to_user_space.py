"""Packets to a process instead of the network stack: each goes to the socket of the queue that it arrived on.

Theory. A network card spreads packets over queues, and each queue is served by one processor. A map of AF_XDP sockets
has a socket under a queue's number; the packet's bytes go to that process's memory, and the stack never hears of them.
A queue without a socket is not cut off: then the verdict is the one given, and the stack gets the packet.

Trap. Under the number of a queue there must be a socket that is bound to that very queue: any other gets nothing, and
the packet is dropped. And to_user_space takes everything, ARP too: the process must answer, or nobody finds the host.
"""

from __future__ import annotations

from typing import Any

from lbcore.ebpf import maps
from lbcore.ebpf.compiler import xdp
from lbcore.ebpf.contexts import XDP_PASS
from lbcore.wire.seam import queue_of

QUEUES = 64

sockets = maps.xskmap("sockets", QUEUES)


@xdp
def to_user_space(context: Any) -> int:
    return sockets.redirect(queue_of(context), XDP_PASS)
