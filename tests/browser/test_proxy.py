"""A real browser as the proxy's client: what a page sees through `lbcore proxy`, over HTTP/1.1 and over HTTP/2.

Rule of this file: the proxy is the program, with a file as an operator would write it; the backends are aiohttp's; what
is asserted is what the page saw, or what its own clocks and counters (Resource Timing) say.
"""

from __future__ import annotations

import asyncio
import json
import queue
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import trustme
from aiohttp import web
from playwright.sync_api import Browser, Page

from lbcore.testbed.ports import free_ports

PATIENCE = 30.0
IMAGES = 100
DOT = b'<svg xmlns="http://www.w3.org/2000/svg" width="1" height="1"><rect width="1" height="1"/></svg>'
WORDS = "the same words, again and again. " * 2000
HTML = "<!doctype html><title>page</title><p id=words>{words}</p>{images}"
CONFIG = """
[[listen]]
port = {plain}

[[listen]]
port = {tls}
[[listen.tls.certificates]]
chain = "{folder}/chain.pem"
key = "{folder}/key.pem"

[[route]]
name = "api"
prefix = "/api"
pool = "site"
[[route.filter]]
kind = "cors"
origins = ["https://127.0.0.1:{tls}"]
methods = ["GET", "PUT"]
headers = ["x-token"]
expose = ["x-seen"]

[[route]]
name = "site"
pool = "site"
[[route.filter]]
kind = "access_log"
path = "{folder}/log"
flush = 0.05
[[route.filter]]
kind = "compress"

[[pool]]
name = "site"
backend = [{{ address = "127.0.0.1:{first}" }}, {{ address = "127.0.0.1:{second}" }}]
[pool.sticky]
kind = "cookie"
name = "lb"
keys = ["0123456789abcdef0123456789abcdef"]
"""


# -------------------------------------------------------------------------------------------------------- the backends
@dataclass
class Site:
    """One backend: its name, its port, and (method, path, fields) of every request that it saw."""

    name: str
    port: int = 0
    seen: list[tuple[str, str, dict[str, str]]] = field(default_factory=list)

    def application(self) -> web.Application:
        app = web.Application(middlewares=[self.watch])
        app.router.add_get("/page", self.page)
        app.router.add_get("/dot/{number}", self.dot)
        app.router.add_get("/who", self.who)
        app.router.add_get("/events", self.events)
        app.router.add_get("/socket", self.socket)
        app.router.add_route("*", "/api/thing", self.thing)
        return app

    @web.middleware
    async def watch(self, request: web.Request, handler: Callable[..., object]) -> web.StreamResponse:
        self.seen.append((request.method, request.path, {k.lower(): v for k, v in request.headers.items()}))
        return await handler(request)  # type: ignore[misc,no-any-return]

    async def page(self, request: web.Request) -> web.Response:
        images = "".join(f'<img src="/dot/{number}">' for number in range(IMAGES))
        return web.Response(text=HTML.format(words=WORDS, images=images), content_type="text/html")

    async def dot(self, request: web.Request) -> web.Response:
        return web.Response(body=DOT, content_type="image/svg+xml", headers={"cache-control": "no-store"})

    async def who(self, request: web.Request) -> web.Response:
        return web.Response(text=self.name)

    async def thing(self, request: web.Request) -> web.Response:
        headers = {"x-seen": request.headers.get("x-token", "-"), "access-control-allow-origin": "https://evil.example"}
        return web.json_response({"method": request.method, "body": await request.text()}, headers=headers)

    async def events(self, request: web.Request) -> web.StreamResponse:
        """Three events, then the end: a browser comes again, and says what it had last."""
        answer = web.StreamResponse(headers={"content-type": "text/event-stream", "cache-control": "no-store"})
        await answer.prepare(request)
        last = int(request.headers.get("last-event-id", "0"))
        await answer.write(b"retry: 10\n\n")
        for number in range(last + 1, last + 4):
            await answer.write(b"id: %d\ndata: event %d\n\n" % (number, number))
            await asyncio.sleep(0.02)
        return answer

    async def socket(self, request: web.Request) -> web.WebSocketResponse:
        answer = web.WebSocketResponse(protocols=("chat",), max_msg_size=0)
        await answer.prepare(request)
        async for message in answer:
            if message.data == "close":
                await answer.close(code=4001, message=b"as you wish")
            elif message.type is web.WSMsgType.BINARY:
                await answer.send_bytes(message.data)
            else:
                await answer.send_str(f"{self.name} heard {message.data}")
        return answer


