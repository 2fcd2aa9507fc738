"""How a service wants its packets treated: a mode, and flags beside it, in one small integer.

The modes are those of the book's fourth chapter. NAT: the backend's address is written over the virtual one, and
replies must come back through here. FULL_NAT: the client's is written over too, so that they do by themselves. DSR:
only the Ethernet address changes. IPIP, GRE, GUE: the whole packet travels inside another, and the backend opens it.
"""

NAT, FULL_NAT, DSR, IPIP, GRE, GUE = range(6)
MODE = 7
"""The bits of the mode."""
NAMES = ("nat", "full_nat", "dsr", "ipip", "gre", "gue")

BY_DESTINATION_PORT = 8
"""Only the destination's port chooses: all clients of a port meet at one backend."""
IGNORE_SOURCE_PORT = 16
"""All connections of a client meet at one backend."""
QUIC = 32
"""The server id in a QUIC connection id chooses, when there is one."""
AS_KATRAN = 128
"""Set by `config` where the ring is Katran's: GUE's checksum is to be Katran's too (see `tunnel.inner_sum`)."""
ANY_PORT = 64
"""Set by `config` on a service without a port: its flows do not tell destination ports apart."""
