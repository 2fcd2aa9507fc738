"""A configuration in force: routes, listeners of all kinds, reloads under load, drains; and the admin endpoint."""

from __future__ import annotations

import asyncio
import errno
import json
import os
import socket
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import h2.events
import pytest
import trustme
from h2.errors import ErrorCodes
from h2.settings import SettingCodes
from hypothesis import given, settings
from hypothesis import strategies as st

from lbcore.l7.message import Headers, Peer, Request
from lbcore.l7.program.admin import ORDER, Refused, find, number, told_by
from lbcore.l7.program.admin import Call as AdminCall
from lbcore.l7.program.service import Service
from lbcore.wire.proxy_protocol import Header, Inet, encode
from tests.l7.http2.live import client
from tests.l7.live import PATIENCE, Seen, Talk, answering, backend, get, read_request, say, together

LISTEN = "[[listen]]\nport = 0\n"


def named(name: str) -> Talk:
    """Every request is answered by this name."""
    return answering(f"HTTP/1.1 200 OK\r\ncontent-length: {len(name)}\r\n\r\n{name}".encode())


def pool(name: str, *ports: int) -> str:
    there = ", ".join(f'{{ address = "127.0.0.1:{port}" }}' for port in ports)
    return f'[[pool]]\nname = "{name}"\nbackend = [{there}]\n'


def simple(port: int, more: str = "") -> str:
    return f'{LISTEN}[[route]]\npool = "web"\n{pool("web", port)}{more}'


@asynccontextmanager
async def serving(where: Path, text: str) -> AsyncIterator[tuple[Service, Path]]:
    file = where / "proxy.toml"
    file.write_text(text)
    async with Service(file) as service:
        yield service, file


def port_of(service: Service, number: int = 0) -> int:
    return int(service.listeners[number].address.rpartition(":")[2])


def body(answer: bytes) -> str:
    return answer.partition(b"\r\n\r\n")[2].decode()


def test_requests_go_where_the_file_says(tmp_path: Path) -> None:
    async def test() -> None:
        async with backend(named("api")) as api, backend(named("site")) as site:
            text = (
                f'{LISTEN}[[route]]\nhosts = ["example.org"]\nprefix = "/api"\npool = "api"\n'
                f'[[route]]\nhosts = ["example.org"]\npath = "/"\npool = "site"\n'
                f'[[route]]\nprefix = "/old"\n[[route.filter]]\nkind = "redirect"\npath = "/new"\n'
                f"{pool('api', api)}{pool('site', site)}"
            )
            async with serving(tmp_path, text) as (service, _):
                port = port_of(service)
                assert body(await say(port, get("/api/v1"))) == "api"
                assert body(await say(port, get("/"))) == "site"
                assert (await say(port, get("/apiary"))).startswith(b"HTTP/1.1 404 ")
                moved = await say(port, get("/old"))
                assert moved.startswith(b"HTTP/1.1 308 ")
                assert b"location: /new" in moved

    together(test)


def test_what_is_decided_by_is_what_is_served(tmp_path: Path) -> None:
    """The backend gets the path that the route was found by; what has no one form gets nowhere."""

    async def test() -> None:
        async with backend(echo) as port:
            text = (
                f'{LISTEN}[[route]]\nprefix = "/admin"\n[[route.filter]]\nkind = "redirect"\npath = "/no"\n'
                f'[[route]]\npool = "web"\n{pool("web", port)}'
            )
            async with serving(tmp_path, text) as (service, file):
                front = port_of(service)
                for path in ("/admin/x", "/a/../admin", "/%61dmin", "//admin", "/./admin", "/b/%2e%2e/admin"):
                    assert (await say(front, get(path))).startswith(b"HTTP/1.1 308 "), path
                assert b"GET /b/c~?%7e=/../ HTTP/1.1" in await say(front, get("/a/../b/./c%7E?%7e=/../"))
                for path in ("/a%2f..%2fadmin", "/..", "/x\\..\\admin", "/a;/..;/admin", "/%00", "/%zz"):
                    assert (await say(front, get(path))).startswith(b"HTTP/1.1 400 "), path
                file.write_text(f'{text}[paths]\nencoded_slash = "keep"\n')
                assert await service.reload() == ""
                assert b"GET /a%2Fb HTTP/1.1" in await say(front, get("/a%2fb"))

    together(test)


