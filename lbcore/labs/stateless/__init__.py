"""Lab 09: from sticky to stateless. A shop's servers lose their memory in five steps, and nobody notices.

Theory. The right answers are written on their own; tests compare them with the pool, its sticky cookies and PyJWT.
"""

from lbcore.labs.stateless.affinity import check_affinity, check_choose, score, sign
from lbcore.labs.stateless.draining import check_serve
from lbcore.labs.stateless.drawings import show_accept, show_affinity, show_choose, show_serve, show_store
from lbcore.labs.stateless.storing import check_store
from lbcore.labs.stateless.tokens import check_accept

__all__ = [
    "check_accept", "check_affinity", "check_choose", "check_serve", "check_store", "score", "show_accept",
    "show_affinity", "show_choose", "show_serve", "show_store", "sign",
]  # fmt: skip
