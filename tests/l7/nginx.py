"""An nginx with a configuration of ours, on ports that are free."""

from __future__ import annotations

import os
import re
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import trustme

from lbcore.testbed.ports import free_ports

STREAM = ("/usr/lib/nginx/modules/ngx_stream_module.so", "/usr/lib64/nginx/modules/ngx_stream_module.so")
TEMPORARY = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")


def certificates(where: Path) -> None:
    """certs/site.pem, .key, .both.pem and sticky.keys, as the examples name them."""
    folder = where / "certs"
    folder.mkdir()
    site = trustme.CA().issue_cert("shop.example")
    site.private_key_pem.write_to_path(folder / "site.key")
    site.cert_chain_pems[0].write_to_path(folder / "site.pem")
    site.private_key_and_cert_chain_pem.write_to_path(folder / "site.both.pem")
    (folder / "sticky.keys").write_text("0123456789abcdef0123456789abcdef\n")


def write(where: Path, text: str) -> list[str]:
    """The configuration into a file of its own; the command that takes it. Whoever runs it needs no rights."""
    paths = "".join(f"{name}_temp_path tmp-{name}; " for name in TEMPORARY)
    text = re.sub(r"^http \{", "http { " + paths, text, flags=re.MULTILINE)
    (where / "nginx.conf").write_text(text)
    module = next((path for path in STREAM if os.path.exists(path)), None)
    more = f"load_module {module};" if module and "stream {" in text else ""
    nginx = shutil.which("nginx", path=f"{os.environ['PATH']}:/usr/sbin") or "nginx"
    return [nginx, "-p", f"{where}/", "-c", str(where / "nginx.conf"), "-e", "stderr", "-g", more or "pcre_jit off;"]


def complaints(where: Path, text: str) -> str:
    """What `nginx -t` has against it; empty: nothing."""
    done = subprocess.run([*write(where, text), "-t"], capture_output=True, text=True, timeout=30, check=False)
    return "" if done.returncode == 0 else done.stderr


def moved(text: str) -> tuple[str, dict[int, int]]:
    """The text with other ports of 127.0.0.1, and which for which."""
    there = sorted({int(port) for port in re.findall(r"127\.0\.0\.1:(\d+)", text)})
    ports = dict(zip(there, free_ports(len(there)), strict=True))
    return re.sub(r"127\.0\.0\.1:(\d+)", lambda found: f"127.0.0.1:{ports[int(found[1])]}", text), ports


@contextmanager
def running(where: Path, text: str) -> Iterator[None]:
    """nginx with this configuration. It is asked for a connection at once: its backends should be there before."""
    command = write(where, text)
    command[-1] += " daemon off; master_process off;"
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    try:
        for port in re.findall(r"listen 127\.0\.0\.1:(\d+)", text):
            until(int(port), process)
        yield
    finally:
        process.kill()
        process.communicate()


def until(port: int, process: subprocess.Popen[str]) -> None:
    """It listens there, or it has ended, or five seconds have passed: AssertionError."""
    end = time.monotonic() + 5
    while time.monotonic() < end:
        assert process.poll() is None, process.communicate()[1]
        with closing(socket.socket()) as one:
            if one.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.02)
    raise AssertionError(f"nothing listens on {port}")
