"""Which packets an AF_XDP balancer takes from its host: those that it may do something about; the stack keeps the rest.

    with AfXdp("eth0") as driver, steered(driver, config), DataPlane(config, driver) as lb: ...

Theory. What an AF_XDP socket was given, nobody else gets: a balancer that takes all of a queue takes ARP, and the
connection somebody is logged in by. So the program in front looks who a packet is for: a virtual address, or, where
addresses are translated, who it is from: a backend, whose answer has to be translated back. One look-up each, and no
flow is remembered: whatever the balancer may handle is let through, and the decision is the balancer's.

Trap. With NAT, everything a backend sends by way of this host goes through the balancer, and what of it is no answer is
lost: such a host is its backends' gateway for their answers, and for nothing else.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from lbcore.ebpf import kernel, maps
from lbcore.ebpf.compiler import xdp
from lbcore.ebpf.contexts import XDP_PASS
from lbcore.ebpf.maps import U32, U64
from lbcore.l4.config import Config, words_of
from lbcore.l4.drivers.af_xdp import AfXdp
from lbcore.l4.flow import parse
from lbcore.l4.kernel_tables import MAX_BACKENDS, MAX_VIPS
from lbcore.l4.reasons import NOT_IP
from lbcore.wire.portable import portable
from lbcore.wire.seam import queue_of, view

QUEUES = 64

served = maps.hash_map("served", MAX_VIPS, key=(U64, U64), value=U32)
"""Virtual addresses, each with 1."""
answering = maps.hash_map("answering", MAX_BACKENDS, key=(U64, U64), value=U32)
"""Backends whose answers are translated back, each with 1."""
sockets = maps.xskmap("sockets", QUEUES)


@portable
def wanted(context: Any) -> bool:
    """May the balancer have something to do with this packet?"""
    flow = parse(view(context))
    if flow.reason == NOT_IP:
        return False
    for_us = served.lookup((flow.destination_high, flow.destination_low))[0]
    return for_us or answering.lookup((flow.source_high, flow.source_low))[0]


@xdp
def steer(context: Any) -> int:
    if wanted(context):
        return sockets.redirect(queue_of(context), XDP_PASS)
    return XDP_PASS


def addresses(config: Config) -> tuple[set[tuple[int, int]], set[tuple[int, int]]]:
    """What is in the maps for a configuration: (served, answering), addresses as two words."""
    translating = [service for service in config.services if service.mode in ("nat", "full_nat")]
    return (
        {words_of(service.address) for service in config.services},
        {words_of(backend.address) for service in translating for backend in service.backends},
    )


@contextmanager
def steered(driver: AfXdp, config: Config, mode: str = "native") -> Iterator[kernel.Program]:
    """The packets of a configuration come to a driver that was opened without `steer`, until the end of the block.

    In the network namespace that the interface is in. mode: "native" or "generic". OSError as from `ebpf.attach`.
    """
    with kernel.load(steer.object) as program:
        for declared, entries in zip((served, answering), addresses(config), strict=True):
            for words in entries:
                program.maps[declared.name][declared.key.pack(words)] = declared.value.pack(1)
        program.maps["sockets"][driver.queue.to_bytes(4, "little")] = driver.fd.to_bytes(4, "little")
        with program.attach(driver.interface, mode):
            yield program
