"""The proxy with one route and no filters, for `benchmarks.l7`: BACKEND_PORT FOLDER PLAIN_PORT TLS_PORT."""

from __future__ import annotations

import asyncio
import ssl
import sys

from lbcore.l7.pool import Backend, Pool
from lbcore.l7.proxy import Proxy, run
from lbcore.l7.router import Route, Router


async def main(backend: int, folder: str, plain: int, tls: int) -> None:
    pool = Pool("pool", [Backend("127.0.0.1", backend)])
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.load_cert_chain(f"{folder}/chain.pem", f"{folder}/key.pem")
    async with Proxy(Router([Route("all", lambda request: True, lambda request: pool)])) as proxy:
        await proxy.listen("127.0.0.1", plain)
        await proxy.listen("127.0.0.1", tls, context)
        await asyncio.Event().wait()


if __name__ == "__main__":
    run(main(int(sys.argv[1]), sys.argv[2], int(sys.argv[3]), int(sys.argv[4])))
