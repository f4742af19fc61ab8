"""Reading order of OCR: parts of text joined into lines, and lines sorted."""

import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass

from cluster.records import Box

# largest gap in a line, over the height of the lower part. Measured: 0.5 within lines, 0.9 between signs side by side
GAP = 0.75


@dataclass(frozen=True, slots=True)
class Line:
    """A line of text or a part of one, with its box in fractions of the picture."""

    text: str
    score: float
    box: Box


def in_lines(parts: Sequence[Line], aspect: float) -> list[Line]:
    """Lines in reading order: rows from top to bottom, each from left to right, parts joined across narrow gaps.

    A part belongs to a row if its vertical centre is within the middle third of the row's first part. Neighbours in a
    row are joined if the gap is less than GAP and both scripts put spaces between words, or neither does; vertical
    text is not joined. The score of a line is the mean over letters. Parts must not be blank. `aspect` is the width of
    the picture over its height.
    """
    lines: list[Line] = []
    for row in _rows(parts):
        lines.append(row[0])
        for part in row[1:]:
            if _continues(lines[-1], part, aspect):
                lines[-1] = _joined(lines[-1], part)
            else:
                lines.append(part)
    return [Line(" ".join(line.text.split()), line.score, line.box) for line in lines]


def _rows(parts: Sequence[Line]) -> list[list[Line]]:
    rows: list[list[Line]] = []
    for part in sorted(parts, key=_middle):
        first = rows[-1][0] if rows else None
        if first is not None and _middle(part) - _middle(first) < _height(first) / 3:
            rows[-1].append(part)
        else:
            rows.append([part])
    return [sorted(row, key=lambda part: part.box[0]) for row in rows]


def _continues(left: Line, right: Line, aspect: float) -> bool:
    if _runs_down(left, aspect) or _runs_down(right, aspect) or _is_spaced(left) != _is_spaced(right):
        return False
    lower = min(_height(left), _height(right))
    return -lower / 2 < (right.box[0] - left.box[2]) * aspect < GAP * lower


def _joined(left: Line, right: Line) -> Line:
    first, then = left.text.strip(), right.text.strip()
    score = (left.score * len(first) + right.score * len(then)) / (len(first) + len(then))
    if unicodedata.bidirectional(then[0]) in ("R", "AL"):
        first, then = then, first
    edges = list(zip(left.box, right.box, strict=True))
    box = (min(edges[0]), min(edges[1]), max(edges[2]), max(edges[3]))
    return Line(f"{first}{' ' if _is_spaced(left) else ''}{then}", score, box)


def _is_spaced(part: Line) -> bool:
    """Whether its script puts spaces between words, which Chinese and Japanese do not."""
    return not any(unicodedata.east_asian_width(one) in "WF" and not "\uac00" <= one <= "\ud7a3" for one in part.text)


def _runs_down(part: Line, aspect: float) -> bool:
    return len(part.text.strip()) > 2 and _height(part) > (part.box[2] - part.box[0]) * aspect


def _middle(line: Line) -> float:
    return (line.box[1] + line.box[3]) / 2


def _height(line: Line) -> float:
    return line.box[3] - line.box[1]
