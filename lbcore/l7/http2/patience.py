"""What frames cost, and when a peer has cost too much.

Rule of this file: prices with a name, and the purse they are paid from; whoever charges one says so where it does.

Theory. HTTP/2 lets a client cause work without asking for anything: open a stream and reset it, ask for the answer to a
PING, change the SETTINGS, go through the windows byte by byte. Each of these is legal and each has been a denial of
service (CVE-2019-9511 to -9518, CVE-2023-44487). What tells the two uses apart is proportion: a client that works
completes streams and moves bytes. So every such frame costs patience, and work that is done brings it back.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from lbcore.l7.http2 import frames
from lbcore.l7.http2.frames import Code, Fault

COST: Final = {  # of a frame, in points of patience
    frames.PING: 1.0,
    frames.SETTINGS: 2.0,
    frames.PRIORITY: 0.5,
    frames.WINDOW_UPDATE: 0.1,
}
UNKNOWN: Final = 0.5  # a frame of a kind that we do not know
EMPTY: Final = 1.0  # DATA without a byte and without an end
LATE: Final = 0.2  # for a stream that has gone
RESET: Final = 1.0  # a stream that the client gave up before its end: rapid reset is this and nothing else
BAD: Final = 2.0  # a request that is malformed
DONE: Final = -1.0  # a stream that came to its end
MOVED: Final = -0.1  # DATA sent or taken


class Patience:
    """`most` points to begin with and at any time; one comes back each second of `clock`."""

    __slots__ = ("_clock", "_left", "_looked", "_most")

    def __init__(self, most: float, clock: Callable[[], float]) -> None:
        self._most = self._left = most
        self._clock, self._looked = clock, clock()

    def charge(self, points: float) -> None:
        """Take so many points, or bring them when they are negative. Raises Fault when none is left.

        The clock is read only when the points have run out: decent connections never ask for the time.
        """
        self._left -= points
        if points < 0:
            self._left = min(self._left, self._most)
        elif self._left < 0:
            now = self._clock()
            self._left = min(self._left + now - self._looked, self._most)
            self._looked = now
            if self._left < 0:
                raise Fault(Code.ENHANCE_YOUR_CALM, "too many frames that ask for nothing")
