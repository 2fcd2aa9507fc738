"""Lab 04: the XDP ladder, from one line to a balancer. What the notebook calls."""

from lbcore.labs.xdp.first_steps import check_drop, check_pass

__all__ = ["check_drop", "check_pass"]
