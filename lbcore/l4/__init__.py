"""The packet data plane: packets in, a decision and a rewrite for each, packets out."""
