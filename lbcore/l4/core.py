"""The balancer: what happens to one packet, from the frame's first byte to the verdict.

Rule of this file: the order of things. What a packet is says `flow`, whom it goes to `choose`, what is written into it
`link`, `tunnel` and `nat`; what is known stands in `tables`.

Theory. One function, four targets: as Python over a `Frame`, as numba code over memory, and in the book's machine and
the kernel as an XDP program. `modes` is a constant of the program: what is not among them, the compiler leaves out.

What becomes of the odd ones, for an address that is served: fragments, IPv4 options, a hop count of 0, headers cut
short and frames over the configured size are dropped, each under its own reason; a ping is answered; an ICMP error goes
to the backend whose flow it quotes. For any other address all of them are the host's business: PASS.

A network card takes in what is for its own Ethernet address. Where it does not (it is promiscuous, or a switch floods
what it has not learnt) XDP and packet sockets see other hosts' frames too, and to forward those is to answer in their
name: `Config.ethernet` says whose frames are ours, and the others pass.
"""

from __future__ import annotations

from typing import Any

from lbcore.l4 import flags, tables
from lbcore.l4.choose import choose, hash_of, hash_of_reply, key_of, normal, service_of
from lbcore.l4.flow import QUOTED, UDP, Flow, parse
from lbcore.l4.link import answer_echo, is_for_another, send_direct, source_of
from lbcore.l4.nat import Ends, translate
from lbcore.l4.reasons import (
    ECHO,
    FAMILY,
    FORWARDED,
    NO_BACKEND,
    NO_PORT,
    NOT_IP,
    NOT_OURS,
    REPLY,
    TOO_BIG,
    action_of,
)
from lbcore.l4.tables import Backend, Settings, Way
from lbcore.l4.tunnel import encapsulate, is_ipv4
from lbcore.wire import ethernet, quic
from lbcore.wire.portable import portable
from lbcore.wire.seam import advance, need, size_of, view
from lbcore.wire.words import mod64, word64

ALL_MODES = (1 << len(flags.NAMES)) - 1
TRANSLATING = 1 << flags.NAT | 1 << flags.FULL_NAT
TUNNELS = 1 << flags.IPIP | 1 << flags.GRE | 1 << flags.GUE
PORTS, FIRST_PORT, TRIES = 64512, 1024, 8
"""Full NAT: how many source ports there are, the first of them, and how many are tried for a flow."""


@portable
def forward(context: Any, t: Any, modes: int) -> int:
    """Handle the packet of a context with tables `t`, in place: one of the actions of `reasons`.

    modes: a constant with a bit for each mode (1 << flags.NAT ...) that any service has.
    """
    reason = handle(context, t, modes)
    tables.count_reason(t, reason)
    return action_of(reason)


@portable
def handle(context: Any, t: Any, modes: int) -> int:
    """The same, and the answer is a reason: the packet's end."""
    p = view(context)
    if is_for_another(p, tables.settings(t).ethernet):
        return NOT_OURS
    flow = parse(p)
    if flow.reason == NOT_IP:
        return NOT_IP
    if flow.reason != FORWARDED:
        served = tables.vip(t, flow.destination_high, flow.destination_low, 0)[0] >= 0
        if not served:
            return NOT_OURS
        return answer_echo(context, flow) if flow.reason == ECHO else flow.reason
    number, service = service_of(t, flow)
    if number < 0:
        return reply(context, t, flow) if modes & TRANSLATING else NOT_OURS
    s = tables.settings(t)
    if size_of(view(context)) > s.max_frame:
        return TOO_BIG
    seen = normal(flow, service)
    chosen = choice_of(context, t, flow, seen, number, service, s)
    if chosen == tables.NO_BACKEND:
        return NO_BACKEND
    backend = tables.backend(t, chosen)
    tables.count_vip(t, number, 0, flow.length)
    tables.count_backend(t, chosen, flow.length)
    return send(context, t, modes, flow, number, service, backend, s)


@portable
def choice_of(context: Any, t: Any, flow: Flow, seen: Flow, number: int, service: int, s: Settings) -> int:
    """By QUIC server id where the service says so and the packet has a known one, else as `choose` says.

    The id wins over what was remembered, and is remembered: packets without one, and errors, follow it.
    """
    if service & flags.QUIC and flow.protocol == UDP and not flow.flags & QUOTED:
        server_id = quic.server_id(advance(view(context), flow.transport + 8))
        if server_id > 0:
            backend = tables.server(t, server_id)
            if backend != tables.NO_BACKEND:
                hash32 = hash_of(seen, s.seed, s.seed6)
                tables.establish(t, hash32, key_of(seen), tables.now(t), backend)
                return backend
    return choose(t, seen, number, s)


