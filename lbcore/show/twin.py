"""A widget and its static twin in one output: a live page shows the widget, any other page the twin.

Rule of this file: one bundle holds both, the viewer picks. A viewer with a kernel prefers the widget; a saved page,
from which widgets are stripped, GitHub and print fall back to HTML or PNG. Nothing is drawn twice.

Theory. nbval compares text and HTML and passes over widget views, so the twin is what a test of the page sees: it
has to be the same at every run. Widgets redraw through the value of an HTML widget, never through an Output widget,
whose messages belong to no cell and cannot be compared.
"""

from __future__ import annotations

import re
from html import escape, unescape
from typing import Any

VIEW = "application/vnd.jupyter.widget-view+json"
NOTE = "padding: 4px 10px; margin: 6px 0; border-left: 4px solid {color}"


def bundle(widget: Any, twin: dict[str, Any], metadata: dict[str, Any] | None = None) -> tuple[dict[str, Any], Any]:
    """The display data of `widget` with `twin` (by MIME type, text/plain included) beside it."""
    view = widget._repr_mimebundle_()[VIEW]
    return {**twin, VIEW: view}, metadata or {}


def rendering(result: Any) -> tuple[dict[str, Any], dict[str, Any], str]:
    """What a function drew, as (MIME data, metadata, HTML for a widget).

    Accepted: what `finish` returns, an HTML string, anything with `_repr_html_`. TypeError names anything else.
    """
    if hasattr(result, "png"):
        return (*result._repr_mimebundle_(), result.html())
    if isinstance(result, str):
        words = " ".join(re.sub(r"<[^>]*>", " ", result).split())
        return {"text/html": result, "text/plain": unescape(words)}, {}, result
    if hasattr(result, "_repr_html_"):
        return {"text/html": result._repr_html_(), "text/plain": repr(result)}, {}, result._repr_html_()
    raise TypeError(
        f"got a {type(result).__name__}, wanted show.finish(...), an HTML string or an object with _repr_html_"
    )


def note(words: str, color: str) -> str:
    """A paragraph with a coloured edge; the words say what the colour says."""
    return f'<p style="{NOTE.format(color=color)}">{escape(words)}</p>'
