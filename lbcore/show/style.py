"""The book's one look for figures, and the gate every figure passes before a reader sees it.

Rule of this file: a figure without labelled axes, a title that states the finding, and alt text does not get out.

Theory. Colours are Okabe and Ito's, distinguishable with every common colour-vision deficiency, without their yellow
(too pale on paper). Colour is never the only difference: lines also differ in dash and marker, bars can take
`HATCHES`. Figures are made without pyplot, so there is no global list of them, nothing to close and no second,
automatic display. A PNG carries no date and no version, so that the same figure is the same bytes.

Traps. Only what matplotlib reads when axes are made or drawn belongs into STYLE: lines and legends are made outside
it. nbval compares a figure's text, not its pixels: the alt text is what makes a cell strict. Put a measured number
into it only where the cell is tagged as measured.
"""

from __future__ import annotations

import base64
import io
import textwrap
from dataclasses import dataclass
from html import escape
from typing import Any

import matplotlib as mpl
from cycler import cycler
from matplotlib.axes import Axes
from matplotlib.figure import Figure

BLUE, VERMILION, GREEN, PURPLE, ORANGE, SKY, BLACK = (
    "#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000",
)  # fmt: skip
PALETTE = (BLUE, VERMILION, GREEN, PURPLE, ORANGE, SKY, BLACK)
DASHES = ("-", "--", "-.", ":", (0, (5, 1)), (0, (3, 1, 1, 1, 1, 1)), (0, (1, 1)))
MARKERS = ("o", "s", "^", "D", "v", "P", "X")
HATCHES = ("", "//", "..", "xx", "\\\\", "--", "++")
DPI = 160  # more than a page shows, so that text stays sharp on dense screens and in print
PAGE = 96  # pixels a page gives to one inch of figure

# Any: matplotlib types the keys one by one, and keys come and go between its versions.
STYLE: Any = {
    "axes.axisbelow": True,
    "axes.grid": True,
    "axes.labelsize": 10,
    "axes.prop_cycle": cycler(color=PALETTE) + cycler(linestyle=DASHES) + cycler(marker=MARKERS),
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.titlelocation": "left",
    "axes.titlesize": 11,
    "axes.titleweight": "bold",
    "figure.facecolor": "white",
    "figure.titlesize": 11,
    "figure.titleweight": "bold",
    "font.family": "DejaVu Sans",  # matplotlib brings it along: the same letters on every system
    "font.size": 10,
    "grid.color": "#dddddd",
    "savefig.dpi": DPI,
    "xtick.labelsize": 9,
    "ytick.labelsize": 9,
}


def figure(rows: int = 1, columns: int = 1, *, width: float = 7.2, height: float | None = None, **subplots: Any) -> Any:
    """A new figure in the book's style: (figure, axes), axes as `matplotlib.pyplot.subplots` gives them.

    `width` and `height` in inches (7.2 fills a page); further arguments go to `Figure.subplots`.
    """
    with mpl.rc_context(STYLE):
        made = Figure(figsize=(width, height or 3.6 * rows), dpi=PAGE, layout="constrained")
        return made, made.subplots(rows, columns, **subplots)


@dataclass(frozen=True)
class Picture:
    """A finished figure: its PNG bytes, alt text, and size on a page in pixels."""

    png: bytes
    alt: str
    width: int
    height: int

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> tuple[dict[str, str], dict[str, Any]]:
        data = {"image/png": base64.b64encode(self.png).decode(), "text/plain": self.alt}
        return data, {"image/png": {"alt": self.alt, "width": self.width, "height": self.height}}

    def html(self) -> str:
        """The picture as an <img> element with its alt text, for widgets."""
        data = base64.b64encode(self.png).decode()
        return f'<img alt="{escape(self.alt)}" width="{self.width}" src="data:image/png;base64,{data}">'

    def __repr__(self) -> str:
        return self.alt


def _label(axes: Axes, axis: str) -> str:
    """The label of `axes` along "x" or "y", or that of the axes it shares the axis with."""
    shared = getattr(axes, f"get_shared_{axis}_axes")().get_siblings(axes)
    labels = (getattr(other, f"get_{axis}label")().strip() for other in (axes, *shared))
    return next(filter(None, labels), "")


def _missing(axes: Axes, number: int) -> list[str]:
    """What a reader would miss on these axes, in words. A colour bar needs one label, other axes two."""
    if not axes.axison:
        return []
    have = {axis: bool(_label(axes, axis)) for axis in "xy"}
    if axes.get_label() == "<colorbar>":
        return [] if any(have.values()) else [f"colour bar {number} has no label"]
    return [f"axes {number} have no {axis} label (quantity and unit)" for axis in "xy" if not have[axis]]


def finish(figure: Figure, *, alt: str, title: str = "") -> Picture:
    """Check `figure`, draw it to PNG and give back what a notebook displays.

    `title` states the finding (or set it on the axes before); `alt` says in words what the figure shows to someone
    who cannot see it. ValueError lists everything that is missing: a label, the title, the alt text.
    """
    missing = [words for number, axes in enumerate(figure.axes, 1) for words in _missing(axes, number)]
    titles = (figure.get_suptitle(), *(axes.get_title(loc=at) for axes in figure.axes for at in ("left", "center")))
    if not title.strip() and not any(text.strip() for text in titles):
        missing.append("there is no title; state what the figure shows to be so")
    if not alt.strip():
        missing.append("alt is empty; say what the figure shows to someone who cannot see it")
    if not figure.axes:
        missing.append("there are no axes")
    if missing:
        raise ValueError("the figure is not finished: " + "; ".join(missing))
    with mpl.rc_context(STYLE):
        if title:
            lines = textwrap.fill(title, int(figure.get_figwidth() * 10.5))
            if len(figure.axes) == 1:
                figure.axes[0].set_title(lines)
            else:
                figure.suptitle(lines, x=0.01, ha="left")
        out = io.BytesIO()
        figure.savefig(out, format="png", dpi=DPI, metadata={"Software": None})
    width, height = figure.get_size_inches() * PAGE
    return Picture(out.getvalue(), " ".join(alt.split()), round(width), round(height))
