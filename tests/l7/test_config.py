"""Configuration files: right ones are what they say; of wrong ones each complaint names line, key, value and remedy."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest
import trustme
from hypothesis import given, settings
from hypothesis import strategies as st

from lbcore.l7.config.document import BadConfig, File, parse
from lbcore.l7.config.options import Config, ListenOptions
from lbcore.l7.config.reference import keys, table

RIGHT = """\
always = ["seen"]                       # line 1
order = "longest"

[[listen]]
port = 8080

[[listen]]                              # line 7
address = "0.0.0.0"
port = 8443
proxy_protocol = ["10.0.0.0/8"]

  [[listen.passthrough]]                # line 12
  names = ["*.bank.example"]
  pool = "web"

[[filters.seen]]                        # line 16
kind = "request_id"

[[filters.seen]]
kind = "headers"
request.set = { x-proxy = "lbcore" }

[[route]]                               # line 23
name = "api"
hosts = ["shop.example", "*.shop.example"]
prefix = "/api"
methods = ["GET", "POST"]
headers = [{ name = "x-beta", value = "1" }, { name = "x-old", present = false }]
pool = "web"

[[route]]                               # line 31
hosts = ["shop.example"]
[[route.split]]
pool = "web"
weight = 95
[[route.split]]                         # line 36
pool = "canary"
weight = 5
[route.split_by]                        # line 39
on = "cookie"
name = "uid"

[[route]]                               # line 43
filters = ["gone"]

[[filters.gone]]                        # line 46
kind = "redirect"
status = 308
path = "/closed"

[[pool]]                                # line 51
name = "web"
picker = "smooth_weighted"
[[pool.backend]]
address = "127.0.0.1:9001"
weight = 3
[[pool.backend]]                        # line 57
address = "[::1]:9002"
[pool.health]
probe = { kind = "http", path = "/health" }
interval = 10

[[pool]]                                # line 63
name = "canary"
backend = [{ address = "127.0.0.1:9003" }]
timeouts.connect = 0.5

[limits]                                # line 68
head = 16384

