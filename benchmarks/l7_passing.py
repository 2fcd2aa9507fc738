"""The event loop alone, for `benchmarks.l7`: bytes passed on, and not one read. BACKEND_PORT PORT."""

from __future__ import annotations

import asyncio
import sys
from typing import cast

from lbcore.l7.engine.proxy import run


class Passing(asyncio.Protocol):
    """One end; what comes in goes out at the other one, as soon as there is one."""

    transport: asyncio.Transport

    def __init__(self, other: Passing | None = None) -> None:
        self.other = other
        self.early: list[bytes] = []

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)
        if self.other is None:
            self.dialling = asyncio.get_running_loop().create_task(self.dial())
        else:
            self.other.other = self
            self.transport.write(b"".join(self.other.early))

    async def dial(self) -> None:
        await asyncio.get_running_loop().create_connection(lambda: Passing(self), "127.0.0.1", int(sys.argv[1]))

    def data_received(self, data: bytes) -> None:
        if self.other is None:
            self.early.append(data)
        else:
            self.other.transport.write(data)

    def connection_lost(self, error: Exception | None) -> None:
        if self.other is not None:
            self.other.transport.close()


async def main() -> None:
    await asyncio.get_running_loop().create_server(Passing, "127.0.0.1", int(sys.argv[2]), backlog=1024)
    await asyncio.Event().wait()


if __name__ == "__main__":
    run(main())
