"""Compiled loops over a driver's port, as a data plane has them."""

from __future__ import annotations

import numpy as np
from numba.extending import register_jitable

from lbcore.ebpf.contexts import XDP_DROP, XDP_TX
from lbcore.ebpf.programs.echo import echo
from lbcore.jit import kernel
from lbcore.l4.drivers.driver import receive, release, send, wait
from lbcore.l4.drivers.loop import PATIENCE, stopped
from lbcore.wire.seam import grow_head, grow_tail
from lbcore.wire.seam_numba import CELL, memory_context

BATCH = 64
echo_of = register_jitable(echo.function)


@kernel
def answer_batch(port, packets, verdicts):
    """The ladder's echo on what has arrived; what it does not answer is dropped."""
    count = receive(port, packets)
    for i in range(count):
        verdicts[i] = echo_of(memory_context(packets[i]))
    return send(port, packets, verdicts, count)


@kernel
def answer_once(port):
    return answer_batch(port, np.zeros((BATCH, CELL), np.uint64), np.zeros(BATCH, np.uint8))


@kernel
def answer(stop, port):
    """UDP echo until it is to stop; how many answers."""
    packets, verdicts, sent = np.zeros((BATCH, CELL), np.uint64), np.zeros(BATCH, np.uint8), 0
    while not stopped(stop):
        if wait(port, PATIENCE):
            sent += answer_batch(port, packets, verdicts)
    return sent


@kernel
def swallow(stop, port):
    """Receive and drop until it is to stop."""
    packets = np.zeros((BATCH, CELL), np.uint64)
    while not stopped(stop):
        if wait(port, PATIENCE):
            release(port, packets, receive(port, packets))


@kernel
def bridge(stop, left, right):
    """What comes in at either port goes out of the other."""
    packets, verdicts = np.zeros((BATCH, CELL), np.uint64), np.full(BATCH, XDP_TX, np.uint8)
    while not stopped(stop):
        count = receive(left, packets)
        send(right, packets, verdicts, count)
        release(left, packets, count)
        more = receive(right, packets)
        send(left, packets, verdicts, more)
        release(right, packets, more)
        if count + more == 0:
            wait(left, 1)


@kernel
def grow(port, head, tail):
    """Grow what has arrived and send it; how many could be grown."""
    packets, verdicts = np.zeros((BATCH, CELL), np.uint64), np.zeros(BATCH, np.uint8)
    count = receive(port, packets)
    for i in range(count):
        context = memory_context(packets[i])
        verdicts[i] = XDP_TX if grow_head(context, head) and grow_tail(context, tail) else XDP_DROP
    return send(port, packets, verdicts, count)
