"""Chapter 08 in the browser: it runs, hellos are reshuffled and hops are moved by mouse and keyboard."""

from __future__ import annotations

from collections.abc import Callable

from playwright.sync_api import expect

from tests.browser.conftest import Book

NAME = "08-peeking-without-opening"
BookPage = Callable[[str], Book]


def test_hops_are_moved_and_another_is_believed(book_page: BookPage) -> None:
    book = book_page(NAME)
    output = book.cell("def believe(").locator(".jp-OutputArea")
    output.scroll_into_view_if_needed()
    expect(output.get_by_text("✗ 1.2.3.4: the client wrote that itself.")).to_be_visible()
    output.locator("select").first.select_option("2 proxies")
    expect(output.get_by_text("✓ 198.51.100.9: that is the client.")).to_be_visible()
    handle = output.locator(".noUi-handle").last
    handle.focus()
    handle.press("ArrowRight")
    expect(output.get_by_text("(gone around)")).to_be_visible()
    expect(output.get_by_text("✗ 1.2.3.4: the client wrote that itself.")).to_be_visible()
    book.picture("08-hops", output)


def test_a_hello_is_drawn_anew(book_page: BookPage) -> None:
    book = book_page(NAME)
    output = book.cell("def draw(").locator(".jp-OutputArea")
    output.scroll_into_view_if_needed()
    picture = output.locator("img[alt*='no name in the first segment']")
    expect(picture).to_be_visible()
    output.locator("select").first.select_option("classic")
    expect(output.locator("img[alt*='all in the first segment']")).to_be_visible()
    book.picture("08-hello", output)
