"""A small web application firewall: requests that look like known attacks are refused, or only reported.

Rule of this file: which parts of a request are looked at, and what follows. What attacks look like is `waf_rules`,
whose head says how little that proves.

Theory. Most of what a proxy sees, it saw a moment ago: paths, the same browser's User-Agent, the same cookies. What was
found harmless is remembered, a bounded number of texts, so that the rules run for what is new.

Traps
- Begin with `mode = "report"` and read what would have been refused.
- A body that is compressed is not read, nor is it ever decompressed here: a few kilobytes may stand for gigabytes.
  `encoded` says whether such a request is refused or passes unseen. So does a body of a kind that is not text.
- A body is looked at as far as `body` bytes; a longer one is refused by the proxy (413) before any filter sees it.
  Looking takes some 30 ns a byte, of text that is made for it 300, and all others wait meanwhile: keep `body` small.
- Two parsers that read one message differently (request smuggling) are not found by patterns: that is the work of
  `http1`, which refuses such messages. Path escapes that parsers read differently are refused by `target`.
"""

from __future__ import annotations

import logging
from typing import Final, Literal

import msgspec

from lbcore.l7.field import name_of
from lbcore.l7.filters.filter import Answer, Exchange, Filter
from lbcore.l7.filters.waf_rules import NAMES, RULES, found, harmless
from lbcore.l7.message import Names, Request, text
from lbcore.l7.target import shown

log = logging.getLogger(__name__)
FINDING: Final = "waf"
"""Key of `exchange.notes`: a Finding."""
REMEMBERED: Final = 4096
"""Texts."""
LONGEST: Final = 512
"""Bytes of a text that is remembered."""
READABLE: Final = (
    b"application/x-www-form-urlencoded", b"application/json", b"application/xml", b"application/graphql",
    b"multipart/form-data", b"text/",
)  # fmt: skip
SUFFIXES: Final = (b"+json", b"+xml")


class WafOptions(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True, tag_field="kind", tag="waf"):
    """What to look at, and what to do."""

    mode: Literal["block", "report"] = "block"
    """Refuse what rules find, or only note it."""
    rules: tuple[str, ...] = NAMES
    """Names of the sets of rules that are asked."""
    headers: tuple[str, ...] = ("referer", "user-agent")
    """Fields that are looked at."""
    cookies: bool = True
    """Look at cookies too."""
    body: int = 0
    """Bytes of a body that are read; longer ones are refused. 0: bodies are not looked at."""
    encoded: Literal["refuse", "pass"] = "refuse"
    """What becomes of a compressed body, if bodies are looked at: 415, or it passes unseen."""

    def __post_init__(self) -> None:
        for name in self.rules:
            if name not in NAMES:
                raise ValueError(f"rules holds {name!r}; must be of {', '.join(NAMES)}")
        for name in self.headers:
            name_of(name, "headers")
        if not 0 <= self.body <= 1 << 20:
            raise ValueError(f"body is {self.body}; must be 0 to {1 << 20} bytes: all of it is kept in memory and read")


class Finding(msgspec.Struct, frozen=True):
    """What was found, and where."""

    rule: str
    where: str
    """`path`, `query`, `body`, `cookie`, or a header's name."""


class Waf(Filter):
    """Looks for attacks."""

    def __init__(self, options: WafOptions) -> None:
        self._options = options
        self._blocks = options.mode == "block"
        self._rules = tuple(rule for rule in RULES if rule.name in options.rules)
        cookies = {b"cookie"} if options.cookies else set()
        self._fields = Names({name.lower().encode() for name in options.headers} | cookies)
        self._encoded = options.encoded
        self.body_limit = options.body
        self._clean: set[bytes] = set()
        self.counts = dict.fromkeys((*options.rules, "encoded"), 0)
        """What was found, by rule, and requests with a compressed body."""

    def share(self, other: Waf) -> bool:
        """Before the first exchange: count on where another one counts. False: they look for other things."""
        if other._options != self._options:
            return False
        self.counts = other.counts
        return True

    def on_request(self, exchange: Exchange) -> Answer:
        request = exchange.request
        finding = self._look(request)
        if finding is not None:
            return self._found(exchange, finding)
        if request.body and request.get(b"content-encoding") is not None:
            self.counts["encoded"] += 1
            if self._encoded == "refuse":
                return text(415, "A compressed body is not taken here.", (b"accept-encoding", b"identity"))
        return None

    def _found(self, exchange: Exchange, finding: Finding) -> Answer:
        self.counts[finding.rule] += 1
        exchange.notes[FINDING] = finding
        log.info("%s in %s of %s", finding.rule, finding.where, shown(exchange.request.path))
        return text(403, "This request looks like an attack.") if self._blocks else None

    def _look(self, request: Request) -> Finding | None:
        clean = self._clean
        target = request.target
        if target not in clean and not harmless(target):
            for where, part in (("path", request.path), ("query", request.query)):
                if rule := found(part, self._rules):
                    return Finding(rule, where)
            self._remember(target)
        if self._fields:
            for name, value in request.lines(self._fields):
                if value not in clean:
                    if rule := found(value, self._rules):
                        return Finding(rule, name.decode())
                    self._remember(value)
        if request.body and self.body_limit and _readable(request) and (rule := found(request.body, self._rules)):
            return Finding(rule, "body")
        return None

    def _remember(self, value: bytes) -> None:
        if len(value) <= LONGEST:
            if len(self._clean) >= REMEMBERED:
                self._clean.clear()
            self._clean.add(value)


def _readable(request: Request) -> bool:
    """Is the body text, and not compressed? Without a type it is taken for text."""
    if request.get(b"content-encoding") is not None:
        return False
    kind = (request.get(b"content-type") or b"text/").lower().partition(b";")[0].rstrip()
    return kind.startswith(READABLE) or kind.endswith(SUFFIXES)
