"""Lab 01: build Maglev's table, weigh it, and measure what a change costs.

Theory. The right answers are lbcore.balance's. Each known mistake is the specification with one thing wrong, as a
function, so that `judge` can recognise it by its answers. The small cases are complete: every pair of walks in a table
of 3 slots.
"""

from lbcore.labs.maglev.counting import check_disruption
from lbcore.labs.maglev.drawings import show_disruption, show_populate, show_walk, show_weighted
from lbcore.labs.maglev.filling import check_populate
from lbcore.labs.maglev.walking import check_walk
from lbcore.labs.maglev.weighing import check_weighted
from lbcore.labs.maglev.whole import check_whole

__all__ = [
    "check_disruption", "check_populate", "check_walk", "check_weighted", "check_whole", "show_disruption",
    "show_populate", "show_walk", "show_weighted",
]  # fmt: skip
