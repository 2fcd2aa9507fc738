"""Another path for the backend than the client's.

Rule of this file: the path; the query goes on as it came, Host and scheme stay.

Theory. The router saw the path in its one form (`target.normal`), so a prefix is compared byte by byte, at a segment's
end. What comes out is brought to that form again, for a group may begin or end with a slash; a path that has no one
meaning is answered with 400 and never sent.

Traps. A regular expression is matched against the whole path. A bad one takes time that grows with the power of the
path's length, and whoever writes the path chooses that length: no `(a+)+`, and groups that cannot match the same text
in two ways.
"""

from __future__ import annotations

import re

import msgspec

from lbcore.l7.filters.filter import Answer, Exchange, Filter
from lbcore.l7.message import text
from lbcore.l7.target import ILLEGAL, BadTarget, Rules, normal


class RewriteOptions(
    msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True, tag_field="kind", tag="rewrite"
):
    """Either a prefix or a regular expression, and what is put in its place. A path that does not fit stays."""

    prefix: str = ""
    """`/api` fits /api and /api/x, not /apix."""
    regex: str = ""
    """Fits the whole path."""
    to: str
    """For a prefix: what stands there instead (`/` takes it away). For a regex: a template with \\1 or \\g<name>."""
    rules: Rules = Rules()
    """What the result may hold."""

    def __post_init__(self) -> None:
        if bool(self.prefix) == bool(self.regex):
            raise ValueError(f"prefix is {self.prefix!r} and regex is {self.regex!r}; must be one of the two")
        for field, value in (("prefix", self.prefix), ("to", self.to)):
            if (value and value[0] != "/" and not self.regex) or ILLEGAL.search(value.encode()) or "?" in value:
                raise ValueError(
                    f"{field} is {value!r}; must be a path that begins with '/', without blanks, '?' or '#'"
                )
        if not self.to:
            raise ValueError("to is empty; must be a path such as '/'")
        if self.regex:
            compiled(self.regex, self.to, "to")


def compiled(regex: str, template: str, where: str) -> re.Pattern[bytes]:
    """The expression, once it is clear that the template fits it. ValueError if it is none, or if not."""
    try:
        pattern = re.compile(regex.encode())
    except (re.error, RecursionError, OverflowError) as error:
        raise ValueError(f"regex is {regex!r}: {error}; must be a regular expression of Python's re") from None
    try:
        re.compile(pattern.pattern + b"|").fullmatch(b"").expand(template.encode())  # type: ignore[union-attr]
    except (re.error, IndexError) as error:
        raise ValueError(f"{where} is {template!r}: {error}; must name groups that {regex!r} has") from None
    return pattern


class Rewrite(Filter):
    """Changes the path of what fits."""

    def __init__(self, options: RewriteOptions) -> None:
        self._rules = options.rules
        self._to = options.to.encode()
        self._prefix = options.prefix.encode().rstrip(b"/")
        self._regex = compiled(options.regex, options.to, "to") if options.regex else None

    def on_request(self, exchange: Exchange) -> Answer:
        request = exchange.request
        path, mark, query = request.target.partition(b"?")
        if self._regex:
            found = self._regex.fullmatch(path)
            if not found:
                return None
            path = found.expand(self._to)
        else:
            rest = path[len(self._prefix) :]
            if not path.startswith(self._prefix) or rest[:1] not in (b"", b"/"):
                return None
            path = self._to.rstrip(b"/") + rest or b"/"
        try:
            request.target = normal(path, self._rules) + mark + query
        except BadTarget as error:
            return text(400, f"Bad request: {error}")
        return None
