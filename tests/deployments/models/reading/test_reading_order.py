import pytest

from deployments.models.reading.reading_order import Line, in_lines


def texts(parts, aspect=1.0):
    return [line.text for line in in_lines(parts, aspect)]


def row(*parts, top=0.1, height=0.1):
    """Parts of one row by their text, left and right."""
    return [Line(text, 1.0, (left, top, right, top + height)) for text, left, right in parts]


def test_rows_are_read_from_the_top_and_each_from_the_left():
    parts = [
        Line("4", 1, (0.0, 0.50, 0.4, 0.60)),
        Line("2", 1, (0.4, 0.10, 0.6, 0.21)),
        Line("3", 1, (0.7, 0.09, 0.9, 0.19)),
        Line("1", 1, (0.0, 0.11, 0.3, 0.20)),
        Line("5", 1, (0.5, 0.52, 0.9, 0.61)),
    ]
    assert texts(parts) == ["1", "2", "3", "4", "5"]


def test_a_staircase_of_lines_is_not_one_row():
    parts = [Line(str(i), 1, (0.8 - i / 10, 0.1 + i * 0.04, 0.9, 0.2 + i * 0.04)) for i in range(5)]
    assert texts(parts) == ["0", "1", "2", "3", "4"]


def test_no_parts_give_no_lines():
    assert in_lines([], 1.0) == []


def test_close_words_are_one_line():
    parts = [Line("twice ", 0.6, (0.46, 0.12, 0.7, 0.19)), Line(" ring", 0.9, (0.2, 0.1, 0.41, 0.2))]
    assert in_lines(parts, 1.0) == [Line("ring twice", pytest.approx((0.9 * 4 + 0.6 * 5) / 9), (0.2, 0.1, 0.7, 0.2))]


def test_gaps_are_measured_in_pixels_not_in_fractions():
    parts = row(("left", 0.1, 0.4), ("right", 0.45, 0.8))
    assert texts(parts, aspect=1.0) == ["left right"]
    assert texts(parts, aspect=2.0) == ["left", "right"]


def test_columns_and_signs_side_by_side_are_not_joined():
    assert texts(row(("56Km", 0.1, 0.3), ("205Km", 0.39, 0.6))) == ["56Km", "205Km"]


def test_overlapping_parts_are_not_joined():
    assert texts(row(("GATE", 0.1, 0.5), ("GATE", 0.12, 0.52))) == ["GATE", "GATE"]


def test_vertical_text_is_not_joined():
    parts = row(("three", 0.1, 0.15), ("words", 0.17, 0.22), top=0.1, height=0.5)
    assert texts(parts) == ["three", "words"]
    assert texts(row(("il", 0.1, 0.15), ("cane", 0.2, 0.4))) == ["il cane"], "narrow, but upright"


def test_scripts_without_spaces_are_joined_without_spaces():
    assert texts(row(("日本", 0.1, 0.3), ("語", 0.31, 0.4))) == ["日本語"]
    assert texts(row(("서울", 0.1, 0.3), ("시청", 0.33, 0.5))) == ["서울 시청"]


def test_a_part_of_another_script_is_not_joined():
    assert texts(row(("穴", 0.1, 0.18), ("Musée", 0.19, 0.5))) == ["穴", "Musée"]


def test_right_to_left_words_are_joined_in_their_order():
    assert texts(row(("עולם", 0.1, 0.3), ("שלום", 0.34, 0.5))) == ["שלום עולם"]