[admin]                                 # line 71
port = 9901
"""


def read(text: str) -> File:
    return parse(text.encode(), "p.toml")


def complaints(text: str) -> list[str]:
    with pytest.raises(BadConfig) as caught:
        read(text)
    return str(caught.value).split("\n")


def test_all_of_it_is_understood() -> None:
    config, warnings = read(RIGHT)
    api, shop, rest = config.route
    web, canary = config.pool
    assert warnings == ()
    assert config.listen[0] == ListenOptions(port=8080)
    assert (config.listen[0].name, config.listen[1].name) == ("127.0.0.1:8080", "0.0.0.0:8443")
    assert (config.order, config.always, config.limits.head) == ("longest", ("seen",), 16384)
    assert [(share.pool, share.weight) for share in shop.split] == [("web", 95), ("canary", 5)]
    assert (shop.split_by.on, shop.split_by.name) == ("cookie", "uid")
    assert (api.pool, api.headers[0].value, api.headers[1].present) == ("web", "1", False)
    assert (rest.filters, len(config.filters["seen"])) == (("gone",), 2)
    assert [backend.address for backend in web.backends] == ["127.0.0.1:9001", "[::1]:9002"]
    assert (canary.timeouts.connect, canary.timeouts.head) == (0.5, 30)


WRONG = {
    "a key with a typo": ("prefix = ", "prefx = ", 26, "route[1].prefx: no such key; did you mean prefix?"),
    "a key of another section": ("order = ", "weight = 1\norder = ", 2, "weight: no such key; there are listen"),
    "a section with a typo": ("[limits]", "[limit]", 68, "limit: no such key; did you mean limits?"),
    "a word with a typo": ('"longest"', '"longst"', 2, "order is 'longst', wanted one of first, longest; did you mean"),
    "a kind with a typo": ('"redirect"', '"redirct"', 47, "is 'redirct', wanted one of "),
    "a kind that is none": ('"redirect"', "5", 47, "filters.gone[1].kind is 5, wanted one of "),
    "no kind": ('kind = "redirect"\n', "", 46, "filters.gone[1].kind: missing, wanted one of"),
    "a key of another kind": ("status = 308", "origins = []", 48, "filters.gone[1].origins: no such key"),
    "a probe with a typo": ('"http", path', '"htp", path', 60, "kind is 'htp', wanted one of tcp, http, grpc; did you"),
    "a picker with a typo": ('"smooth_weighted"', '"smooth_wheighted"', 53, "did you mean smooth_weighted?"),
    "a port in quotes": ("port = 8080", 'port = "8080"', 5, "listen[1].port is '8080', wanted a whole number from 0"),
    "a port too high": ("port = 8080", "port = 65536", 5, "listen[1].port is 65536, wanted a whole number from 0 to"),
    "a port that is true": ("port = 8080", "port = true", 5, "listen[1].port is True, wanted"),
    "no port": ("port = 8080\n", "", 4, "listen[1].port: missing, wanted a whole number"),
    "no number": ("connect = 0.5", "connect = nan", 66, "pool[2].timeouts.connect is nan, wanted a number"),
    "no end": ("connect = 0.5", "connect = inf", 66, "pool[2].timeouts.connect is inf, wanted a number"),
    "never": ("connect = 0.5", "connect = 0", 66, "pool[2].timeouts.connect is 0"),
    "a limit of HTTP/2 of nothing": ("head = 16384", "http2.streams = 0", 69, "http2.streams is 0, wanted"),
    "a limit of HTTP/2 with a typo": ("head = 16384", "http2.steams = 9", 69, "no such key; did you mean streams?"),
    "a window too small": ("head = 16384", "http2.connection_window = 9", 69, "connection_window is 9, wanted 65535"),
    "a limit of nothing": ("head = 16384", "head = 0", 69, "limits.head is 0, wanted more than 0"),
    "a number far too long": ("head = 16384", f"head = {'9' * 400}", 69, "limits.head is 999"),
    "a number that is no number any more": ("head = 16384", f"head = {'9' * 5000}", 1, "digits"),
    "a table for a list": ("[[listen]]\nport = 8080", "[listen]\nport = 8080", 7, "Cannot"),
    "a table for a word": ('name = "api"', "name = {}", 24, "route[1].name is {}, wanted text in quotes"),
    "a word for a list": ('methods = ["GET", "POST"]', 'methods = "GET"', 27, "is 'GET', wanted a list (each text"),
    "a word for a table": ('{ name = "x-beta", value = "1" }', '"x-beta"', 28, "[1] is 'x-beta', wanted a table"),
    "no interface": ('"0.0.0.0"', '""', 8, "listen[2].address is '', wanted an IPv4 or IPv6 address; 0.0.0.0 is every"),
    "a star for all": ('"0.0.0.0"', '"*"', 8, "listen[2].address is '*', wanted an IPv4 or IPv6"),
    "a name for an address": ('"0.0.0.0"', '"localhost"', 8, "listen[2].address is 'localhost'"),
    "two on one port": ("8443", "8080", 9, "listen[2].port is 8080, and listen[1] is on 127.0.0.1:8080"),
    "the admin's port": ("9901", "8443", 72, "admin.port is 8443, and listen[2] is on 0.0.0.0:8443"),
    "admin for everybody": ("9901", '9901\naddress = "0.0.0.0"', 73, "admin.address is '0.0.0.0', wanted one of loop"),
    "no networks": ('"10.0.0.0/8"', '"10.0.0.0/33"', 10, "listen[2].proxy_protocol holds '10.0.0.0/33'"),
    "a host in capitals": ('"*.shop.example"', '"*.Shop.example"', 25, "route[1].hosts has '*.Shop.example', wanted"),
    "a host with a port": ('"*.shop.example"', '"shop.example:80"', 25, "wanted it without a port"),
    "a star inside": ('"*.shop.example"', '"a.*.example"', 25, "wanted a name such as 'shop.example' or '*.shop"),
    "any host": ('"*.shop.example"', '"*"', 25, "wanted none at all: that takes any"),
    "a path without its slash": ('"/api"', '"api"', 26, "route[1].prefix is 'api', wanted a path that begins with /"),
    "a path with a query": ('"/api"', '"/api?x"', 26, "route[1].prefix is '/api?x'"),
    "a path that nobody sends": ('"/api"', '"/a/../b"', 26, "prefix is '/a/../b', wanted its normal form, '/b'"),
    "a path that is refused": ('"/api"', '"/a%2Fb"', 26, "route[1].prefix is '/a%2Fb', and no request has such"),
    "two paths": ('prefix = "/api"', 'prefix = "/api"\npath = "/"', 26, "prefix and path are both there"),
    "an expression that is none": ('prefix = "/api"', 'regex = "/(a"', 26, "route[1].regex is '/(a', wanted a regular"),
    "a service that is none": ('prefix = "/api"', 'grpc = "a b"', 26, "route[1].grpc is 'a b', wanted 'pkg.Service'"),
    "a method in small letters": ('"GET",', '"get",', 27, "route[1].methods has 'get', wanted 'GET'"),
    "a condition on Host": ('"x-beta"', '"Host"', 28, "route[1].headers has the name 'host', wanted that in hosts"),
    "a field that is absent and has a value": ("present = false", 'present = false, value = ""', 28, "has no value"),
    "a pool that is none": ('pool = "canary"', 'pool = "cnary"', 37, "'cnary', and there is no such pool; did you"),
    "a passthrough to nobody": ('  pool = "web"', '  pool = "wbe"', 14, "listen[2].passthrough[1].pool is 'wbe', and"),
    "a passthrough of all": ('"*.bank.example"', '"*"', 13, "listen[2].passthrough[1].names has '*'"),
    "a chain that is none": ('["gone"]', '["going"]', 44, "route[3].filters[1] is 'going', and there is no such chain"),
    "a chain for all that is none": ('["seen"]', '["sen"]', 1, "always[1] is 'sen', and there is no such chain of"),
    "a route to nowhere": ('filters = ["gone"]', "", 43, "route[3].pool: missing, wanted pool, split or a filter"),
    "two ways": ('name = "api"', 'name = "api"\nsplit = [{ pool = "web", weight = 1 }]', 30, "there is a split"),
    "a share below nothing": ("weight = 5", "weight = -5", 38, "split[2].weight is -5, wanted a number, at least 0"),
    "nothing to share": ("weight = 95", "weight = 0", 33, "route[2].split has weight 0 everywhere"),
    "a key that is none": ('on = "cookie"', 'on = "cokie"', 40, "wanted one of"),
    "a pool twice": ('name = "canary"', 'name = "web"', 64, "pool[2].name is 'web', and so is that of pool[1]"),
    "a pool of nobody": ('[{ address = "127.0.0.1:9003" }]', "[]", 65, "pool[2].backend is ()"),
    "a backend by name": ('"127.0.0.1:9001"', '"localhost:9001"', 55, "pool[1].backend[1].address"),
    "a backend twice": ('"[::1]:9002"', '"127.0.0.1:9001"', 54, "an address that is there once"),
    "a route that nothing reaches": ("[[route]]                               # line 43",
                                     '[[route]]\npool = "web"\n[[route]]', 45, "route[4]: no request gets here"),
    "a header that nobody may set": ("x-proxy", "content-length", 21, "filters.seen[2].request.set is 'content"),
    "checks over TLS without TLS": ("interval = 10", "tls = true", 61, "health.tls is True, and the pool has no"),
    "keys that are not there": ("interval = 10", 'rise = 3\n[pool.sticky]\nkind = "cookie"\nkeys_file = "/none/k"', 51,
                                "No such file or directory"),
    "histograms of two kinds": ('[[filters.gone]]                        # line 46',
        '[[filters.gone]]\nkind = "metrics"\n[[filters.gone]]\nkind = "metrics"\nbuckets = [1, 2]\n[[filters.gone]]',
        50, "filters.gone[2].buckets is (1.0, 2.0), wanted those of filters.gone[1]"),
    "no TOML": ("port = 8080", "port = ", 5, "Invalid value"),
}  # fmt: skip


@pytest.mark.parametrize("case", WRONG)
def test_a_complaint_says_where_what_and_what_instead(case: str) -> None:
    old, new, line, words = WRONG[case]
    assert old in RIGHT
    text = RIGHT.replace(old, new, 1)
    if case == "nothing to share":
        text = text.replace("weight = 5", "weight = 0", 1)
    found = complaints(text)
    assert any(words in one for one in found), found
    assert any(one.startswith(f"p.toml:{line}: ") and words in one for one in found), found


CALL = '{ path = "/a", method = "/s.S/M", takes = [], gives = [] }'


@pytest.mark.parametrize(
    ("calls", "pool", "line", "words"),
    [
        (CALL, "", 10, "wanted a pool with protocol 'h2' or 'h2c' behind it, and of route[1] there is no pool"),
        (CALL, 'pool = "web"', 10, "and of route[1] pool 'web' has protocol 'h1'"),
        (f"{CALL}, {CALL}", 'pool = "rpc"', 12, "filters.api[1].calls has the paths /a, /a: one at least, and"),
        (CALL.replace("/s.S", ""), 'pool = "rpc"', 12, "calls has '/a', '/M': /a/path and /package.Service/Method"),
        (CALL.replace("[],", '[{ name = "a", number = 0, kind = "bool" }],'), 'pool = "rpc"', 12, "number"),
        (CALL.replace("[],", '[{ name = "a", number = 1, kind = "boll" }],'), 'pool = "rpc"', 12, "mean bool"),
        (CALL, 'pool = "rpc"', 0, ""),
    ],
)  # fmt: skip
def test_a_gateway_needs_a_table_and_somebody_who_speaks_grpc(calls: str, pool: str, line: int, words: str) -> None:
    backend = '[{ address = "127.0.0.1:9001" }]'
    text = f"""[[pool]]
