"""The HTTP proxy: what can be done for a request by somebody who reads it, and what reading it costs.

| package | its idea |
|---|---|
| front | where clients come in: sockets, TLS, which HTTP is spoken |
| http1, http2 | the wire formats, each without sockets, and the two sides that use them |
| engine | one request's life |
| routing, pools | which pool, and which backend of it |
| filters, cache, secrets | what is done for a request on its way |
| rpc | gRPC |
| config, program | what an operator writes, and the program that obeys |

The files beside them are the vocabulary that all of these share: `message` first.
"""
