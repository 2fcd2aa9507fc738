"""Of each patient: the broken form is refused or misbehaves, as it is said, and the mended one does what it is for."""

from __future__ import annotations

import socket
import ssl
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from lbcore.l7.clinic import PATIENTS, ipvs_faults
from tests import needs
from tests.l7 import nginx

BY_NAME = {patient.name: patient for patient in PATIENTS}
pytestmark = needs.command("nginx", "/usr/sbin/nginx")


def form(name: str, which: str) -> str:
    return BY_NAME[name].form(which)


@contextmanager
def backend(port: int) -> Iterator[None]:
    """Answers every request with its own port and the request's head; whatever is no request it sends back twice."""

    def serve(client: socket.socket) -> None:
        with client:
            while data := client.recv(65536):
                if data.startswith(b"GET "):
                    body = f"{port}\n".encode() + data
                    head = f"HTTP/1.0 200 OK\r\ncontent-length: {len(body)}\r\n\r\n".encode()
                    client.sendall(head + body)
                    return
                for _ in range(2):
                    client.sendall(data)
                    time.sleep(0.05)

    def accept() -> None:
        while True:
            try:
                client, _ = listener.accept()
            except OSError:
                return
            threading.Thread(target=serve, args=(client,), daemon=True).start()

    with socket.create_server(("127.0.0.1", port)) as listener:
        thread = threading.Thread(target=accept, daemon=True)
        thread.start()
        try:
            yield
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            thread.join(5)


@contextmanager
def stage(tmp_path: Path, text: str) -> Iterator[dict[int, int]]:
    """nginx with this configuration on free ports, and whatever backends it names: its ports, by those in the text."""
    text, ports = nginx.moved(text)
    with ExitStack() as stack:
        for port, real in ports.items():
            if 9000 <= port < 9500:
                stack.enter_context(backend(real))
        stack.enter_context(nginx.running(tmp_path, text))
        yield ports


def ask(port: int, source: str = "127.0.0.1", *lines: str) -> tuple[str, str]:
    """Head and body of the answer to GET /."""
    with socket.create_connection(("127.0.0.1", port), timeout=10, source_address=(source, 0)) as client:
        request = "\r\n".join(["GET / HTTP/1.0", "Host: shop.example", *lines, "", ""])
        client.sendall(request.encode())
        answer = b"".join(iter(lambda: client.recv(65536), b""))
    head, _, body = answer.decode().partition("\r\n\r\n")
    return head, body


def served(port: int, source: str, *lines: str) -> str:
    """The backend that answered."""
    return ask(port, source, *lines)[1].split("\n")[0]


@pytest.mark.parametrize("name", sorted(set(BY_NAME) - {"ipvs"}))
def test_nginx_refuses_what_is_said_to_be_refused_and_nothing_else(name: str, tmp_path: Path) -> None:
    nginx.certificates(tmp_path)
    assert bool(nginx.complaints(tmp_path, form(name, "broken"))) == BY_NAME[name].refused
    assert nginx.complaints(tmp_path, form(name, "mended")) == ""


def test_tls_has_two_faults_and_each_is_enough(tmp_path: Path) -> None:
    nginx.certificates(tmp_path)
    broken = form("tls", "broken")
    assert '"proxy_pass" directive is not allowed here' in nginx.complaints(tmp_path, broken)
    in_a_location = broken.replace("proxy_pass http://site;", "location / { proxy_pass http://site; }")
    assert 'no "ssl_certificate_key" is defined' in nginx.complaints(tmp_path, in_a_location)
    with_a_key = broken.replace("site.pem;", "site.pem; ssl_certificate_key certs/site.key;")
    assert '"proxy_pass" directive is not allowed here' in nginx.complaints(tmp_path, with_a_key)


def test_tls_mended_serves(tmp_path: Path) -> None:
    nginx.certificates(tmp_path)
    context = ssl.create_default_context(cafile=str(tmp_path / "certs" / "site.pem"))
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    with (
        stage(tmp_path, form("tls", "mended")) as ports,
        socket.create_connection(("127.0.0.1", ports[8443]), timeout=10) as plain,
        context.wrap_socket(plain, server_hostname="shop.example") as client,
    ):
        client.sendall(b"GET / HTTP/1.0\r\nHost: shop.example\r\n\r\n")
        answer = b"".join(iter(lambda: client.recv(65536), b""))
    assert f"\r\n\r\n{ports[9001]}\n".encode() in answer


