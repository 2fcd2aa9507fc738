"""Where packets come from and go to: one protocol (`driver`), one file for each kind of source.

Read them in this order: driver, memory, pcap, mapping, rings, af_xdp, af_packet.
"""