name = "web"
backend = {backend}
[[pool]]
name = "rpc"
protocol = "h2c"
backend = {backend}
[[listen]]
port = 8080
[[filters.api]]
kind = "rest_to_grpc"
calls = [{calls}]
[[route]]
filters = ["api"]
{pool}
"""
    if line == 0:
        assert read(text).config.filters["api"]
    else:
        assert [one for one in complaints(text) if one.startswith(f"p.toml:{line}: ") and words in one]


def test_all_is_told_at_once_in_the_order_of_the_lines() -> None:
    text = RIGHT.replace("port = 8080", "port = -1").replace('"/api"', '"api"').replace("cookie", "cokie")
    text = text.replace('pool = "canary"', 'pool = "cnary"').replace("head =", "haed =").replace('"gone"]', '"gnoe"]')
    found = complaints(text)
    assert [int(one.split(":")[1]) for one in found] == [5, 26, 37, 40, 44, 69]


def test_what_is_right_and_does_nothing_is_said() -> None:
    text = RIGHT.replace('filters = ["gone"]', 'pool = "web"') + '[[pool]]\nname = "spare"\n'
    _, warnings = read(text + 'backend = [{ address = "127.0.0.1:9004" }]\n')
    assert warnings == (
        "p.toml:73: pool 'spare' is named by no route",
        "p.toml:46: the chain of filters 'gone' is named by no route",
    )


def test_no_complaint_shows_a_secret() -> None:
    secret = "hunter2hunter2"
    sticky = '[pool.sticky]\nkind = "cookie"\nkeys = {}\n[limits] '
    wrong = [
        RIGHT.replace("port = 9901", f'port = 9901\ntoken = ["{secret}"]'),
        RIGHT.replace("[limits] ", sticky.format(f'"{secret}"')),
        RIGHT.replace("[limits] ", sticky.format(f'["{secret}"]')),  # too short
    ]
    for text in wrong:
        assert secret not in "\n".join(complaints(text))
    assert secret not in repr(read(RIGHT.replace("port = 9901", f'port = 9901\ntoken = "{secret}"')).config)


LINES = RIGHT.split("\n")
VALUES = [
    "0",
    "-1",
    "1e9",
    '""',
    '"a"',
    "[]",
    "{}",
    "true",
    "nan",
    "1979-05-27",
    "[[1]]",
    '{ kind = "cors" }',
    '"☃"',
    "9" * 30,
]


@st.composite
def mutations(draw: st.DrawFn) -> str:
    """RIGHT with some lines gone, doubled, swapped, or with other values, names and characters."""
    lines = list(LINES)
    for _ in range(draw(st.integers(1, 3))):
        at = draw(st.integers(0, len(lines) - 1))
        line = lines[at]
        change = draw(st.sampled_from(["drop", "double", "move", "value", "key", "cut", "insert"]))
        if change == "drop":
            lines[at] = ""
        elif change == "double":
            lines.insert(draw(st.integers(0, len(lines))), line)
        elif change == "move":
            lines[at] = ""
            lines.insert(draw(st.integers(0, len(lines))), line)
        elif change == "value" and "=" in line:
            lines[at] = f"{line.split('=')[0]}= {draw(st.sampled_from(VALUES))}"
        elif change == "key" and "=" in line:
            lines[at] = (
                f"{draw(st.sampled_from(['x', 'port', 'tls', 'name', 'filter', 'kind']))} = {line.split('=', 1)[1]}"
            )
        elif change == "cut" and line:
            start = draw(st.integers(0, len(line) - 1))
            lines[at] = line[:start] + line[start + draw(st.integers(1, 3)) :]
        elif change == "insert":
            start = draw(st.integers(0, len(line)))
            lines[at] = line[:start] + draw(st.text(max_size=2)) + line[start:]
    return "\n".join(lines)


@given(mutations())
@settings(max_examples=300, deadline=None)
def test_a_file_loads_or_is_complained_of_by_lines(text: str) -> None:
    data = text.encode("utf-8", "surrogatepass")
    told = ""
    try:
        file = parse(data, "p.toml")
    except BadConfig as error:
        told = str(error)
    if told:
        found = [re.match(r"p\.toml:(\d+): .+", complaint) for complaint in told.split("\n")]
        assert all(one and 1 <= int(one[1]) <= text.count("\n") + 1 for one in found), told
    else:
        assert isinstance(file.config, Config)
        tomllib.loads(text)


@given(st.binary(max_size=60))
def test_any_bytes(data: bytes) -> None:
    with pytest.raises(BadConfig, match=r"p\.toml:\d+: "):
        parse(data, "p.toml")


@pytest.fixture(scope="module")
def pems(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """a.pem and b.pem with their keys, and bad.pem."""
    where = tmp_path_factory.mktemp("pems")
    ca = trustme.CA()
    for name in "ab":
        certificate = ca.issue_cert(f"{name}.example")
        certificate.private_key_pem.write_to_path(where / f"{name}.key")
        certificate.cert_chain_pems[0].write_to_path(where / f"{name}.pem")
    (where / "bad.pem").write_text("no certificate")
    return where


def with_tls(pems: Path, *pairs: tuple[str, str]) -> str:
    lines = "".join(f'[[listen.tls.certificates]]\nchain = "{pems / a}"\nkey = "{pems / b}"\n' for a, b in pairs)
    return RIGHT.replace("[[listen]]", f"[[listen]]\nport = 9443\n{lines}\n[[listen]]", 1)


def test_certificates_are_looked_at(pems: Path) -> None:
    file = read(with_tls(pems, ("a.pem", "a.key"), ("b.pem", "b.key")))
    assert len(file.config.listen[0].tls.certificates) == 2
    found = complaints(
        with_tls(pems, ("a.pem", "a.key"), ("b.pem", "a.key"), ("none.pem", "a.key"), ("bad.pem", "b.key"))
    )
    assert [int(one.split(":")[1]) for one in found] == [11, 13, 16], found
    assert "listen[1].tls.certificates[2].key is" in found[0]
    assert "does not belong to the certificate" in found[0]
    assert "none.pem" in found[1]
    assert "bad.pem" in found[2]


def test_the_table_of_keys_is_whole() -> None:
    rows = keys(Config)
    names = [row.name for row in rows]
    assert len(names) == len(set(names))
    for wanted in ("listen[].port", "listen[].tls.certificates[].key", "pool[].backend[].address", "limits.head",
                   "filters.NAME[](redirect).status", "route[].split_by.on"):  # fmt: skip
        assert wanted in names
    assert [row.name for row in rows if not row.meaning] == []
    lines = table(rows).split("\n")
    assert len(lines) == len(rows) + 2
    assert {len(re.findall(r"(?<!\\)\|", line)) for line in lines} == {5}
