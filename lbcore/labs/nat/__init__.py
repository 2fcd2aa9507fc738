"""Lab 02: the packet walk. Checksums repaired by hand, a packet translated, and its answer translated back.

Theory. The right answers are words taken out and put in, as `lbcore.l4.nat` does it. Some frames arrive damaged: a
repaired checksum stays as wrong as it was, and the receiver finds the damage. One computed anew would hide it.
"""

from lbcore.labs.nat.answering import check_back
from lbcore.labs.nat.checksums import check_udp, check_update
from lbcore.labs.nat.drawings import show_back, show_translate, show_udp, show_update
from lbcore.labs.nat.translating import check_translate

__all__ = [
    "check_back", "check_translate", "check_udp", "check_update", "show_back", "show_translate", "show_udp",
    "show_update",
]  # fmt: skip
