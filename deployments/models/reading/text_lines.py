"""Which lines that a text recogniser read are text: its score alone does not tell, since it reads edges as letters.

Measured with RapidOCR on photographs, films and drawn patterns without writing: "X" on a door frame has up to 0.98,
"口" on a square 0.99. 17 of 18 drawn signs of one or two letters had 0.97 and more.
"""

import unicodedata
from collections.abc import Sequence

from deployments.models.reading.reading_order import Line

RULES = "lines by evidence"  # in the version of answers: 0.1 applied a score only

SHORT = 3  # letters or digits; the score of longer lines tells
LEAST = {1: 0.95, 2: 0.85, 3: 0.75}  # score of a short line by itself, by the number of its letters and digits
LONE_SCORE = 0.98  # of a Chinese or Japanese character without others of its kind in the picture
PATTERN_SCORE = 0.9  # of a line that is mostly bars, rings or one repeated character
PATTERN_SHARE = 0.75
BARS, RINGS = frozenset("Il1|i"), frozenset("O0oQCD")
# what frames, crosses, bars and rings are read as: never text by itself
SHAPES = frozenset("口日中川田曰目回一二三十工大人八入小山王土士上下个丁卜丨山凸凹皿开井门〇□ハニロエトノ") | frozenset(
    "Oo0Il|"
)
FILLS = 0.8  # share of both sides of the picture, from which the box of a short line is implausible
BESIDE_GAP = 2.5  # over the height of the line
BESIDE_HEIGHT = 0.6  # least ratio of the heights of neighbours

# a line of an unknown script in which blanks between words are read: score of the region, of the blanks, length over
# height; and one in which nothing is read
UNREAD_FOUND, UNREAD_READ, UNREAD_LENGTH = 0.65, 0.5, 4.0
UNREAD_LONE_FOUND, UNREAD_LONE_LENGTH = 0.75, 6.0


def letters(text: str) -> str:
    """The letters and digits of a text, of any script."""
    return "".join(one for one in text if unicodedata.category(one)[0] in "LN")


def is_short(line: Line) -> bool:
    """Whether the line has so few letters that its score does not tell text from a pattern."""
    return len(letters(line.text)) <= SHORT


def text_lines(lines: Sequence[Line], floor: float, aspect: float) -> list[Line]:
    """The lines that are text, in the given order; `aspect` is the width of the picture over its height.

    - A line has the score `floor` and a letter or digit.
    - A line that is mostly bars ("Inll"), rings ("C000") or one character repeated has PATTERN_SCORE.
    - A short line has the score of LEAST, and its box does not fill the picture. A single character that is as simple
      as a frame, a cross or a ring (SHAPES) is never text by itself; another Chinese or Japanese one has LONE_SCORE.
    - A short line beside a longer one of its script and height needs only `floor`; so does a single Chinese or Japanese
      character if another line has several.

    So a house number "7" is kept if its score is 0.95, and "0" only beside other text.
    """
    scored = [line for line in lines if line.score >= floor and letters(line.text) and not _is_pattern(line)]
    longer = [line for line in scored if not is_short(line)]
    has_wide = any(sum(map(_is_wide, line.text)) > 1 and line.score >= PATTERN_SCORE for line in scored)
    return [line for line in scored if not is_short(line) or _is_text(line, longer, has_wide, aspect)]


def is_unread(text: str, found: float, read: float, length: float) -> bool:
    """Whether a region is probably a line of a script that the recogniser does not know, such as Arabic.

    `text`: what was read in it; `found` and `read`: scores of the region and of its text; `length`: over its height.
    Measured with lines of Arabic, Cyrillic, Hangul, Thai and Devanagari: they are found with 0.73 and more, and read as
    the blanks between their words, or as nothing. On pictures without writing no region was read as blanks, and those
    that were read as nothing have lower scores, or are shorter.
    """
    if letters(text):
        return False
    if text and not text.strip() and read >= UNREAD_READ:
        return found >= UNREAD_FOUND and length >= UNREAD_LENGTH
    return found >= UNREAD_LONE_FOUND and length >= UNREAD_LONE_LENGTH


def is_beside(line: Line, others: Sequence[Line], aspect: float) -> bool:
    """Whether one of the other lines continues it in its row: in a script of its kind, of similar height, and near."""
    wide = any(map(_is_wide, line.text))
    alike = [other for other in others if other is not line and any(map(_is_wide, other.text)) == wide]
    return any(_continues(line, other, aspect) for other in alike)


def _is_text(line: Line, longer: Sequence[Line], has_wide: bool, aspect: float) -> bool:
    if is_beside(line, longer, aspect):
        return True
    left, top, right, bottom = line.box
    if right - left >= FILLS and bottom - top >= FILLS:
        return False
    known = letters(line.text)
    if len(known) == 1 and _is_wide(known):
        return has_wide or (known not in SHAPES and line.score >= LONE_SCORE)
    return known not in SHAPES and line.score >= LEAST[len(known)]


def _continues(line: Line, other: Line, aspect: float) -> bool:
    heights = line.box[3] - line.box[1], other.box[3] - other.box[1]
    shared = min(line.box[3], other.box[3]) - max(line.box[1], other.box[1])
    gap = max(line.box[0], other.box[0]) - min(line.box[2], other.box[2])
    alike = min(heights) >= BESIDE_HEIGHT * max(heights)
    return alike and shared > min(heights) / 2 and gap * aspect < BESIDE_GAP * min(heights)


def _is_pattern(line: Line) -> bool:
    known = letters(line.text)
    if len(known) < 2 or line.score >= PATTERN_SCORE:
        return False
    most = max(known.count(one) for one in known)
    bars, rings = (sum(one in kind for one in known) for kind in (BARS, RINGS))
    return max(most, bars, rings) >= PATTERN_SHARE * len(known)


def _is_wide(letter: str) -> bool:
    """Whether it is a Chinese or Japanese character."""
    return letter.isalpha() and unicodedata.east_asian_width(letter) in "WF" and not "\uac00" <= letter <= "\ud7a3"
