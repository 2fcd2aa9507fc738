"""The bytes of one connection of HTTP/2, as they crossed a relay on loopback.

Rule of this file: it calls and keeps; what bytes mean is `lbcore.l7.http2.frames`'s.
"""

from __future__ import annotations

import asyncio
from typing import NamedTuple

from lbcore.measure.calls import Channel, Service, serving
from lbcore.measure.pinned import front
from lbcore.testbed import aside


class Tape(NamedTuple):
    """All bytes of the connection, both ways."""

    sent: bytes
    received: bytes


def calls(*messages: bytes, answer: int = 2) -> Tape:
    """One call for each message, all at once on one connection, through a relay. answer: bytes of each answer."""

    async def scene() -> Tape:
        async with serving(Service("one", size=answer)) as addresses, front("L4", addresses) as doors:
            make = asyncio.get_running_loop().create_connection
            transport, channel = await make(lambda: Channel(keep=True), *doors[0])
            try:
                await asyncio.gather(*(channel.call(message=message) for message in messages))
            finally:
                transport.abort()
        return Tape(bytes(channel.sent), bytes(channel.received))

    return aside.run(scene())
