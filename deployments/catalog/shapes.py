"""Rows of the catalogue's tables as the JSON objects of the API and of exports."""

from collections.abc import Sequence
from itertools import groupby
from typing import Any

import pyarrow as pa

from cluster.decisions.api_types import Decision
from cluster.records import Result
from cluster.results.codec import SCHEMA, to_row

Json = dict[str, Any]

_UPLOAD = pa.schema(
    [SCHEMA.field(name) for name in ("uri", "sha256", "kind", "width", "height", "duration_s", "detections", "errors")]
)

_DECISION = {"label", "tags", "note", "who", "at"}  # of a decision in an export


def rounded(value: float | None, digits: int) -> float | None:
    """The value rounded to so many decimal digits; None stays None."""
    return None if value is None else round(value, digits)


def rounded_all(values: Sequence[float] | None, digits: int) -> list[float] | None:
    """Each value rounded to so many decimal digits; None stays None."""
    return None if values is None else [round(value, digits) for value in values]


def as_detection(row: Json) -> Json:
    """A detection of an export: box as fractions of the frame (left, top, right, bottom), times in seconds."""
    return {
        "detector": row["detector"],
        "model": row["model"],
        "label": row["label"],
        "score": rounded(row["score"], 4),
        "box": rounded_all(row["box"], 4),
        "time_s": rounded(row["time_s"], 3),
        "span": rounded_all(row["span"], 3),
        "text": row["text"],
    }


def as_finding(row: Json) -> Json:
    """A detection with `evidence` (why it was made) and `carried` (taken over from a frame like this one)."""
    return {**as_detection(row), "evidence": row["evidence"], "carried": row["propagated"]}


def as_item(row: Json, labels: list[Json], boxes: list[Json]) -> Json:
    """A file of a page, from its row of ITEMS, its best labels (LABELS) and, of an image, its best boxes (BOXES)."""
    return {
        "id": row["id"].hex,
        **{key: row[key] for key in ("uri", "name", "kind", "parent", "width", "height")},
        "duration_s": rounded(row["duration_s"], 3),
        "segments": None if row["segments"] is None else {"done": row["segments_done"], "of": row["segments"]},
        "analyzed_at": row["analyzed_at"].isoformat(timespec="milliseconds") + "Z",
        "has_thumbnail": row["has_thumbnail"],
        "bytes": row["size"],
        **{key: row[key] for key in ("job", "decision")},
        "score": rounded(row["score"], 4),
        "labels": [
            {**{key: label[key] for key in ("detector", "label", "count")}, "score": round(label["score"], 4)}
            for label in labels
        ],
        "boxes": [
            {
                "detector": box["detector"],
                "label": box["label"],
                "score": round(box["score"], 4),
                "box": rounded_all(box["box"], 4),
            }
            for box in boxes
        ],
        "errors": row["errors"],
    }


def as_line(rows: list[Json], decision: Decision | None) -> Json:
    """A line of an export, from a file's rows of LINES: one row a detection, or one row without a detector."""
    first = rows[0]
    return {
        **{key: first[key] for key in ("uri", "parent", "sha256", "kind", "width", "height")},
        "duration_s": rounded(first["duration_s"], 3),
        "detections": [as_detection(row) for row in rows if row["detector"] is not None],
        "errors": first["errors"],
        "decision": decision and decision.model_dump(mode="json", include=_DECISION),
    }


def as_upload(result: Result) -> Json:
    """The result of an uploaded file, which is not stored: a line of an export whose detections have their evidence."""
    # by way of the stored row, so that its figures are rounded as a scan's are
    (row,) = pa.Table.from_pylist([to_row(result, 0, "", 0)], schema=_UPLOAD).to_pylist()
    return {
        **{key: row[key] for key in ("uri", "sha256", "kind", "width", "height")},
        "duration_s": rounded(row["duration_s"], 3),
        "detections": [as_finding(detection) for detection in row["detections"]],
        "errors": row["errors"],
    }


def as_summary(files: int, failed: list[Json], tallies: list[Json], examples: dict[str, str]) -> Json:
    """The summary of a job, from TALLIES (a row a label, and one without a label for the whole detector)."""
    labels: dict[str, list[Json]] = {}
    for row in tallies:
        if row["label"] is not None:
            labels.setdefault(row["detector"], []).append({"label": row["label"], "files": row["files"]})
    detectors = [
        {
            "detector": row["detector"],
            "files": row["files"],
            "detections": row["detections"],
            "top_labels": labels.get(row["detector"], [])[:5],
            "example": examples.get(row["detector"]),
        }
        for row in tallies
        if row["label"] is None
    ]
    return {"files": files, "failed": failed, "detectors": detectors}


def by_asset(rows: list[Json]) -> dict[int, list[Json]]:
    """Rows sorted by asset, grouped: asset number -> its rows."""
    return {asset: list(group) for asset, group in groupby(rows, key=lambda row: row["asset"])}
