"""A recording in time: lanes of its detections, moments at which something new is there, lines of speech and text."""

from collections.abc import Iterable, Iterator, Sequence
from typing import TypedDict

from app.draw import CUE, color, shorten
from cluster.api_types import Detection
from cluster.filters.wording import clock

MAX_GAP_S = 1.6  # frames of the same thing with smaller gaps are joined
ALIKE = 0.05  # and at most this difference of their scores, so that a threshold can cut where the score falls
AWAY_S = 10.0  # what has been away for so long is new again
_MAX_MARKS = 400  # a lane is a few hundred pixels wide
_MAX_LANES = 100  # of a detector: text that is misread in each frame makes a lane for each
_MAX_MOMENTS = 300


class Mark(TypedDict):
    """An interval of a lane, in seconds, and its highest score."""

    start: float
    end: float
    score: float


class Lane(TypedDict):
    """When one thing was found: a label of a detector, or one text that was read. `left_out`: the detector's others."""

    detector: str
    color: str
    text: str
    marks: list[Mark]
    left_out: int


class Thing(TypedDict):
    """What is new at a moment, with its highest score while it stays."""

    detector: str
    color: str
    text: str
    score: float


class Moment(TypedDict):
    """A time in seconds, and what was not there in the AWAY_S before it."""

    time: float
    clock: str
    things: list[Thing]


class Line(TypedDict):
    """A line of speech or text. `time`: where a click jumps to, in seconds; None in a still image."""

    time: float | None
    clock: str
    text: str
    detector: str
    score: float


def start_of(detection: Detection) -> float:
    """When a detection begins, in seconds; 0 in a still image."""
    return detection.span[0] if detection.span else detection.time_s or 0.0


def lanes(detections: Iterable[Detection], palette: dict[str, str]) -> list[Lane]:
    """A lane for each label of a detector and each text that was read, by detector and by first appearance."""
    found: dict[tuple[str, str], list[Detection]] = {}
    for detection in _timed(detections):
        found.setdefault((detection.detector, _key(detection)), []).append(detection)
    by_detector: dict[str, list[list[Detection]]] = {}
    for (detector, _), same in found.items():
        by_detector.setdefault(detector, []).append(same)
    return [
        {
            "detector": detector,
            "color": color(detector, palette),
            "text": shorten(_what(same[0]), 80),
            "marks": _marks(same),
            "left_out": max(0, len(things) - _MAX_LANES),
        }
        for detector, things in sorted(by_detector.items())
        for same in _longest(things)
    ]


def moments(detections: Iterable[Detection], palette: dict[str, str]) -> list[Moment]:
    """The times at which something is there that was away, in order; what appears within a second is one moment."""
    shown: list[Moment] = []
    last_seen: dict[tuple[str, str], tuple[float, Thing]] = {}
    for detection in _timed(detections):
        begin, key = start_of(detection), (detection.detector, _key(detection))
        end = detection.span[1] if detection.span else begin
        before = last_seen.get(key)
        if before is not None and begin - before[0] <= AWAY_S:
            before[1]["score"] = max(before[1]["score"], detection.score)
            last_seen[key] = max(before[0], end), before[1]
            continue
        text = detection.text if detection.span and detection.text else _what(detection)
        thing: Thing = {
            "detector": detection.detector,
            "color": color(detection.detector, palette),
            "text": shorten(text, 80),
            "score": detection.score,
        }
        last_seen[key] = end, thing
        if not shown or begin - shown[-1]["time"] >= 1.0:
            shown.append({"time": begin, "clock": clock(begin), "things": []})
        shown[-1]["things"].append(thing)
    return shown[:_MAX_MOMENTS]


def said(detections: Iterable[Detection]) -> list[Line]:
    """Lines of speech, in order of time."""
    return [_line(detection) for detection in sorted(_with_text(detections), key=start_of) if detection.span]


def read(detections: Iterable[Detection]) -> list[Line]:
    """Lines of text in images, in order of time. One that stays on the screen is listed once, with its best score."""
    lines: list[Line] = []
    seen: dict[str, tuple[float, Line]] = {}
    for detection in sorted(_with_text(detections), key=start_of):
        if detection.span is not None:
            continue
        text, begin = detection.text or "", start_of(detection)
        before = seen.get(text)
        if detection.time_s is None or before is None or begin - before[0] > MAX_GAP_S:
            lines.append(_line(detection))
            seen[text] = begin, lines[-1]
        else:
            before[1]["score"] = max(before[1]["score"], detection.score)
            seen[text] = begin, before[1]
    return lines


def _line(detection: Detection) -> Line:
    time = None if detection.span is None and detection.time_s is None else start_of(detection)
    return {
        "time": time,
        "clock": clock(time),
        "text": detection.text or "",
        "detector": detection.detector,
        "score": detection.score,
    }


def _with_text(detections: Iterable[Detection]) -> Iterator[Detection]:
    """Detections with text, without cues, whose text quotes another detection."""
    return (detection for detection in detections if detection.text and not detection.label.startswith(CUE))


def _timed(detections: Iterable[Detection]) -> list[Detection]:
    """The detections that have a time, in its order."""
    timed = (detection for detection in detections if detection.span is not None or detection.time_s is not None)
    return sorted(timed, key=start_of)


def _what(detection: Detection) -> str:
    """How a thing is called: a text that was read by itself, everything else by its label."""
    is_text = detection.text and detection.span is None and not detection.label.startswith(CUE)
    return detection.text or "" if is_text else detection.label


def _key(detection: Detection) -> str:
    return " ".join(_what(detection).casefold().split())


def _longest(things: list[list[Detection]]) -> list[list[Detection]]:
    """The _MAX_LANES things that were found most often, in their order."""
    kept = sorted(range(len(things)), key=lambda place: -len(things[place]))[:_MAX_LANES]
    return [things[place] for place in sorted(kept)]


def _marks(same: Sequence[Detection]) -> list[Mark]:
    """The marks of one thing: each stretch of speech, and joined frames; _MAX_MARKS at most."""
    spans: list[Mark] = [
        {"start": found.span[0], "end": found.span[1], "score": found.score} for found in same if found.span
    ]
    best: dict[float, float] = {}  # of the things with one name in a frame
    for found in same:
        if found.span is None:
            time = start_of(found)
            best[time] = max(best.get(time, 0.0), found.score)
    for alike in (ALIKE, 3 * ALIKE, 1.0):  # coarser, if there are too many
        marks = sorted([*spans, *_joined(best, alike)], key=lambda mark: mark["start"])
        if len(marks) <= _MAX_MARKS:
            return marks
    return [marks[place * len(marks) // _MAX_MARKS] for place in range(_MAX_MARKS)]


def _joined(best: dict[float, float], alike: float) -> Iterator[Mark]:
    """Frames at most MAX_GAP_S apart with scores at most `alike` apart, joined. `best`: time -> score, in order."""
    mark: Mark | None = None
    lowest = 0.0
    for time, score in best.items():
        if mark is not None and time - mark["end"] <= MAX_GAP_S:
            if max(score, mark["score"]) - min(score, lowest) <= alike:
                mark["end"], mark["score"], lowest = time, max(score, mark["score"]), min(score, lowest)
                continue
            mark["end"] = time  # it lasts until the next one begins
        if mark is not None:
            yield mark
        mark, lowest = {"start": time, "end": time, "score": score}, score
    if mark is not None:
        yield mark
