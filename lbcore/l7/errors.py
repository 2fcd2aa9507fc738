"""What is wrong with a message, and what its sender is told."""

from __future__ import annotations


class Malformed(ValueError):
    """A message that is not HTTP, or that somebody else could read as another one. `status` is for whoever sent it."""

    def __init__(self, why: str, status: int = 400) -> None:
        super().__init__(why)
        self.why, self.status = why, status
