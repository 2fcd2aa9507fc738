"""Filters: one concern each, in a row between client and backend.

`filter` says what one is, `kinds` which there are.
"""
