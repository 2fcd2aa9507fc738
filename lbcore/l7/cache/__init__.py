"""A shared cache (RFC 9111): what may be kept, for how long, and to whom it may be given.

Rule of this folder: decisions and stores; no sockets, no event loop but in `collapse`. The filter `cache` puts them
together.

    directives  Cache-Control, taken apart                dates       HTTP dates
    entry       a stored response and its numbers         policy      may it be stored? given? made fresh again?
    key         under what it is stored                   vary        which of several responses fits
    conditions  304 instead of 200                        ranges      206 instead of 200
    store       in memory                                 sqlite      in a file
    collapse    many ask, one goes
"""
