"""HTTP/2 (RFC 9113): one connection, many streams, each an exchange of its own."""
