"""Files of the fake API with their detections, and the same as rows of results."""

import hashlib
from collections.abc import Sequence
from typing import Any

from cluster.api_types import Detection, Failure, File
from cluster.records import Vector, asset_id
from tests.support.fakes.vectors import of_person
from tests.support.stored import found, row

HOSTILE_NAME = '<img src=x onerror="window.hacked=1">[click](javascript:alert(1)).jpg'
HOSTILE_LINE = '<img src=x onerror="window.hacked=2"> **bold** [link](https://evil.example) :red[x] $y$'
MODELS = {"clip": "SigLIP", "face": "Dlib", "nsfw": "OpenNSFW", "ocr": "RapidOCR", "whisper": "whisper base"}
FLOOR = 0.25  # of all of them
FOLDER = "s3://evidence/case 7"


def detection(detector: str, label: str, score: float, **fields: Any) -> Detection:
    """A detection with the detector's model from MODELS."""
    return Detection(detector=detector, model=MODELS[detector], label=label, score=score, **fields)


def file(name: str, kind: str | None, detections: Sequence[Detection] = (), **fields: Any) -> File:
    """A file of FOLDER; `fields` override the defaults."""
    uri = f"{FOLDER}/{name}"
    defaults = {
        "id": asset_id(uri),
        "uri": uri,
        "name": name,
        "kind": kind,
        "sha256": hashlib.sha256(name.encode()).hexdigest(),
        "width": None,
        "height": None,
        "duration_s": None,
        "analyzed_at": "2026-11-22T10:00:00.000Z",
        "has_thumbnail": kind in ("image", "video"),
        "score": None,
        "labels": [],
        "boxes": [],
        "detections": list(detections),
        "errors": [],
    }
    return File(**defaults | fields)


def picture(place: int) -> File:
    """An image whose size and detections depend on its number, `place`."""
    width, height = ((640, 480), (480, 640), (800, 450))[place % 3]
    detections = [detection("clip", ("street", "beach", "indoor scene")[place % 3], 0.3 + place % 7 / 20)]
    if place % 2:
        detections.append(detection("face", "face", 0.99 - place / 200, box=(0.2, 0.15, 0.48, 0.6)))
    if place % 3 == 0:
        detections.append(detection("ocr", "text", 0.9, box=(0.1, 0.72, 0.9, 0.84), text=f"Exit {place} north"))
    if place % 5 == 0:
        detections.append(detection("nsfw", "nsfw", 0.55 + place % 9 / 20))
    return file(f"IMG_{place:04}.jpg", "image", detections, width=width, height=height)


def files() -> list[File]:
    """70 images, one with hostile name and text, three videos, four recordings and two broken files, newest first."""
    evil_uri = f"s3://evidence/{HOSTILE_NAME}"
    evil_line = detection("ocr", "text", 0.97, box=(0.1, 0.5, 0.9, 0.6), text=HOSTILE_LINE)
    evil = file(HOSTILE_NAME, "image", [evil_line], uri=evil_uri, id=asset_id(evil_uri), width=480, height=640)
    frames = [
        detection("face", "face", 0.9, box=(0.1 + t / 20, 0.3, 0.3 + t / 20, 0.7), time_s=float(t)) for t in range(8)
    ]
    lines = ["we are live from the harbour", "the ship leaves at noon", HOSTILE_LINE]
    speech = [detection("whisper", "en", 0.93, span=(2.0 * n + 1, 2.0 * n + 2.5), text=t) for n, t in enumerate(lines)]
    shown = [
        detection("ocr", "text", 0.88, box=(0.1, 0.8, 0.6, 0.9), time_s=t, text="BREAKING NEWS") for t in (5.0, 6.0)
    ]
    film = {"width": 320, "height": 240, "duration_s": 12.0}
    videos = [file(f"clip_{n}.mp4", "video", [*frames, *shown, *speech], **film) for n in range(3)]
    sounds = [file(f"call_{n}.wav", "audio", speech, duration_s=8.0) for n in range(4)]
    torn, refused = Failure(step="decode", reason="the file ends early"), "the bucket refused access"
    broken = [
        file("truncated.jpg", "image", has_thumbnail=False, errors=[torn]),
        file("gone.mp4", "video", has_thumbnail=False, errors=[Failure(step="fetch", reason=refused)]),
    ]
    return [evil, *videos, *broken, *sounds, *(picture(place) for place in range(70))]


def as_row(file: File, place: int, job: str) -> dict[str, Any]:
    """The row of results of a file. File number `place` was analysed `place` minutes before NOON.

    The faces of a file are of one of five people, by its number, and each has a vector.
    """
    vectors = (Vector("faces", of_person(place % 5 * 10, place)),)
    findings = [
        found(
            detection.detector,
            detection.label,
            detection.score,
            detection.model,
            box=detection.box,
            time_s=detection.time_s,
            span=detection.span,
            text=detection.text,
            evidence=detection.evidence,
            vectors=vectors if detection.detector == "face" else (),
        )
        for detection in file.detections
    ]
    return row(
        file.uri,
        *findings,
        job=job,
        unit=place,
        minutes=-place,
        kind=file.kind,
        sha256=file.sha256,
        width=file.width,
        height=file.height,
        duration_s=file.duration_s,
        failures=[(failure.step, failure.reason) for failure in file.errors],
        thumbnail=b"drawn when it is requested" if file.has_thumbnail else None,
    )
