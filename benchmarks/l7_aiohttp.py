"""A reverse proxy of aiohttp's server and client, as one would write it, for `benchmarks.l7`: BACKEND_PORT PORT."""

from __future__ import annotations

import logging
import sys

from aiohttp import ClientSession, TCPConnector, web


async def passed_on(request: web.Request) -> web.StreamResponse:
    session: ClientSession = request.app["session"]
    headers = {name: value for name, value in request.headers.items() if name.lower() != "connection"}
    async with session.request(request.method, request.app["base"] + request.path_qs, headers=headers) as got:
        answer = web.StreamResponse(status=got.status, headers=got.headers)
        await answer.prepare(request)
        async for piece in got.content.iter_any():
            await answer.write(piece)
        await answer.write_eof()
        return answer


async def application(backend: int) -> web.Application:
    app = web.Application()
    app["base"] = f"http://127.0.0.1:{backend}"
    app["session"] = ClientSession(connector=TCPConnector(limit=256), auto_decompress=False)
    app.router.add_route("*", "/{tail:.*}", passed_on)
    return app


if __name__ == "__main__":
    logging.disable()  # of clients that have heard enough, with a traceback each
    web.run_app(application(int(sys.argv[1])), host="127.0.0.1", port=int(sys.argv[2]), print=None, access_log=None)
