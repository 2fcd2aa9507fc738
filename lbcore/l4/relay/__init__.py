"""The balancer that ends connections: a relay of TCP streams and UDP datagrams, without a packet in sight.

    options = Options(
        listeners=(Listener("web", "127.0.0.1:8443", routes=(Route("api", names=("api.example",)),)),),
        pools=(
            Pool("web", (Target("127.0.0.1:9001"), Target("127.0.0.1:9002"))),
            Pool("api", (Target("127.0.0.1:9003"),)),
        ),
    )
    async with Relay(options) as relay:
        await relay.until_stopped()

| file | its idea | sockets |
|---|---|---|
| options | what it is told, and checked | no |
| opening | what a connection says before anybody is picked: PROXY header, ClientHello | no |
| router | from server name and protocol to a pool | no |
| backends | from a pool to a backend, and to another when that one fails | no |
| introduce | the PROXY header that a backend gets | no |
| limits | how many, from whom | no |
| counters | what happened, and why | no |
| sockets | listening, dialling, speaking from somebody else's address | yes |
| side, pipe | two sockets, one stream each way | yes |
| tcp, udp, relay | the loops | yes |
"""

from lbcore.l4.relay.options import BadOptions, Limits, Listener, Options, Pool, Route, Target, Timeouts
from lbcore.l4.relay.relay import Relay, run

__all__ = ["BadOptions", "Limits", "Listener", "Options", "Pool", "Relay", "Route", "Target", "Timeouts", "run"]
