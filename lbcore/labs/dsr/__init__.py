"""Lab 03: direct server return on hosts, and a network to diagnose. What the notebook calls."""

from lbcore.labs.dsr.diagnosing import check_diagnosis, show_diagnosis
from lbcore.labs.dsr.evidence import Evidence
from lbcore.labs.dsr.hosting import check_backend, show_backend
from lbcore.labs.dsr.live import mend, real_traffic
from lbcore.labs.dsr.looking import broken, capture, hops, readings
from lbcore.labs.dsr.repairing import check_repair, show_repair
from lbcore.labs.dsr.rewriting import check_readdress, show_readdress

__all__ = [
    "Evidence", "broken", "capture", "check_backend", "check_diagnosis", "check_readdress", "check_repair", "hops",
    "mend", "readings", "real_traffic", "show_backend", "show_diagnosis", "show_readdress", "show_repair",
]  # fmt: skip
