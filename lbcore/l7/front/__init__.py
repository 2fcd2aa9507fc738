"""Where clients come in.

| file | its idea |
|---|---|
| listening | sockets, and what is settled before anybody speaks HTTP: limits, PROXY protocol |
| gate | TLS that is ended here, and TLS that passes through, on one port |
| tls | who we are to clients, whom we believe among backends |
| arrivals | which version of HTTP a connection speaks |
"""
