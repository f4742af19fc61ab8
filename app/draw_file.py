"""Convert the API's response for one file to the viewer's data: timelines, lines, tables. Pure functions."""

import re
from collections.abc import Iterable, Sequence
from typing import TypedDict
from urllib.parse import unquote

from app.draw import CUE, CUES, DrawnBox, color, drawn, failures, picture, ratio, shorten
from cluster.api_types import Detection, File, Upload
from cluster.filters.wording import clock
from cluster.records import asset_id

_MAX_GAP_S = 1.6  # detections of a label with smaller gaps are joined to one mark of the timeline
_MAX_MARKS = 400  # a lane is a few hundred pixels wide
_MAX_ROWS = 300
_MAX_BOXES = 2000


class Mark(TypedDict):
    """An interval of a timeline, in seconds."""

    start: float
    end: float
    label: str
    score: float  # the highest in the interval


class Lane(TypedDict):
    """The timeline of one detector."""

    detector: str
    color: str
    marks: list[Mark]


class Line(TypedDict):
    """A line of speech or text. `time`: where a click jumps to, in seconds; None in a still image."""

    time: float | None
    clock: str
    text: str
    score: str


class Row(TypedDict):
    """A row of the table of detections."""

    detector: str
    color: str
    label: str
    score: str
    clock: str
    time: float | None
    text: str
    why: str
    model: str
    box: int | None  # index into the boxes


class Viewer(TypedDict):
    """One file as the viewer's script draws it. `seconds`: its length; `start`: where to begin, in seconds."""

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
    """The timeline of each detector. Frames with the same label at most _MAX_GAP_S apart become one mark."""
    by_detector: dict[str, list[Mark]] = {}
    latest: dict[tuple[str, str], Mark] = {}
    for detection in sorted(detections, key=_start):
        if detection.span is None and detection.time_s is None:
            continue
        what = (detection.detector, detection.label)
        start = _start(detection)
        end = detection.span[1] if detection.span else start
        mark = latest.get(what)
        if mark is not None and detection.span is None and start - mark["end"] <= _MAX_GAP_S:
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
    """At most _MAX_MARKS of the marks, evenly spaced in the list."""
    if len(marks) <= _MAX_MARKS:
        return marks
    return [marks[place * len(marks) // _MAX_MARKS] for place in range(_MAX_MARKS)]


def said(detections: Iterable[Detection]) -> list[Line]:
    """Lines of speech, in order of time."""
    heard = [detection for detection in _with_text(detections) if detection.span is not None]
    return [_line(detection) for detection in sorted(heard, key=_start)]


def read(detections: Iterable[Detection]) -> list[Line]:
    """Lines of text in images, in order of time. A line that stays on the screen is listed once."""
    lines: list[Line] = []
    seen: dict[str, float] = {}
    written = [detection for detection in _with_text(detections) if detection.span is None]
    for detection in sorted(written, key=_start):
        text, start = detection.text or "", _start(detection)
        if detection.time_s is None or start - seen.get(text, -1e9) > _MAX_GAP_S:
            lines.append(_line(detection))
        seen[text] = start
    return lines


def _with_text(detections: Iterable[Detection]) -> list[Detection]:
    """Detections with text, without cues, whose text quotes another detection."""
    return [detection for detection in detections if detection.text and not detection.label.startswith(CUE)]


def viewer(file: File | Upload, palette: dict[str, str], source: str, name: str, start: float | None = None) -> Viewer:
    """A file as the viewer shows it. `source`: the media's URL; `start`: the time to begin at, in seconds."""
    detections = file.detections
    moving = file.kind in ("video", "audio")
    counts: dict[str, int] = {}
    for detection in detections:
        counts[detection.detector] = counts.get(detection.detector, 0) + 1
    boxed = [(detection, detection.box) for detection in detections if detection.box][:_MAX_BOXES]
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
        "rows": [_row(detection, palette, places.get(id(detection))) for detection in rows[:_MAX_ROWS]],
        "rows_left_out": max(0, len(rows) - _MAX_ROWS),
        "facts": facts(file),
        "notes": [CUES] if any(detection.label.startswith(CUE) for detection in detections) else [],
        "errors": failures(file.errors),
    }


def facts(file: File | Upload) -> list[list[str]]:
    """Pairs of name and value with the metadata of a file; unknown ones are left out."""
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


def container(file: File) -> tuple[str, str] | None:
    """Name and id of the archive, document or mail that a file lies in; None: it lies in none."""
    if file.parent is None:
        return None
    uri = file.uri.rpartition("!")[0]
    inside = uri[len(file.parent) :]
    name = unquote(re.split("[/!]", inside)[-1]) if inside else unquote(uri.rpartition("/")[2])
    return name, asset_id(uri)


def short(model: str) -> str:
    """Shorten a model reference: `package:NAME==VERSION/FILE` becomes `NAME VERSION`."""
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
