"""The proxies that are compared, each set up to do the same: pass everything on to one backend, connections kept.

Rule of this file: one function for each, that starts it on a processor and ends it. Nobody logs anything, but those
called `+filters`, which do what most sites want done: log, addresses, ids, traces, a limit, security fields, a cookie.
nginx has no signed cookies and counts nothing by route; in all else the two do the same.

mitmproxy and proxy.py are no part of this book, and want other versions of what it depends on: uv puts each into an
environment of its own under .tools, where the next run finds it.
"""

from __future__ import annotations

import contextlib
import importlib.util
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import trustme

from lbcore.l7.program import compiled
from lbcore.testbed.ports import free_ports

HERE = Path(__file__).resolve().parents[1]
TOOLS = HERE / ".tools"
SIZES = {"1k": 1 << 10, "100k": 100 << 10, "10m": 10 << 20}


@dataclass(frozen=True)
class Site:
    """Where files are, and the backend's port."""

    folder: Path
    backend: int

    @property
    def certificate(self) -> Path:
        """Chain and key in one file, as HAProxy wants them."""
        return self.folder / "both.pem"


@dataclass(frozen=True)
class Target:
    """A proxy that runs: its processes, and its ports by kind (plain, tls, h2)."""

    pids: tuple[int, ...]
    ports: dict[str, int]


Starter = Callable[[Site, int], AbstractContextManager[Target]]


@dataclass(frozen=True)
class Kind:
    """start: on a processor. lacking: what the machine has not got, in words; empty if nothing."""

    start: Starter
    lacking: Callable[[], str]


def wait_for(port: int, process: subprocess.Popen[bytes]) -> None:
    """Until somebody listens. RuntimeError: the process ended instead."""
    for _ in range(300):
        if process.poll() is not None:
            raise RuntimeError(f"{process.args} ended with {process.returncode}")
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 0.2):
            return
        time.sleep(0.1)
    raise RuntimeError(f"{process.args} does not listen on {port}")


def load_on(processor: int) -> list[str]:
    """What to put before a command that makes load, or answers it: in batches, not waking up over each other."""
    return ["taskset", "-c", str(processor), "chrt", "--batch", "0"]


@contextlib.contextmanager
def running(
    command: list[str],
    processor: int,
    port: int,
    children: bool = False,
    environment: dict[str, str] | None = None,
    proxy: bool = True,
) -> Iterator[tuple[int, ...]]:
    """Run it on this processor until the block ends; its processes. environment: what it finds there besides ours."""
    process = subprocess.Popen(
        [*(["taskset", "-c", str(processor)] if proxy else load_on(processor)), *command],
        stdout=subprocess.DEVNULL,
        env={**os.environ, **(environment or {})},
    )
    try:
        wait_for(port, process)
        below = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split() if children else []
        yield (process.pid, *map(int, below))
    finally:
        process.terminate()
        process.wait(20)


NGINX = """
worker_processes 1; daemon off; pid {folder}/{name}.pid; error_log {folder}/{name}.log;
events {{ worker_connections 4096; }}
http {{ access_log off; keepalive_requests 1000000000; client_body_temp_path {folder}; proxy_temp_path {folder};
  fastcgi_temp_path {folder}; uwsgi_temp_path {folder}; scgi_temp_path {folder};
  {body}
}}
"""


def nginx(site_folder: Path, name: str, body: str) -> list[str]:
    """The command that runs nginx with this in its http block."""
    path = site_folder / f"{name}.conf"
    path.write_text(NGINX.format(folder=site_folder, name=name, body=body))
    return ["nginx", "-c", str(path), "-e", str(site_folder / f"{name}.log")]


