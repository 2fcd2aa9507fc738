"""The proxy with one route and no filters, for `benchmarks.l7`: BACKEND_PORT FOLDER PLAIN_PORT TLS_PORT H2_PORT."""

from __future__ import annotations

import asyncio
import ssl
import sys

from lbcore.l7.engine.proxy import Proxy, run
from lbcore.l7.front.door import listen
from lbcore.l7.front.tls import KeyPair, Terminator, TlsOptions
from lbcore.l7.pools.pool import Backend, Pool
from lbcore.l7.routing.router import Route, Router


async def main(backend: int, folder: str, plain: int, tls: int, h2: int) -> None:
    pool = Pool("pool", [Backend("127.0.0.1", backend)])
    pair = KeyPair(chain=f"{folder}/chain.pem", key=f"{folder}/key.pem")
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.load_cert_chain(f"{folder}/chain.pem", f"{folder}/key.pem")
    async with Proxy(Router([Route("all", lambda request: True, lambda request: pool)])) as proxy:
        await listen(proxy, "127.0.0.1", plain)
        await listen(proxy, "127.0.0.1", tls, context)
        await listen(proxy, "127.0.0.1", h2, Terminator(TlsOptions(certificates=(pair,), minimum="TLSv1.3")))
        await asyncio.Event().wait()


if __name__ == "__main__":
    run(main(int(sys.argv[1]), sys.argv[2], *map(int, sys.argv[3:6])))
