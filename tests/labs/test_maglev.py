"""Lab 01: the drawing shows mistakes, the last check wants all parts, and the paper's example comes out."""

import pytest

from lbcore.labs import maglev
from lbcore.labs.answers import maglev as answers


@pytest.mark.parametrize("answer", [answers.walk_skip_zero, answers.walk_skip_mod_size, answers.walk_skip_whole_turn])
def test_drawing_shows_a_walk_that_stands_still(answer):
    assert "5 rows are complete" not in maglev.show_walk(answer).alt
    assert "5 rows are complete" in maglev.show_walk(answers.RIGHT["walk"][0]).alt


def test_whole_wants_both_parts_right():
    walk, weighted = answers.RIGHT["walk"][0], answers.RIGHT["weighted"][0]
    assert maglev.check_whole(walk, weighted).passed
    assert maglev.check_whole(answers.walk_skip_zero, weighted).key in ("another_table", "weighted_first")
    assert maglev.check_whole(answers.walk_division, weighted).key == "walk_first"
    assert maglev.check_whole(walk, answers.weighted_ignores).key == "another_table"
    assert maglev.check_whole(walk, answers.populate_endless).key == "weighted_first"


def test_worked_example_of_the_paper():
    assert list(maglev.right_table(*maglev.PAPER)) == [1, 0, 1, 0, 2, 2, 0]
