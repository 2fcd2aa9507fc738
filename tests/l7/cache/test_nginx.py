"""The same requests through nginx's cache and ours: the backend is asked at the same ones, but where we say why.

nginx looks at what responses say, hardly at what requests say, and guesses no freshness; so it is a peer for a part of
the rules. Where it differs is listed, with the section that is ours: a difference that is gone fails too.
"""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import socket
import subprocess
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from lbcore.l7.cache import dates
from lbcore.l7.cache.options import CacheOptions
from lbcore.l7.filters.cache import Cache
from lbcore.testbed.ports import free_ports
from tests import needs
from tests.l7.live import backend, get, proxying, read_request, say, together

pytestmark = needs.command("nginx")

CONFIG = """
daemon off; master_process off; error_log {folder}/error.log; pid {folder}/pid;
events {{}}
http {{
    access_log off;
    client_body_temp_path {folder}; proxy_temp_path {folder}/tmp; fastcgi_temp_path {folder};
    uwsgi_temp_path {folder}; scgi_temp_path {folder};
    proxy_cache_path {folder}/cache keys_zone=all:1m;
    server {{
        listen 127.0.0.1:{port};
        location / {{
            proxy_pass http://127.0.0.1:{backend};
            proxy_http_version 1.1;
            proxy_set_header Host $host;
            proxy_cache all;
            proxy_cache_key $scheme$host$request_uri;
            proxy_cache_revalidate on;
            proxy_cache_lock on;
            proxy_cache_use_stale updating error http_503;
            proxy_cache_background_update on;
        }}
    }}
}}
"""

LONG = "cache-control: max-age=600"
CASES: dict[str, tuple[tuple[str, ...], tuple[tuple[str, ...], ...]]] = {
    # name: fields of every response; for each request its method, its fields, and `wait` for two seconds before it
    "max-age": ((LONG,), (("GET",), ("GET",))),
    "s-maxage": (("cache-control: max-age=0, s-maxage=600",), (("GET",), ("GET",))),
    "s-maxage-0": (("cache-control: max-age=600, s-maxage=0",), (("GET",), ("GET",))),
    "expires": ((f"expires: {dates.written(4e9).decode()}",), (("GET",), ("GET",))),
    "expires-past": ((f"expires: {dates.written(1e9).decode()}",), (("GET",), ("GET",))),
    "expires-rubbish": (("expires: 0",), (("GET",), ("GET",))),
    "max-age-before-expires": ((LONG, f"expires: {dates.written(1e9).decode()}"), (("GET",), ("GET",))),
    "nothing-said": ((), (("GET",), ("GET",))),
    "no-store": (("cache-control: max-age=600, no-store",), (("GET",), ("GET",))),
    "private": (("cache-control: max-age=600, private",), (("GET",), ("GET",))),
    "no-cache": (("cache-control: max-age=600, no-cache",), (("GET",), ("GET",))),
    "no-cache-etag": (("cache-control: max-age=600, no-cache", 'etag: "a"'), (("GET",), ("GET",))),
    "set-cookie": ((LONG, "set-cookie: a=b"), (("GET",), ("GET",))),
    "vary-star": ((LONG, "vary: *"), (("GET",), ("GET",))),
    "vary-same": ((LONG, "vary: x-a"), (("GET", "x-a: 1"), ("GET", "x-a: 1"))),
    "vary-other": ((LONG, "vary: x-a"), (("GET", "x-a: 1"), ("GET", "x-a: 2"), ("GET", "x-a: 1"), ("GET", "x-a: 2"))),
    "vary-absent": ((LONG, "vary: x-a"), (("GET", "x-a: 1"), ("GET",))),
    "vary-two": ((LONG, "vary: x-a, x-b"), (("GET", "x-a: 1"), ("GET", "x-a: 1"), ("GET", "x-a: 1", "x-b: 1"))),
    "head-from-get": ((LONG,), (("GET",), ("HEAD",))),
    "get-after-head": ((LONG,), (("HEAD",), ("GET",), ("GET",))),
    "post": ((LONG,), (("POST",), ("POST",))),
    "post-invalidates": ((LONG,), (("GET",), ("POST",), ("GET",))),
    "stale": (("cache-control: max-age=1",), (("GET",), ("wait", "GET"), ("GET",))),
    "stale-etag": (("cache-control: max-age=1", 'etag: "a"'), (("GET",), ("wait", "GET"), ("GET",))),
    "stale-while-revalidate": (
        ("cache-control: max-age=1, stale-while-revalidate=600",),
        (("GET",), ("wait", "GET"), ("GET",)),
    ),
    "request-no-cache": ((LONG,), (("GET",), ("GET", "cache-control: no-cache"))),
    "request-max-age": ((LONG,), (("GET",), ("wait", "GET", "cache-control: max-age=0"))),
    "only-if-cached": ((LONG,), (("GET", "cache-control: only-if-cached"),)),
    "authorization": ((LONG,), (("GET", "authorization: a"), ("GET", "authorization: b"))),
    "range-of-stored": ((LONG, "accept-ranges: bytes"), (("GET",), ("GET", "range: bytes=1-2"))),
    "range-first": ((LONG,), (("GET", "range: bytes=1-2"), ("GET",))),
    "if-none-match": ((LONG, 'etag: "a"'), (("GET",), ("GET", 'if-none-match: "a"'))),
    "if-none-match-first": ((LONG, 'etag: "a"'), (("GET", 'if-none-match: "a"'), ("GET",))),
    "query": ((LONG,), (("GET",), ("GET",), ("?a=1", "GET"), ("?a=1", "GET"))),
}
DIFFERENT = {
    "post-invalidates": "4.4: nginx keeps what is stored when its target is changed",
    "request-no-cache": "5.2.1.4: nginx does not look at Cache-Control of requests",
    "request-max-age": "5.2.1.1: the same",
    "only-if-cached": "5.2.1.7: the same",
    "authorization": "3.5: nginx gives one user's page to another unless told otherwise",
    "get-after-head": "nginx asks for the whole with GET when a client asks with HEAD; we pass HEAD on",
    "range-first": "nginx asks for the whole when a client asks for a range; we pass the range on",
    "no-cache-etag": "5.2.2.4: nginx does not store no-cache, so it never asks for a 304",
}


