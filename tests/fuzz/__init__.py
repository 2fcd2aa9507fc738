"""Whatever arrives: what must hold for any bytes at all that reach the parsers, the data plane and the configuration.

    python -m tests.fuzz NAME SECONDS [--keep]

| harness | what it is fed |
|---|---|
| core | packets and changes of state, through a balancer in each mode, as Python and compiled |
| quic | a datagram, asked for its connection id's server |
| opening | what a relay's client says first |
| proxy_protocol, tls_hello | the two parsers by themselves |
| config | a file for `lbcore l4` |

A harness is a plain function of bytes that raises where something does not hold. test_fuzz.py calls it in every run of
the tests: with what long hunts have kept (corpus/NAME.txt), and with what hypothesis makes of that.
"""
