"""Lab 07: the heart of an HTTP proxy. Whose request is it, what is the backend told, where does it end, and what if the
backend fails?

Theory. The right answers are written on their own; tests compare them with `lbcore.l7`: its router and its normal form
of paths, what it takes out and tells of a request's way, its reader of heads, and its engine between real sockets.
"""

from lbcore.labs.proxy.drawings import show_exchange, show_forwarded, show_framing, show_proxy, show_route
from lbcore.labs.proxy.exchanging import check_exchange
from lbcore.labs.proxy.forwarding import FOR_ALL, HOP_BY_HOP, check_forwarded
from lbcore.labs.proxy.measuring import TOKEN, check_framing
from lbcore.labs.proxy.routing import ROUTES, UNRESERVED, check_route
from lbcore.labs.proxy.world import ATTEMPTS, BAD_GATEWAY, IDEMPOTENT

__all__ = [
    "ATTEMPTS", "BAD_GATEWAY", "FOR_ALL", "HOP_BY_HOP", "IDEMPOTENT", "ROUTES", "TOKEN", "UNRESERVED", "check_exchange",
    "check_forwarded", "check_framing", "check_route", "show_exchange", "show_forwarded", "show_framing", "show_proxy",
    "show_route",
]  # fmt: skip
