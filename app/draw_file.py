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
    for detection in sorted(detections, key=_start):
        if detection.span is None and detection.time_s is None:
            continue
        what = (detection.detector, detection.label)
        start = _start(detection)
        end = detection.span[1] if detection.span else start
        mark = latest.get(what)
        if mark is not None and detection.span is None and start - mark["end"] <= _JOIN_S:
            mark["end"] = max(mark["end"], end)
            mark["score"] = max(mark["score"], detection.score)
        else:
            mark = {"start": start, "end": end, "label": detection.label, "score": detection.score}
            latest[what] = mark
            by_detector.setdefault(detection.detector, []).append(mark)
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
    heard = [detection for detection in _worded(detections) if detection.span is not None]
    return [_line(detection) for detection in sorted(heard, key=_start)]


def read(detections: Iterable[Detection]) -> list[Line]:
    """What was read in pictures: in order of time and place; a line that stays on the screen is listed once."""
    lines: list[Line] = []
    seen: dict[str, float] = {}
    written = [detection for detection in _worded(detections) if detection.span is None]
    for detection in sorted(written, key=_start):
        text, start = detection.text or "", _start(detection)
        if detection.time_s is None or start - seen.get(text, -1e9) > _JOIN_S:
            lines.append(_line(detection))
        seen[text] = start
    return lines


def _worded(detections: Iterable[Detection]) -> list[Detection]:
    """Those with words of their own; a cue only quotes what somebody else has read or heard."""
    return [detection for detection in detections if detection.text and not detection.label.startswith(CUE)]


def viewer(file: File | Upload, palette: dict[str, str], source: str, name: str, start: float | None = None) -> Viewer:
    """A file as the viewer shows it. Source is where the browser gets it; start is the time to begin at."""
    detections = file.detections
    moving = file.kind in ("video", "audio")
    counts: dict[str, int] = {}
    for detection in detections:
        counts[detection.detector] = counts.get(detection.detector, 0) + 1
    boxed = [(detection, detection.box) for detection in detections if detection.box][:_MOST_BOXES]
    places = {id(detection): place for place, (detection, _) in enumerate(boxed)}
    rows = sorted(detections, key=_start if moving else lambda detection: -detection.score)
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
        "boxes": [
            drawn(box, _title(detection), detection.score, detection.detector, detection.time_s, palette)
            for detection, box in boxed
        ],
        "lanes": lanes(detections, palette) if moving else [],
        "said": said(detections),
        "read": read(detections),
        "rows": [_row(detection, palette, places.get(id(detection))) for detection in rows[:_MOST_ROWS]],
        "rows_left_out": max(0, len(rows) - _MOST_ROWS),
        "facts": facts(file),
        "notes": [CUES] if any(detection.label.startswith(CUE) for detection in detections) else [],
        "errors": failures(file.errors),
    }


def facts(file: File | Upload) -> list[list[str]]:
    """What is known of a file besides what was found in it: name and value."""
    pixels = f"{file.width} x {file.height} px" if file.width and file.height else ""
    models = sorted({f"{detection.detector}: {short(detection.model)}" for detection in file.detections})
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


def _title(detection: Detection) -> str:
    return detection.label if detection.label.startswith(CUE) else detection.text or detection.label


def _start(detection: Detection) -> float:
    return detection.span[0] if detection.span else detection.time_s or 0.0


def _line(detection: Detection) -> Line:
    time = None if detection.span is None and detection.time_s is None else _start(detection)
    return {"time": time, "clock": clock(time), "text": detection.text or "", "score": f"{detection.score:.2f}"}


def _row(detection: Detection, palette: dict[str, str], box: int | None) -> Row:
    line = _line(detection)
    return {
        "detector": detection.detector,
        "color": color(detection.detector, palette),
        "label": detection.label,
        "score": line["score"],
        "clock": line["clock"],
        "time": line["time"],
        "text": shorten(line["text"], 200),
        "why": shorten(detection.evidence or "", 300),
        "model": short(detection.model),
        "box": box,
    }
