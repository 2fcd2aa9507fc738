"""Chapter 03 in the browser: it runs, and the Maglev explorer redraws what its controls say."""

from __future__ import annotations

import re
from collections.abc import Callable

from playwright.sync_api import expect

from tests.browser.conftest import Book

NAME = "03-maglev"


def test_the_explorer_counts_anew(book_page: Callable[[str], Book]) -> None:
    book = book_page(NAME)
    output = book.cell("show.explore(").locator(".jp-OutputArea")
    output.scroll_into_view_if_needed()
    picture = output.locator(".jupyter-widgets img")
    expect(picture).to_have_attribute("alt", re.compile(r"3 grids of 251 cells.*ring: .* 0 moved needlessly"))
    drawn = picture.get_attribute("alt")
    book.picture("03-explorer", output)
    backends, size, remove = output.locator(".noUi-handle").all()
    remove.focus()
    remove.press("ArrowRight")
    expect(picture).not_to_have_attribute("alt", drawn or "")
    size.focus()
    size.press("End")
    expect(picture).to_have_attribute("alt", re.compile("3 grids of 1021 cells"))
    backends.focus()
    for _ in range(10):
        backends.press("ArrowRight")
    expect(picture).to_have_attribute("alt", re.compile("^20 backends, one gone"), timeout=20_000)
    book.picture("03-explorer-large", output)


def test_a_quiz_answers(book_page: Callable[[str], Book]) -> None:
    book = book_page(NAME)
    output = book.cell("The ring moves no key needlessly").locator(".jp-OutputArea")
    output.get_by_text("It needs less memory").click()
    expect(output.get_by_text("Not quite.")).to_be_visible()
    output.get_by_text("Even shares, and a cheaper look-up").click()
    expect(output.get_by_text("Right.")).to_be_visible()
