"""Clients with addresses of their own, all on one machine: 127.0.0.2 calls, 127.0.0.3 calls, and so on.

Rule of this file: it connects, sends, and tells in words what came of it.

Theory. Linux takes all of 127.0.0.0/8 for its own, so a socket may be bound to any of these addresses before it
connects, without privileges; the other end sees it as the peer's. macOS has 127.0.0.1 alone until it is told of others.
"""

from __future__ import annotations

import asyncio
import errno
from asyncio import StreamReader, StreamWriter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

CHUNK = 65536
PATIENCE = 5.0
RESET, SILENCE = "(reset)", "(silence)"


@asynccontextmanager
async def calling(
    address: tuple[str, int], source: str = "127.0.0.1"
) -> AsyncIterator[tuple[StreamReader, StreamWriter]]:
    """A connection to `address` from `source`, gone at the end. OSError tells how to get a source that is missing."""
    try:
        reader, writer = await asyncio.open_connection(*address, local_addr=(source, 0))
    except OSError as error:
        if error.errno == errno.EADDRNOTAVAIL:
            raise OSError(f"{source} is no address here; on macOS: sudo ifconfig lo0 alias {source}") from None
        raise
    try:
        yield reader, writer
    finally:
        writer.close()
        with suppress(OSError):
            await writer.wait_closed()


async def ask(
    address: tuple[str, int],
    data: bytes = b"",
    *,
    source: str = "127.0.0.1",
    seconds: float = PATIENCE,
    end: bool = True,
) -> str:
    """Send, and say what came back: the text up to the other's end, or else RESET, or SILENCE after `seconds`.

    end: say that nothing more will be sent.
    """
    text = b""
    try:
        async with asyncio.timeout(seconds), calling(address, source) as (reader, writer):
            writer.write(data)
            if end:
                writer.write_eof()
            while chunk := await reader.read(CHUNK):
                text += chunk
    except ConnectionError:
        return text.decode("latin-1") or RESET
    except TimeoutError:
        return text.decode("latin-1") or SILENCE
    return text.decode("latin-1")
