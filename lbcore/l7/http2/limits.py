"""How much of everything one HTTP/2 connection may have, beside the `Limits` of all connections.

Rule of this file: numbers with a name and a unit; whoever enforces one says so where it does.

Theory. HTTP/2 lets a client cause work without asking for anything: open a stream and reset it, ask for the answer to a
PING, change the SETTINGS, go through the windows byte by byte. Each of these is legal and each has been a denial of
service (CVE-2019-9511 to -9518, CVE-2023-44487). What tells the two uses apart is proportion: a client that works
completes streams and moves bytes. So every such frame costs patience, and work that is done brings it back.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from lbcore.l7.http2 import frames


@dataclass(frozen=True, slots=True)
class Http2Limits:
    """Sizes in bytes."""

    streams: int = 128
    """Open at once (SETTINGS_MAX_CONCURRENT_STREAMS)."""
    window: int = 262_144
    """Of a stream, that may be on its way to us and not yet passed on."""
    connection_window: int = 1_048_576
    """Of all streams of a connection together: what one client can make us keep."""
    continuations: int = 16
    """Frames that one header block may come in."""
    patience: float = 200.0
    """What a connection may cost ahead of what it has brought. One point comes back each second, too."""

    def __post_init__(self) -> None:
        for name, least in (("window", 1), ("connection_window", frames.WINDOW)):
            value = getattr(self, name)
            if not least <= value <= frames.MOST:
                raise ValueError(f"{name} is {value}, wanted {least} to {frames.MOST} (RFC 9113, 6.9)")


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