@portable
def send(
    context: Any,
    t: Any,
    modes: int,
    flow: Flow,
    number: int,
    service: int,
    backend: Backend,
    s: Settings,
) -> int:
    """Bring the packet on its way in the service's mode."""
    mode = service & flags.MODE
    mac = backend.ethernet if backend.ethernet else s.gateway
    if modes & 1 << flags.DSR and mode == flags.DSR:
        return send_direct(context, mac)
    if modes & TUNNELS and mode >= flags.IPIP:
        return encapsulate(context, flow, service, backend, mac, s)
    if modes & TRANSLATING and mode <= flags.FULL_NAT:
        return send_translated(context, t, flow, number, mode, backend, mac, s)
    return NOT_OURS


@portable
def send_translated(
    context: Any,
    t: Any,
    flow: Flow,
    number: int,
    mode: int,
    backend: Backend,
    mac: int,
    s: Settings,
) -> int:
    """NAT and full NAT towards the backend; sees to it that replies find back."""
    if is_ipv4(backend.high, backend.low) != (flow.version == 4):
        return FAMILY
    high, low, port = flow.source_high, flow.source_low, flow.source_port
    p = view(context)
    client = source_of(p) if need(p, ethernet.LENGTH) else 0
    way = Way(
        1,
        flow.destination_high,
        flow.destination_low,
        high,
        low,
        number << 32 | flow.destination_port << 16 | port,
        client,
    )
    backend_port = backend.port if backend.port else flow.destination_port
    if mode == flags.FULL_NAT:
        high, low = (
            (word64(0), word64(0xFFFF_0000_0000 | s.source4)) if flow.version == 4 else (s.source6_high, s.source6_low)
        )
        port = source_port(t, flow, backend, backend_port, high, low, way, s)
        if port == 0:
            return NO_PORT
    else:
        back = reply_flow(flow, backend, backend_port, high, low, port)
        hash32, key = hash_of_reply(back, s.seed, s.seed6), key_of(back)
        if not flow.flags & QUOTED and not tables.way_back(t, hash32, key).found:
            tables.remember_way(t, hash32, key, way, tables.now(t))
    return translate(context, flow, Ends(high, low, backend.high, backend.low, port << 16 | backend_port), mac)


@portable
def reply_flow(flow: Flow, backend: Backend, backend_port: int, high: int, low: int, port: int) -> Flow:
    """The flow of a backend's replies to (high, low, port)."""
    return Flow(
        FORWARDED,
        flow.link,
        flow.version,
        flow.transport,
        flow.length,
        flow.tos,
        flow.ttl,
        flow.protocol,
        backend.high,
        backend.low,
        high,
        low,
        backend_port,
        port,
        0,
    )


@portable
def source_port(
    t: Any, flow: Flow, backend: Backend, backend_port: int, high: int, low: int, way: Way, s: Settings
) -> int:
    """Full NAT's port for a flow: the one it has, else a free one, now its own; 0 if `TRIES` others were taken.

    Where to look first is the flow's hash, so a flow finds its own port again without a table for it.
    """
    start = hash_of(flow, s.seed, s.seed6)
    for i in range(TRIES):
        port = FIRST_PORT + mod64(word64(start + i), PORTS)
        back = reply_flow(flow, backend, backend_port, high, low, port)
        hash32, key = hash_of_reply(back, s.seed, s.seed6), key_of(back)
        there = tables.way_back(t, hash32, key)
        if there.found and not same_way(there, way):
            continue
        if not there.found and not flow.flags & QUOTED:
            tables.remember_way(t, hash32, key, way, tables.now(t))
        return port
    return 0


@portable
def same_way(a: Way, b: Way) -> bool:
    """Is it one client's flow to one virtual port?"""
    client = a.client_high == b.client_high and a.client_low == b.client_low
    return client and a.vip_high == b.vip_high and a.vip_low == b.vip_low and a.ports == b.ports


@portable
def reply(context: Any, t: Any, flow: Flow) -> int:
    """A backend's packet on its way to a client whose flow was translated; anything else is not ours."""
    s = tables.settings(t)
    way = tables.way_back(t, hash_of_reply(flow, s.seed, s.seed6), key_of(flow))
    if not way.found:
        return NOT_OURS
    new = Ends(way.vip_high, way.vip_low, way.client_high, way.client_low, way.ports & 0xFFFFFFFF)
    reason = translate(context, flow, new, way.ethernet)
    if reason != FORWARDED:
        return reason
    tables.count_vip(t, way.ports >> 32, 1, flow.length)
    return REPLY
