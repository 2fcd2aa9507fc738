"""The book in a real browser: `book_page("01-what-each-layer-sees")` opens a chapter, or a lab's solution, in
JupyterLab and runs all of it.

Rule of this file: a server of our own on 127.0.0.1, with settings of its own and a copy of the chapter without its
outputs; a browser that is told to ask nobody else, and whose every request is written down. Whatever a test finds, its
page must have thrown no error and asked nothing outside this machine: that is checked when the test ends.

With LBCORE_SCREENSHOTS=FOLDER, `Book.picture` leaves what the page looked like there.
"""

from __future__ import annotations

import json
import os
import secrets
import shutil
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import nbformat
import pytest
from playwright.sync_api import Browser, Locator, Page, Request, TimeoutError, sync_playwright

from lbcore.testbed.ports import free_ports
from tests import needs

ROOT = Path(__file__).resolve().parents[2]
PROGRAMS = ("chromium", "chromium-browser", "google-chrome")
FLAGS = [
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync",
]  # fmt: skip
SETTINGS = {
    "apputils-extension/notification": {"fetchNews": "false", "checkForUpdates": False},
    "notebook-extension/tracker": {"windowingMode": "none"},  # every cell is in the page, seen or not
}
FOLDERS = ("chapters", "labs/solutions")  # where notebooks with outputs are; names are not the same in both
START, RUN = 60.0, 120.0  # seconds to wait for the server, and for all cells of a chapter
WIDE = {"width": 1360, "height": 1700}  # tall: a picture of a widget shows what is in view

CELLS = """() => jupyterapp.shell.currentWidget.content.widgets
  .filter(cell => cell.model.type === 'code' && cell.model.sharedModel.getSource().trim())
  .map(cell => ({
    count: cell.model.sharedModel.execution_count,
    error: cell.model.outputs.toJSON().filter(o => o.output_type === 'error').map(o => o.ename + o.evalue).join(),
    source: cell.model.sharedModel.getSource().slice(0, 200)}))"""


@dataclass
class Book:
    """A chapter open in the browser, all of its cells run."""

    page: Page
    errors: list[str] = field(default_factory=list)
    requests: list[str] = field(default_factory=list)

    def cell(self, code: str) -> Locator:
        """The one code cell whose source holds `code`."""
        return self.page.locator(".jp-CodeCell").filter(has=self.page.locator(".jp-InputArea", has_text=code))

    def picture(self, name: str, of: Locator | None = None) -> None:
        """Keep what the page, or a part of it, looks like, if somebody asked for pictures."""
        if folder := os.environ.get("LBCORE_SCREENSHOTS"):
            path = Path(folder) / f"{name}.png"
            (of or self.page).screenshot(path=path)

    def blame(self) -> None:
        """Fail for errors of the page, and for requests to anywhere but this machine."""
        local = ("http://127.0.0.1:", "ws://127.0.0.1:", "data:", "blob:")
        assert self.errors == []
        assert [url for url in self.requests if not url.startswith(local)] == []


def run_all(page: Page) -> None:
    """Run every cell, and see that each has run and none has failed."""
    page.wait_for_function(
        "window.jupyterapp?.shell.currentWidget?.sessionContext?.session?.kernel?.status === 'idle'",
        timeout=START * 1000,
    )
    page.evaluate("jupyterapp.restored.then(() => null)")
    for _ in range(3):  # a page that JupyterLab lays out anew, while it starts, forgets what it was told
        page.evaluate("void jupyterapp.commands.execute('notebook:run-all-cells')")
        try:
            page.wait_for_function(f"({CELLS})().some(cell => cell.count !== null)", timeout=30_000)
        except TimeoutError:
            continue
        break
    page.wait_for_function(f"({CELLS})().every(cell => cell.count !== null || cell.error)", timeout=RUN * 1000)
    cells: list[dict[str, Any]] = page.evaluate(CELLS)
    assert cells
    assert [cell for cell in cells if cell["error"]] == []
    assert [cell["count"] for cell in cells] == list(range(1, len(cells) + 1))


@dataclass(frozen=True)
class Server:
    """A running JupyterLab: its address, its secret, and the folder that it shows."""

    url: str
    token: str
    root: Path


