"""What readers see: complete, the same at every run, readable without colour, scripts or a kernel."""

from __future__ import annotations

import base64
import inspect
import re
import struct
import subprocess
import sys
import tempfile
import zlib
from dataclasses import dataclass, field
from html.parser import HTMLParser
from pathlib import Path

import ipywidgets as widgets
import nbclient
import nbformat
import numba
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from lbcore import show
from lbcore.measure import clock, histogram
from lbcore.notebooks.build import kernel_config
from lbcore.show import style, twin


@dataclass(frozen=True)
class Field:
    name: str
    bit_offset: int
    bits: int
    value: int
    text: str


@dataclass(frozen=True)
class Layer:
    name: str
    offset: int
    length: int
    fields: tuple[Field, ...]


def layer(name: str, offset: int, length: int, *fields: tuple[str, int, str]) -> Layer:
    """A layer whose (name, bits, text) fields follow each other."""
    made, at = [], offset * 8
    for label, bits, text in fields:
        made.append(Field(label, at, bits, 0, text))
        at += bits
    return Layer(name, offset, length, tuple(made))


@dataclass
class Element:
    tag: str
    attributes: dict[str, str]
    text: str = ""
    children: list[Element] = field(default_factory=list)

    def all(self, tag: str) -> list[Element]:
        return [e for child in self.children for e in ([child] if child.tag == tag else []) + child.all(tag)]


class Tree(HTMLParser):
    """A strict reader: every element that opens closes, in order."""

    VOID = ("col", "br", "img")

    def __init__(self, html: str) -> None:
        super().__init__()
        self.stack = [Element("root", {})]
        self.feed(html)
        assert len(self.stack) == 1, f"<{self.stack[-1].tag}> is not closed"

    @property
    def root(self) -> Element:
        return self.stack[0]

    def handle_starttag(self, tag, attrs):
        # JupyterLab strips these from pages that were not run on this machine.
        assert tag not in ("style", "script", "svg", "link", "iframe")
        made = Element(tag, {name: value or "" for name, value in attrs})
        self.stack[-1].children.append(made)
        if tag not in self.VOID:
            self.stack.append(made)

    def handle_endtag(self, tag):
        assert self.stack.pop().tag == tag

    def handle_data(self, data):
        for element in self.stack:
            element.text += data


def grid_widths(table: Element) -> list[int]:
    """Columns that each row of a table covers, cells that reach down from above included."""
    down: dict[int, int] = {}
    widths = []
    for number, row in enumerate(table.all("tr")):
        width = down.pop(number, 0)
        for cell in row.children:
            columns = int(cell.attributes.get("colspan", 1))
            width += columns
            for below in range(1, int(cell.attributes.get("rowspan", 1))):
                down[number + below] = down.get(number + below, 0) + columns
        widths.append(width)
    assert not down
    return widths


# -- figures --


def drawn(**missing: bool):
    """A finished-looking figure, without what is named."""
    fig, ax = show.figure()
    ax.plot([1, 2, 3], [1, 4, 9], label="squares")
    ax.legend()
    if "x" not in missing:
        ax.set_xlabel("n")
    if "y" not in missing:
        ax.set_ylabel("n squared")
    return show.finish(
        fig, title="" if "title" in missing else "Squares grow", alt=" " if "alt" in missing else "A rising curve"
    )


@pytest.mark.parametrize(
    ("lack", "named"), [("x", "no x label"), ("y", "no y label"), ("title", "no title"), ("alt", "alt is empty")]
)
def test_an_unfinished_figure_does_not_get_out(lack, named):
    with pytest.raises(ValueError, match=named):
        drawn(**{lack: True})


def test_everything_missing_is_said_at_once():
    with pytest.raises(ValueError, match=r"no x label.*no y label.*no title.*alt is empty"):
        drawn(x=True, y=True, title=True, alt=True)


