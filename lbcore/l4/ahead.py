"""Looking ahead: the rows that a packet will need are on their way while others before it are handled.

Rule of this file: it changes nothing. What it guesses wrong costs time, and nothing else.

Theory. A flow's row is anywhere in a table, so the processor comes for it unprepared: with a hundred thousand flows the
row is in none of its near caches, and nearly all of a packet's time is waiting. But a driver brings packets by the
batch, and what a later one will ask for can be known now: parse it, hash it, and ask the memory for the lines without
waiting for them. By the time of its turn they are there. Parsing twice costs some nanoseconds, a line from afar a
hundred.

Traps
- A table that fits into the processor's cache has nothing to fetch: there looking ahead only costs (`lead_for`).
- In a loop of bare look-ups nothing is gained either. A processor itself works some hundred instructions ahead, which
  is several look-ups; but it is less than one packet.
- Too far ahead, and what was fetched is pushed out again, or never asked for: a processor has a dozen or so requests
  for lines under way at once.
- Replies that NAT sends on are found here; the way back of a packet on its way in is not, for its key has the backend
  in it, and that stands in the row that is being fetched.
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from lbcore.l4 import flow_table, tables
from lbcore.l4.choose import hash_of, hash_of_reply, normal, service_of
from lbcore.l4.flow import parse
from lbcore.l4.reasons import FORWARDED
from lbcore.wire.portable import portable
from lbcore.wire.seam import view

LEAD = 8
"""Packets between asking and needing."""
NEAR = 1 << 20
"""Bytes of a table that stays near the processor by itself."""


@intrinsic
def fetch(context: Any, array: Any, row: Any) -> Any:
    """Have a line of memory brought: the one that `row` of the array begins in (1- or 2-dimensional, C-contiguous)."""

    def codegen(context: Any, b: Any, signature: Any, values: Any) -> Any:
        made = context.make_array(signature.args[0])(context, b, values[0])
        words = b.mul(values[1], b.extract_value(made.strides, 0))
        at = b.inttoptr(b.add(b.ptrtoint(made.data, words.type), words), ir.IntType(8).as_pointer())
        one, kind = ir.IntType(32), ir.FunctionType(ir.VoidType(), [at.type] + [ir.IntType(32)] * 3)
        call = b.module.declare_intrinsic("llvm.prefetch", [at.type], kind)
        b.call(call, [at, one(0), one(3), one(1)])  # for reading, to be kept near, data
        return context.get_dummy_value()

    return types.void(array, types.int64), codegen


@portable
def lead_for(t: tables.Tables) -> int:
    """How many packets to look ahead; 0 where the tables are near."""
    return LEAD if t.established.tags.size * flow_table.BYTES > NEAR else 0


@portable
def ask(context: Any, t: tables.Tables) -> None:
    """Have the rows brought that the packet of a context will need. It may be any packet."""
    flow = parse(view(context))
    if flow.reason != FORWARDED:
        return
    number, service = service_of(t, flow)
    s = tables.settings(t)
    if number < 0:
        home = flow_table.home(t.returns, hash_of_reply(flow, s.seed, s.seed6))
        fetch(t.returns.tags, home)
        fetch(t.returns.rows, home)
        fetch(t.ways, home)
    else:
        home = flow_table.home(t.established, hash_of(normal(flow, service), s.seed, s.seed6))
        fetch(t.established.tags, home)
        fetch(t.established.rows, home)
