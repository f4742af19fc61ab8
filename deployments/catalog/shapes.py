"""The catalogue's rows in the shape in which the API and the exports give them."""

from collections.abc import Sequence
from itertools import groupby
from typing import Any

import pyarrow as pa

from cluster.records import Result
from cluster.results.codec import SCHEMA, to_row

Json = dict[str, Any]


def rounded(value: float | None, digits: int) -> float | None:
    return None if value is None else round(value, digits)


def rounded_all(values: Sequence[float] | None, digits: int) -> list[float] | None:
    return None if values is None else [round(value, digits) for value in values]


def as_detection(row: Json) -> Json:
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
    """A detection with what an export leaves out: why it was made, and whether its frame was looked at."""
    return {**as_detection(row), "evidence": row["evidence"], "carried": row["propagated"]}


def as_item(row: Json, labels: list[Json], boxes: list[Json]) -> Json:
    return {
        "id": row["id"].hex,
        **{key: row[key] for key in ("uri", "name", "kind", "width", "height")},
        "duration_s": rounded(row["duration_s"], 3),
        "segments": None if row["segments"] is None else {"done": row["segments_done"], "of": row["segments"]},
        "analyzed_at": row["analyzed_at"].isoformat(timespec="milliseconds") + "Z",
        "has_thumbnail": row["has_thumbnail"],
        "score": rounded(row["score"], 4),
        "labels": [
            {"detector": of["detector"], "label": of["label"], "score": round(of["score"], 4), "count": of["count"]}
            for of in labels
        ],
        "boxes": [
            {
                "detector": of["detector"],
                "label": of["label"],
                "score": round(of["score"], 4),
                "box": rounded_all(of["box"], 4),
            }
            for of in boxes
        ],
        "errors": row["errors"],
    }


def as_line(rows: list[Json]) -> Json:
    """A line of an export, from a file's rows: one a detection, or one with none."""
    first = rows[0]
    return {
        **{key: first[key] for key in ("uri", "sha256", "kind", "width", "height")},
        "duration_s": rounded(first["duration_s"], 3),
        "detections": [as_detection(row) for row in rows if row["detector"] is not None],
        "errors": first["errors"],
    }


def as_upload(result: Result) -> Json:
    """What was found in a file that is not stored, as an export's line says it, and why."""
    # by way of the stored row, so that its figures are rounded as a scan's are
    (row,) = pa.Table.from_pylist([to_row(result, 0, "", 0)], schema=SCHEMA).to_pylist()
    return {
        **{key: row[key] for key in ("uri", "sha256", "kind", "width", "height")},
        "duration_s": rounded(row["duration_s"], 3),
        "detections": [as_finding(found) for found in row["detections"]],
        "errors": row["errors"],
    }


def as_summary(files: int, failed: list[Json], tallies: list[Json], examples: dict[str, str]) -> Json:
    """What a job found, from its tallies: one row a label, and one without a label for the whole detector."""
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
    """Rows that are sorted by asset, apart."""
    return {asset: list(group) for asset, group in groupby(rows, key=lambda row: row["asset"])}
