"""Paths in their one form: others' parsers as a second opinion, and what has two meanings is refused."""

from __future__ import annotations

import posixpath
from urllib.parse import unquote_to_bytes, urljoin

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from lbcore.l7.target import ILLEGAL, BadTarget, Rules, normal

LENIENT = [
    Rules(slashes=slashes, encoded_slash=keep, backslash=keep, control=keep)
    for slashes in ("merge", "keep")
    for keep in ("refuse", "keep")
]
PIECES = [b"/", b"//", b".", b"..", b"a", b"B", b"%", b"%2e", b"%2E", b"%41", b"%2f", b"%5C", b"%25", b"%00", b"%zz",
          b";x", b"\\", b"?", b"#", b" ", b"\xe9", b"~", b"*", b"%7e", b"%e9"]  # fmt: skip
targets = st.lists(st.sampled_from(PIECES), max_size=12).map(lambda pieces: b"/" + b"".join(pieces))


@given(targets | st.binary(max_size=40), st.sampled_from(LENIENT))
@example(b"/a//../b", LENIENT[2])
def test_the_one_form_is_reached_in_one_step_and_holds_nothing_illegal(target, rules):
    try:
        once = normal(target, rules)
    except BadTarget:
        return
    assert normal(once, rules) == once
    assert not ILLEGAL.search(once)
    if once != b"*":
        segments = once.partition(b"?")[0].split(b"/")
        assert segments[0] == b""
        assert not {b".", b".."} & {unquote_to_bytes(segment).partition(b";")[0] for segment in segments}


@given(targets)
def test_unquote_and_normpath_come_to_the_same(target):
    try:
        path = normal(target).partition(b"?")[0]
    except BadTarget:
        return
    raw = unquote_to_bytes(target.partition(b"?")[0])
    seen = posixpath.normpath(raw.replace(b"//", b"/"))
    assert unquote_to_bytes(path).rstrip(b"/") == seen.rstrip(b"/").replace(b"//", b"/")


@given(st.lists(st.sampled_from(["a", "b", "..", ".", "c.d"]), min_size=1, max_size=8).map("/".join))
def test_dot_segments_are_walked_as_in_rfc_3986(path):
    try:
        found = normal(b"/" + path.encode())
    except BadTarget:
        depths = [0]
        for segment in path.split("/"):
            depths.append(depths[-1] + {"..": -1, ".": 0}.get(segment, 1))
        assert min(depths) < 0  # refused only if it walks out of the root
        return
    assert found.decode() == urljoin("http://h/", "/" + path).removeprefix("http://h")


@pytest.mark.parametrize(
    "target",
    [b"", b"a", b"http://h/", b"/%2fadmin", b"/a%2Fb", b"/a\\b", b"/a%5cb", b"/%00", b"/a%0d%0aX:%20y", b"/%7f",
     b"/../x", b"/%2e%2e/x", b"/a/../../x", b"/a/..;/b", b"/a/.;x=y/b", b"/%2e%2e;/b", b"/%", b"/%4", b"/%zz",
     b"/%u0041", b"/a b", b"/a#b", b"/a?b#c", b"/a?b c", b"/a?\r\n", b"/\xc3\xa9", b"/?\xff", b"/a\x00b"],
)  # fmt: skip
def test_what_has_two_meanings_is_refused_in_words(target):
    with pytest.raises(BadTarget, match="must"):
        normal(target)


@pytest.mark.parametrize(
    ("target", "wanted"),
    [
        (b"*", b"*"),
        (b"/", b"/"),
        (b"/a/%7Eb/./c", b"/a/~b/c"),
        (b"/a/b/..", b"/a/"),
        (b"/a/.", b"/a/"),
        (b"//a///b//", b"/a/b/"),
        (b"/%e2%82%ac", b"/%E2%82%AC"),
        (b"/%252e%252e/", b"/%252e%252e/"),  # decoded once, never twice
        (b"/a?x=/../%2f//%zz", b"/a?x=/../%2f//%zz"),  # the query stays as it is
        (b"/...", b"/..."),
        (b"/.well-known/x", b"/.well-known/x"),
        (b"/a;x=1/b", b"/a;x=1/b"),
    ],
)
def test_forms(target, wanted):
    assert normal(target) == wanted


def test_rules_allow_what_a_backend_needs():
    assert normal(b"/p/%2f@scope%2Fname", Rules(encoded_slash="keep")) == b"/p/%2F@scope%2Fname"
    assert normal(b"/a\\b%5c", Rules(backslash="keep")) == b"/a\\b%5C"
    assert normal(b"/a//b", Rules(slashes="keep")) == b"/a//b"
    with pytest.raises(BadTarget):
        normal(b"/a//b", Rules(slashes="refuse"))
    with pytest.raises(BadTarget):  # /b to one, /a/b to another
        normal(b"/a//../b", Rules(slashes="keep"))
