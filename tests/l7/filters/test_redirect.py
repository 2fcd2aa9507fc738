"""Other places: where a browser would end up is compared with what the configuration says."""

from __future__ import annotations

from urllib.parse import urljoin, urlsplit

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from lbcore.l7.field import legal
from lbcore.l7.filters.forwarded import Forwarded, ForwardedOptions
from lbcore.l7.filters.redirect import Redirect, RedirectOptions
from tests.l7.fakes import FakeExchange, request

TO_HTTPS = RedirectOptions(scheme="https", hosts=("example.org", "*.example.org"))
ELSEWHERE = RedirectOptions(scheme="https", host="new.example", status=301)
SAME = RedirectOptions(regex="/old(.*)", path=r"/\1")


def sent(options, target=b"/a?b", **more):
    answer = FakeExchange(request(target, **more)).passes(Redirect(options))
    return answer.status, answer.headers.get(b"location")


@pytest.mark.parametrize(
    ("options", "more", "wanted"),
    [
        (TO_HTTPS, {"authority": b"a.example.org"}, (308, b"https://a.example.org/a?b")),
        (TO_HTTPS, {"authority": b"example.org:8080"}, (308, b"https://example.org/a?b")),
        (TO_HTTPS, {"authority": b"example.org", "scheme": b"https"}, (200, None)),
        (TO_HTTPS, {"authority": b"example.org:8443", "scheme": b"https"}, (200, None)),
        (TO_HTTPS, {"authority": b"evil.example"}, (400, None)),
        (TO_HTTPS, {"authority": b"notexample.org"}, (400, None)),
        (TO_HTTPS, {"authority": b".example.org"}, (400, None)),
        (TO_HTTPS, {"authority": b"evil.example/.example.org"}, (400, None)),
        (TO_HTTPS, {"authority": b"user@a.example.org"}, (400, None)),
        (TO_HTTPS, {"authority": b""}, (400, None)),
        (ELSEWHERE, {}, (301, b"https://new.example/a?b")),
        (ELSEWHERE, {"authority": b"new.example", "scheme": b"https"}, (200, None)),
        (SAME, {"target": b"/old/x?y"}, (308, b"/x?y")),
        (SAME, {"target": b"/old"}, (308, b"/")),
        (SAME, {"target": b"/new"}, (200, None)),
        (RedirectOptions(path="/there?a=1"), {}, (308, b"/there?a=1&b")),
        (RedirectOptions(path="/there", query=False), {}, (308, b"/there")),
        (RedirectOptions(path="/a"), {}, (200, None)),  # there already: no loop
    ],
)
def test_places(options, more, wanted):
    assert sent(options, **more) == wanted


def test_behind_a_proxy_that_ends_tls_there_is_no_loop():
    exchange = FakeExchange(
        request(b"/", (b"x-forwarded-proto", b"https"), authority=b"example.org", address="10.0.0.1")
    )
    answer = exchange.passes(Forwarded(ForwardedOptions(trusted=("10.0.0.0/8",))), Redirect(TO_HTTPS))
    assert answer.status == 200


paths = st.text(st.sampled_from("/\\@:.%?#ae \t\r\n\0é"), max_size=12).map(str.encode) | st.binary(max_size=12)


@given(
    paths,
    st.sampled_from(
        [SAME, ELSEWHERE, RedirectOptions(regex="(.*)", path=r"/\1"), RedirectOptions(regex=r"/old/(.*)", path=r"/\1")]
    ),
)
@example(b"//evil.example", SAME)
@example(b"/\\evil.example", SAME)
@example(b"\\/evil.example", SAME)
def test_no_open_redirect_whatever_the_target(tail, options):
    status, location = sent(options, b"/old" + tail)
    if location is None:
        assert status == 200
        return
    assert legal(location)
    # browsers take a backslash for a slash, and drop tabs and line ends
    seen = urlsplit(urljoin("https://www.example.org/x", location.decode("latin-1").replace("\\", "/")))
    assert seen.netloc == (options.host or "www.example.org")
    assert seen.scheme == "https"


@given(st.binary(max_size=30) | st.binary(max_size=9).map(lambda head: head + b".example.org"))
def test_the_host_is_one_that_is_named_whatever_the_client_says(authority):
    status, location = sent(TO_HTTPS, authority=authority)
    if location is None:
        assert status == 400
        return
    assert legal(location)
    host = urlsplit(location.decode("latin-1").replace("\\", "/")).netloc
    assert host == "example.org" or host.endswith(".example.org")


@pytest.mark.parametrize(
    "wrong",
    [{}, {"scheme": "https"}, {"host": "a.example"}, {"scheme": "https", "host": "a/b"}, {"path": "a"},
     {"path": "/a\r\nb"}, {"scheme": "https", "hosts": ("*",)}, {"scheme": "https", "hosts": ("a:80",)},
     {"path": r"/\1"}, {"regex": "/a", "path": r"/\1"}, {"path": "/é"}],
)  # fmt: skip
def test_options_that_cannot_be(wrong):
    with pytest.raises(ValueError, match="must"):
        RedirectOptions(**wrong)