@contextlib.contextmanager
def site(folder: Path, processor: int) -> Iterator[Site]:
    """Files, certificates and a backend: nginx with static files."""
    folder.chmod(0o755)
    for name, size in SIZES.items():
        (folder / name).write_bytes(b"x" * size)
    issued = trustme.CA().issue_cert("127.0.0.1", "localhost")
    chain = b"".join(one.bytes() for one in issued.cert_chain_pems)
    (folder / "chain.pem").write_bytes(chain)
    (folder / "key.pem").write_bytes(issued.private_key_pem.bytes())
    (folder / "both.pem").write_bytes(chain + issued.private_key_pem.bytes())
    (port,) = free_ports(1)
    server = f"server {{ listen 127.0.0.1:{port} backlog=1024; root {folder}; open_file_cache max=10; }}"
    with running(nginx(folder, "backend", server), processor, port, proxy=False):
        yield Site(folder, port)


NGINX_FILTERS = """
  log_format usual escape=json '{{"client":"$remote_addr","time":"$time_iso8601","method":"$request_method",'
    '"target":"$request_uri","version":"$server_protocol","status":$status,"bytes_out":$body_bytes_sent,'
    '"referer":"$http_referer","user_agent":"$http_user_agent","host":"$host","backend":"$upstream_addr",'
    '"seconds":$request_time,"bytes_in":$request_length,"request_id":"$request_id"}}';
  access_log {folder}/nginx-access.log usual buffer=256k flush=1s;
  limit_req_zone $binary_remote_addr zone=usual:1m rate=100000r/s;
  limit_req zone=usual burst=100000 nodelay;
  map $request_id $span {{ "~^(?<half>.{{16}})" $half; }}
  map $cookie_lb $set_cookie {{ default ""; "" "lb=4f1c; Path=/; HttpOnly; SameSite=Lax"; }}
  proxy_set_header X-Forwarded-For $remote_addr;
  proxy_set_header X-Forwarded-Proto $scheme;
  proxy_set_header X-Forwarded-Host $http_host;
  proxy_set_header Forwarded "for=$remote_addr;host=$http_host;proto=$scheme";
  proxy_set_header X-Request-ID $request_id;
  proxy_set_header traceparent "00-$request_id-$span-01";
  add_header X-Request-ID $request_id;
  add_header X-Content-Type-Options nosniff;
  add_header X-Frame-Options SAMEORIGIN;
  add_header Content-Security-Policy "frame-ancestors 'self'";
  add_header Referrer-Policy strict-origin-when-cross-origin;
  add_header Set-Cookie $set_cookie;
"""


@contextlib.contextmanager
def start_nginx(site: Site, processor: int, filters: bool = False) -> Iterator[Target]:
    plain, tls, h2 = free_ports(3)
    certificate = f"ssl_certificate {site.folder}/chain.pem; ssl_certificate_key {site.folder}/key.pem;"
    certificate += " ssl_protocols TLSv1.3; ssl_session_tickets on;"
    body = f"""upstream b {{ server 127.0.0.1:{site.backend}; keepalive 256; keepalive_requests 1000000000; }}
      proxy_http_version 1.1; proxy_set_header Connection ""; proxy_set_header Host $http_host;
      proxy_max_temp_file_size 0;
      {NGINX_FILTERS.format(folder=site.folder) if filters else ""}
      server {{ listen 127.0.0.1:{plain} backlog=1024; location / {{ proxy_pass http://b; }} }}
      server {{ listen 127.0.0.1:{tls} ssl backlog=1024; {certificate} location / {{ proxy_pass http://b; }} }}
      server {{ listen 127.0.0.1:{h2} ssl http2 backlog=1024; {certificate} location / {{ proxy_pass http://b; }} }}"""
    command = nginx(site.folder, "nginx-filters" if filters else "nginx", body)
    with running(command, processor, plain, children=True) as pids:
        yield Target(pids, {"plain": plain, "tls": tls, "h2": h2})


HAPROXY = """
global
  nbthread 1
  maxconn 4096
  tune.ssl.default-dh-param 2048
defaults
  mode http
  timeout connect 5s
  timeout client 60s
  timeout server 60s
  option http-keep-alive
  http-reuse always
frontend f
  bind 127.0.0.1:{plain}
  bind 127.0.0.1:{tls} ssl crt {certificate} ssl-min-ver TLSv1.3 alpn http/1.1
  bind 127.0.0.1:{h2} ssl crt {certificate} ssl-min-ver TLSv1.3 alpn h2
  default_backend b
backend b
  server s 127.0.0.1:{backend}
"""


