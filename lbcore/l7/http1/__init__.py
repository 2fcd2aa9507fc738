"""HTTP/1.1 (RFC 9112): heads and bodies read and written without sockets, and the two sides that carry them."""
