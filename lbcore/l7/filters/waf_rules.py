"""What attacks look like: patterns, each with a name, over text in its plainest form.

Rule of this file: no request, no verdict. Bytes in; plain form and names of rules out.

Theory. The same attack can be written in many ways, so text is first brought to one form (`plain`): escapes of URIs
decoded twice, escapes of JSON once, `+` a blank, comments of SQL and runs of blanks one blank, small letters. Every
pattern is then short. All repeats in them have an upper bound, and none stands within another: Python's `re` tries
alternatives one after another, and a pattern such as (a+)+ takes time that doubles with each letter of the text. With
bounds, time grows in proportion to the text's length, whatever is written there.

Traps
- A list of patterns knows the attacks that somebody wrote down. Who has the list finds a way round it; the tests name
  some. The remedy for injection is in the code behind: parameters instead of concatenation, escaping where text becomes
  markup. This buys time to put it there.
- Text about attacks looks like attacks, and O'Brien has a quote in his name: see the tests for what is hit wrongly.
- Text in UTF-16, base64, or in parts that the application joins, is not seen.
"""

from __future__ import annotations

import re
from typing import Final, NamedTuple
from urllib.parse import unquote_to_bytes

HARMLESS: Final = bytes(range(0x30, 0x3A)) + bytes(range(0x41, 0x5B)) + bytes(range(0x61, 0x7B)) + b"_-.,~/=&@!?"
SIGNS: Final = (b"..", b"&&", b"/etc/", b"/proc/", b"document")
"""Text of HARMLESS bytes only, without any of SIGNS, fits no rule; nearly all requests are such."""
SQL_COMMENT: Final = re.compile(rb"/\*[^*]{0,256}\*/")
BLANKS: Final = re.compile(rb"[\s\x00\x0b\xa0]{1,64}")
UNICODE: Final = re.compile(rb"\\u00([0-9a-fA-F]{2})")
ESCAPED: Final = re.compile(rb'\\(["\\/])')


class Rule(NamedTuple):
    """A pattern over plain text, and what it is a sign of."""

    name: str
    pattern: re.Pattern[bytes]


def _rule(name: str, *alternatives: bytes) -> Rule:
    return Rule(name, re.compile(b"|".join(alternatives)))


COMMANDS: Final = (
    rb"(?:cat|ls|id|whoami|uname|wget|curl|nc|ncat|bash|sh|zsh|python3?|perl|ruby|ping|sleep|rm|chmod|nslookup|dig|echo"
    rb"|type|dir|net|powershell|cmd)"
)
RULES: Final = (
    _rule(
        "sql-injection",
        rb"union(?: all| distinct)?(?: | ?\( ?)select\b",
        rb"\bselect\b[^;]{1,80}\bfrom (?:information_schema|pg_catalog|sqlite_master|mysql\.|sys\.)",
        rb"['\")] ?(?:or|and|\|\||&&) ?(?:not )?[('\"]{0,3}[\w.]{0,16}[)'\"]{0,3} ?(?:=|<|>|like|in\b|is\b|between)",
        rb"['\")] ?(?:or|and) (?:true|false|not|null|exists)\b",
        rb"\b(?:or|and) (\d{1,8}) ?= ?\d{1,8}\b",
        rb"['\"0-9)] ?; ?(?:select|insert|update|delete|drop|alter|create|exec|truncate|declare|shutdown) ",
        rb"[\w)]['\"] ?(?:--|#|;)",
        rb"\b(?:sleep|benchmark|pg_sleep|load_file|extractvalue|updatexml|xp_cmdshell) ?\(",
        rb"\bwaitfor delay\b",
        rb"\binto (?:out|dump)file\b",
    ),
    _rule(
        "script-injection",
        rb"<[\s/]{0,4}(?:script|iframe|object|embed|applet|base|meta|link|math|svg|style|form)\b",
        rb"<[a-z!/][^<>]{0,200}[\s/\"']on[a-z]{3,24} ?=",
        rb"(?:javascript|vbscript) ?:",
        rb"\bdata ?: ?text/html",
        rb"[\"'`] ?on(?:error|load|click|focus|blur|mouseover|toggle|begin|start|input|pointer[a-z]{2,8}) ?=",
        rb"\bdocument ?(?:\.|\[) ?['\"]?(?:cookie|write|location|domain)\b",
        rb"\b(?:eval|alert|prompt|confirm|settimeout|setinterval|atob) ?[(`]",
    ),
    _rule(
        "path-traversal",
        rb"(?:^|[/\\=&?:;])\.\.(?:[/\\]|$)",
        rb"\.\.[/\\]\.\.",
        rb"/etc/(?:passwd|shadow|group|hosts|issue)\b",
        rb"/proc/(?:self|\d{1,7})/",
        rb"\b[a-z]:\\(?:windows|winnt|boot)",
        rb"(?:^|=)(?:php|file|phar|expect|zip|gopher|dict|netdoc|jar)://",
    ),
    _rule(
        "command-injection",
        rb"(?:[;|`]|\$\(|&&) ?(?:/(?:usr/)?(?:local/)?s?bin/)?" + COMMANDS + rb"(?:[ ;|&`)<>$]|$)",
        rb"\$\{(?:jndi|ifs|path|home|env|lower|upper|sys)\b",
        rb"\$\{?ifs\b",
        rb"\(\) ?\{ ?[:_a-z]",
        rb"(?:>|<) ?/dev/(?:tcp|udp)/",
        rb"\bcmd(?:\.exe)? /[ckr]\b",
        rb"\bpowershell(?:\.exe)? -",
    ),
)  # fmt: skip
NAMES: Final = tuple(rule.name for rule in RULES)


def harmless(text: bytes) -> bool:
    """Can no rule fit, however it is decoded? Quick; most text is."""
    return not text.translate(None, HARMLESS) and not any(sign in text for sign in SIGNS)


def plain(text: bytes) -> bytes:
    """Text in the form that rules are written for. Takes time in proportion to its length."""
    text = text.replace(b"+", b" ")
    for _ in range(2):
        if b"%" in text:
            text = unquote_to_bytes(text)
    if b"\\" in text:
        text = UNICODE.sub(lambda found: bytes([int(found[1], 16)]), text)
        text = ESCAPED.sub(rb"\1", text)
    if b"/*" in text:
        text = SQL_COMMENT.sub(b" ", text)
    return BLANKS.sub(b" ", text.lower())


def found(text: bytes, rules: tuple[Rule, ...] = RULES) -> str:
    """Name of the first rule that fits; empty: none does."""
    if harmless(text):
        return ""
    text = plain(text)
    return next((rule.name for rule in rules if rule.pattern.search(text)), "")