def test_shared_axes_need_one_label_and_colour_bars_their_own():
    fig, axes = show.figure(2, 1, sharex=True)
    axes[1].set_xlabel("time (s)")
    image = axes[0].imshow([[1, 2], [3, 4]])
    for ax in axes:
        ax.set_ylabel("load")
    bar = fig.colorbar(image, ax=axes[0])
    with pytest.raises(ValueError, match="colour bar 3 has no label"):
        show.finish(fig, title="t", alt="a")
    bar.set_label("share")
    assert show.finish(fig, title="t", alt="a").alt == "a"


def test_a_title_set_on_the_axes_counts_and_an_empty_figure_does_not():
    fig, ax = show.figure()
    ax.set(xlabel="x", ylabel="y", title="found")
    assert show.finish(fig, alt="a")
    with pytest.raises(ValueError, match="no axes"):
        show.finish(style.Figure(), title="t", alt="a")


def test_the_same_figure_is_the_same_bytes_and_carries_no_metadata():
    one, two = drawn(), drawn()
    assert one.png == two.png
    chunks, at = [], 8
    while at < len(one.png):
        (size,) = struct.unpack_from(">I", one.png, at)
        body = one.png[at + 4 : at + 8 + size]
        assert zlib.crc32(body) == struct.unpack_from(">I", one.png, at + 8 + size)[0]
        chunks.append(body[:4])
        at += 12 + size
    assert set(chunks) == {b"IHDR", b"pHYs", b"IDAT", b"IEND"}
    assert struct.unpack_from(">I", one.png, 16)[0] == round(7.2 * style.DPI)


def test_a_figure_is_displayed_with_its_alt_text():
    data, metadata = drawn()._repr_mimebundle_()
    assert base64.b64decode(data["image/png"]).startswith(b"\x89PNG")
    assert data["text/plain"] == "A rising curve"
    assert metadata["image/png"]["alt"] == "A rising curve"
    assert 'alt="A rising curve"' in drawn().html()


def test_drawing_leaves_matplotlib_as_it_was():
    before = dict(style.mpl.rcParams)
    drawn()
    assert dict(style.mpl.rcParams) == before


def test_lines_differ_in_more_than_colour():
    _, ax = show.figure()
    lines = [ax.plot([1, 2])[0] for _ in show.PALETTE]
    for look in ("get_color", "get_marker"):
        assert len({getattr(line, look)() for line in lines}) == len(lines)
    assert len({str(line._unscaled_dash_pattern) for line in lines}) == len(lines)


# -- packets --

SECRET = b"SECRETSECRET"
FRAME = bytes(range(0xA0, 0xA0 + 20)) + SECRET
PARTS = (
    layer("Outer", 0, 32, ("version", 4, "4"), ("length", 4, "20 bytes"), ("kind", 8, "six")),
    layer("Inner", 4, 16, ("from", 32, "10.0.0.7"), ("to", 32, "10.0.0.80")),
    show.Span(20, 32, "greeting", "App", "the SECRET text"),
)


@st.composite
def dissected(draw):
    frame = draw(st.binary(max_size=200))
    ends = st.lists(st.integers(0, len(frame)), min_size=2, max_size=2).map(sorted)
    names = st.sampled_from(["tcp", "IPv4", "own", "<b>"])
    span = st.builds(lambda ends, name, kind: show.Span(*ends, name, kind), ends, names, names)
    return frame, draw(st.lists(span))


def byte_cells(table: Element) -> list[Element]:
    return [cell for cell in table.all("td") if cell.attributes.get("title", "").startswith("byte")]


@given(dissected(), st.booleans())
def test_every_byte_is_drawn_once_in_order(case, legend):
    frame, spans = case
    diagram = show.packet(frame, spans, legend=legend, max_rows=100)
    tables = Tree(diagram._repr_html_()).root.all("table")
    assert bytes.fromhex("".join(cell.text for cell in byte_cells(tables[0]))) == frame
    assert set(grid_widths(tables[0])) <= {1 + 16 + 2}
    lines = repr(diagram).splitlines()
    assert bytes.fromhex("".join(line[5:53] for line in lines)) == frame


