"""Chapter 04 in the browser: it runs, and a packet walks on by mouse and by keyboard."""

from __future__ import annotations

from collections.abc import Callable

from playwright.sync_api import expect

from tests.browser.conftest import Book

NAME = "04-forwarding-modes"
BookPage = Callable[[str], Book]


def test_a_packet_walks_there_and_back(book_page: BookPage) -> None:
    book = book_page(NAME)
    output = book.cell('show.packet_steps(walks["nat"]').locator(".jp-OutputArea")
    output.scroll_into_view_if_needed()
    expect(output.get_by_text("3 of 8: balancer, out.")).to_be_visible()
    expect(output.get_by_text("the tcp checksum, repaired (RFC 1624)")).to_be_visible()
    book.picture("04-walk", output)
    output.get_by_role("button", name="Next", exact=True).click()
    expect(output.get_by_text("No byte has changed.")).to_be_visible()
    handle = output.locator(".noUi-handle")
    handle.focus()
    handle.press("ArrowRight")
    expect(output.get_by_text("A new packet")).to_be_visible()
    output.get_by_role("button", name="Last", exact=True).click()
    expect(output.get_by_text("8 of 8: client, in.")).to_be_visible()


def test_tunnels_are_compared(book_page: BookPage) -> None:
    book = book_page(NAME)
    output = book.cell("def tunnel(").locator(".jp-OutputArea")
    output.scroll_into_view_if_needed()
    expect(output.get_by_text("Changed: 3 fields, +20 bytes.")).to_be_visible()
    output.locator("select").select_option("gue")
    expect(output.get_by_text("Changed: 4 fields, +28 bytes.")).to_be_visible()
    handle = output.locator(".noUi-handle")
    handle.focus()
    handle.press("End")
    expect(output.get_by_text("5 of 7: backend, opened.")).to_be_visible()
    book.picture("04-tunnel", output)
