"""Lab 04: the XDP ladder, from one line to a balancer. What the notebook calls."""

from lbcore.labs.xdp.counting import check_count
from lbcore.labs.xdp.first_steps import check_drop, check_pass
from lbcore.labs.xdp.parsing import check_parse

__all__ = ["check_count", "check_drop", "check_parse", "check_pass"]