class Origin:
    """What was asked of it for each path."""

    def __init__(self) -> None:
        self.seen: dict[str, list[str]] = {}

    async def talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            head = (await read_request(reader)).decode("latin-1")
            method, target = head.split(" ")[:2]
            name = target[1:].partition("?")[0]
            lines = "".join(f"{line}\r\n" for line in CASES[name][0])
            confirmed = 'if-none-match: "a"' in head.lower()
            self.seen.setdefault(name, []).append(f"{method}{' conditional' if confirmed else ''}")
            if confirmed:
                writer.write(f"HTTP/1.1 304 Not Modified\r\n{lines}\r\n".encode())
            elif "range: bytes=1-2" in head.lower():
                writer.write(
                    f"HTTP/1.1 206 Partial\r\n{lines}content-range: bytes 1-2/5\r\ncontent-length: 2\r\n\r\nel".encode()
                )
            else:
                body = "" if method == "HEAD" else "hello"
                writer.write(f"HTTP/1.1 200 OK\r\n{lines}content-length: 5\r\n\r\n{body}".encode())
            await writer.drain()


@contextlib.asynccontextmanager
async def nginx(folder: Path, backend_port: int) -> AsyncIterator[int]:
    (port,) = free_ports(1)
    (folder / "nginx.conf").write_text(CONFIG.format(folder=folder, port=port, backend=backend_port))
    program = shutil.which("nginx")
    assert program
    process = subprocess.Popen([program, "-p", str(folder), "-c", "nginx.conf"], stderr=subprocess.PIPE)
    try:
        for _ in range(500):
            assert process.poll() is None, process.communicate()[1]
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", port)) == 0:
                    break
            await asyncio.sleep(0.02)
        yield port
    finally:
        process.kill()
        process.communicate()


async def walk(port: int, origin: Origin, name: str) -> list[tuple[int, int]]:
    """For each request: status, and how often the backend has been asked by now."""
    walked = []
    for step in CASES[name][1]:
        query = ""
        lines = list(step)
        if lines[0] == "wait":
            await asyncio.sleep(2.1)
            lines.pop(0)
        if lines[0].startswith("?"):
            query = lines.pop(0)
        method, *fields = lines
        asked = get(f"/{name}{query}", *fields).replace(b"GET", method.encode(), 1)
        response = await say(port, asked)
        await asyncio.sleep(0.05)  # who revalidates behind the answer has asked by then
        walked.append((int(response[9:12]), len(origin.seen.get(name, []))))
    return walked


@pytest.fixture(scope="module")
def walked(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[object, object]]:
    """What became of each case: theirs, ours."""

    async def test() -> dict[str, tuple[object, object]]:
        theirs, ours = Origin(), Origin()
        cache = Cache(CacheOptions())
        async with (
            backend(theirs.talk) as one,
            backend(ours.talk) as two,
            nginx(tmp_path_factory.mktemp("nginx"), one) as their_port,
            proxying(two, filters=(cache,)) as (_, our_port),
        ):
            results = await asyncio.gather(
                *(walk(their_port, theirs, name) for name in CASES), *(walk(our_port, ours, name) for name in CASES)
            )
        cache.close()
        half = len(CASES)
        return {
            name: ((results[i], theirs.seen.get(name)), (results[half + i], ours.seen.get(name)))
            for i, name in enumerate(CASES)
        }

    return together(test)  # type: ignore[no-any-return]


@pytest.mark.parametrize("name", CASES)
def test_the_backend_is_asked_at_the_same_requests(name: str, walked: dict[str, tuple[object, object]]) -> None:
    theirs, ours = walked[name]
    if name in DIFFERENT:
        assert theirs != ours, f"no difference any more: {DIFFERENT[name]}"
    else:
        assert theirs == ours