def test_a_reload_loses_no_request(tmp_path: Path) -> None:
    """Clients that keep their connection and clients that come anew, while the file changes ten times."""
    answers: list[str] = []

    async def test() -> None:
        async with (
            backend(named("one")) as one,
            backend(named("two")) as two,
            serving(tmp_path, simple(one)) as (service, file),
        ):
            port, over = port_of(service), asyncio.Event()

            async def stays() -> None:
                reader, writer = await asyncio.open_connection("127.0.0.1", port)
                while not over.is_set():
                    writer.write(get(close=False))
                    head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), PATIENCE)
                    assert head.startswith(b"HTTP/1.1 200 "), head
                    answers.append((await reader.readexactly(3)).decode())
                writer.close()

            async def comes() -> None:
                while not over.is_set():
                    answers.append(body(await say(port, get())))

            clients = [asyncio.create_task(each()) for each in (stays, stays, comes, comes)]
            for number in range(10):
                await asyncio.sleep(0.03)
                file.write_text(simple(two if number % 2 == 0 else one))
                assert await service.reload() == ""
            file.write_text(simple(two))
            assert await service.reload() == ""
            assert body(await say(port, get())) == "two"
            over.set()
            await asyncio.gather(*clients)
            assert service.reloads == 11

    together(test)
    assert set(answers) == {"one", "two"}
    assert len(answers) > 40


def test_a_bad_file_changes_nothing_and_the_reason_is_told(tmp_path: Path) -> None:
    async def test() -> None:
        async with (
            backend(named("one")) as one,
            backend(named("two")) as two,
            serving(tmp_path, simple(one)) as (service, file),
        ):
            port, before = port_of(service), service.parts
            elsewhere = '[[listen]]\nport = 0\naddress = "192.0.2.1"\n[[route'
            wrong = {
                simple(two).replace("pool =", "pol =", 1): f"{file}:4: route[1].pol: no such key",
                simple(two, "[limits]\nhead = 9000\n"): "limits have changed",
                simple(two).replace("[[route", elsewhere): "cannot listen on",
                simple(two, "[[pool]]\n"): "missing",
            }  # fmt: skip
            for text, words in wrong.items():
                file.write_text(text)
                assert words in await service.reload()
                assert words in service.refused
                assert service.parts is before
                assert body(await say(port, get())) == "one"
            file.unlink()
            assert "No such file" in await service.reload()
            file.write_text(simple(two))
            assert await service.reload() == service.refused == ""
            assert body(await say(port, get())) == "two"

    together(test)


def test_listeners_come_and_go(tmp_path: Path) -> None:
    async def test() -> None:
        async with backend(named("one")) as one:
            both = simple(one).replace(LISTEN, f'{LISTEN}[[listen]]\nport = 0\naddress = "::1"\n')
            async with serving(tmp_path, simple(one)) as (service, file):
                first = port_of(service)
                file.write_text(both)
                assert await service.reload() == ""
                assert port_of(service) == first
                second = port_of(service, 1)
                reader, writer = await asyncio.open_connection("::1", second)
                writer.write(get())
                assert body(await reader.read()) == "one"
                writer.close()
                file.write_text(simple(one))
                assert await service.reload() == ""
                with pytest.raises(OSError, match=r"Connect"):
                    await asyncio.open_connection("::1", second)
                assert body(await say(first, get())) == "one"

    together(test)


