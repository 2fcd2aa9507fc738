"""How much of everything one HTTP/2 connection may have, beside the `Limits` of all connections.

Rule of this file: numbers with a name and a unit; whoever enforces one says so where it does.
"""

from __future__ import annotations

from dataclasses import dataclass

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
    """What a connection may cost ahead of what it has brought (`patience`). One point comes back each second, too."""

    def __post_init__(self) -> None:
        for name, least in (("window", 1), ("connection_window", frames.WINDOW)):
            value = getattr(self, name)
            if not least <= value <= frames.MOST:
                raise ValueError(f"{name} is {value}, wanted {least} to {frames.MOST} (RFC 9113, 6.9)")
