"""Filters: one concern each, in a row between client and backend."""
