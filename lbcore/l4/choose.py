"""Whom to send it to: what was decided before, else what the ring says.

Rule of this file: it decides, and remembers; it never touches the packet.

Theory. The ring alone would do while no backend comes or goes. The flow tables are for when one does: a connection
stays where its first packet went, whatever the ring says now. `attempts` and `established` are explained in `tables`.
Flows of slots without TRACK are not remembered at all: if no foreseen change of the ring can move them, memory spent
on them is wasted (Mendelson et al., "Load Balancing with JET: Just Enough Tracking", CoNEXT 2021).

Trap. A client's port comes again. Its SYN does not follow the old connection's entry to a backend that drains, but its
second packet would: so whoever decides anew writes over what was not believed.

The hash of a flow is that of Katran: jhash of source address and ports, or of what a service's flags leave of them. The
words are taken as the little-endian machine finds them in the packet, so that two balancers, one of them Katran,
agree.
"""

from __future__ import annotations

from typing import Any

from lbcore.balance.hashes.jhash import jhash_2words, jhash_3words, jhash_4words
from lbcore.l4 import flags, tables
from lbcore.l4.flow import QUOTED, SYN, TCP, Flow
from lbcore.l4.tables import ACTIVE, DRAINING, GONE, NO_BACKEND, TRACK, Key, Settings
from lbcore.wire.portable import portable
from lbcore.wire.words import bswap32, int64, mod64, word64

NOTED = 1_000_000_000
"""Nanoseconds between two notes that an entry is in use: one write a second, not one a packet."""


@portable
def service_of(t: Any, flow: Flow) -> tuple[int, int]:
    """(number, flags) of the service that a flow is for, that of its port before that of any; (-1, 0): of none."""
    number, service = tables.vip(
        t, flow.destination_high, flow.destination_low, flow.destination_port << 8 | flow.protocol
    )
    if number < 0:
        number, service = tables.vip(t, flow.destination_high, flow.destination_low, flow.protocol)
    return number, service


@portable
def normal(flow: Flow, service: int) -> Flow:
    """The flow as its service wants it told apart: what does not matter is zero."""
    source_high, source_low = flow.source_high, flow.source_low
    source_port, destination_port = flow.source_port, flow.destination_port
    if service & flags.BY_DESTINATION_PORT:
        source_high, source_low, source_port = word64(0), word64(0), destination_port
    elif service & flags.ANY_PORT:
        destination_port = 0
    if service & flags.IGNORE_SOURCE_PORT:
        source_port = 0
    return Flow(
        flow.reason,
        flow.link,
        flow.version,
        flow.transport,
        flow.length,
        flow.tos,
        flow.ttl,
        flow.protocol,
        source_high,
        source_low,
        flow.destination_high,
        flow.destination_low,
        source_port,
        destination_port,
        flow.flags,
    )


@portable
def key_of(flow: Flow) -> Key:
    """The five words that are the flow's alone."""
    rest = word64(flow.source_port << 32 | flow.destination_port << 16 | flow.protocol)
    return (flow.source_high, flow.source_low, flow.destination_high, flow.destination_low, rest)


@portable
def word_of(high: int, low: int, version: int, seed6: int) -> int:
    """An address in 32 bits: itself in IPv4, the hash of its four words in IPv6."""
    last = bswap32(int64(low & 0xFFFFFFFF))
    if version != 6:
        return last
    first, second = bswap32(int64(high >> 32)), bswap32(int64(high & 0xFFFFFFFF))
    return jhash_4words(first, second, bswap32(int64(low >> 32)), last, seed6)


@portable
def hash_of(flow: Flow, seed: int, seed6: int) -> int:
    """32 bits that are the same for every packet of a flow."""
    source = word_of(flow.source_high, flow.source_low, flow.version, seed6)
    return jhash_2words(source, bswap32(flow.source_port << 16 | flow.destination_port), seed)


@portable
def hash_of_reply(flow: Flow, seed: int, seed6: int) -> int:
    """The same of a reply, from both its addresses: of the clients that use one port, all have the backend's."""
    source = word_of(flow.source_high, flow.source_low, flow.version, seed6)
    destination = word_of(flow.destination_high, flow.destination_low, flow.version, seed6)
    return jhash_3words(source, destination, bswap32(flow.source_port << 16 | flow.destination_port), seed)


@portable
def believed(t: Any, found: tables.Found, flow: Flow, when: int, s: Settings) -> bool:
    """Is an entry there, young enough, and its backend still fit for this packet?"""
    if found.place < 0 or (flow.protocol != TCP and when - found.seen > s.idle):
        return False
    state = tables.backend(t, found.backend).state
    return state == ACTIVE or (state == DRAINING and not flow.flags & SYN)


@portable
def choose(t: Any, flow: Flow, number: int, s: Settings) -> int:
    """The backend of a flow (normalised) of service `number`, or NO_BACKEND; remembers it where that is of use."""
    hash32, key, when = hash_of(flow, s.seed, s.seed6), key_of(flow), tables.now(t)
    known = tables.established(t, hash32, key)
    if believed(t, known, flow, when, s):
        if when - known.seen > NOTED and not flow.flags & QUOTED:
            tables.establish(t, hash32, key, when, known.backend)
        return known.backend
    tried = tables.attempt(t, hash32, key)
    if believed(t, tried, flow, when, s):
        if not flow.flags & (SYN | QUOTED):
            tables.establish(t, hash32, key, when, tried.backend)
            tables.forget_attempt(t, hash32, key, tried.place)
        return tried.backend
    slot = tables.ring(t, number, mod64(word64(hash32), s.ring_size))
    backend = slot & (TRACK - 1)
    if backend == NO_BACKEND or tables.backend(t, backend).state == GONE:
        return NO_BACKEND
    if not flow.flags & QUOTED:  # an entry that was not believed must not lead the packets that come after
        if known.place >= 0:
            tables.establish(t, hash32, key, when, backend)
        elif slot & TRACK or tried.place >= 0:
            tables.try_out(t, hash32, key, when, backend)
    return backend
