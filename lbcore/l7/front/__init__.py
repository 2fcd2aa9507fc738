"""Where clients come in.

| file | its idea |
|---|---|
| door | a proxy takes connections, in one call |
| listening | sockets, and what is settled before anybody speaks HTTP: limits, PROXY protocol, TLS here or passed on |
| peek | what a connection begins with, looked at and left where it is |
| tls | who we are to clients, whom we believe among backends |
| arrivals | which version of HTTP a connection speaks |
"""