def test_a_drain_lets_the_last_answer_out(tmp_path: Path) -> None:
    async def slow(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_request(reader)
        await asyncio.sleep(0.3)
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nlast")
        await writer.drain()

    async def test() -> None:
        async with backend(slow) as port, serving(tmp_path, simple(port)) as (service, _):
            front = port_of(service)
            under_way = asyncio.create_task(say(front, get()))
            while not service.proxy.exchanges:
                await asyncio.sleep(0.01)
            assert await service.drain(5)
            assert body(await under_way) == "last"
            with pytest.raises(OSError, match=r"Connect"):
                await asyncio.open_connection("127.0.0.1", front)

    together(test)


def test_a_drain_says_when_it_was_cut_short(tmp_path: Path) -> None:
    async def never(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await asyncio.sleep(60)

    async def test() -> None:
        async with backend(never) as port:
            async with serving(tmp_path, simple(port)) as (service, _):
                under_way = asyncio.create_task(say(port_of(service), get()))
                while not service.proxy.exchanges:
                    await asyncio.sleep(0.01)
                assert not await service.drain(0.1)
            with suppress(ConnectionError):
                assert not body(await under_way)

    together(test)


def telling(port: int, networks: str = "127.0.0.0/8") -> str:
    chain = '[[route.filter]]\nkind = "forwarded"\n'
    return (
        simple(port)
        .replace("port = 0", f'port = 0\nproxy_protocol = ["{networks}"]')
        .replace("[[pool", f"{chain}[[pool", 1)
    )


CLIENT, HERE = Inet("192.0.2.7", 4711), Inet("127.0.0.1", 80)
COUNTED = '[[route.filter]]\nkind = "metrics"\n[[pool'


async def refused(port: int, *pieces: bytes) -> bool:
    """Is the connection closed, or cut, without a byte?"""
    try:
        return await say(port, *pieces, eof=True) == b""
    except ConnectionError:
        return True


async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """The request's head is the answer's body."""
    while True:
        request = await read_request(reader)
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % len(request) + request)
        await writer.drain()


@pytest.mark.parametrize("version", [1, 2])
@pytest.mark.parametrize("pause", [0.0, 0.002])
def test_a_proxy_header_says_who_the_client_is(version: int, pause: float, tmp_path: Path) -> None:
    header = encode(Header(version, "TCP4", CLIENT, HERE))

    async def test() -> None:
        async with backend(echo) as port, serving(tmp_path, telling(port)) as (service, _):
            data = header + get()
            pieces = (
                [data[at : at + 1] for at in range(len(header) + 3)] + [data[len(header) + 3 :]] if pause else [data]
            )
            answer = await say(port_of(service), *pieces, pause=pause)
            assert b"x-forwarded-for: 192.0.2.7\r\n" in answer

    together(test)


def test_without_a_header_or_from_elsewhere_nobody_gets_in(tmp_path: Path) -> None:
    header = encode(Header(1, "TCP4", CLIENT, HERE))

    async def test() -> None:
        async with backend(echo) as port:
            async with serving(tmp_path, telling(port)) as (service, _):
                assert await refused(port_of(service), get())
                assert await refused(port_of(service), header[:10])
            async with serving(tmp_path, telling(port, "192.0.2.0/24")) as (service, _):
                assert await refused(port_of(service), header + get())

    together(test)


CA = trustme.CA()


def certificate(where: Path, name: str) -> str:
    """Its files in `where`; the lines that name them."""
    one = CA.issue_cert(name)
    one.private_key_pem.write_to_path(where / "site.key")
    one.cert_chain_pems[0].write_to_path(where / "site.pem")
    return f'[[listen.tls.certificates]]\nchain = "{where}/site.pem"\nkey = "{where}/site.key"\n'


def trusting(*alpn: str) -> ssl.SSLContext:
    context = ssl.create_default_context()
    CA.configure_trust(context)
    context.set_alpn_protocols(list(alpn or ("http/1.1",)))
    return context


async def over_tls(port: int, name: str, *alpn: str) -> tuple[str, str | None]:
    """The answer's body, and the protocol that was settled on (after which nothing is asked if it is h2)."""
    there = await asyncio.open_connection("127.0.0.1", port, ssl=trusting(*alpn), server_hostname=name)
    reader, writer = there
    settled = writer.get_extra_info("ssl_object").selected_alpn_protocol()
    try:
        if settled == "h2":
            return "", settled
        writer.write(get())
        return body(await asyncio.wait_for(reader.read(), PATIENCE)), settled
    finally:
        writer.close()


def test_tls_ends_here_or_goes_on_by_name(tmp_path: Path) -> None:
    async def test() -> None:
        inner = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        CA.issue_cert("a.bank.example").configure_cert(inner)

        async def bank(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await read_request(reader)
            writer.write(b"HTTP/1.1 200 OK\r\nconnection: close\r\n\r\nbank")
            await writer.drain()
            writer.close()

        secret = await asyncio.start_server(bank, "127.0.0.1", 0, ssl=inner)
        async with secret, backend(named("site")) as site:
            through = '[[listen.passthrough]]\nnames = ["*.bank.example"]\npool = "bank"\n'
            lines = certificate(tmp_path, "shop.example")
            text = simple(site).replace(LISTEN, LISTEN + lines + through)
            text += pool("bank", secret.sockets[0].getsockname()[1])
            async with serving(tmp_path, text) as (service, _):
                assert await over_tls(port_of(service), "shop.example") == ("site", "http/1.1")
                assert (await over_tls(port_of(service), "a.bank.example"))[0] == "bank"
                assert (await over_tls(port_of(service), "shop.example", "h2"))[1] == "h2"
            only = text.replace(lines, "")
            async with serving(tmp_path, only) as (service, _):
                assert (await over_tls(port_of(service), "a.bank.example"))[0] == "bank"
                with pytest.raises((ssl.SSLError, ConnectionError)):
                    await over_tls(port_of(service), "shop.example")
                assert await refused(port_of(service), get())
                for _ in range(100):
                    if not service.proxy.sessions:
                        break
                    await asyncio.sleep(0.02)
                assert not service.proxy.sessions
                assert service.parts.pools["bank"].backends[0].active == 0

    together(test)


def test_a_new_certificate_after_a_reload_and_old_connections_live(tmp_path: Path) -> None:
    async def test() -> None:
        async with backend(named("site")) as site:
            text = simple(site).replace(LISTEN, f"{LISTEN}http2 = false\n{certificate(tmp_path, 'old.example')}")
            async with serving(tmp_path, text) as (service, file):
                port = port_of(service)
                there = await asyncio.open_connection(
                    "127.0.0.1", port, ssl=trusting("h2", "http/1.1"), server_hostname="old.example"
                )
                assert there[1].get_extra_info("ssl_object").selected_alpn_protocol() == "http/1.1"
                certificate(tmp_path, "new.example")
                assert await service.reload() == ""
                assert (await over_tls(port, "new.example"))[0] == "site"
                there[1].write(get())
                assert body(await there[0].read()) == "site"
                there[1].close()
                (tmp_path / "site.key").write_text("nonsense")
                assert "site.key" in await service.reload()
                assert (await over_tls(port, "new.example"))[0] == "site"
                certificate(tmp_path, "newer.example")
                with socket.create_server(("127.0.0.1", 0)) as taken:  # the next listener cannot be had
                    more = text.replace("[[route]]", f"[[listen]]\nport = {taken.getsockname()[1]}\n[[route]]", 1)
                    file.write_text(more)
                    assert "in use" in await service.reload()
                assert (await over_tls(port, "new.example"))[0] == "site"
                file.write_text(text)
                assert await service.reload() == ""
                assert (await over_tls(port, "newer.example"))[0] == "site"

    together(test)


def test_a_reload_without_a_descriptor_left_changes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def test() -> None:
        async with backend(named("one")) as one, serving(tmp_path, simple(one)) as (service, _):
            there = service.listeners

            def none_left(self: socket.socket) -> socket.socket:
                raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))

            with monkeypatch.context() as patched:
                patched.setattr(socket.socket, "dup", none_left)
                assert os.strerror(errno.EMFILE) in await service.reload()
            assert service.listeners is there
            assert body(await say(port_of(service), get())) == "one"
            assert await service.reload() == ""
            assert body(await say(port_of(service), get())) == "one"

    together(test)


