"""The ladder: XDP programs from one line to a page, each a file, each for the kernel, the machine and plain Python.

Read them in this order: pass_all, drop_all, no_reflection, count_protocols, parse, echo, block_list, rate_limit,
redirect, to_user_space, decapsulate.
"""