def test_ip_hash_gives_a_whole_network_one_backend(tmp_path: Path) -> None:
    with stage(tmp_path, form("ip_hash", "broken")) as ports:
        together = {served(ports[8080], f"127.0.7.{number}") for number in range(1, 41)}
        apart = {served(ports[8080], f"127.0.{number}.1") for number in range(1, 41)}
    assert len(together) == 1
    assert len(apart) == 3


def test_ip_hash_mended_is_one_backend_for_each_client_wherever_it_is(tmp_path: Path) -> None:
    with stage(tmp_path, form("ip_hash", "mended")) as ports:
        clients = {}
        for number in range(1, 41):
            head, body = ask(ports[8080], f"127.0.7.{number}")
            cookie = next(line for line in head.split("\r\n") if line.lower().startswith("set-cookie: lb="))
            clients[cookie.split(" ")[1].rstrip(";")] = body.split("\n")[0]
        assert len(clients) == 40
        assert len(set(clients.values())) == 3
        for cookie, first in list(clients.items())[:10]:
            assert {served(ports[8080], f"127.0.{number}.9", f"Cookie: {cookie}") for number in (1, 2, 3)} == {first}


def test_stream_cuts_a_session_that_rests(tmp_path: Path) -> None:
    for which, lives in (("broken", False), ("mended", True)):
        with (
            stage(tmp_path, form("stream", which)) as ports,
            socket.create_connection(("127.0.0.1", ports[8080]), timeout=10) as client,
        ):
            client.sendall(b"one")
            answer = b""
            while len(answer) < 6:  # proxy_responses 1 would have ended it after the first, if it meant TCP
                answer += client.recv(100)
            assert answer == b"oneone"
            time.sleep(1.6)
            client.settimeout(1)
            try:
                client.sendall(b"two")
                went_on = client.recv(100) != b""
            except (ConnectionError, TimeoutError):
                went_on = False
        assert went_on == lives, which


def test_a_client_writes_its_own_address(tmp_path: Path) -> None:
    with stage(tmp_path, form("forwarded", "broken")) as ports:
        _, broken = ask(ports[8080], "127.0.7.1", "X-Forwarded-For: 198.51.100.1")
    with stage(tmp_path, form("forwarded", "mended")) as ports:
        _, mended = ask(ports[8080], "127.0.7.1", "X-Forwarded-For: 198.51.100.1")
    assert "\r\nX-Forwarded-For: 198.51.100.1, 127.0.7.1\r\n" in broken
    assert "\r\nX-Forwarded-For: 127.0.7.1\r\n" in mended


def test_direct_routing_changes_no_port() -> None:
    (fault,) = ipvs_faults(form("ipvs", "broken"))
    assert fault == "line 3: direct routing changes no port: 10.0.0.12:8080 would be asked on 80"
    assert ipvs_faults(form("ipvs", "mended")) == []


@pytest.mark.parametrize(
    ("line", "faults"),
    [
        ("ipvsadm -a -t 192.0.2.1:80 -r 10.0.0.1:8080", 1),  # direct routing if nothing is said
        ("ipvsadm -a -t 192.0.2.1:80 -r 10.0.0.1:8080 -i -w 3", 1),
        ("ipvsadm --add-server -u 192.0.2.1:53 -r 10.0.0.1:5353 -g", 1),
        ("ipvsadm -a -t 192.0.2.1:80 -r 10.0.0.1:8080 -m", 0),
        ("ipvsadm -a -t 192.0.2.1:80 -r 10.0.0.1 -g", 0),
        ("ipvsadm -a -t [2001:db8::1]:80 -r [2001:db8::2]:80 -g", 0),
        ("ipvsadm -A -t 192.0.2.1:80 -s rr", 0),
    ],
)
def test_ports_of_real_servers(line: str, faults: int) -> None:
    assert len(ipvs_faults(line)) == faults