@contextmanager
def serving(*sites: Site) -> Iterator[None]:
    """All of them, on a thread with an event loop of its own."""
    started: queue.Queue[asyncio.AbstractEventLoop] = queue.Queue()
    over = asyncio.Event()

    async def main() -> None:
        runners = []
        for site in sites:
            runner = web.AppRunner(site.application(), shutdown_timeout=0.2)
            await runner.setup()
            await web.TCPSite(runner, "127.0.0.1", 0).start()
            site.port = runner.addresses[0][1]
            runners.append(runner)
        started.put(asyncio.get_running_loop())
        await over.wait()
        for runner in runners:
            await runner.cleanup()

    thread = threading.Thread(target=asyncio.run, args=(main(),))
    thread.start()
    loop = started.get(timeout=PATIENCE)
    try:
        yield
    finally:
        loop.call_soon_threadsafe(over.set)
        thread.join(PATIENCE)


# ----------------------------------------------------------------------------------------------------------- the proxy
@dataclass(frozen=True)
class Stage:
    """What runs: the addresses of the proxy, the backends, the proxy's log."""

    plain: str
    tls: str
    sites: tuple[Site, ...]
    log: Path

    def lines(self, path: str, count: int) -> list[dict[str, object]]:
        """Of the access log, those of this path, once there are so many."""
        until = time.monotonic() + PATIENCE
        while True:
            found = [json.loads(line) for line in self.log.read_text().splitlines()] if self.log.exists() else []
            found = [line for line in found if line["target"].startswith(path)]
            if len(found) >= count or time.monotonic() > until:
                return found
            time.sleep(0.05)


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    folder = tmp_path_factory.mktemp("proxy")
    issued = trustme.CA().issue_cert("127.0.0.1", "localhost")
    (folder / "chain.pem").write_bytes(b"".join(one.bytes() for one in issued.cert_chain_pems))
    (folder / "key.pem").write_bytes(issued.private_key_pem.bytes())
    sites = Site("first"), Site("second")
    with serving(*sites):
        plain, tls, process = started(folder, *sites)
        try:
            yield Stage(f"http://127.0.0.1:{plain}", f"https://127.0.0.1:{tls}", sites, folder / "log")
        finally:
            process.terminate()
            assert process.wait(PATIENCE) == 0


def started(folder: Path, first: Site, second: Site) -> tuple[int, int, subprocess.Popen[bytes]]:
    """The proxy and its ports. It has to be told them beforehand, so somebody else may take one first: then others."""
    for _ in range(5):
        plain, tls = free_ports(2)
        text = CONFIG.format(plain=plain, tls=tls, folder=folder, first=first.port, second=second.port)
        (folder / "proxy.toml").write_text(text)
        process = subprocess.Popen([sys.executable, "-m", "lbcore", "proxy", str(folder / "proxy.toml")])
        if all(listens(port, process) for port in (plain, tls)):
            return plain, tls, process
        process.kill()
        process.wait()
    pytest.fail("the proxy does not listen: its last words are above", pytrace=False)


def listens(port: int, process: subprocess.Popen[bytes]) -> bool:
    """Does it, before it ends?"""
    until = time.monotonic() + PATIENCE
    while time.monotonic() < until and process.poll() is None:
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
        except OSError:
            time.sleep(0.1)
        else:
            return process.poll() is None
    return False


