"""One lost packet, and who waits for it: all calls of a connection, or one.

Rule of this file: packets leave at an even pace, some are lost, each loss costs one round trip. Nothing else.

The model. Packets of many calls follow one another on a path. A packet that is lost comes one round trip later; if it
is lost again, two. TCP hands bytes over in order (RFC 9293 section 3.8), so nothing that left behind it is handed over
before it, whatever stream of HTTP/2 it is of. QUIC orders each stream by itself (RFC 9000 section 2.2).

Theory. With calls of one packet each, a call over one connection is late when any of the packets of the last round trip
was lost: of m of them, 1 - (1 - p)^m. Over QUIC m is one.

Traps. Congestion control is left out, and it reacts to loss over either of them. Losses come in bursts, and here they
do not. A round trip to notice and repair a loss is the good case: when nothing follows that could tell of the hole, a
timer has to run out.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]


def lateness(
    lost: float, *, in_flight: float, connections: int = 1, packets: int = 1, calls: int = 20_000, seed: int = 0
) -> Floats:
    """How many round trips late each call is whole, against a path that loses nothing: float64[calls].

    lost: share of packets. in_flight: packets that leave in one round trip. connections: TCP connections that calls
    take in turn; 0: streams of QUIC, where only a call's own packets matter. packets: of a call.
    ValueError for a number that cannot be.
    """
    if not 0 <= lost < 1 or in_flight <= 0 or connections < 0 or packets < 1 or calls < 1:
        raise ValueError(
            f"lost {lost}, in_flight {in_flight}, connections {connections}, packets {packets}, calls {calls}: "
            "wanted a share below 1, some packets in flight, and no negative numbers"
        )
    rng = np.random.default_rng(seed)
    left = np.arange(calls * packets) / in_flight  # in round trips
    came = left + (rng.geometric(1 - lost, calls * packets) - 1)  # in this order: nothing is added where none is lost
    of_call = came.reshape(calls, packets)
    whole = np.empty(calls)
    for first in range(connections):
        mine = slice(first, None, connections)
        whole[mine] = np.maximum.accumulate(of_call[mine].ravel()).reshape(-1, packets)[:, -1]
    if not connections:
        whole = of_call.max(axis=1)
    return np.asarray(whole - left.reshape(calls, packets)[:, -1])


def late(lost: float, packets: int) -> float:
    """By theory: the share of calls of one packet that are late, if any loss among so many packets delays them."""
    return float(1 - (1 - lost) ** packets)
