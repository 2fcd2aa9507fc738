"""Measuring so that the result holds tomorrow: costs as ratios, latencies as distributions, and where it was done."""

from lbcore.measure.clock import Comparison, compare
from lbcore.measure.facts import facts_line
from lbcore.measure.histogram import Histogram
from lbcore.measure.recorded import Recorded, Result, live_or_recorded, load, record
from lbcore.measure.table import Table, table

__all__ = [
    "Comparison", "Histogram", "Recorded", "Result", "Table", "compare", "facts_line", "live_or_recorded", "load",
    "record", "table",
]  # fmt: skip
