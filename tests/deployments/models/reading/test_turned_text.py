import numpy as np
import pytest

from deployments.models.reading.reading_order import Line
from deployments.models.reading.turned_text import MOSTLY, PARTLY, Reading, better, is_weak, turns

PAGE = np.zeros((100, 200, 3), np.uint8)
WIDE, TALL = [(0.1, 0.1 * n, 0.9, 0.1 * n + 0.08) for n in range(1, 5)], [(0.2, 0.05, 0.24, 0.95)] * 4


@pytest.mark.parametrize(
    ("boxes", "upside_down", "expected"),
    [
        ([], [], {}),
        (WIDE, [False] * 4, {}),
        (WIDE, [True] * 4, {2: MOSTLY}),
        (WIDE, [True, False, None, False], {2: PARTLY}),
        (WIDE, [None] * 4, {}),
        (TALL, [False] * 4, {1: MOSTLY, 3: MOSTLY}),
        ([*WIDE, TALL[0]], [False] * 5, {}),  # a page with a line that runs down its margin
        ([(0.1, 0.1, 0.2, 0.3)] * 4, [], {}),  # boxes of single letters do not tell
    ],
)
def test_a_picture_is_tried_in_the_turns_for_which_its_lines_vote(boxes, upside_down, expected):
    assert turns(PAGE, boxes, lambda crops: upside_down[: len(crops)]) == expected


def test_lines_that_run_down_are_shown_to_the_classifier_as_lines_that_run_to_the_right():
    shapes = []
    turns(PAGE, [WIDE[0], TALL[0]], lambda crops: shapes.extend(crop.shape for crop in crops) or [False] * len(crops))
    assert len(shapes) == 2 and all(width > height for height, width, _ in shapes)


def reading(score, quarters=0, text="the quick fox"):
    return Reading([Line(text, score, WIDE[0])], quarters)


def test_a_turned_reading_counts_if_it_has_as_much_as_is_asked_of_it():
    upright = reading(0.8)
    assert better(upright, []) is upright
    assert better(upright, [(reading(0.75, 1), MOSTLY)]).quarters == 1  # the order of its lines is right
    assert better(upright, [(reading(0.75, 1), PARTLY)]) is upright
    assert better(upright, [(reading(0.75, 1), MOSTLY), (reading(0.95, 3), MOSTLY)]).quarters == 3
    assert better(Reading([]), [(Reading([], 1), MOSTLY)]).quarters == 0


def test_a_reading_is_weak_if_its_letters_are_read_with_low_scores():
    assert is_weak([Line("th qck fx", 0.2, WIDE[0])]) and is_weak([Line("", 0.0, WIDE[0])])
    assert not is_weak([]) and not is_weak([Line("the quick fox", 0.9, WIDE[0]), Line("~", 0.0, WIDE[1])])
