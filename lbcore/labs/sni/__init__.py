"""Lab 06: an SNI router. From the first bytes of a TCP stream to a backend, however the bytes arrive.

Theory. The right answers are written on their own; tests compare them with `lbcore.wire.tls_hello` and with the relay's
router, which are stricter.
"""

from lbcore.labs.sni.choosing import check_choose, check_route
from lbcore.labs.sni.drawings import show_choose, show_message, show_missing, show_route, show_server_name
from lbcore.labs.sni.naming import check_server_name
from lbcore.labs.sni.reading import check_message, check_missing

__all__ = [
    "check_choose", "check_message", "check_missing", "check_route", "check_server_name", "show_choose",
    "show_message", "show_missing", "show_route", "show_server_name",
]  # fmt: skip