def test_clients_of_one_split_stay_on_their_side(tmp_path: Path) -> None:
    async def test() -> None:
        async with backend(named("old")) as old, backend(named("new")) as new:
            text = (
                f'{LISTEN}[[route]]\nsplit = [{{ pool = "old", weight = 3 }}, {{ pool = "new", weight = 1 }}]\n'
                f'split_by = {{ on = "cookie", name = "uid" }}\n{pool("old", old)}{pool("new", new)}'
            )
            async with serving(tmp_path, text) as (service, _):
                port, sides = port_of(service), []
                for uid in range(30):
                    found = {body(await say(port, get("/", f"cookie: uid={uid}"))) for _ in range(3)}
                    assert len(found) == 1
                    sides += found
                assert set(sides) == {"old", "new"}

    together(test)


# ---- the admin endpoint ----

ADMIN = "[admin]\nport = 0\n"


class Operator:
    """Asks and orders."""

    def __init__(self, service: Service) -> None:
        assert service.admin is not None
        self.address = service.admin.address
        self.port = int(self.address.rpartition(":")[2])

    async def call(self, method: str, path: str, *lines: str, told: object = None, host: str = "") -> tuple[int, str]:
        data = b"" if told is None else told if isinstance(told, bytes) else json.dumps(told).encode()
        head = [f"{method} {path} HTTP/1.1", f"host: {host or self.address}", "connection: close", *lines]
        head += [f"content-length: {len(data)}"] if data else []
        answer = await say(self.port, ("\r\n".join(head) + "\r\n\r\n").encode() + data)
        return int(answer.split(b" ")[1]), body(answer)

    async def order(self, path: str, told: object = None) -> tuple[int, str]:
        return await self.call("POST", path, f"{ORDER.decode()}: 1", told=told)

    async def ask(self, path: str) -> object:
        status, answer = await self.call("GET", path)
        assert status == 200, answer
        return json.loads(answer)


