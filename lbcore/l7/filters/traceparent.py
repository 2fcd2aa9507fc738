"""One hop of a trace (W3C Trace Context, Recommendation of 2021).

Rule of this file: it carries a trace on, or begins one; it sends no spans anywhere.

Theory. `traceparent: 00-<trace id>-<parent id>-<flags>`. The trace id stays the same from the first hop to the last;
each hop puts an id of its own in the place of the parent, so that what is behind it hangs under it. `tracestate` is
luggage of tracing systems, passed on as it is when the parent was valid.

Traps
- One traceparent. Two, or one that is wrong anywhere (upper case, all zeros, version ff), is none: a new trace begins,
  and tracestate is thrown away with it.
- A higher version may be longer; its first 55 characters are read, and version 00 is sent (section 3.2.4).
- A proxy gives one span of a trace. Services behind it that do not pass the field on end it there.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Final, NamedTuple

import msgspec

from lbcore.l7.entropy import Entropy, digits
from lbcore.l7.filters.filter import Answer, Exchange, Filter
from lbcore.l7.message import Names
from lbcore.l7.notes import TRACE_ID
from lbcore.l7.trust import Trust, networks_of

PARENT: Final = re.compile(
    rb"(?!ff)([0-9a-f]{2})-(?!0{32})([0-9a-f]{32})-(?!0{16})([0-9a-f]{16})-([0-9a-f]{2})(-[\x21-\x7e]*)?"
)
MEMBER: Final = re.compile(
    rb"([a-z][a-z0-9_*/-]{0,255}|[a-z0-9][a-z0-9_*/-]{0,240}@[a-z][a-z0-9_*/-]{0,13})"
    rb"=[\x20-\x2b\x2d-\x3c\x3e-\x7e]{0,255}[\x21-\x2b\x2d-\x3c\x3e-\x7e]"
)
FIELDS: Final = Names((b"traceparent", b"tracestate"))
MEMBERS: Final = 32
STATE_LIMIT: Final = 4096
SAMPLED: Final = 1
NOUGHT: Final = b"0" * 16
RECORDED: Final = b"traceparent: 00-%b-%b-01\r\n"
UNRECORDED: Final = b"traceparent: 00-%b-%b-00\r\n"


class Parent(NamedTuple):
    """What a traceparent says. trace: 32 digits. span: 16 digits. sampled: the caller may have recorded its part."""

    trace: bytes
    span: bytes
    sampled: bool


def parse(value: bytes) -> Parent | None:
    """A value of traceparent (section 3.2); None for what is not valid."""
    found = PARENT.fullmatch(value)
    if not found or (found[5] is not None and found[1] == b"00"):
        return None
    return Parent(found[2], found[3], bool(int(found[4], 16) & SAMPLED))


def state(lines: Sequence[bytes]) -> bytes:
    """The lines of tracestate as one (section 3.3); empty if there is nothing, or anything wrong, in them."""
    members = [member.strip(b" \t") for line in lines for member in line.split(b",")]
    members = [member for member in members if member]
    found = [MEMBER.fullmatch(member) for member in members]
    keys = {match[1] for match in found if match}
    joined = b",".join(members)
    return joined if len(keys) == len(members) <= MEMBERS and len(joined) <= STATE_LIMIT else b""


def identities(size: int, source: Callable[[int], bytes] = digits) -> bytes:
    """Random digits, never 16 zeros in a row: what is cut out of them is no id of zeros, which is none (3.2.2.3)."""
    while NOUGHT in (drawn := source(size)):
        pass
    return drawn


class TraceparentOptions(
    msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True, tag_field="kind", tag="traceparent"
):
    """Whose traces are carried on, and how many of one's own are sampled."""

    trusted: tuple[str, ...] = ("0.0.0.0/0", "::/0")
    """Networks of peers whose trace is carried on; for others a new one begins (section 6, at a front gate)."""
    sample: float = 1.0
    """Share of the traces begun here that have the flag `sampled`, 0 to 1."""

    def __post_init__(self) -> None:
        networks_of(self.trusted, "trusted")
        if not 0 <= self.sample <= 1:
            raise ValueError(f"sample is {self.sample}; must be a share, 0 to 1")


class Traceparent(Filter):
    """Carries traces on, or begins them with digits of `entropy` (see `identities`)."""

    def __init__(self, options: TraceparentOptions, entropy: Entropy | None = None) -> None:
        self._trust = Trust(networks_of(options.trusted, "trusted"))
        self._entropy = entropy or Entropy(identities)
        share = int(options.sample * 2**32)
        self._threshold = b"%08x" % share if share < 2**32 else b"g"  # the last one: above all eight digits

    def on_request(self, exchange: Exchange) -> Answer:
        request = exchange.request
        given = request.lines(FIELDS)
        drawn = self._entropy.take(48)
        trace, span, luggage, parent = drawn[:32], drawn[32:], b"", None
        if given:
            parents = [value for name, value in given if name == b"traceparent"]
            if len(parents) == 1 and request.peer.address in self._trust:
                parent = parse(parents[0])
            if parent:
                trace = parent.trace
                luggage = state([value for name, value in given if name == b"tracestate"])
            request.drop(FIELDS)
        sampled = parent.sampled if parent else trace[24:] < self._threshold
        exchange.notes[TRACE_ID] = trace
        request.put_checked((RECORDED if sampled else UNRECORDED) % (trace, span))
        if luggage:
            request.put(b"tracestate: %b\r\n" % luggage)
        return None
