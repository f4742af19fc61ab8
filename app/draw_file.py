"""Convert the API's response for one file to the viewer's data: timelines, lines, tables. Pure functions."""

import re
from collections.abc import Iterable, Mapping
from typing import TypedDict
from urllib.parse import unquote

from app.draw import CUE, CUES, DrawnBox, color, drawn, failures, picture, ratio, shorten
from app.language.formats import moment
from app.language.texts import _
from app.viewing import timeline
from app.viewing.timeline import Lane, Line, Moment
from cluster.access.rules import EXPLICIT
from cluster.api_types import Detection, File, Upload
from cluster.filters.wording import clock
from cluster.records import asset_id

_MAX_ROWS = 300
_MAX_BOXES = 2000


class Row(TypedDict):
    """A row of the table of detections."""

    detector: str
    color: str
    label: str
    score: float
    clock: str
    time: float | None
    text: str
    why: str
    model: str
    box: int | None  # index into the boxes


class Found(TypedDict):
    """A detector's findings. `scores`: their number by score in hundredths; `floor`: what it keeps today."""

    detector: str
    color: str
    count: int
    scores: dict[str, int]
    floor: float


class Opening(TypedDict, total=False):
    """How a file was opened: at a time in seconds, for words that are marked; `play`: to hear it at once."""

    start: float | None
    words: str
    play: bool


class Viewer(TypedDict):
    """One file as the viewer's script draws it. `seconds`: its length; `asset`: its id; empty if there is no original.

    `start`, `words`, `play`: as of Opening.
    """

    key: str
    asset: str
    name: str
    kind: str
    source: str
    poster: str
    ratio: float | None
    seconds: float
    start: float | None
    words: str
    play: bool
    legend: list[Found]
    boxes: list[DrawnBox]
    lanes: list[Lane]
    moments: list[Moment]
    said: list[Line]
    read: list[Line]
    rows: list[Row]
    rows_left_out: int
    facts: list[list[str]]
    notes: list[str]
    errors: list[str]


def viewer(
    file: File | Upload,
    palette: dict[str, str],
    source: str,
    name: str,
    floors: Mapping[str, float] | None = None,
    opening: Opening | None = None,
) -> Viewer:
    """A file as the viewer shows it. `source`: the media's URL; `floors`: detector -> score that it keeps today."""
    detections = file.detections
    moving = file.kind in ("video", "audio")
    boxed = [(detection, detection.box) for detection in detections if detection.box][:_MAX_BOXES]
    places = {id(detection): place for place, (detection, _box) in enumerate(boxed)}
    rows = sorted(detections, key=timeline.start_of if moving else lambda detection: -detection.score)
    opened = opening or {}
    return {
        "key": f"{file.id} {file.analyzed_at}" if isinstance(file, File) else file.sha256 or "",
        "asset": file.id if isinstance(file, File) and source else "",
        "name": name,
        "kind": file.kind or "unknown",
        "source": source,
        "poster": picture(file),
        "ratio": ratio(file),
        "seconds": file.duration_s or 0.0,
        "start": opened.get("start"),
        "words": opened.get("words", ""),
        "play": opened.get("play", False) and not may_be_explicit(file),
        "legend": _legend(detections, palette, floors or {}),
        "boxes": [
            drawn(box, _title(detection), detection.score, detection.detector, detection.time_s, palette)
            for detection, box in boxed
        ],
        "lanes": timeline.lanes(detections, palette) if moving else [],
        "moments": timeline.moments(detections, palette) if moving else [],
        "said": timeline.said(detections),
        "read": timeline.read(detections),
        "rows": [_row(detection, palette, places.get(id(detection))) for detection in rows[:_MAX_ROWS]],
        "rows_left_out": max(0, len(rows) - _MAX_ROWS),
        "facts": facts(file),
        "notes": [_(CUES)] if any(detection.label.startswith(CUE) for detection in detections) else [],
        "errors": failures(file.errors),
    }


def may_be_explicit(file: File | Upload) -> bool:
    """Whether nsfw gave a video a score from which it counts as explicit."""
    scores = (detection.score for detection in file.detections if detection.detector == "nsfw")
    return file.kind == "video" and max(scores, default=0.0) >= EXPLICIT


def facts(file: File | Upload) -> list[list[str]]:
    """Pairs of name and value with the metadata of a file; unknown ones are left out."""
    pixels = f"{file.width} x {file.height} px" if file.width and file.height else ""
    models = sorted({f"{detection.detector}: {short(detection.model)}" for detection in file.detections})
    pairs = [
        [_("Address"), file.uri if isinstance(file, File) else ""],
        ["SHA-256", file.sha256 or ""],
        [_("Kind"), _(file.kind or "unknown")],
        [_("Picture"), pixels],
        [_("Length"), clock(file.duration_s)],
        [_("Analysed"), moment(file.analyzed_at, seconds=True) if isinstance(file, File) else ""],
        [_("Models"), "\n".join(models)],
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


def _legend(detections: Iterable[Detection], palette: dict[str, str], floors: Mapping[str, float]) -> list[Found]:
    by_detector: dict[str, dict[str, int]] = {}
    for detection in detections:
        scores = by_detector.setdefault(detection.detector, {})
        score = str(hundredths(detection.score))
        scores[score] = scores.get(score, 0) + 1
    return [
        {
            "detector": name,
            "color": color(name, palette),
            "count": sum(scores.values()),
            "scores": scores,
            "floor": floors.get(name, 0.0),
        }
        for name, scores in sorted(by_detector.items())
    ]


def hundredths(score: float) -> int:
    """A score in hundredths, rounded down: so many are shown at a threshold of as many hundredths."""
    return int(score * 100 + 1e-4)


def _title(detection: Detection) -> str:
    return detection.label if detection.label.startswith(CUE) else detection.text or detection.label


def _row(detection: Detection, palette: dict[str, str], box: int | None) -> Row:
    time = None if detection.span is None and detection.time_s is None else timeline.start_of(detection)
    return {
        "detector": detection.detector,
        "color": color(detection.detector, palette),
        "label": detection.label,
        "score": detection.score,
        "clock": clock(time),
        "time": time,
        "text": shorten(detection.text or "", 200),
        "why": shorten(detection.evidence or "", 300),
        "model": short(detection.model),
        "box": box,
    }
