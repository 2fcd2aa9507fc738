"""Proof of who somebody is: keys of signed tokens, where they come from, and passwords as they may be kept."""
