"""How much of everything one HTTP/2 connection may have, beside the `Limits` of all connections.

Rule of this file: numbers with a name and a unit; whoever enforces one says so where it does.
"""

from __future__ import annotations

from dataclasses import dataclass


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