@given(dissected())
def test_a_byte_belongs_to_the_last_part_that_claims_it(case):
    frame, spans = case
    diagram = show.packet(frame, spans, max_rows=100)
    for cell in (cell for row in diagram.rows for cell in row):
        for at in range(cell.start, cell.start + len(cell.data)):
            claims = [span for span in spans if span.start <= at < span.end]
            assert cell.spans[0].kind == (claims[-1].kind if claims else "")


def test_fields_of_a_layer_share_bytes_and_inner_layers_win():
    diagram = show.packet(FRAME, PARTS)
    words = [cell.words for row in diagram.rows for cell in row]
    assert words[0] == "byte 0: Outer version = 4; Outer length = 20 bytes"
    assert words[2] == "bytes 2 to 3: Outer"
    assert words[3] == "bytes 4 to 7: Inner from = 10.0.0.7"
    assert words[-1] == "bytes 20 to 31: App greeting = the SECRET text"


def test_what_cannot_be_read_is_nowhere_in_the_page():
    diagram = show.packet(FRAME, PARTS, readable=["outer", "inner.to"])
    for page in (diagram._repr_html_(), repr(diagram)):
        for leak in ("SECRET", SECRET.hex(" "), SECRET[:2].hex(" "), "10.0.0.7 ", "a4 a5", "greeting"):
            assert leak not in page, leak
        assert "a8 a9 aa ab" in page
        assert "▒▒" in page
        assert "App (locked)" in page


def test_the_fields_of_a_locked_layer_are_not_told_apart():
    words = [cell.words for row in show.packet(FRAME, PARTS, readable=["app"]).rows for cell in row]
    assert words[:2] == ["bytes 0 to 3: Outer, locked", "bytes 4 to 15: Inner, locked"]


def test_highlights_are_visible_without_colour():
    diagram = show.packet(FRAME, PARTS, highlight=["Inner.To"])
    assert "[a8 a9 aa ab]" in repr(diagram)
    (cell,) = (c for c in byte_cells(Tree(diagram._repr_html_()).root) if "bold" in c.attributes["style"])
    assert cell.text == "a8 a9 aa ab"


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        ({"highlight": ["tpc"]}, "highlight names 'tpc', wanted a layer or field of this frame: Outer, Inner, App"),
        ({"highlight": "tcp"}, "wanted collections of names"),
        ({"readable": "tcp"}, "wanted collections of names"),
        ({"max_rows": 2}, "max_rows is 2"),
        ({"parts": [show.Span(30, 33, "x", "tcp")]}, "tcp.x spans bytes 30 to 33, wanted 0 <= start <= end <= 32"),
        ({"parts": [show.Span(4, 2, "x", "tcp")]}, "tcp.x spans bytes 4 to 2"),
        ({"parts": [layer("ip", 30, 4)]}, "ip spans bytes 30 to 34"),
    ],
)
def test_wrong_packet_arguments_are_named(arguments, named):
    with pytest.raises(ValueError, match=re.escape(named)):
        show.packet(**({"frame": FRAME, "parts": PARTS} | arguments))


def test_long_frames_say_what_they_leave_out():
    diagram = show.packet(bytes(1500), max_rows=10)
    shown = sum(len(cell.data) for row in diagram.rows for cell in row)
    assert f"{1500 - shown:,} bytes not drawn" in repr(diagram)
    assert f"{1500 - shown:,} bytes not drawn" in diagram._repr_html_()
    assert len(diagram.rows) == 10
    assert len(show.packet(bytes(160), max_rows=10).rows) == 10
    assert repr(show.packet(bytes(160), max_rows=10)).count("not drawn") == 0


