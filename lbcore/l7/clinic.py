"""Configurations that are often shown and do not do what is said of them: what is wrong, and how it is mended.

Rule of this file: the patients. Both forms of each stand in `examples/broken`; what is said here of them, tests show,
with nginx itself where it is nginx's.

Theory. A configuration that is refused does no harm. Worse are those that start, and serve, and are wrong: they are
found only by asking whether they do what they were written for.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Final

EXAMPLES: Final = Path(__file__).parent / "examples"


@dataclass(frozen=True)
class Patient:
    """A configuration with a fault."""

    name: str
    said: str
    """What is claimed of it."""
    wrong: str
    """Why it is not so."""
    remedy: str
    """What the mended form does about it."""
    refused: bool
    """Does the program refuse it, so that nobody is harmed?"""

    def form(self, which: str) -> str:
        """The text of its form "broken" or "mended"."""
        (path,) = (EXAMPLES / "broken" / self.name).glob(f"{which}.*")
        return path.read_text()


PATIENTS: Final = (
    Patient(
        name="tls",
        said="nginx ends TLS and passes requests on.",
        wrong="proxy_pass is none of a server's directives, only of a location's (or an if's in it, or limit_except's);"
        " and a certificate without ssl_certificate_key cannot be used: nobody could prove to be its owner.",
        remedy="A location around proxy_pass, and the key beside the certificate.",
        refused=True,
    ),
    Patient(
        name="ip_hash",
        said="ip_hash keeps each client at its backend: a sticky session.",
        wrong="It hashes the first three bytes of an IPv4 address: a whole /24, such as everybody behind one office's "
        "network or one carrier's translator, has one backend; who changes networks has another. Behind a second proxy "
        "all requests come from one address, unless the real one is restored first.",
        remedy="A cookie of our own is hashed instead: one for each browser, and it travels along. (Open-source nginx "
        "has `sticky cookie` since 1.29.6, which does that by itself.)",
        refused=False,
    ),
    Patient(
        name="stream",
        said="A pool of databases behind nginx at layer 4, quick to notice trouble.",
        wrong="proxy_timeout is not about trouble: it ends any session in which nothing was said for a second, and "
        "connections to databases are idle most of the time. proxy_responses counts answers of UDP; of TCP it says "
        "nothing. (And a pool of databases in turn is right only if each of them may be asked everything.)",
        remedy="proxy_connect_timeout is what notices a dead server; sessions may rest for an hour, with keep-alives "
        "that notice a peer that has gone.",
        refused=False,
    ),
    Patient(
        name="forwarded",
        said="With $proxy_add_x_forwarded_for the backend learns who the client is.",
        wrong="It appends to whatever the client itself wrote: the first address of the list, where many look, is the "
        "client's to choose.",
        remedy="The outermost proxy replaces the list by what it sees. Proxies behind it append, and who reads counts "
        "from the right, over those that it trusts.",
        refused=False,
    ),
    Patient(
        name="ipvs",
        said="A service on port 80 with a real server on port 8080, by direct routing (-g).",
        wrong="Direct routing, like tunnelling, changes no port: packets arrive at the server as they came, for port "
        "80. ipvsadm puts the service's port in place of the one that is given, and says nothing.",
        remedy="Another port takes translation (-m). With -g the server listens on the service's port and address, "
        "and keeps quiet about that address on its network.",
        refused=False,
    ),
)

FORWARDING: Final = {"-g": "direct routing", "-i": "tunnelling", "-m": "translation"}
LINE: Final = re.compile(r"ipvsadm (?:-a|--add-server) (?P<words>.+)")


def ipvs_faults(script: str) -> list[str]:
    """What is wrong with commands that add real servers: a line for each whose port would not be the one it says.

    Looks at `-t`, `-u`, `-r` and the forwarding method; without one it is direct routing.
    """
    faults = []
    for number, line in enumerate(script.splitlines(), 1):
        found = LINE.match(line.strip())
        words = found["words"].split() if found else []
        pairs = dict(pairwise(words))
        service, server = pairs.get("-t") or pairs.get("-u"), pairs.get("-r")
        method = next((word for word in words if word in FORWARDING), "-g")
        if service is None or server is None or method == "-m":
            continue
        port, wanted = server.rpartition(":")[2], service.rpartition(":")[2]
        if ":" in server and port != wanted:
            faults.append(f"line {number}: {FORWARDING[method]} changes no port: {server} would be asked on {wanted}")
    return faults