def test_backends_are_drained_weighed_and_taken_back(tmp_path: Path) -> None:
    async def test() -> None:
        async with backend(named("one")) as one, backend(named("two")) as two:
            text = (
                simple(one, ADMIN)
                .replace(pool("web", one), pool("web", one, two))
                .replace('name = "web"', 'name = "web"\npicker = "smooth_weighted"')
            )
            async with serving(tmp_path, text) as (service, _):
                operator, port = Operator(service), port_of(service)

                async def answers(count: int) -> list[str]:
                    return [body(await say(port, get())) for _ in range(count)]

                assert set(await answers(4)) == {"one", "two"}
                status, told = await operator.order(f"/pools/web/127.0.0.1:{one}/drain", {"seconds": 9})
                assert status == 200
                assert json.loads(told)["backends"][0]["state"] == "draining"
                assert 8 < json.loads(told)["backends"][0]["draining"]["left"] <= 9
                assert set(await answers(4)) == {"two"}
                assert (await operator.order(f"/pools/web/127.0.0.1:{one}/undrain"))[0] == 200
                assert set(await answers(4)) == {"one", "two"}
                assert (await operator.order(f"/pools/web/127.0.0.1:{two}/weight", {"weight": 3}))[0] == 200
                assert sorted(await answers(8)) == ["one"] * 2 + ["two"] * 6
                assert (await operator.order(f"/pools/web/127.0.0.1:{two}/down"))[0] == 200
                assert set(await answers(4)) == {"one"}
                (shown,) = await operator.ask("/pools")  # type: ignore[misc]
                assert [each["state"] for each in shown["backends"]] == ["active", "down"]
                assert await operator.ask("/pools/web") == shown
                assert await service.reload() == ""
                assert set(await answers(4)) == {"one"}  # a state outlives a reload

    together(test)


def test_a_cache_outlives_a_reload_and_is_purged_by_order(tmp_path: Path) -> None:
    fresh = b"HTTP/1.1 200 OK\r\ncache-control: max-age=60\r\ncontent-length: 2\r\n\r\nok"
    seen = Seen()

    async def test() -> None:
        async with backend(answering(fresh, seen)) as there:
            text = simple(there, ADMIN).replace('pool = "web"', 'pool = "web"\n[[route.filter]]\nkind = "cache"', 1)
            async with serving(tmp_path, text) as (service, _):
                operator, port = Operator(service), port_of(service)
                for _ in range(3):
                    assert body(await say(port, get("/a"))) == "ok"
                assert await service.reload() == ""
                assert body(await say(port, get("/a"))) == "ok"
                assert seen.all.count(b"GET /a") == 1
                (held,) = await operator.ask("/caches")  # type: ignore[misc]
                assert held["entries"] == 1
                assert await operator.order("/caches/purge", {"url": "http://example.org/b"}) == (
                    200,
                    '{\n "purged": 0\n}\n',
                )
                assert await operator.order("/caches/purge", {"url": "http://example.org/*"}) == (
                    200,
                    '{\n "purged": 1\n}\n',
                )
                assert body(await say(port, get("/a"))) == "ok"
                assert seen.all.count(b"GET /a") == 2
                assert (await operator.order("/caches/purge", {"path": "/a"}))[0] == 400

    together(test)


def test_who_may_not_is_refused(tmp_path: Path) -> None:
    async def test() -> None:
        async with backend(named("one")) as one, serving(tmp_path, simple(one, ADMIN)) as (service, _):
            operator = Operator(service)
            port = operator.port
            for host in ("evil.example", f"evil.example:{port}", "127.0.0.1", f"127.0.0.2:{port}", "localhost:1"):
                assert (await operator.call("GET", "/state", host=host))[0] == 421
            assert (await operator.call("GET", "/state", host=f"localhost:{port}"))[0] == 200
            drain = f"/pools/web/127.0.0.1:{one}/drain"
            assert (await operator.call("POST", drain))[0] == 403
            assert (await operator.call("POST", "/reload", "origin: http://evil.example"))[0] == 403
            for method in ("GET", "PUT", "DELETE", "OPTIONS"):
                assert (await operator.call(method, drain, f"{ORDER.decode()}: 1"))[0] == 405
            assert (await operator.call("POST", "/state", f"{ORDER.decode()}: 1"))[0] == 405
            assert service.parts.pools["web"].backends[0].state == "active"

    together(test)