def contrast(background: str, ink: str) -> float:
    """Contrast ratio of two #rrggbb colours (WCAG 2.2, "relative luminance")."""

    def luminance(color: str) -> float:
        parts = [int(color[i : i + 2], 16) / 255 for i in (1, 3, 5)]
        linear = [p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
        return sum(weight * p for weight, p in zip((0.2126, 0.7152, 0.0722), linear, strict=True))

    light, dark = sorted((luminance(background), luminance(ink)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


def test_bytes_can_be_read_on_every_tint():
    kinds = ["ethernet", "ipv4", "tcp", "tls", "http", "a", "b", "c", "d", "e"]
    diagram = show.packet(bytes(16), [show.Span(i, i + 1, "x", kind) for i, kind in enumerate(kinds)])
    for cell in byte_cells(Tree(diagram._repr_html_()).root):
        colors = dict(re.findall(r"(background-color|(?<!-)color): (#\w{6})", cell.attributes["style"]))
        assert contrast(colors["background-color"], colors["color"]) > 7


# -- headers --


@given(st.lists(st.integers(1, 200), min_size=1, max_size=20), st.integers(0, 40))
def test_a_header_fills_its_rows_exactly(bits, offset):
    made = layer("X", offset, -(-sum(bits) // 8), *((f"f{i}", b, f"<{i}>") for i, b in enumerate(bits)))
    diagram = show.header(made)
    (table,) = Tree(diagram._repr_html_()).root.all("table")
    assert set(grid_widths(table)) == {32}
    assert len(grid_widths(table)) == 1 + -(-sum(bits) // 32)
    art = [line for line in repr(diagram).splitlines() if line.startswith(("|", "+"))]
    assert {len(line) for line in art} == {65}
    for number in range(len(bits)):
        assert f"f{number} = <{number}>" in repr(diagram)


def test_gaps_are_drawn_and_overlaps_refused():
    gap = Layer("X", 0, 4, (Field("a", 0, 8, 0, ""), Field("b", 24, 8, 0, "")))
    assert grid_widths(Tree(show.header(gap)._repr_html_()).root.all("table")[0]) == [32, 32]
    overlap = Layer("X", 0, 4, (Field("a", 0, 8, 0, ""), Field("b", 4, 8, 0, "")))
    with pytest.raises(ValueError, match=r"X\.b starts at bit 4, wanted 8 or later"):
        show.header(overlap)
    with pytest.raises(ValueError, match="X has no fields"):
        show.header(layer("X", 0, 4))


# -- listings --


@numba.njit
def doubled(x):
    return 2 * x


@pytest.mark.parametrize("thing", [clock, clock.compare, histogram.Histogram, histogram.Histogram.add, show.packet])
def test_a_listing_is_the_text_of_the_file(thing):
    listing = show.source(thing)
    lines = (Path(show.__file__).parents[2] / listing.path).read_text().splitlines()
    theirs = lines[listing.first - 1 : listing.last]
    assert [line.strip() for line in theirs] == [line.strip() for line in listing.text.splitlines()]
    assert listing.path.startswith("lbcore/")
    assert f"lines {listing.first}-{listing.last}" in listing._repr_markdown_()


def test_a_compiled_function_shows_its_python():
    assert show.source(doubled).text == "@numba.njit\ndef doubled(x):\n    return 2 * x"
    assert show.source(doubled).path == "tests/test_show.py"


def test_lines_of_a_file_can_be_chosen():
    whole = Path(inspect.getsourcefile(clock)).read_text().splitlines()
    assert show.source(clock, lines=(1, 1)).text == whole[0]
    with pytest.raises(ValueError, match=f"last <= {len(whole)}"):
        show.source(clock, lines=(1, len(whole) + 1))


@pytest.mark.parametrize("thing", [len, 3, "text"])
def test_what_has_no_source_is_named(thing):
    with pytest.raises(TypeError, match="has no Python source"):
        show.source(thing)


# -- questions --

ANSWERS = {"yes <b>": "It is so.", "no": "It is not so."}


def test_a_quiz_answers_each_choice_with_its_reason():
    quiz = show.quiz("Is it so?", ANSWERS, correct="yes <b>")
    assert quiz.feedback.value == ""
    quiz.choice.value = "no"
    assert "Not quite. It is not so." in quiz.feedback.value
    quiz.choice.value = "yes <b>"
    assert "Right. It is so." in quiz.feedback.value
    quiz.choice.value = None
    assert quiz.feedback.value == ""


def test_a_quiz_has_a_twin_with_the_answer_folded():
    data, _ = show.quiz("Is it so?", ANSWERS, correct="yes <b>")._repr_mimebundle_()
    assert twin.VIEW in data
    root = Tree(data["text/html"]).root
    (folded,) = root.all("details")
    for answer, why in ANSWERS.items():
        assert answer in root.text
        assert why in folded.text
        assert root.text.count(why) == 1
        assert answer in data["text/plain"]
        assert why not in data["text/plain"]


@pytest.mark.parametrize(
    ("answers", "correct", "named"),
    [
        ({"a": "x"}, "a", "1 answers"),
        (ANSWERS, "maybe", "correct is 'maybe'"),
        ({"a": "x", "b": " "}, "a", "'b' has no reason"),
    ],
)
def test_a_quiz_that_cannot_be_answered_is_refused(answers, correct, named):
    with pytest.raises(ValueError, match=named):
        show.quiz("?", answers, correct=correct)


@pytest.mark.parametrize(
    ("typed", "said"),
    [(89, "Well predicted"), (85, "Well predicted"), (50, "50 % is too low: it is 89 %"), (99, "99 % is too high")],
)
def test_a_prediction_is_compared_in_percent(typed, said):
    prediction = show.predict("What share?", answer=0.89, tolerance=0.05, unit="%", why="Nine in ten.")
    prediction.guess.value = typed
    prediction._button.click()
    assert said in prediction.feedback.value
    assert "Nine in ten." in prediction.feedback.value


@example(999.7)
@given(st.floats(0.001, 1e12))
def test_an_answer_is_written_as_people_write_it(value):
    shown = show.predict("?", answer=value, tolerance=1).verdict(2 * value + 10).rpartition("it is ")[2].rstrip(".")
    assert "e" not in shown
    assert float(shown.replace(",", "")) == pytest.approx(value, rel=0.006)


def test_a_prediction_keeps_its_answer_folded():
    data, _ = show.predict("How many?", answer=12, tolerance=1, unit="slots")._repr_mimebundle_()
    root = Tree(data["text/html"]).root
    assert "12 slots" in root.all("details")[0].text
    assert "12" not in data["text/plain"]
    with pytest.raises(ValueError, match="tolerance is 0"):
        show.predict("?", answer=1, tolerance=0)


# -- explorers --


def displayed(explorer, monkeypatch) -> list[tuple[dict, dict]]:
    shown: list[tuple[dict, dict]] = []
    monkeypatch.setattr(
        "IPython.display.display", lambda data, metadata=None, raw=False: shown.append((data, metadata or {}))
    )
    explorer._ipython_display_()
    return shown


def test_moving_a_control_redraws_and_the_twin_stays(monkeypatch):
    def draw(slots=5, kind="ring"):
        return f"<b>{kind}</b> of {slots}"

    explorer = show.explore(draw, hint="more slots", slots=(2, 20), kind=["ring", "maglev"])
    assert explorer.view.value == "<b>ring</b> of 5"
    explorer.controls["slots"].value = 7
    explorer.controls["kind"].value = "maglev"
    assert explorer.view.value == "<b>maglev</b> of 7"
    (hint, _), (data, _) = displayed(explorer, monkeypatch)
    assert hint["text/plain"] == "Try: more slots"
    assert data["text/html"] == "<b>ring</b> of 5"
    assert data["text/plain"] == "with slots=5, kind='ring':\nring of 5"
    assert twin.VIEW in data


def test_a_list_of_numbers_is_a_slider_that_stops_at_each():
    explorer = show.explore(lambda size=251: f"{size}", hint="more", size=[29, 251, 1021])
    size = explorer.controls["size"]
    assert (type(size).__name__, size.options, explorer.view.value) == ("SelectionSlider", (29, 251, 1021), "251")
    size.index = 2
    assert explorer.view.value == "1021"


def test_a_figure_explorer_shows_the_picture_with_alt_text(monkeypatch):
    explorer = show.explore(lambda n=1: drawn(), hint="nothing", n=(1, 3))
    assert 'alt="A rising curve"' in explorer.view.value
    (_, _), (data, metadata) = displayed(explorer, monkeypatch)
    assert base64.b64decode(data["image/png"]) == drawn().png
    assert metadata["image/png"]["alt"] == "A rising curve"


def test_an_error_in_a_callback_is_shown_and_raised():
    explorer = show.explore(lambda n=1: f"{6 // n}", hint="zero", n=(0, 3))
    with pytest.raises(ZeroDivisionError):
        explorer.controls["n"].value = 0
    assert "ZeroDivisionError" in explorer.view.value
    explorer.controls["n"].value = 2
    assert explorer.view.value == "3"


@pytest.mark.parametrize(
    ("controls", "hint", "error", "named"),
    [
        ({}, "try", ValueError, "no controls"),
        ({"n": (1, 3)}, " ", ValueError, "hint is empty"),
        ({"n": object()}, "try", ValueError, "control 'n' is <object"),
        ({"n": (1, 3)}, "try", TypeError, "got a int"),
    ],
)
def test_wrong_explorers_are_named(controls, hint, error, named):
    with pytest.raises(error, match=named):
        show.explore(lambda n=1: n, hint=hint, **controls)


def test_own_widgets_are_welcome():
    own = widgets.IntSlider(4, 0, 9, description="slots")
    explorer = show.explore(lambda n: str(n), hint="try", n=own)
    own.value = 9
    assert explorer.view.value == "9"


# -- all of it in a notebook --

PAGE = """from lbcore import show
show.quiz("Is it so?", {"yes": "It is.", "no": "It is not."}, correct="yes")
---
show.predict("What share?", answer=0.89, tolerance=0.05, unit="%")
---
show.packet(bytes(range(40)), [show.Span(0, 20, "source", "ipv4")], readable=["ipv4"])
---
def draw(n=2):
    fig, ax = show.figure()
    ax.plot([1, 2], [n, 3])
    ax.set(xlabel="time (s)", ylabel="load (1/s)")
    return show.finish(fig, title="Load rises", alt=f"A line from {n} to 3")
draw()
---
show.explore(draw, hint="steeper", n=(1, 5))
---
show.explore(lambda n=16: show.packet(bytes(n)), hint="longer", n=(8, 64))
---
show.table([(1, "a")], ["n", "name"])"""


def test_a_saved_page_without_widgets_is_whole_and_strictly_comparable(tmp_path, monkeypatch):
    """Executed, stripped of widgets as the book is saved, and run again by nbval: every output is the same."""
    root = str(Path(show.__file__).parents[2])
    monkeypatch.setenv("PYTHONPATH", root)
    cells = [nbformat.v4.new_code_cell(source) for source in PAGE.split("\n---\n")]
    notebook = nbformat.v4.new_notebook(cells=cells, metadata={"kernelspec": {"name": "python3", "display_name": "x"}})
    with tempfile.TemporaryDirectory(prefix="show-") as scratch:
        nbclient.NotebookClient(notebook, timeout=60, config=kernel_config(Path(scratch))).execute()
    for cell in notebook.cells:
        assert cell.outputs
        for output in cell.outputs:
            assert set(output.data) - {twin.VIEW, "text/plain"}, f"nothing to see without a kernel: {cell.source}"
            output.data.pop(twin.VIEW, None)
    assert any("image/png" in output.data for output in notebook.cells[4].outputs)
    notebook.metadata.pop("widgets", None)
    path = tmp_path / "page.ipynb"
    nbformat.write(notebook, path)
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "-p",
        "no:cacheprovider",
        "-p",
        "tests.nbval_kernels",
        "--nbval",
        "--nbval-current-env",
        str(path),
    ]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False, cwd=tmp_path)
    assert done.returncode == 0, done.stdout
    assert f"{len(cells)} passed" in done.stdout


def test_names_are_found_when_asked_for_and_errors_list_them():
    for name in show.__all__:
        assert getattr(show, name) is not None
    assert dir(show) == show.__all__
    with pytest.raises(AttributeError, match=r"it has: .*finish"):
        show.finnish  # noqa: B018


def test_a_listing_does_not_wait_for_matplotlib_or_widgets():
    script = (
        "import sys; from lbcore import show; show.source; print(sys.modules.keys() & {'matplotlib', 'ipywidgets'})"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
