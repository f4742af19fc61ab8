import pytest

from deployments.models.reading.reading_order import Line
from deployments.models.reading.text_lines import is_unread, text_lines

ASPECT = 16 / 9


def kept(*lines, floor=0.5):
    return [line.text for line in text_lines(lines, floor, ASPECT)]


def line(text, score, left=0.4, top=0.4, width=0.1, height=0.1):
    return Line(text, score, (left, top, left + width, top + height))


@pytest.mark.parametrize("text", ["■ - -", "***", "。", " ", "→|"])
def test_a_line_without_a_letter_or_digit_is_no_text(text):
    assert kept(line(text, 1.0)) == []


def test_a_line_of_four_letters_needs_the_floor_only():
    assert kept(line("STOP", 0.5), line("GATE", 0.49)) == ["STOP"]
    assert kept(line("STOP", 0.5), floor=0.6) == []


@pytest.mark.parametrize(("text", "least"), [("7", 0.95), ("Ä", 0.95), ("12", 0.85), ("OUT", 0.75)])
def test_a_shorter_line_needs_a_higher_score(text, least):
    assert kept(line(text, least)) == [text]
    assert kept(line(text, least - 0.01)) == []


@pytest.mark.parametrize("text", ["口", "大", "O", "0", "l", "川"])
def test_a_character_as_simple_as_a_shape_is_no_text_by_itself(text):
    assert kept(line(text, 1.0)) == []


def test_another_chinese_character_needs_a_very_high_score_by_itself():
    assert kept(line("停", 0.98)) == ["停"]
    assert kept(line("停", 0.97)) == []


def test_a_chinese_character_among_others_needs_the_floor_only():
    assert kept(line("口", 0.6), line("出口在前", 0.95, top=0.7)) == ["口", "出口在前"]
    assert kept(line("口", 0.6), line("出口在前", 0.8, top=0.7)) == ["出口在前"], "these are doubtful themselves"


def test_a_short_line_beside_a_longer_one_of_its_height_needs_the_floor_only():
    longer = line("Exhibit", 0.9, width=0.2)
    assert kept(longer, line("A", 0.6, left=0.65)) == ["Exhibit", "A"]
    assert kept(line("0", 0.6, left=0.34, width=0.04), longer) == ["0", "Exhibit"]
    assert kept(longer, line("A", 0.6, left=0.85)) == ["Exhibit"], "too far"
    assert kept(longer, line("A", 0.6, left=0.65, height=0.3)) == ["Exhibit"], "too high"
    assert kept(longer, line("穴", 0.9, left=0.65)) == ["Exhibit"], "in another script: a symbol before a name"
    assert kept(longer, line("A", 0.6, left=0.65, top=0.48)) == ["Exhibit"], "in another row"


def test_a_short_line_that_fills_the_picture_is_no_text():
    assert kept(line("18", 0.99, left=0, top=0, width=1, height=1)) == []


@pytest.mark.parametrize("text", ["Inll", "C000", "中中中中中中中中平", "IIIIIII"])
def test_a_line_of_bars_rings_or_one_repeated_character_needs_a_high_score(text):
    assert kept(line(text, 0.89)) == []
    assert kept(line(text, 0.9)) == [text]


@pytest.mark.parametrize(
    ("text", "found", "read", "length", "expected"),
    [
        ("   ", 0.73, 0.97, 10, True),  # words of another script: the blanks between them are read
        (" ", 0.81, 0.86, 6.6, True),
        ("", 0.84, 0.0, 6.8, True),  # Thai has no blanks
        ("", 0.82, 0.0, 4.8, False),  # ribbons of medals on a portrait
        ("", 0.62, 0.0, 10, False),  # stripes
        ("   ", 0.62, 0.9, 10, False),
        ("", 0.93, 0.0, 1.3, False),  # a picture that is one frame
        ("ABC", 0.9, 0.3, 10, False),
    ],
)
def test_a_line_of_an_unknown_script_is_told_by_its_shape_and_by_blanks(text, found, read, length, expected):
    assert is_unread(text, found, read, length) == expected
