"""The balancer in this process: batches of frames through `core.forward`, compiled by numba.

Rule of this file: memory in, memory out; no sockets. Drivers bring the frames.

Theory. A batch is a block of rows of equal width, each with room before its frame for one more header. Verdicts and new
lengths come back in arrays; where tunnels grow a frame, its start moves towards the row's. The clock is read once a
batch: a nanosecond more or less in a flow's age means nothing.
"""

from __future__ import annotations

import time
from typing import Any

import numpy as np
import numpy.typing as npt

import lbcore.ebpf.target  # noqa: F401  the seam has a meaning for the kernel, and numba must know that target
from lbcore.jit import kernel
from lbcore.l4 import ahead
from lbcore.l4.config import Balancer, Config
from lbcore.l4.core import ALL_MODES, forward
from lbcore.l4.reasons import Reason
from lbcore.l4.tables import in_shape
from lbcore.wire.seam_numba import memory_context, new_cell, place

HEADROOM = 64
"""Bytes before a frame: an IPv6 and a UDP header fit, and the frame stays aligned to a cache line."""


@kernel(counted=False)
def forward_batch(cell: Any, frames: Any, starts: Any, lengths: Any, verdicts: Any, tables: Any, lead: int) -> None:
    """Handle frames[i, starts[i]:starts[i] + lengths[i]] for each i, in place. cell: of `new_cell`, for its own use.

    frames: uint8[n, width], C-contiguous; starts, lengths: int64[n], rewritten; verdicts: uint8[n], written. lead: for
    how many packets to look ahead (`ahead`); 0: not at all.
    """
    if not in_shape(tables):
        raise ValueError("tables: not as Balancer makes them")
    for i in range(lengths.size):
        later = i + lead
        if lead and later < lengths.size:
            place(cell, frames[later], starts[later], starts[later] + lengths[later])
            ahead.ask(memory_context(cell), tables)
        place(cell, frames[i], starts[i], starts[i] + lengths[i])
        verdicts[i] = forward(memory_context(cell), tables, ALL_MODES)
        starts[i] = np.int64(cell[0] - cell[2])
        lengths[i] = np.int64(cell[1] - cell[0])


class Forwarder:
    """A balancer that is fed batches of frames.

    balancer: its configuration in force, its tables, its counters. lead: for how many packets it looks ahead.
    """

    def __init__(self, config: Config | Balancer) -> None:
        self.balancer = config if isinstance(config, Balancer) else Balancer(config)
        self.lead = ahead.lead_for(self.balancer.tables)

    def process(
        self,
        frames: npt.NDArray[np.uint8],
        lengths: npt.NDArray[np.int64],
        *,
        headroom: int = HEADROOM,
        now: int | None = None,
    ) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.int64], npt.NDArray[np.int64]]:
        """Handle a batch in place: (verdicts uint8[n], starts int64[n], lengths int64[n]) as they are afterwards.

        frames: uint8[n, width], frame i at frames[i, headroom:headroom + lengths[i]]. now: nanoseconds.
        """
        if frames.ndim != 2 or frames.dtype != np.uint8 or not frames.flags.c_contiguous:
            raise ValueError(f"frames: {frames.dtype}{frames.shape}; give a C-contiguous uint8[n, width]")
        lengths = np.array(lengths, np.int64)
        if lengths.shape != (len(frames),) or (lengths < 0).any() or (lengths + headroom > frames.shape[1]).any():
            raise ValueError(f"lengths: one for each of {len(frames)} frames, 0 to {frames.shape[1] - headroom}")
        self.balancer.tables.clock[0] = time.monotonic_ns() if now is None else now
        verdicts = np.zeros(len(frames), np.uint8)
        starts = np.full(len(frames), headroom, np.int64)
        forward_batch(new_cell(), frames, starts, lengths, verdicts, self.balancer.tables, self.lead)
        return verdicts, starts, lengths

    def reasons(self) -> dict[str, int]:
        """How many packets met their end for which reason, those of 0 left out."""
        counts = self.balancer.tables.reason_counters
        return {reason.name.lower(): int(counts[reason]) for reason in Reason if counts[reason]}


def batch(frames: list[bytes], *, headroom: int = HEADROOM, width: int = 2048) -> tuple[Any, Any]:
    """(uint8[n, width], int64[n]): frames laid out for `Forwarder.process`."""
    block = np.zeros((len(frames), width), np.uint8)
    for row, frame in zip(block, frames, strict=True):
        row[headroom : headroom + len(frame)] = np.frombuffer(frame, np.uint8)
    return block, np.array([len(frame) for frame in frames], np.int64)
