"""One request's life, whatever version of HTTP carries it.

| file | its idea |
|---|---|
| exchange | one request: filters, route, the response |
| attempt | its other half: backends that are asked, and asked again |
| transforms | a body through what filters put in its way |
| sides | the two halves that an exchange joins; `http1` and `http2` each have both |
| connections | connections with backends that wait for their next request |
| fetch | a client's side without a client, for what the proxy asks on its own account |
| proxy | what all connections share; opened and closed |
"""