@pytest.mark.parametrize("by_file", [False, True])
def test_a_token_is_wanted_where_there_is_one(by_file: bool, tmp_path: Path) -> None:
    (tmp_path / "token").write_text("open sesame\n")
    said = f'token_file = "{tmp_path}/token"' if by_file else 'token = "open sesame"'

    async def test() -> None:
        async with (
            backend(named("one")) as one,
            serving(tmp_path, simple(one, f"{ADMIN}{said}\n")) as (service, _),
        ):
            operator = Operator(service)
            assert (await operator.order("/reload"))[0] == 401
            for word in ("open", "open sesame!", "b3BlbiBzZXNhbWU="):
                assert (await operator.call("POST", "/reload", f"authorization: Bearer {word}"))[0] == 401
            assert (await operator.call("POST", "/reload", "authorization: Bearer open sesame"))[0] == 200
            assert "sesame" not in json.dumps(await operator.ask("/state"))

    together(test)


def test_what_it_shows(tmp_path: Path) -> None:
    async def test() -> None:
        async with backend(named("one")) as one:
            lines = f"{LISTEN}{certificate(tmp_path, 'shop.example')}{LISTEN}"
            text = simple(one, ADMIN).replace(LISTEN, lines).replace("[[pool", COUNTED, 1)
            async with serving(tmp_path, text) as (service, file):
                operator = Operator(service)
                assert body(await say(port_of(service, 1), get())) == "one"
                state = await operator.ask("/state")
                assert state["listeners"] == [f"127.0.0.1:{port_of(service, at)}" for at in (0, 1)]  # type: ignore[index]
                assert state["routes"] == ["route-1"]  # type: ignore[index]
                (shown,) = await operator.ask("/certificates")  # type: ignore[misc]
                assert shown["names"] == ["shop.example"]
                assert shown["days"] >= 1
                assert shown["warning"] == ""
                assert (await operator.ask("/version")).keys() == {"version"}  # type: ignore[attr-defined]
                status, metrics = await operator.call("GET", "/metrics")
                assert status == 200
                name = f'pool="web",backend="127.0.0.1:{one}"'
                assert f"lbcore_backend_up{{{name}}} 1\n" in metrics
                assert f'lbcore_requests_total{{route="route-1",backend="127.0.0.1:{one}",status="2xx"}} 1\n' in metrics
                assert await service.reload() == ""
                assert 'status="2xx"} 1\n' in (await operator.call("GET", "/metrics"))[1]  # counters outlive a reload
                status, index = await operator.call("GET", "/")
                assert "POST /reload" in index
                file.write_text(text.replace("pool =", "pol =", 1))
                status, why = await operator.order("/reload")
                assert status == 409
                assert f"{file}:" in why

    together(test)


def test_what_makes_no_sense_is_told(tmp_path: Path) -> None:
    async def test() -> None:
        async with backend(named("one")) as one, serving(tmp_path, simple(one, ADMIN)) as (service, _):
            operator = Operator(service)
            there = f"/pools/web/127.0.0.1:{one}"
            wrong: list[tuple[int, str, str, object]] = [
                (404, "/pools/wbe/127.0.0.1:1/drain", "no pool 'wbe'; there are web", None),
                (404, "/pools/web/127.0.0.1:1/drain", "no backend '127.0.0.1:1' in pool 'web'", None),
                (404, "/nothing", "no such call", None),
                (404, f"{there}/drain/more", "no such call", None),
                (400, f"{there}/weight", "wanted", None),
                (400, f"{there}/weight", "weight is -1, wanted", {"weight": -1}),
                (400, f"{there}/weight", "weight is 'x', wanted", {"weight": "x"}),
                (400, f"{there}/weight", "weight is True, wanted", {"weight": True}),
                (400, f"{there}/weight", "wieght: no such key, wanted weight", {"wieght": 1}),
                (400, f"{there}/weight", "wanted a JSON object", [1]),
                (400, f"{there}/weight", "round_robin knows none but 1", {"weight": 2}),
                (400, f"{there}/drain", "no JSON", b"{"),
                (400, f"{there}/weight", "wanted", b'{"weight": NaN}'),
                (413, f"{there}/weight", "4096", b" " * 5000),
            ]
            for status, path, words, told in wrong:
                found, answer = await operator.order(path, told)
                assert (found, words in answer) == (status, True), answer
            assert service.parts.pools["web"].backends[0].weight == 1

    together(test)


