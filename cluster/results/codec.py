"""The Arrow schema of a stored result, and the conversion of records to rows and of rows to records.

It is the only codec of detections: the catalogue, the cache, the exports, the people commands and the evaluation all
use `detection_row` and `finding`.
"""

from collections.abc import Mapping
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from cluster.records import Detection, Finding, Result, Vector

Row = dict[str, Any]

_DETECTION = pa.struct(
    [
        ("detector", pa.string()),
        ("model", pa.string()),
        ("label", pa.string()),
        ("score", pa.float32()),
        ("box", pa.list_(pa.float32())),
        ("time_s", pa.float64()),
        ("span", pa.list_(pa.float64())),
        ("text", pa.string()),
        ("evidence", pa.string()),
        ("propagated", pa.bool_()),
        ("vectors", pa.list_(pa.struct([("space", pa.string()), ("values", pa.list_(pa.float32()))]))),
    ]
)

_MODEL_VERSION = pa.struct([("detector", pa.string()), ("model", pa.string()), ("floor", pa.float32())])

_USAGE = pa.struct(
    [("detector", pa.string()), ("seconds", pa.float64()), ("gpu_seconds", pa.float64()), ("reused", pa.bool_())]
)

SCHEMA = pa.schema(
    [
        ("unit_id", pa.int64()),  # unique in a job; the key of Ray's checkpoint
        ("job", pa.string()),
        ("sequence", pa.int64()),  # which attempt at a job wrote the row: cluster/results/newest.py
        ("uri", pa.string()),
        ("size", pa.int64()),
        ("etag", pa.string()),
        ("sha256", pa.string()),
        ("kind", pa.string()),
        ("parent", pa.string()),  # of a member: URI of the file that contains it, however deep; null: it is in none
        ("members", pa.int32()),  # of a container that is such a file: how many units lie in it
        # of a long video, one row a segment, numbered from 0; all null where the row is for the whole file
        ("segment", pa.int32()),
        ("segments", pa.int32()),
        ("segment_s", pa.float64()),  # target length of the cut; rows of another length belong to another cut
        ("begin_s", pa.float64()),
        ("end_s", pa.float64()),
        ("width", pa.int32()),
        ("height", pa.int32()),
        ("duration_s", pa.float64()),
        ("frames", pa.int32()),
        ("frames_propagated", pa.int32()),
        ("detections", pa.list_(_DETECTION)),
        ("errors", pa.list_(pa.struct([("step", pa.string()), ("reason", pa.string())]))),
        ("model_versions", pa.list_(_MODEL_VERSION)),
        ("usage", pa.list_(_USAGE)),
        ("thumbnail", pa.binary()),
        ("analyzed_at", pa.timestamp("us", tz="UTC")),  # by the worker's clock: for display, never compared
    ]
)

DETECTIONS = pa.schema(list(_DETECTION))  # the same fields as columns of a table

# Columns that files of earlier versions lack; they are read as null.
OPTIONAL = frozenset({"sequence", "segment", "segments", "segment_s", "begin_s", "end_s", "usage", "parent", "members"})

# Names of version 0.1 -> current ones, of columns and fields of detections. The old ones are read until version 0.3.
RENAMED = {
    "analyzers": "model_versions",
    "spent": "usage",
    "frames_carried": "frames_propagated",
    "carried": "propagated",
}
_FORMER = {current: former for former, current in RENAMED.items()}


def former_name(path: str) -> str:
    """The name that version 0.1 gave a column, or a nested one by its dotted path."""
    return ".".join(_FORMER.get(part, part) for part in path.split("."))


def renamed(rows: pa.Table) -> pa.Table:
    """The table with the current names, and types of SCHEMA where nested fields were added or renamed."""
    rows = rows.rename_columns([RENAMED.get(name, name) for name in rows.column_names])
    for at, name in enumerate(rows.column_names):
        if name == "detections":
            rows = rows.set_column(at, name, _renamed_list(rows[name]))
        elif name == "model_versions":  # older files have no floor: the missing field becomes null
            rows = rows.set_column(at, name, rows[name].cast(SCHEMA.field(name).type))
    return rows


