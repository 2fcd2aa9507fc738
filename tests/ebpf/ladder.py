"""The ladder's programs as tests run them: their packets, their maps filled and emptied, and what the machine makes."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from ipaddress import ip_address
from random import Random
from typing import Any

import numpy as np

from lbcore.ebpf.compiler import Source
from lbcore.ebpf.machine import Machine
from lbcore.ebpf.maps import Map
from lbcore.ebpf.programs.block_list import ALLOW, BLOCK, block_list, rules4, rules6
from lbcore.ebpf.programs.count_protocols import count_protocols
from lbcore.ebpf.programs.decapsulate import decapsulate
from lbcore.ebpf.programs.drop_all import drop_all
from lbcore.ebpf.programs.echo import echo
from lbcore.ebpf.programs.parse import parse
from lbcore.ebpf.programs.pass_all import pass_all
from lbcore.ebpf.programs.rate_limit import rate_limit
from lbcore.ebpf.programs.redirect import redirect
from lbcore.wire import ethernet
from lbcore.wire.compose import udp_frame
from tests.wire.corpus import FRAMES

TIMELESS = [pass_all, drop_all, count_protocols, parse, echo, block_list, decapsulate]
"""Programs that know a packet and their maps, nothing else."""
EVERY = [*TIMELESS, rate_limit, redirect]
QUESTION = udp_frame(destination="10.0.0.9:7", payload=b"is anybody there?")


@cache
def packets() -> Sequence[bytes]:
    """Frames of all kinds, whole, cut, and with bytes of the headers changed."""
    random = Random(6)
    whole = [*FRAMES, QUESTION, udp_frame(destination="10.0.0.9:7", vlan=(3, 4), ip_options=bytes(8))]
    made = list(whole)
    while len(made) < 600:
        packet = bytearray(random.choice(whole))
        if random.random() < 0.2:
            del packet[random.randrange(14, len(packet) + 1) :]
        for _ in range(random.choice((0, 1, 1, 2))):
            packet[random.randrange(min(len(packet), 60))] = random.choice((0, 6, 7, 17, 0x81, random.randrange(256)))
        made.append(bytes(packet))
    return made


@cache
def frames() -> list[bytes]:
    """Those of them that a network stack takes at all: it drops a VLAN tag with nothing behind it."""
    tags = (ethernet.VLAN, ethernet.PROVIDER_VLAN)
    return [one for one in packets() if int.from_bytes(one[12:14], "big") not in tags or len(one) >= 20]


def prepare(program: Source) -> None:
    """The program's maps outside of the kernel, empty, or with rules where it needs some."""
    empty(program.maps)
    if program is block_list:
        give_rules()


def empty(maps: dict[str, Map]) -> None:
    for one in maps.values():
        if one.kind == "percpu_array":
            one.storage.table.values[:] = 0
        else:
            for key in list(one.storage):
                del one.storage[key]


def six(text: str) -> tuple[int, int]:
    """An address as two words."""
    number = int(ip_address(text))
    return number >> 64, number & (1 << 64) - 1


def give_rules() -> None:
    rules4.update((8, int(ip_address("10.0.0.0"))), BLOCK)
    rules4.update((24, int(ip_address("10.1.2.0"))), ALLOW)
    rules4.update((32, int(ip_address("10.1.2.3"))), BLOCK)
    rules6.update((32, *six("2001:db8::")), BLOCK)
    rules6.update((128, *six("2001:db8::7")), ALLOW)


def machine(program: Source, **options: Any) -> Machine:
    return Machine(program.object.program, {name: one.storage for name, one in program.maps.items()}, **options)


def entries(maps: dict[str, Any]) -> dict[str, dict[bytes, int]]:
    """What is counted in the maps: the sum over all processors, zeros left out."""
    found = {}
    for name, one in maps.items():
        kind = f"<u{one.value_size}"
        sums = {key: int(np.frombuffer(value, kind).sum()) for key, value in one.items()}
        found[name] = {key: number for key, number in sums.items() if number}
    return found
