"""Lab 04: the XDP ladder, from one line to a balancer. What the notebook calls."""

from lbcore.labs.xdp.balancing import check_balance
from lbcore.labs.xdp.counting import check_count
from lbcore.labs.xdp.drawings import (
    show_balance,
    show_count,
    show_drop,
    show_parse,
    show_pass,
    show_redirect,
    show_rewrite,
)
from lbcore.labs.xdp.first_steps import check_drop, check_pass
from lbcore.labs.xdp.forwarding import check_redirect
from lbcore.labs.xdp.live import judges, real_traffic
from lbcore.labs.xdp.parsing import check_parse
from lbcore.labs.xdp.rewriting import check_rewrite

__all__ = [
    "check_balance", "check_count", "check_drop", "check_parse", "check_pass", "check_redirect", "check_rewrite",
    "judges", "real_traffic",
    "show_balance", "show_count", "show_drop", "show_parse", "show_pass", "show_redirect", "show_rewrite",
]  # fmt: skip
