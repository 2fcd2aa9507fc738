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

HARMLESS: Final = bytes(range(0x30, 0x3A)) + bytes(range(0x41, 0x5B)) + bytes(range(0x61, 0x7B)) + b"_-.,~/=&@!?"
"""Text of these bytes only fits no rule, but for the few words that `harmless` looks for; most requests are such."""
_HEX: Final = [b"%c" % digit for digit in b"0123456789abcdefABCDEF"]
SQL_COMMENT: Final = re.compile(rb"/\*[^*]{0,256}\*/")
ESCAPE: Final = re.compile(rb"%([0-9a-fA-F]{2})")
UNICODE: Final = re.compile(rb"\\u00([0-9a-fA-F]{2})")
BYTES: Final = {a + b: bytes.fromhex((a + b).decode()) for a in _HEX for b in _HEX}
LETTERS: Final = bytes(b" "[0] if byte in b"\0\t\n\v\f\r \xa0" else byte for byte in bytes(range(256)).lower())


class Sign(NamedTuple):
    """A pattern over plain text, and bytes without one of which it cannot fit: they are sought first, much quicker."""

    needles: tuple[bytes, ...]
    pattern: re.Pattern[bytes]


class Rule(NamedTuple):
    """What an attack is called, and its signs."""

    name: str
    signs: tuple[Sign, ...]


def _rule(name: str, *signs: tuple[bytes, bytes]) -> Rule:
    """Each sign: its needles with blanks between, and its pattern, which begins with a needle or a class if it can."""
    return Rule(name, tuple(Sign(tuple(needles.split()), re.compile(pattern)) for needles, pattern in signs))


COMMANDS: Final = (
    rb"(?:cat|ls|id|whoami|uname|wget|curl|nc|ncat|bash|sh|zsh|python3?|perl|ruby|ping|sleep|rm|chmod|nslookup|dig|echo"
    rb"|type|dir|net|powershell|cmd)"
)
RULES: Final = (
    _rule(
        "sql-injection",
        (b"union", rb"union(?: all| distinct)?(?: | ?\( ?)select\b"),
        (b"from", rb"select\b[^;]{1,80}\bfrom (?:information_schema|pg_catalog|sqlite_master|mysql\.|sys\.)"),
        (
            b"or and || &&",
            rb"['\")] ?(?:or|and|\|\||&&) ?(?:not )?[('\"]{0,3}[\w.]{0,16}[)'\"]{0,3} ?"
            rb"(?:=|<|>|like|in\b|is\b|between)",
        ),
        (b"or and", rb"['\")] ?(?:or|and) (?:true|false|not|null|exists)\b"),
        (b"=", rb"[^a-z](?:or|and) \d{1,8} ?= ?\d{1,8}\b"),
        (b";", rb"['\"0-9)] ?; ?(?:select|insert|update|delete|drop|alter|create|exec|truncate|declare|shutdown) "),
        (b"-- # ;", rb"[\w)]['\"] ?(?:--|#|;)"),
        (
            b"sleep benchmark load_file extractvalue updatexml xp_cmdshell",
            rb"(?:sleep|benchmark|load_file|extractvalue|updatexml|xp_cmdshell) ?\(",
        ),
        (b"waitfor", rb"waitfor delay\b"),
        (b"dumpfile outfile", rb"into (?:out|dump)file\b"),
    ),
    _rule(
        "script-injection",
        (b"<", rb"<[\s/]{0,4}(?:script|iframe|object|embed|applet|base|meta|link|math|svg|style|form)\b"),
        (b"<", rb"<[a-z!/][^<>]{0,200}[\s/\"']on[a-z]{3,24} ?="),
        (b"script", rb"(?:javascript|vbscript) ?:"),
        (b"text/html", rb"data ?: ?text/html"),
        (
            b"on",
            rb"[\"'`] ?on(?:error|load|click|focus|blur|mouseover|toggle|begin|start|input|pointer[a-z]{2,8}) ?=",
        ),
        (b"document", rb"document ?(?:\.|\[) ?['\"]?(?:cookie|write|location|domain)\b"),
        (
            b"eval alert prompt confirm settimeout setinterval atob",
            rb"(?:eval|alert|prompt|confirm|settimeout|setinterval|atob) ?[(`]",
        ),
    ),
    _rule(
        "path-traversal",
        (b"..", rb"(?:^|[/\\=&?:;])\.\.(?:[/\\]|$)"),
        (b"..", rb"\.\.[/\\]\.\."),
        (b"/etc/", rb"/etc/(?:passwd|shadow|group|hosts|issue)\b"),
        (b"/proc/", rb"/proc/(?:self|\d{1,7})/"),
        (b":\\", rb"[a-z]:\\(?:windows|winnt|boot)"),
        (b"://", rb"(?:^|=)(?:php|file|phar|expect|zip|gopher|dict|netdoc|jar)://"),
    ),
    _rule(
        "command-injection",
        (
            b"; | ` $( &&",
            rb"(?:[;|`]|\$\(|&&) ?(?:/(?:usr/)?(?:local/)?s?bin/)?" + COMMANDS + rb"(?:[ ;|&`)<>$]|$)",
        ),
        (b"${", rb"\$\{(?:jndi|ifs|path|home|env|lower|upper|sys)\b"),
        (b"ifs", rb"\$\{?ifs\b"),
        (b"()", rb"\(\) ?\{ ?[:_a-z]"),
        (b"/dev/", rb"(?:>|<) ?/dev/(?:tcp|udp)/"),
        (b"cmd", rb"cmd(?:\.exe)? /[ckr]\b"),
        (b"powershell", rb"powershell(?:\.exe)? -"),
    ),
)
NAMES: Final = tuple(rule.name for rule in RULES)


def harmless(text: bytes) -> bool:
    """Can no rule fit, however it is decoded? Quick; most text is."""
    return not (
        text.translate(None, HARMLESS)
        or b".." in text
        or b"&&" in text
        or b"/etc/" in text
        or b"/proc/" in text
        or b"document" in text
    )


def plain(text: bytes) -> bytes:
    """Text in the form that rules are written for. Takes time in proportion to its length."""
    text = text.replace(b"+", b" ")
    for _ in range(2):
        if b"%" in text:
            text = ESCAPE.sub(_byte, text)
    if b"\\" in text:
        text = UNICODE.sub(_byte, text).replace(b'\\"', b'"').replace(b"\\/", b"/").replace(b"\\\\", b"\\")
    text = text.translate(LETTERS)
    if b"/*" in text:
        text = SQL_COMMENT.sub(b" ", text)
    while b"  " in text:  # each round halves every run
        text = text.replace(b"  ", b" ")
    return text


def _byte(found: re.Match[bytes]) -> bytes:
    return BYTES[found[1]]


def found(text: bytes, rules: tuple[Rule, ...] = RULES) -> str:
    """Name of the first rule that fits; empty: none does."""
    if harmless(text):
        return ""
    text = plain(text)
    for name, signs in rules:
        for needles, pattern in signs:
            for needle in needles:
                if needle in text:
                    if pattern.search(text):
                        return name
                    break
    return ""
