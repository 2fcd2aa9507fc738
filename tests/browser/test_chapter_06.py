"""Chapter 06 in the browser: it runs, and both steppers turn their pages by mouse and by keyboard."""

from __future__ import annotations

import re
from collections.abc import Callable

from playwright.sync_api import Locator, expect

from tests.browser.conftest import Book

NAME = "06-kernel-fast-path"
BookPage = Callable[[str], Book]


def press(widget: Locator, button: str) -> None:
    widget.get_by_role("button", name=button, exact=True).click()


def test_the_machine_steps_through_the_packet(book_page: BookPage) -> None:
    book = book_page(NAME)
    output = book.cell("show.machine_steps(").locator(".jp-OutputArea")
    output.scroll_into_view_if_needed()
    expect(output.get_by_text(re.compile(r"Step 7 of 1\d\."))).to_be_visible()
    book.picture("06-machine", output)
    for _ in range(7):
        press(output, "Next")
    expect(output.get_by_text("Reads 2 bytes, packet + 34: 00 35.")).to_be_visible()
    book.picture("06-machine-port", output)
    press(output, "Last")
    expect(output.get_by_text("its verdict is r0 = 1, XDP_DROP")).to_be_visible()
    press(output, "First")
    expect(output.get_by_text("Before the first instruction")).to_be_visible()
    output.get_by_role("button", name="Next", exact=True).press("Space")
    expect(output.get_by_text(re.compile(r"Step 1 of 1\d\."))).to_be_visible()
    handle = output.locator(".noUi-handle")
    handle.focus()
    handle.press("ArrowRight")
    expect(output.get_by_text(re.compile(r"Step 2 of 1\d\."))).to_be_visible()


def test_the_verifier_steps_through_the_paths(book_page: BookPage) -> None:
    book = book_page(NAME)
    output = book.cell("show.verifier_steps(").locator(".jp-OutputArea")
    output.scroll_into_view_if_needed()
    expect(output.get_by_text("On this path the packet has at least 38 bytes")).to_be_visible()
    book.picture("06-verifier", output)
    press(output, "Back")
    expect(output.get_by_text("packet+38, range 0", exact=True).first).to_be_visible()
    press(output, "Last")
    expect(output.get_by_text("Accepted: all 6 paths end")).to_be_visible()
    book.picture("06-verifier-end", output)
    press(output, "Back")
    expect(output.get_by_text("Path 1 begins: as path 0 was before step 5")).to_be_visible()
    book.picture("06-verifier-path", output)


def test_figures_and_tables_are_drawn(book_page: BookPage) -> None:
    book = book_page(NAME)
    for code, name in (("fast_path.drops", "06-drops"), ("ax.barh(", "06-cost"), ("show.lines(", "06-switches")):
        output = book.cell(code).locator(".jp-OutputArea")
        expect(output.locator("table, img").first).to_be_visible()
        book.picture(name, output)