@given(st.text(max_size=30), st.binary(max_size=40))
@settings(deadline=None)
def test_any_path_and_body_is_a_call_or_refused(path: str, data: bytes) -> None:
    with suppress(Refused):
        find(f"/{path}")
    request = Request(b"POST", b"/", b"", b"http", Headers(), Peer("127.0.0.1", 1), body=data)
    with suppress(Refused):
        number(AdminCall([], told_by(request)), "weight", None)


def test_it_moves_with_the_file(tmp_path: Path) -> None:
    async def test() -> None:
        async with backend(named("one")) as one, serving(tmp_path, simple(one)) as (service, file):
            assert service.admin is None
            file.write_text(simple(one, ADMIN))
            assert await service.reload() == ""
            first = Operator(service)
            await first.ask("/version")
            file.write_text(simple(one, f'{ADMIN}address = "::1"\n'))
            status, _ = await first.order("/reload")  # the answer still comes from where it was asked
            assert status == 200
            assert service.admin.address.startswith("[::1]:")
            for _ in range(200):
                try:
                    _, writer = await asyncio.open_connection("127.0.0.1", first.port)
                except OSError:
                    break
                writer.close()
                await asyncio.sleep(0.02)
            else:
                pytest.fail("the old endpoint is still there")

    together(test)


def test_backends_over_tls_are_verified(tmp_path: Path) -> None:
    """Re-encryption: by the CA that the pool names, for the name that it gives; by another, nobody is reached."""

    async def test() -> None:
        inner = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        CA.issue_cert("inner.example").configure_cert(inner)

        async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            with suppress(asyncio.IncompleteReadError, ConnectionError):
                await named("inner")(reader, writer)

        server = await asyncio.start_server(talk, "127.0.0.1", 0, ssl=inner)
        async with server:
            CA.cert_pem.write_to_path(tmp_path / "ca.pem")
            trustme.CA().cert_pem.write_to_path(tmp_path / "other.pem")
            text = simple(server.sockets[0].getsockname()[1], f'[pool.tls]\nca = "{tmp_path}/ca.pem"\n')
            async with serving(tmp_path, f'{text}server_name = "inner.example"\n') as (service, file):
                port = port_of(service)
                assert body(await say(port, get())) == "inner"
                for wrong in (text, text.replace("ca.pem", "other.pem") + 'server_name = "inner.example"\n'):
                    file.write_text(wrong)
                    assert await service.reload() == ""
                    assert (await say(port, get())).startswith(b"HTTP/1.1 502 ")

    together(test)


def test_what_fits_no_route_passes_the_filters_of_all(tmp_path: Path) -> None:
    async def test() -> None:
        async with backend(named("one")) as one:
            text = f'always = ["seen"]\n{simple(one)}[[filters.seen]]\nkind = "request_id"\n'
            text = text.replace("[[route]]\n", '[[route]]\nprefix = "/shop"\n')
            async with serving(tmp_path, text) as (service, _):
                for path, status in (("/shop", b"200"), ("/elsewhere", b"404"), ("/%zz", b"400")):
                    answer = await say(port_of(service), get(path))
                    assert answer.startswith(b"HTTP/1.1 " + status)
                    assert answer.count(b"\r\nx-request-id: ") == 1

    together(test)


def test_limits_of_http2_are_those_of_the_file(tmp_path: Path) -> None:
    """What a client of HTTP/2 is told in SETTINGS, and what becomes of one that does not care."""

    async def test() -> None:
        async with backend(named("one")) as one:
            limits = "[limits]\nbody = 1000\n[limits.http2]\nstreams = 3\nwindow = 70000\npatience = 20.0\n"
            async with serving(tmp_path, simple(one, limits)) as (service, file):
                async with client(port_of(service)) as there:
                    told = (await there.until(h2.events.RemoteSettingsChanged)).changed_settings
                    assert told[SettingCodes.MAX_CONCURRENT_STREAMS].new_value == 3
                    assert told[SettingCodes.INITIAL_WINDOW_SIZE].new_value == 70_000
                    for _ in range(60):
                        there.h2.ping(b"12345678")
                    there.send()
                    gone = await there.until(h2.events.ConnectionTerminated)
                    assert gone.error_code == ErrorCodes.ENHANCE_YOUR_CALM
                file.write_text(file.read_text().replace("streams = 3", "streams = 4"))
                assert "limits have changed" in await service.reload()  # connections have what they were told

    together(test)


