"""Where experiments happen: what this machine can do, hosts made of network namespaces, servers and clients on
loopback, traffic that does not wait for answers, and instruments that watch them. Nothing leaves the machine.
"""
