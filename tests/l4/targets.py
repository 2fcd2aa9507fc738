"""The balancer on each of its targets, behind one face: `run(frame) -> (verdict, frame)`, and its counters."""

from __future__ import annotations

import numpy as np

from lbcore.l4 import core, xdp
from lbcore.l4.config import Balancer
from lbcore.l4.forwarder import Forwarder, batch
from lbcore.wire.seam import Frame

NOW = 1_000_000_000_000


class InPython:
    """The source as it stands."""

    def __init__(self, config):
        self.balancer = Balancer(config)
        self.balancer.tables.clock[0] = NOW

    def run(self, frame):
        packet = Frame(frame)
        return core.forward(packet, self.balancer.tables, core.ALL_MODES), bytes(packet)

    def counters(self):
        t = self.balancer.tables
        return {"vips": t.vip_counters, "backends": t.backend_counters, "reasons": t.reason_counters}

    def close(self):
        pass


class InNumba(InPython):
    """Compiled for memory, frame by frame."""

    def __init__(self, config):
        self.forwarder = Forwarder(config)
        self.balancer = self.forwarder.balancer

    def run(self, frame):
        frames, lengths = batch([frame])
        verdicts, starts, lengths = self.forwarder.process(frames, lengths, now=NOW)
        return int(verdicts[0]), frames[0, starts[0] : starts[0] + lengths[0]].tobytes()


class InMachine(xdp.InMachine):
    """As an XDP program in the book's machine."""

    def __init__(self, config):
        super().__init__(config, clock=lambda: NOW)

    def counters(self):
        return xdp.counters(self.maps, self.balancer)

    def close(self):
        pass


class InKernel(xdp.InKernel):
    """As an XDP program in the kernel."""

    def counters(self):
        return xdp.counters(self.program.maps, self.balancer)

    def close(self):
        self.program.close()


def same_counters(a, b):
    """Do two targets' counters agree?"""
    return all(np.array_equal(a[name], b[name]) for name in ("vips", "backends", "reasons"))