@contextlib.contextmanager
def start_haproxy(site: Site, processor: int) -> Iterator[Target]:
    ports = dict(zip(("plain", "tls", "h2"), free_ports(3), strict=True))
    path = site.folder / "haproxy.cfg"
    path.write_text(HAPROXY.format(**ports, certificate=site.certificate, backend=site.backend))
    with running(["haproxy", "-db", "-q", "-f", str(path)], processor, ports["plain"]) as pids:
        yield Target(pids, ports)


def lbcore(*arguments: str, compiled_ahead: bool) -> tuple[list[str], dict[str, str]]:
    """A command of Python, and the environment in which it finds the one or the other form of the package."""
    path = [str(compiled.folder())] if compiled_ahead else []
    return [sys.executable, "-P", "-m", *arguments], {"PYTHONPATH": os.pathsep.join([*path, str(HERE)])}


@contextlib.contextmanager
def start_lbcore(site: Site, processor: int, compiled_ahead: bool = False) -> Iterator[Target]:
    ports = dict(zip(("plain", "tls", "h2"), free_ports(3), strict=True))
    arguments = ("benchmarks.l7_bare", str(site.backend), str(site.folder), *map(str, ports.values()))
    command, environment = lbcore(*arguments, compiled_ahead=compiled_ahead)
    with running(command, processor, ports["plain"], environment=environment) as pids:
        yield Target(pids, ports)


USUAL = """
[[route]]
hosts = ["shop.example"]
pool = "pool"
[[route]]
prefix = "/"
pool = "pool"
filters = ["usual"]

[[filters.usual]]
kind = "access_log"
path = "{folder}/access.log"
[[filters.usual]]
kind = "metrics"
[[filters.usual]]
kind = "forwarded"
[[filters.usual]]
kind = "request_id"
[[filters.usual]]
kind = "traceparent"
[[filters.usual]]
kind = "rate_limit"
rate = 1000000
burst = 1000000
[[filters.usual]]
kind = "security_headers"

[[pool]]
name = "pool"
backend = [{{ address = "127.0.0.1:{backend}" }}]
[pool.sticky]
kind = "cookie"
keys = ["0123456789abcdef0123456789abcdef"]
"""
"""What a site would have on: log, metrics, addresses, ids, traces, a limit, security fields, a sticky cookie."""
LBCORE = """
[[listen]]
port = {plain}
[[listen]]
port = {tls}
http2 = false
[listen.tls]
minimum = "TLSv1.3"
certificates = [{{ chain = "{folder}/chain.pem", key = "{folder}/key.pem" }}]
[[listen]]
port = {h2}
[listen.tls]
minimum = "TLSv1.3"
certificates = [{{ chain = "{folder}/chain.pem", key = "{folder}/key.pem" }}]

"""


@contextlib.contextmanager
def start_lbcore_filters(site: Site, processor: int, compiled_ahead: bool = False) -> Iterator[Target]:
    """With the usual filters."""
    ports = dict(zip(("plain", "tls", "h2"), free_ports(3), strict=True))
    path = site.folder / f"lbcore{ports['plain']}.toml"
    path.write_text((LBCORE + USUAL).format(**ports, folder=site.folder, backend=site.backend))
    command, environment = lbcore("lbcore", "proxy", str(path), compiled_ahead=compiled_ahead)
    with running(command, processor, ports["plain"], environment=environment) as pids:
        yield Target(pids, ports)


@contextlib.contextmanager
def start_passing(site: Site, processor: int) -> Iterator[Target]:
    """No proxy at all: what the event loop costs by itself."""
    (port,) = free_ports(1)
    with running(
        [sys.executable, "-m", "benchmarks.l7_passing", str(site.backend), str(port)], processor, port
    ) as pids:
        yield Target(pids, {"plain": port})