def _renamed_list(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """A column of lists of structs, with the current names of its fields."""
    fields = list(column.type.value_type)
    if not any(field.name in RENAMED for field in fields):
        return column
    struct = pa.struct([field.with_name(RENAMED.get(field.name, field.name)) for field in fields])
    chunks = [
        pa.ListArray.from_arrays(
            chunk.offsets,
            pa.StructArray.from_arrays(chunk.values.flatten(), fields=list(struct)),
            mask=chunk.is_null() if chunk.null_count else None,
        )
        for chunk in column.chunks
    ]
    return pa.chunked_array(chunks, pa.list_(struct))


def to_row(result: Result, unit_id: int, job: str, sequence: int) -> Row:
    """The row of SCHEMA for a result. `sequence` is the number of the attempt (attempts.begin)."""
    segment = result.segment
    return {
        "unit_id": unit_id,
        "job": job,
        "sequence": sequence,
        "uri": result.item.uri,
        "size": result.item.size,
        "etag": result.item.etag,
        "sha256": result.sha256,
        "kind": result.item.kind,
        "parent": result.item.parent,
        "members": result.members,
        "segment": segment.n if segment else None,
        "segments": segment.of if segment else None,
        "segment_s": segment.length_s if segment else None,
        "begin_s": segment.begin_s if segment else None,
        "end_s": segment.end_s if segment else None,
        "width": result.width,
        "height": result.height,
        "duration_s": result.duration_s,
        "frames": result.frames,
        "frames_propagated": result.frames_propagated,
        "detections": [detection_row(finding) for finding in result.findings],
        "errors": [{"step": failure.step, "reason": failure.reason} for failure in result.failures],
        "model_versions": [asdict(model_version) for model_version in result.model_versions],
        "usage": [asdict(usage) for usage in result.usage],
        "thumbnail": result.thumbnail,
        "analyzed_at": datetime.now(UTC),
    }


def detection_row(finding: Finding) -> Row:
    """The struct that SCHEMA nests under `detections`."""
    detection = finding.detection
    return {
        "detector": finding.detector,
        "model": finding.model,
        "label": detection.label,
        "score": detection.score,
        "box": None if detection.box is None else list(detection.box),
        "time_s": detection.time_s,
        "span": None if detection.span is None else list(detection.span),
        "text": detection.text,
        "evidence": detection.evidence,
        "propagated": finding.propagated,
        "vectors": [{"space": vector.space, "values": list(vector.values)} for vector in detection.vectors],
    }


def finding(row: Mapping[str, Any]) -> Finding:
    """The record of a `detection_row` struct. Fields that it lacks (a projection, an older file) are None or empty."""
    box, span = row.get("box"), row.get("span")
    detection = Detection(
        label=row["label"],
        score=row["score"],
        box=None if box is None else (box[0], box[1], box[2], box[3]),
        time_s=row.get("time_s"),
        span=None if span is None else (span[0], span[1]),
        text=row.get("text"),
        evidence=row.get("evidence"),
        vectors=tuple(Vector(vector["space"], tuple(vector["values"])) for vector in row.get("vectors") or ()),
    )
    return Finding(row["detector"], row["model"], detection, bool(row.get("propagated")))


def findings(rows: pa.Table, detector: str | None = None) -> list[list[Finding]]:
    """The detections of each row, or only those of one detector; other detectors' are not decoded."""
    column = rows["detections"].combine_chunks()
    owners = pc.list_parent_indices(column)
    flat = pa.Table.from_struct_array(column.flatten())
    if detector is not None:
        by_detector = pc.equal(flat["detector"], detector)
        owners, flat = owners.filter(by_detector), flat.filter(by_detector)
    of_rows: list[list[Finding]] = [[] for _ in range(len(rows))]
    for owner, row in zip(owners.to_pylist(), flat.to_pylist(), strict=True):
        of_rows[owner].append(finding(row))
    return of_rows
