"""Exports of results: JSON lines (one line per file), CSV (one row per detection) or Parquet (one row per file)."""

import csv
import io
import json
from collections.abc import Callable, Iterator, Mapping
from itertools import islice
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, BinaryIO, Literal

from cluster.errors import SettingsError

Format = Literal["jsonl", "csv", "parquet"]

_FILE = ["uri", "sha256", "kind", "width", "height", "duration_s", "parent"]
_DETECTION = [
    "detector",
    "model",
    "label",
    "score",
    "left",
    "top",
    "right",
    "bottom",
    "time_s",
    "start_s",
    "end_s",
    "text",
]
_ROWS_A_GROUP = 5000


def export(from_uri: str, format: Format, to: BinaryIO, s3_endpoint: str | None = None) -> int:
    """Write each file of a results folder with its newest detections to `to`; returns the number of files.

    Scores and boxes are rounded to 4 digits, times to 3. SettingsError if the folder holds no results.
    """
    # imported only now: the command line takes Format from here
    from deployments.catalog.catalog import Catalog

    with TemporaryDirectory(prefix="raysift-export-") as folder:
        catalog = Catalog(Path(folder) / "catalog.duckdb", thumbnails=False)
        try:
            if not catalog.load_all(from_uri, s3_endpoint):
                raise SettingsError(
                    f"{from_uri} holds no results. Name the folder that a scan stored into (its --out)."
                )
            return WRITERS[format](catalog.lines(), to)
        finally:
            catalog.close()


def _jsonl(lines: Iterator[dict[str, Any]], to: BinaryIO) -> int:
    written = 0
    for line in lines:
        to.write(json.dumps(line, ensure_ascii=False, separators=(",", ":")).encode() + b"\n")
        written += 1
    return written


def _csv(lines: Iterator[dict[str, Any]], to: BinaryIO) -> int:
    """Write one row per detection, or one for a file without any. Texts that look like formulas get an apostrophe."""
    written = 0
    text = io.TextIOWrapper(to, encoding="utf-8", newline="", write_through=True)
    rows = csv.DictWriter(text, [*_FILE, *_DETECTION, "errors"], lineterminator="\n")
    rows.writeheader()
    for line in lines:
        written += 1
        of_file = {key: line[key] for key in _FILE}
        of_file["errors"] = "; ".join(f"{error['step']}: {error['reason']}" for error in line["errors"])
        for detection in line["detections"] or [{}]:
            cells = of_file | {key: detection.get(key) for key in _DETECTION}
            cells |= dict(zip(("left", "top", "right", "bottom"), detection.get("box") or (), strict=False))
            cells |= dict(zip(("start_s", "end_s"), detection.get("span") or (), strict=False))
            rows.writerow({key: _harmless(value) for key, value in cells.items()})
    text.detach()  # or closing the wrapper would close the caller's file
    return written


def _harmless(cell: Any) -> Any:
    # text that was read in a hostile picture must not run when the export is opened (OWASP, CSV injection)
    return f"'{cell}" if isinstance(cell, str) and cell.startswith(("=", "+", "-", "@", "\t", "\r")) else cell


def _parquet(lines: Iterator[dict[str, Any]], to: BinaryIO) -> int:
    import pyarrow as pa
    import pyarrow.parquet as pq

    detection = pa.struct(
        [
            *((name, pa.string()) for name in ("detector", "model", "label")),
            *(("score", pa.float64()), ("box", pa.list_(pa.float64()))),
            *(("time_s", pa.float64()), ("span", pa.list_(pa.float64())), ("text", pa.string())),
        ]
    )
    schema = pa.schema(
        [
            *((name, pa.string()) for name in ("uri", "parent", "sha256", "kind")),
            *(("width", pa.int32()), ("height", pa.int32()), ("duration_s", pa.float64())),
            ("detections", pa.list_(detection)),
            ("errors", pa.list_(pa.struct([("step", pa.string()), ("reason", pa.string())]))),
        ]
    )
    written = 0
    with pq.ParquetWriter(to, schema, compression="zstd") as writer:
        while group := list(islice(lines, _ROWS_A_GROUP)):
            writer.write_table(pa.Table.from_pylist(group, schema))
            written += len(group)
    return written


WRITERS: Mapping[Format, Callable[[Iterator[dict[str, Any]], BinaryIO], int]] = {
    "jsonl": _jsonl,
    "csv": _csv,
    "parquet": _parquet,
}
