"""What a stream parser says when bytes are not yet enough, or never will be.

Rule of this file: it knows no protocol. Both are ValueErrors; a caller that waits for more bytes catches `Incomplete`,
and whatever is `Malformed` stays so however many bytes follow.
"""

from __future__ import annotations


class Incomplete(ValueError):
    """Right so far, and not whole.

    needed: how many more bytes at least must arrive before the answer can be there (>= 1). Reading again earlier is
    allowed and finds only faults, never the answer.
    """

    def __init__(self, what: str, needed: int) -> None:
        super().__init__(f"{what} is incomplete: at least {needed} more byte{'s' if needed > 1 else ''} needed")
        self.needed = needed


class Malformed(ValueError):
    """Wrong for good.

    field: the field's name. value: what was found. wanted: what would have been right, with the RFC section.
    at: offset in the input of the field's first byte (for a character in a name, of that character).
    """

    def __init__(self, field: str, value: object, wanted: str, at: int = 0) -> None:
        super().__init__(f"{field} is {value} at byte {at}: {wanted}")
        self.field, self.value, self.wanted, self.at = field, value, wanted, at