@pytest.fixture(scope="session")
def jupyter(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """JupyterLab on a free port of 127.0.0.1, with nothing of the user's configuration."""
    home = tmp_path_factory.mktemp("jupyter")
    root = home / "book"
    (root / "chapters").mkdir(parents=True)
    for name, values in SETTINGS.items():
        path = home / "settings" / "@jupyterlab" / f"{name}.jupyterlab-settings"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(values))
    (port,) = free_ports(1)
    server = Server(f"http://127.0.0.1:{port}", secrets.token_hex(16), root)
    folders = {"JUPYTER_CONFIG_DIR": "config", "JUPYTER_RUNTIME_DIR": "runtime", "IPYTHONDIR": "ipython",
               "JUPYTERLAB_SETTINGS_DIR": "settings", "JUPYTERLAB_WORKSPACES_DIR": "workspaces"}  # fmt: skip
    environment = {**os.environ, **{name: str(home / folder) for name, folder in folders.items()}}
    environment |= {"JUPYTER_TOKEN": server.token, "PYTHONPATH": str(ROOT), "JUPYTER_NO_CONFIG": "1"}
    command = [sys.executable, "-m", "jupyterlab", "--no-browser", "--allow-root", "--ServerApp.ip=127.0.0.1"]
    command += [f"--ServerApp.port={port}", "--ServerApp.port_retries=0", f"--ServerApp.root_dir={root}"]
    command += ["--LabApp.expose_app_in_browser=True", "--ServerApp.terminals_enabled=False"]
    with (home / "log").open("wb") as log:
        process = subprocess.Popen(command, env=environment, cwd=home, stdout=log, stderr=log)
    try:
        wait_for(server, process, home / "log")
        yield server
    finally:
        process.terminate()
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def wait_for(server: Server, process: subprocess.Popen[bytes], log: Path) -> None:
    """Until the server answers; fails with the end of its log."""
    last = time.monotonic() + START
    while time.monotonic() < last and process.poll() is None:
        try:
            request = urllib.request.Request(
                f"{server.url}/api/status", headers={"Authorization": f"token {server.token}"}
            )
            with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request, timeout=5):
                return
        except OSError:
            time.sleep(0.2)
    pytest.fail(f"JupyterLab did not start: {log.read_text(errors='replace')[-2000:]}", pytrace=False)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Chromium without a window, from the system: nothing is downloaded."""
    needs.demand(needs._command(*PROGRAMS))
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(
            executable_path=next(filter(None, map(shutil.which, PROGRAMS))), args=FLAGS
        )
        yield chromium
        chromium.close()


@pytest.fixture(scope="module")
def opened(browser: Browser, jupyter: Server) -> Iterator[Callable[[str], Book]]:
    """Chapters by name, each opened and run once in a session."""
    books: dict[str, Book] = {}

    def open_book(name: str) -> Book:
        if name not in books:
            path = next(filter(Path.exists, (ROOT / folder / f"{name}.ipynb" for folder in FOLDERS)))
            chapter = nbformat.read(path, as_version=4)
            for cell in chapter.cells:
                if cell.cell_type == "code":
                    cell.update(outputs=[], execution_count=None)
            nbformat.write(chapter, jupyter.root / "chapters" / f"{name}.ipynb")
            book = books[name] = Book(browser.new_page(viewport=WIDE))  # a page and a workspace of its own
            book.page.on("pageerror", lambda error: book.errors.append(str(error)))
            book.page.on("request", lambda request: book.requests.append(address(request)))
            book.page.goto(f"{jupyter.url}/lab/workspaces/{name}/tree/chapters/{name}.ipynb?token={jupyter.token}")
            run_all(book.page)
        return books[name]

    yield open_book
    for book in books.values():
        book.page.close()


def address(request: Request) -> str:
    """Where a request went, without what the rest of it says."""
    return request.url.partition("?")[0][:200]


@pytest.fixture
def book_page(opened: Callable[[str], Book]) -> Iterator[Callable[[str], Book]]:
    """`book_page(notebook)` gives the chapter, run; errors and strange requests fail the test at its end."""
    used: list[Book] = []

    def page(name: str) -> Book:
        used.append(opened(name))
        return used[-1]

    yield page
    for book in used:
        book.blame()
