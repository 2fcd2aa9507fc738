"""Lab 08: the TLS bill. Prices, tickets, certificates, places, and the edge that has to stand it.

Theory. The right answers are written on their own; tests compare them with `lbcore.sim.tls_bill` and with OpenSSL, that
resumes what may be resumed and refuses a certificate for another name.
"""

from lbcore.labs.tls_bill.drawings import show_certificate, show_cpu, show_machines, show_place, show_resumed
from lbcore.labs.tls_bill.names import check_certificate
from lbcore.labs.tls_bill.paying import check_cpu, check_machines
from lbcore.labs.tls_bill.placing import check_place
from lbcore.labs.tls_bill.tickets import check_resumed

__all__ = [
    "check_certificate", "check_cpu", "check_machines", "check_place", "check_resumed", "show_certificate", "show_cpu",
    "show_machines", "show_place", "show_resumed",
]  # fmt: skip