@contextmanager
def visitor(browser: Browser) -> Iterator[Page]:
    """A page of a browser without cookies, that believes our certificate; what goes wrong in it fails the test."""
    context = browser.new_context(ignore_https_errors=True)
    page = context.new_page()
    errors: list[str] = []
    page.on("pageerror", lambda error: errors.append(str(error)))
    try:
        yield page
        assert errors == []
    finally:
        context.close()


BOTH = pytest.mark.parametrize(("kind", "protocol"), [("plain", "http/1.1"), ("tls", "h2")])


# --------------------------------------------------------------------------------------------------------------- pages
RESOURCES = """() => performance.getEntriesByType('resource').filter(one => one.name.includes('/dot/'))
  .map(one => ({protocol: one.nextHopProtocol, status: one.responseStatus, size: one.decodedBodySize,
                new: one.connectEnd > one.connectStart}))"""


@BOTH
def test_a_page_with_many_resources(browser: Browser, stage: Stage, kind: str, protocol: str) -> None:
    """Six connections at most with HTTP/1.1, as browsers do it; with HTTP/2 all on the one that brought the page."""
    with visitor(browser) as page:
        page.goto(f"{getattr(stage, kind)}/page", wait_until="load")
        assert page.evaluate("performance.getEntriesByType('navigation')[0].nextHopProtocol") == protocol
        assert page.evaluate("[...document.images].every(image => image.complete && image.naturalWidth === 1)")
        found = page.evaluate(RESOURCES)
        assert len(found) == IMAGES
        assert {(one["protocol"], one["status"], one["size"]) for one in found} == {(protocol, 200, len(DOT))}
        opened = sum(one["new"] for one in found)
        assert opened <= 5 if kind == "plain" else opened == 0


@pytest.mark.parametrize("kind", ["plain", "tls"])
@pytest.mark.parametrize("coding", ["gzip", "br"])
def test_what_is_compressed_reads_the_same(browser: Browser, stage: Stage, kind: str, coding: str) -> None:
    """Chromium offers both, and unpacks what it is given; which, is said for it here."""
    with visitor(browser) as page:
        page.set_extra_http_headers({"accept-encoding": coding})
        answer = page.goto(f"{getattr(stage, kind)}/page")
        assert answer is not None
        assert answer.headers["content-encoding"] == coding
        assert page.locator("#words").text_content() == WORDS
        encoded, decoded = page.evaluate(
            "(({encodedBodySize, decodedBodySize}) => [encodedBodySize, decodedBodySize])"
            "(performance.getEntriesByType('navigation')[0])"
        )
        assert 0 < encoded * 10 < decoded


# ------------------------------------------------------------------------------------------------------------ sessions
def test_each_visitor_stays_with_its_backend(browser: Browser, stage: Stage) -> None:
    served = set()
    for _ in range(4):
        with visitor(browser) as page:
            page.goto(f"{stage.tls}/who")
            names = page.evaluate(
                "async () => Promise.all([...Array(20)].map(async () => (await fetch('/who')).text()))"
            )
            assert len(set(names)) == 1
            served.add(names[0])
            [cookie] = page.context.cookies()
            assert (cookie["name"], cookie["httpOnly"], cookie["secure"]) == ("lb", True, True)
            assert page.evaluate("document.cookie") == ""
    assert served == {"first", "second"}


# ---------------------------------------------------------------------------------------------------------------- CORS
ASK = """async ([url, token]) => {
  try {
    const answer = await fetch(url, {method: 'PUT', headers: {'x-token': token}, body: 'some'});
    return [answer.status, answer.headers.get('x-seen'), await answer.json()];
  } catch (error) { return String(error); }
}"""


