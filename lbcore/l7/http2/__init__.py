"""HTTP/2 (RFC 9113): one connection, many streams, each an exchange of its own.

    hpack        header blocks and the table that both ends remember (RFC 7541)
    frames       nine bytes of header, and what they announce
    limits       how much of everything a connection may have
    patience     what frames cost a peer, and work brings it
    windows      flow control
    settings     what each end says about itself
    stream       one stream: what it has to send, what it keeps
    handlers     what each kind of frame does
    connection   either end, without sockets: frames in and out, streams, faults, goodbyes
    translate    header blocks as requests and responses, strictly
    wire         a connection on a transport of asyncio
    client, backend, shared
                 the exchange's two sides, and connections that many exchanges share

Why not the `h2` package, the well-kept library for this? A proxy is both ends at once for years, and three things are
decided in h2 where a proxy must decide them: a GOAWAY, sent or received, ends all streams at once, so nobody can leave
in peace; a fault of one stream (a length that does not agree) ends the connection of all; and a read is judged as a
whole, so that a flood is noticed after it was worked through, and what came before a fault is lost with it. It is the
other end in the tests instead, where an independent opinion is worth most.
"""
