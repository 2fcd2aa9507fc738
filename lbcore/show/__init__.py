"""What readers see: figures, packet diagrams, source listings, tables, questions and explorers.

Each name is imported when it is first used: a listing does not wait for matplotlib.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lbcore.measure.table import table
    from lbcore.show.bar_chart import bars, stacked
    from lbcore.show.bill_chart import bill
    from lbcore.show.bucket_chart import bucket
    from lbcore.show.canary import canary_funnel, canary_histogram, canary_shares
    from lbcore.show.curves import lines
    from lbcore.show.explorer import explore
    from lbcore.show.fates import fleet
    from lbcore.show.first_flight import hello_bytes, hello_map
    from lbcore.show.frame_chart import frame_bytes, frame_lanes
    from lbcore.show.header_diagram import header
    from lbcore.show.hearsay_diagram import hearsay
    from lbcore.show.heat_map import heat
    from lbcore.show.listing import source
    from lbcore.show.machine_stepper import machine_steps
    from lbcore.show.packet_diagram import Span, packet
    from lbcore.show.packet_inspector import inspector
    from lbcore.show.packet_walk import packet_steps
    from lbcore.show.parts_chart import parts
    from lbcore.show.placement_chart import placement
    from lbcore.show.questions import predict, quiz
    from lbcore.show.slots import removal, slots_moved
    from lbcore.show.style import HATCHES, PALETTE, figure, finish
    from lbcore.show.verifier_stepper import verifier_steps
    from lbcore.show.windows import drain_windows, drains, leaks

_WHERE = {
    "table": "lbcore.measure.table",
    **dict.fromkeys(("bars", "stacked"), "lbcore.show.bar_chart"),
    "bill": "lbcore.show.bill_chart",
    "bucket": "lbcore.show.bucket_chart",
    **dict.fromkeys(("canary_funnel", "canary_histogram", "canary_shares"), "lbcore.show.canary"),
    "explore": "lbcore.show.explorer",
    "fleet": "lbcore.show.fates",
    "inspector": "lbcore.show.packet_inspector",
    "packet_steps": "lbcore.show.packet_walk",
    "source": "lbcore.show.listing",
    "machine_steps": "lbcore.show.machine_stepper",
    "verifier_steps": "lbcore.show.verifier_stepper",
    **dict.fromkeys(("frame_bytes", "frame_lanes"), "lbcore.show.frame_chart"),
    "header": "lbcore.show.header_diagram",
    "hearsay": "lbcore.show.hearsay_diagram",
    "heat": "lbcore.show.heat_map",
    **dict.fromkeys(("hello_bytes", "hello_map"), "lbcore.show.first_flight"),
    "lines": "lbcore.show.curves",
    **dict.fromkeys(("Span", "packet"), "lbcore.show.packet_diagram"),
    "parts": "lbcore.show.parts_chart",
    "placement": "lbcore.show.placement_chart",
    **dict.fromkeys(("predict", "quiz"), "lbcore.show.questions"),
    **dict.fromkeys(("removal", "slots_moved"), "lbcore.show.slots"),
    **dict.fromkeys(("HATCHES", "PALETTE", "figure", "finish"), "lbcore.show.style"),
    **dict.fromkeys(("drain_windows", "drains", "leaks"), "lbcore.show.windows"),
}

__all__ = [
    "HATCHES", "PALETTE", "Span", "bars", "bill", "bucket", "canary_funnel", "canary_histogram", "canary_shares",
    "drain_windows", "drains", "explore", "figure", "finish", "fleet", "frame_bytes", "frame_lanes", "header",
    "hearsay", "heat", "hello_bytes", "hello_map", "inspector", "leaks", "lines", "machine_steps", "packet",
    "packet_steps", "parts", "placement", "predict", "quiz", "removal", "slots_moved", "source", "stacked", "table",
    "verifier_steps",
]  # fmt: skip


def __getattr__(name: str) -> Any:
    if name not in _WHERE:
        raise AttributeError(f"lbcore.show has no {name!r}; it has: {', '.join(__all__)}")
    return getattr(import_module(_WHERE[name]), name)


def __dir__() -> list[str]:
    return __all__
