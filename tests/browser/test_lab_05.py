"""Lab 05 in the browser: the solution runs, its drawings are there, and every checker is content."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from playwright.sync_api import expect

from tests.browser.conftest import Book

NAME = "05-write-the-loader"


def test_every_checker_is_content(book_page: Callable[[str], Book]) -> None:
    book = book_page(NAME)
    verdicts = book.page.locator(".jp-OutputArea-output", has_text="Right")
    assert verdicts.count() >= 8
    expect(book.page.locator(".jp-OutputArea-output", has_text="✗")).to_have_count(0)


@pytest.mark.parametrize("drawing", ["sections", "program", "maps", "holes", "patch", "load", "blame", "mended"])
def test_drawings_are_seen(book_page: Callable[[str], Book], drawing: str) -> None:
    book = book_page(NAME)
    output = book.cell(f"show_{drawing}(").locator(".jp-OutputArea")
    output.scroll_into_view_if_needed()
    expect(output.locator("img, table, pre").first).to_be_visible()
    book.picture(f"05-{drawing}", output)
