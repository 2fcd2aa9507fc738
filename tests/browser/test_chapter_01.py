"""Chapter 01 in the browser: it runs, and the packet inspector answers to its switches."""

from __future__ import annotations

from collections.abc import Callable

from playwright.sync_api import Locator, expect

from tests.browser.conftest import Book

NAME = "01-what-each-layer-sees"
BookPage = Callable[[str], Book]


def choose(widget: Locator, button: str) -> None:
    widget.get_by_role("button", name=button, exact=True).click()


def move(widget: Locator, arrow: str, times: int) -> None:
    """Move the slider over the moments with the keyboard."""
    handle = widget.locator(".noUi-handle")
    handle.focus()
    for _ in range(times):
        handle.press(arrow)


def test_the_decision_follows_the_switch(book_page: BookPage) -> None:
    book = book_page(NAME)
    output = book.cell("show.inspector(tapes").locator(".jp-OutputArea")
    output.scroll_into_view_if_needed()
    expect(output.get_by_text("Decided by the name shop.example")).to_be_visible()
    book.picture("01-sni-first-bytes", output)
    move(output, "ArrowRight", 1)
    expect(output.get_by_text("Decided at packet 4")).to_be_visible()
    book.picture("01-sni-request", output)
    choose(output, "L7")
    expect(output.get_by_text("Decided by shop.example/video/42")).to_be_visible()
    expect(output.get_by_text("it is the right one: canary-1")).to_be_visible()
    expect(output.get_by_text("GET /video/42 HTTP/1.1")).to_be_visible()
    book.picture("01-l7-request", output)
    choose(output, "HTTP")
    expect(output.get_by_text("read in the packet")).to_be_visible()
    book.picture("01-l7-http", output)
    choose(output, "L4")
    move(output, "ArrowLeft", 3)
    expect(output.get_by_text("Decided, with the very first packet")).to_be_visible()
    book.picture("01-l4-syn", output)


def test_a_quiz_answers(book_page: BookPage) -> None:
    book = book_page(NAME)
    output = book.cell("A client opens a connection").locator(".jp-OutputArea")
    output.get_by_text("When the request is complete").click()
    expect(output.get_by_text("Not quite.")).to_be_visible()
    output.get_by_text("With the first packet, the SYN").click()
    expect(output.get_by_text("Right.")).to_be_visible()
    book.picture("01-quiz", output)


def test_diagrams_are_drawn(book_page: BookPage) -> None:
    book = book_page(NAME)
    drawing = book.page.locator(".jp-RenderedMermaid img, .jp-RenderedMermaid svg").first
    expect(drawing).to_be_visible()
    drawing.scroll_into_view_if_needed()
    book.picture("01-mermaid")
