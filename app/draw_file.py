"""From one file's answer to what the viewer draws: timelines, lines, tables; pure functions."""

import re
from collections.abc import Iterable, Sequence
from typing import TypedDict

from app.draw import CUE, CUES, DrawnBox, clock, color, drawn, failures, picture, ratio, shorten
from cluster.api_types import Detection, File, Upload

_JOIN_S = 1.6  # detections of a label no further apart are one stretch of a timeline
_MOST_MARKS = 400  # a lane is a few hundred pixels wide
_MOST_ROWS = 300
_MOST_BOXES = 2000


class Mark(TypedDict):
    """A stretch of a timeline."""

    start: float
    end: float
    label: str
    score: float  # the best of it


class Lane(TypedDict):
    """One detector's marks along the file."""

    detector: str
    color: str
    marks: list[Mark]


class Line(TypedDict):
    """A line that was said or read. Time is where a click jumps to, None in a still image."""

    time: float | None
    clock: str
    text: str
    score: str


class Row(TypedDict):
    """A line of the table of detections."""

    detector: str
    color: str
    label: str
    score: str
    clock: str
    time: float | None
    text: str
    why: str
    model: str
    box: int | None  # its place among the boxes


class Viewer(TypedDict):
    """A whole file."""

    key: str
    name: str
    kind: str
    source: str
    poster: str
    ratio: float | None
    seconds: float
    start: float | None
    legend: list[dict[str, str | int]]
    boxes: list[DrawnBox]
    lanes: list[Lane]
    said: list[Line]
    read: list[Line]
    rows: list[Row]
    rows_left_out: int
    facts: list[list[str]]
    notes: list[str]
    errors: list[str]


def lanes(detections: Sequence[Detection], palette: dict[str, str]) -> list[Lane]:
    """Where in a recording each detector found something; neighbouring frames of a label are joined."""
    by_detector: dict[str, list[Mark]] = {}
    latest: dict[tuple[str, str], Mark] = {}
    for found in sorted(detections, key=_start):
        if found.span is None and found.time_s is None:
            continue
        what = (found.detector, found.label)
        start = _start(found)
        end = found.span[1] if found.span else start
        mark = latest.get(what)
        if mark is not None and found.span is None and start - mark["end"] <= _JOIN_S:
            mark["end"] = max(mark["end"], end)
            mark["score"] = max(mark["score"], found.score)
        else:
            mark = {"start": start, "end": end, "label": found.label, "score": found.score}
            latest[what] = mark
            by_detector.setdefault(found.detector, []).append(mark)
    return [
        {"detector": name, "color": color(name, palette), "marks": thinned(marks)}
        for name, marks in sorted(by_detector.items())
    ]


def thinned(marks: list[Mark]) -> list[Mark]:
    """As many marks as a lane can show, spread over all of them."""
    if len(marks) <= _MOST_MARKS:
        return marks
    return [marks[place * len(marks) // _MOST_MARKS] for place in range(_MOST_MARKS)]


def said(detections: Iterable[Detection]) -> list[Line]:
    """What was heard, in order of time."""
    heard = [found for found in _worded(detections) if found.span is not None]
    return [_line(found) for found in sorted(heard, key=_start)]


def read(detections: Iterable[Detection]) -> list[Line]:
    """What was read in pictures: in order of time and place; a line that stays on the screen is listed once."""
    lines: list[Line] = []
    seen: dict[str, float] = {}
    written = [found for found in _worded(detections) if found.span is None]
    for found in sorted(written, key=_start):
        text, start = found.text or "", _start(found)
        if found.time_s is None or start - seen.get(text, -1e9) > _JOIN_S:
            lines.append(_line(found))
        seen[text] = start
    return lines


def _worded(detections: Iterable[Detection]) -> list[Detection]:
    """Those with words of their own; a cue only quotes what somebody else has read or heard."""
    return [found for found in detections if found.text and not found.label.startswith(CUE)]


def viewer(file: File | Upload, palette: dict[str, str], source: str, name: str, start: float | None = None) -> Viewer:
    """A file as the viewer shows it. Source is where the browser gets it; start is the time to begin at."""
    found = file.detections
    moving = file.kind in ("video", "audio")
    counts: dict[str, int] = {}
    for one in found:
        counts[one.detector] = counts.get(one.detector, 0) + 1
    boxed = [(one, one.box) for one in found if one.box][:_MOST_BOXES]
    places = {id(one): place for place, (one, _) in enumerate(boxed)}
    rows = sorted(found, key=_start if moving else lambda one: -one.score)
    return {
        "key": f"{file.id} {file.analyzed_at}" if isinstance(file, File) else file.sha256 or "",
        "name": name,
        "kind": file.kind or "unknown",
        "source": source,
        "poster": picture(file),
        "ratio": ratio(file),
        "seconds": file.duration_s or 0.0,
        "start": start,
        "legend": [
            {"detector": name, "count": count, "color": color(name, palette)} for name, count in sorted(counts.items())
        ],
        "boxes": [drawn(box, _title(one), one.score, one.detector, one.time_s, palette) for one, box in boxed],
        "lanes": lanes(found, palette) if moving else [],
        "said": said(found),
        "read": read(found),
        "rows": [_row(one, palette, places.get(id(one))) for one in rows[:_MOST_ROWS]],
        "rows_left_out": max(0, len(rows) - _MOST_ROWS),
        "facts": facts(file),
        "notes": [CUES] if any(one.label.startswith(CUE) for one in found) else [],
        "errors": failures(file.errors),
    }


def facts(file: File | Upload) -> list[list[str]]:
    """What is known of a file besides what was found in it: name and value."""
    pixels = f"{file.width} x {file.height} px" if file.width and file.height else ""
    models = sorted({f"{one.detector}: {short(one.model)}" for one in file.detections})
    pairs = [
        ["Address", file.uri if isinstance(file, File) else ""],
        ["SHA-256", file.sha256 or ""],
        ["Kind", file.kind or "unknown"],
        ["Picture", pixels],
        ["Length", clock(file.duration_s)],
        ["Analysed", file.analyzed_at[:19].replace("T", " ") if isinstance(file, File) else ""],
        ["Models", "\n".join(models)],
    ]
    return [[name, value] for name, value in pairs if value]


def short(model: str) -> str:
    """A model's reference without the files in its packages: `package:NAME==VERSION/FILE` is `NAME VERSION`."""
    return re.sub(r"package:([^=+/]+)==([^/+ ]+)(/[^+ ]*)?", r"\1 \2", model)


def _title(found: Detection) -> str:
    return found.label if found.label.startswith(CUE) else found.text or found.label


def _start(found: Detection) -> float:
    return found.span[0] if found.span else found.time_s or 0.0


def _line(found: Detection) -> Line:
    time = None if found.span is None and found.time_s is None else _start(found)
    return {"time": time, "clock": clock(time), "text": found.text or "", "score": f"{found.score:.2f}"}


def _row(found: Detection, palette: dict[str, str], box: int | None) -> Row:
    line = _line(found)
    return {
        "detector": found.detector,
        "color": color(found.detector, palette),
        "label": found.label,
        "score": line["score"],
        "clock": line["clock"],
        "time": line["time"],
        "text": shorten(line["text"], 200),
        "why": shorten(found.evidence or "", 300),
        "model": short(found.model),
        "box": box,
    }
