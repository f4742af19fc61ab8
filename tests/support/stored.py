"""Write result files for tests in the format that jobs commit."""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from cluster.records import Detection, Failure, Finding, MediaItem, ModelVersion, Result, Segment
from cluster.results import codec
from cluster.results.codec import SCHEMA, to_row

NOON = datetime(2026, 11, 22, 12, tzinfo=UTC)


def found(detector: str, label: str, score: float, model: str = "m1", **more: Any) -> Finding:
    """A finding of a detector; `more` are fields of its Detection."""
    return Finding(detector, model, Detection(label, score, **more))


def row(uri: str, *findings: Finding, job: str = "job", unit: int = 0, minutes: int = 0, **more: Any) -> dict[str, Any]:
    """A row of results. Detectors with a finding count as answered; `answered` names further ones.

    `minutes` is the time of the job's attempt and of the worker's clock, after NOON; `clock_ahead`, in minutes, moves
    only the worker's clock. `segment=(n, count, length_s)` makes it the row of a segment.
    """
    ahead = timedelta(minutes=more.pop("clock_ahead", 0))
    began = NOON + timedelta(minutes=minutes)
    answered = {finding.detector: finding.model for finding in findings}
    answered |= dict.fromkeys(more.pop("answered", ()), "m1")
    item = MediaItem(uri, 10, more.pop("etag", "e1"), more.pop("kind", "image"), more.pop("parent", None))
    failures = tuple(Failure(*failure) for failure in more.pop("failures", ()))
    model_versions = tuple(ModelVersion(*pair) for pair in answered.items())
    if part := more.pop("segment", None):
        more["segment"] = cut(*part)
    result = Result(item, findings=findings, failures=failures, model_versions=model_versions, **more)
    return to_row(result, unit, job, round(began.timestamp() * 1e6)) | {"analyzed_at": began + ahead}


def cut(n: int, count: int, length_s: float) -> Segment:
    """Segment n of `count` of a video with 25 frames per second, each of them a key frame."""
    begin, end = n * length_s, (n + 1) * length_s if n + 1 < count else None
    return Segment(n, count, length_s, begin, end, begin - 0.04 if n else None, begin, end)


def commit(folder: Path, name: str, *rows: dict[str, Any]) -> str:
    """Write the rows as one committed Parquet file; returns its URI."""
    folder.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.Table.from_pylist(list(rows), schema=SCHEMA), folder / name)
    return (folder / name).as_uri()


NEVER_WRITTEN = {"segment", "segments", "segment_s", "begin_s", "end_s", "usage", "sequence", "parent", "members"}


def aged(folder: Path, name: str) -> None:
    """Rewrite a committed file with the column names of version 0.1, without the columns that came later."""
    schema = pa.schema([_former(field) for field in SCHEMA if field.name not in NEVER_WRITTEN])
    rows = [_renamed(row) for row in pq.read_table(folder / name).to_pylist()]
    pq.write_table(pa.Table.from_pylist(rows, schema), folder / name)


def _former(field: pa.Field) -> pa.Field:
    return pa.field(codec.former_name(field.name), _former_type(field.type))


def _former_type(kind: pa.DataType) -> pa.DataType:
    if pa.types.is_list(kind):
        return pa.list_(_former_type(kind.value_type))
    if pa.types.is_struct(kind):
        return pa.struct([_former(field) for field in kind if field.name != "floor"])
    return kind


def _renamed(value: Any) -> Any:
    """A value with the former names of columns and fields, at all levels."""
    if isinstance(value, dict):
        return {codec.former_name(name): _renamed(part) for name, part in value.items()}
    return [_renamed(part) for part in value] if isinstance(value, list) else value
