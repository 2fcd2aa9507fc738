"""Whom to send it to: hashes, and ways of choosing a backend.

Every way of choosing is a picker, and there are two kinds.

Pickers proper choose by the key alone, so that many balancers agree without talking:
    `.pick(hash64) -> int`, `.pick_many(uint64[n]) -> int32[n]`: an index into `.backends`
    maglev.Maglev, ring.Ring, rendezvous.Rendezvous, jump.Jump, modulo.Modulo
Schedulers choose by what they remember, and are told when a connection ends:
    `.pick() -> int`, `.done(index)`
    round_robin.RoundRobin, round_robin.SmoothWeighted, least_connections.LeastConnections, power_of_two.PowerOfTwo

All take a list of names that differ, and most take `weights` (one for each name, 0 drains). Nothing here is global:
two pickers share no state, and whoever draws at random was given the generator.
"""
