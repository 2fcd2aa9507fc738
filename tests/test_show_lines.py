"""show.lines: what is on the axes, and what it refuses."""

import pytest

from lbcore import show
from lbcore.show import curves as module

WORDS = {"x_label": "backends", "y_label": "time (ns)", "title": "It grows", "alt": "A rising line."}


@pytest.fixture
def drawn(monkeypatch):
    """The axes of the figure that `lines` finishes."""
    seen = []

    def finish(figure, **words):
        seen.extend(figure.axes)
        return show.finish(figure, **words)

    monkeypatch.setattr(module, "finish", finish)
    return seen


def test_every_series_is_a_named_line_through_its_values(drawn):
    show.lines([1, 2, 5], {"ring": [3, 4, 5], "jump": (1, 1, 2)}, **WORDS)
    (axes,) = drawn
    assert {line.get_label(): list(line.get_ydata()) for line in axes.lines} == {"ring": [3, 4, 5], "jump": [1, 1, 2]}
    assert [text.get_text() for text in axes.get_legend().get_texts()] == ["ring", "jump"]
    assert axes.get_ylim()[0] == 0
    assert (axes.get_xscale(), axes.get_yscale()) == ("linear", "linear")


def test_logarithmic_axes_label_the_values_themselves(drawn):
    show.lines([10, 300, 10_000], {"ring": [3, 4, 5]}, x_log=True, y_log=True, **WORDS)
    (axes,) = drawn
    assert [label.get_text() for label in axes.get_xticklabels()] == ["10", "300", "10,000"]
    assert (axes.get_xscale(), axes.get_yscale()) == ("log", "log")


@pytest.mark.parametrize("missing", WORDS)
def test_what_a_reader_would_miss_is_refused(missing):
    with pytest.raises(ValueError, match=missing.replace("_", " ")):
        show.lines([1, 2], {"ring": [1, 2]}, **(WORDS | {missing: " "}))


def test_a_series_of_another_length_is_refused():
    with pytest.raises(ValueError, match="same first dimension"):
        show.lines([1, 2], {"ring": [1, 2, 3]}, **WORDS)