def test_sessions_are_resumed_after_a_reload_that_leaves_tls_as_it_is(tmp_path: Path) -> None:
    """New certificates: resumed. Other rules: a new key, and so a full handshake; nothing fails either way."""

    def visit(port: int, context: ssl.SSLContext, session: ssl.SSLSession | None) -> tuple[bool, ssl.SSLSession]:
        sock = socket.create_connection(("127.0.0.1", port), PATIENCE)
        with context.wrap_socket(sock, server_hostname="shop.example", session=session) as there:
            there.sendall(get())
            answer = b""
            while data := there.recv(4096):
                answer += data
            assert answer.endswith(b"one")
            assert there.session is not None
            return bool(there.session_reused), there.session

    async def test() -> None:
        async with backend(named("one")) as one:
            text = simple(one).replace(LISTEN, f"{LISTEN}{certificate(tmp_path, 'shop.example')}", 1)
            async with serving(tmp_path, text) as (service, file):
                port, context = port_of(service), trusting()

                async def again(session: ssl.SSLSession | None) -> tuple[bool, ssl.SSLSession]:
                    return await asyncio.to_thread(visit, port, context, session)

                reused, session = await again(None)
                assert not reused
                reused, session = await again(session)
                assert reused
                certificate(tmp_path, "shop.example")
                assert await service.reload() == ""
                reused, session = await again(session)
                assert reused
                file.write_text(text.replace("[[route]]", "[listen.tls]\nticket_life = 3600.0\n[[route]]", 1))
                assert await service.reload() == ""
                reused, session = await again(session)
                assert not reused
                assert (await again(session))[0]

    together(test)


def test_files_of_logs_are_opened_anew_under_load(tmp_path: Path) -> None:
    """Moved away and told so, five times: each request has its line, in one of the files, and none fails."""
    log = tmp_path / "access.log"
    seen = Seen()
    more = f"""[[route.filter]]
kind = "access_log"
path = "{log}"
format = "combined"
flush = 0.05
[[route.filter]]
kind = "metrics"
[[route.filter]]
kind = "cache"
"""

    async def test() -> None:
        answer = b"HTTP/1.1 200 OK\r\ncache-control: max-age=60\r\ncontent-length: 3\r\n\r\none"
        async with backend(answering(answer, seen)) as one:
            text = simple(one).replace("[[pool", f"{more}[[pool", 1)
            (tmp_path / "proxy.toml").write_text(text)
            service, file = Service(tmp_path / "proxy.toml"), tmp_path / "proxy.toml"
            await service.__aenter__()
            port, over, asked = port_of(service), asyncio.Event(), 0

            async def client() -> None:
                nonlocal asked
                reader, writer = await asyncio.open_connection("127.0.0.1", port)
                while not over.is_set():
                    asked += 1
                    writer.write(get(f"/{asked}" if asked % 2 else "/same", close=False))
                    head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), PATIENCE)
                    assert head.startswith(b"HTTP/1.1 200 "), head
                    assert await reader.readexactly(3) == b"one"
                writer.close()

            clients = [asyncio.create_task(client()) for _ in range(4)]
            for number in range(5):
                await asyncio.sleep(0.05)
                log.rename(tmp_path / f"access.log.{number}")
                right = number != 2  # a file that is wrong: the old configuration goes on, in a new log
                file.write_text(text if right else text.replace("pool =", "pol =", 1))
                assert (await service.reload() == "") is right
                assert log.exists()
            over.set()
            await asyncio.gather(*clients)
            counted = list(service.parts.metrics[0].counts.rows.values())
            assert sum(row[0] for row in counted) == asked  # over all reloads
            assert seen.all.count(b"GET /same ") == 1  # stored once, before the first reload
            await service.close()
            lines = [line for path in sorted(tmp_path.glob("access.log*")) for line in path.read_text().splitlines()]
            assert len(lines) == asked
            assert all('" 200 3 ' in line for line in lines)
            assert all(path.stat().st_size for path in tmp_path.glob("access.log.*"))

    together(test)