@contextlib.contextmanager
def start_aiohttp(site: Site, processor: int) -> Iterator[Target]:
    (port,) = free_ports(1)
    command = [sys.executable, "-m", "benchmarks.l7_aiohttp", str(site.backend), str(port)]
    with running(command, processor, port) as pids:
        yield Target(pids, {"plain": port})


@contextlib.contextmanager
def start_mitmproxy(site: Site, processor: int) -> Iterator[Target]:
    (port,) = free_ports(1)
    command = [str(private("mitmproxy") / "mitmdump"), "-q", "--listen-host", "127.0.0.1", "-p", str(port)]
    command += ["--mode", f"reverse:http://127.0.0.1:{site.backend}", "--set", f"confdir={site.folder}"]
    with running(command, processor, port) as pids:
        yield Target(pids, {"plain": port})


@contextlib.contextmanager
def start_proxy_py(site: Site, processor: int) -> Iterator[Target]:
    (port,) = free_ports(1)
    command = [str(private("proxy-py") / "python"), "-m", "proxy", "--hostname", "127.0.0.1", "--port", str(port)]
    command += ["--num-acceptors", "1", "--num-workers", "1", "--log-level", "ERROR", "--disable-http-proxy"]
    command += ["--enable-web-server", "--enable-reverse-proxy", "--plugins", "benchmarks.l7_proxy_py.Everything"]
    with running(command, processor, port, children=True, environment={"BACKEND": str(site.backend)}) as pids:
        yield Target(pids, {"plain": port})


def uv() -> str | None:
    """Where uv is: on PATH, or where `book.py` puts it."""
    own = TOOLS / "bin" / "uv"
    return shutil.which("uv") or (str(own) if own.exists() else None)


def private(package: str) -> Path:
    """The programs of an environment with nothing but this package; made if it is not there. CalledProcessError."""
    folder = TOOLS / "peers" / package
    programs, done = folder / "bin", folder / "done"
    if not done.exists():
        found = uv() or "uv"
        subprocess.run([found, "venv", "--quiet", "--clear", "--python", sys.executable, str(folder)], check=True)
        subprocess.run([found, "pip", "install", "--quiet", "--python", str(programs / "python"), package], check=True)
        done.touch()
    return programs


def private_lacking(package: str) -> Callable[[], str]:
    def lacking() -> str:
        if not uv():
            return "uv is neither on PATH nor in .tools (python3 book.py setup gets it)"
        try:
            private(package)
        except subprocess.CalledProcessError as failed:
            return f"{package} cannot be installed ({failed.cmd[0]} ended with {failed.returncode})"
        return ""

    return lacking


def command_lacking(name: str) -> Callable[[], str]:
    return lambda: "" if shutil.which(name) else f"{name} is not on PATH"


def module_lacking(name: str) -> Callable[[], str]:
    return lambda: "" if importlib.util.find_spec(name) else f"the module {name} is not installed"


TARGETS = {
    "nginx": Kind(start_nginx, command_lacking("nginx")),
    "nginx+filters": Kind(partial(start_nginx, filters=True), command_lacking("nginx")),
    "haproxy": Kind(start_haproxy, command_lacking("haproxy")),
    "lbcore": Kind(start_lbcore, lambda: ""),
    "lbcore compiled": Kind(partial(start_lbcore, compiled_ahead=True), compiled.lacking),
    "lbcore+filters": Kind(start_lbcore_filters, lambda: ""),
    "lbcore+filters compiled": Kind(partial(start_lbcore_filters, compiled_ahead=True), compiled.lacking),
    "uvloop alone": Kind(start_passing, module_lacking("uvloop")),
    "aiohttp": Kind(start_aiohttp, module_lacking("aiohttp")),
    "mitmproxy": Kind(start_mitmproxy, private_lacking("mitmproxy")),
    "proxy.py": Kind(start_proxy_py, private_lacking("proxy-py")),
}
