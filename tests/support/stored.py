"""Results for tests, written as a job commits them."""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from cluster.records import SCHEMA, Detection, Failure, Finding, MediaItem, ModelVersion, Result, Segment, to_row

NOON = datetime(2026, 11, 22, 12, tzinfo=UTC)


def found(detector: str, label: str, score: float, model: str = "m1", **more: Any) -> Finding:
    return Finding(detector, model, Detection(label, score, **more))


def row(uri: str, *findings: Finding, job: str = "job", unit: int = 0, minutes: int = 0, **more: Any) -> dict[str, Any]:
    """A row of results. Who found something has answered; `answered` names those that found nothing.

    `segment=(n, of, length_s)` makes it that of a segment.
    """
    answered = {finding.detector: finding.model for finding in findings}
    answered |= dict.fromkeys(more.pop("answered", ()), "m1")
    item = MediaItem(uri, 10, more.pop("etag", "e1"), more.pop("kind", "image"))
    failures = tuple(Failure(*failure) for failure in more.pop("failures", ()))
    model_versions = tuple(ModelVersion(*pair) for pair in answered.items())
    if part := more.pop("segment", None):
        more["segment"] = cut(*part)
    result = Result(item, findings=findings, failures=failures, model_versions=model_versions, **more)
    return to_row(result, unit, job) | {"analyzed_at": NOON + timedelta(minutes=minutes)}


def cut(n: int, of: int, length_s: float) -> Segment:
    """A segment of a video all whose pictures are key frames, 25 a second."""
    begin, end = n * length_s, (n + 1) * length_s if n + 1 < of else None
    return Segment(n, of, length_s, begin, end, begin - 0.04 if n else None, begin, end)


def commit(folder: Path, name: str, *rows: dict[str, Any]) -> str:
    """Write the rows as one committed file; its URI."""
    folder.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.Table.from_pylist(list(rows), schema=SCHEMA), folder / name)
    return (folder / name).as_uri()


def aged(folder: Path, name: str) -> None:
    """Write a committed file anew as it was written before there were segments and floors."""
    table = pq.read_table(folder / name)
    model_versions = [
        row and [{"detector": one["detector"], "model": one["model"]} for one in row]
        for row in table["analyzers"].to_pylist()
    ]
    kind = pa.list_(pa.struct([("detector", pa.string()), ("model", pa.string())]))
    table = table.set_column(table.schema.get_field_index("analyzers"), "analyzers", pa.array(model_versions, kind))
    table = table.drop_columns(["segment", "segments", "segment_s", "begin_s", "end_s", "spent"])
    pq.write_table(table, folder / name)