def test_another_origin_that_may(browser: Browser, stage: Stage) -> None:
    """The preflight is answered by the proxy, the request itself by a backend, whose own opinion on origins is gone."""
    for site in stage.sites:
        site.seen.clear()
    with visitor(browser) as page:
        page.goto(f"{stage.tls}/who")
        url = stage.tls.replace("127.0.0.1", "localhost") + "/api/thing"
        assert page.evaluate(ASK, [url, "t1"]) == [200, "t1", {"method": "PUT", "body": "some"}]
    asked = [method for site in stage.sites for method, path, _ in site.seen if path == "/api/thing"]
    assert asked == ["PUT"]


def test_another_origin_that_may_not(browser: Browser, stage: Stage) -> None:
    """The page learns nothing, and the backend was not even asked."""
    for site in stage.sites:
        site.seen.clear()
    with visitor(browser) as page:
        page.goto(f"{stage.plain}/who")
        assert page.evaluate(ASK, [f"{stage.tls}/api/thing", "t2"]) == "TypeError: Failed to fetch"
    assert not [path for site in stage.sites for _, path, _ in site.seen if path == "/api/thing"]


# -------------------------------------------------------------------------------------------------------------- events
LISTEN = """() => new Promise((done, failed) => {
  const found = [], source = new EventSource('/events');
  source.onmessage = event => {
    found.push([event.lastEventId, event.data]);
    if (found.length === 7) { source.close(); done(found); }
  };
  source.onerror = () => { if (source.readyState === EventSource.CLOSED) failed(found.length); };
})"""


@BOTH
def test_events_and_coming_again(browser: Browser, stage: Stage, kind: str, protocol: str) -> None:
    """Seven events of a server that sends three at a time: the browser says, through us, which one it had last."""
    with visitor(browser) as page:
        page.goto(f"{getattr(stage, kind)}/who")
        assert page.evaluate(LISTEN) == [[str(number), f"event {number}"] for number in range(1, 8)]


# ----------------------------------------------------------------------------------------------------------- WebSocket
TALK = """async (url) => {
  const socket = new WebSocket(url, ['chat']);
  socket.binaryType = 'arraybuffer';
  const heard = [], waiting = [];
  socket.onmessage = event => waiting.length ? waiting.shift()(event.data) : heard.push(event.data);
  const next = () => heard.length ? heard.shift() : new Promise(done => waiting.push(done));
  const closed = new Promise(done => { socket.onclose = event => done([event.code, event.reason, event.wasClean]); });
  await new Promise((done, failed) => { socket.onopen = done; socket.onerror = () => failed('no socket'); });
  socket.send('hö');
  const words = await next();
  const data = new Uint8Array(1 << 20).map((_, at) => at * 31 >> 3);
  socket.send(data);
  const back = new Uint8Array(await next());
  const same = back.length === data.length && back.every((byte, at) => byte === data[at]);
  for (let at = 0; at < 200; at++) socket.send(String(at));
  const many = [];
  for (let at = 0; at < 200; at++) many.push(await next());
  socket.send('close');
  return {words, same, many, closed: await closed, protocol: socket.protocol, extensions: socket.extensions};
}"""


@BOTH
def test_a_websocket(browser: Browser, stage: Stage, kind: str, protocol: str) -> None:
    """Chromium takes the connection that brought the page where that speaks HTTP/2 (RFC 8441); the socket comes to the
    backend that the cookie names."""
    with visitor(browser) as page:
        base = getattr(stage, kind)
        page.goto(f"{base}/who")
        name = page.evaluate("async () => (await fetch('/who')).text()")
        before = len(stage.lines("/socket", 0))
        got = page.evaluate(TALK, base.replace("http", "ws", 1) + "/socket")
        assert got["words"] == f"{name} heard hö"
        assert got["same"]
        assert got["many"] == [f"{name} heard {number}" for number in range(200)]
        assert got["closed"] == [4001, "as you wish", True]
        assert got["protocol"] == "chat"
        assert got["extensions"].startswith("permessage-deflate")
    line = stage.lines("/socket", before + 1)[-1]
    assert line["version"] == ("2" if protocol == "h2" else "1.1"), line
