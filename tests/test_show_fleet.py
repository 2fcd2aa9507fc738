"""Drawn fleets and bars: what the picture says is what the simulator found."""

import re

import numpy as np
import pytest

from lbcore import show
from lbcore.show import fates
from lbcore.sim.fleet import BROKEN, BY_HASH, BY_MEMORY, FATES


def said(picture):
    """{fate: count} from the alt text."""
    numbers = {text: int(count) for count, text in re.findall(r"(\d+): ([^.]+)\.", picture.alt)}
    return {fate: numbers.get(text, 0) for fate, text in enumerate(FATES)}


@pytest.mark.parametrize("memory", [True, False])
@pytest.mark.parametrize("lose", fates.LOSSES)
def test_alt_text_counts_every_flow_and_breaks_only_what_can_break(lose, memory):
    counts = said(show.fleet(lose=lose, memory=memory, flows=300))
    assert sum(counts.values()) == 300
    may_break = "backend" in lose and ("balancer" in lose or not memory)
    assert (counts[BROKEN] > 0) == may_break
    assert (counts[BY_MEMORY] > 0) == ("backend" in lose and memory)
    assert counts[BY_HASH] > 200


def test_the_same_settings_give_the_same_bytes_and_others_do_not():
    assert show.fleet(flows=60).png == show.fleet(flows=60).png != show.fleet(flows=60, router="modulo").png


def test_an_unknown_loss_is_named():
    with pytest.raises(ValueError, match="lose is 'everything'"):
        show.fleet(lose="everything")


def test_bars_want_a_value_for_each_group_and_a_title():
    words = {"x_label": "x", "y_label": "y (%)", "alt": "bars"}
    assert show.bars(("a", "b"), {"one": [1, 2], "two": [0, np.float64(3)]}, title="t", **words).png.startswith(
        b"\x89PNG"
    )
    with pytest.raises(ValueError, match="title"):
        show.bars(("a", "b"), {"one": [1, 2]}, title=" ", **words)
    with pytest.raises(ValueError, match="shape"):
        show.bars(("a", "b"), {"one": [1, 2, 3]}, title="t", **words)
