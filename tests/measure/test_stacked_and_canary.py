"""Figures of chapter 09: complete, or refused."""

from __future__ import annotations

import pytest

from lbcore import show

WORDS = {"x_label": "balancer", "y_label": "requests (%)", "title": "half are wrong", "alt": "two bars"}


def test_a_stack_wants_a_value_for_each_group() -> None:
    assert show.stacked(["a", "b"], {"right": [1, 2], "wrong": [2, 1]}, **WORDS)
    with pytest.raises(ValueError, match="shape"):
        show.stacked(["a", "b"], {"right": [1, 2, 3]}, **WORDS)


def test_a_canary_is_drawn_also_when_one_connection_decides_all() -> None:
    assert show.canary_histogram(0.05, 1000, 100)
    assert show.canary_funnel(0.05, [1, 100], 1000, title="wide", alt="dots")
