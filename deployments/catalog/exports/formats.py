"""The formats of exports: JSON lines, CSV, Parquet, COCO. `raysift export` and GET /v1/export write the same bytes.

An encoder takes the lines of Catalog.some_lines part by part and holds no more than one part in memory.
"""

import csv
import io
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import pyarrow as pa
import pyarrow.parquet as pq

from cluster.records import ExportFormat
from deployments.catalog.exports.coco import Coco
from deployments.catalog.shapes import Json

_FILE = ["uri", "sha256", "kind", "width", "height", "duration_s", "parent"]
_DETECTION = ["detector", "model", "label", "score", "left", "top", "right", "bottom"]
_DETECTION += ["time_s", "start_s", "end_s", "text"]
_DECISION = {
    "decision": "label",
    "decision_tags": "tags",
    "decision_note": "note",
    "decided_by": "who",
    "decided_at": "at",
}

_PARQUET_DETECTION = pa.struct(
    [
        *((name, pa.string()) for name in ("detector", "model", "label")),
        *(("score", pa.float64()), ("box", pa.list_(pa.float64()))),
        *(("time_s", pa.float64()), ("span", pa.list_(pa.float64())), ("text", pa.string())),
    ]
)
_TAGS = ("tags", pa.list_(pa.string()))
_PARQUET_FILE = pa.schema(
    [
        *((name, pa.string()) for name in ("uri", "parent", "sha256", "kind")),
        *(("width", pa.int32()), ("height", pa.int32()), ("duration_s", pa.float64())),
        ("detections", pa.list_(_PARQUET_DETECTION)),
        ("errors", pa.list_(pa.struct([("step", pa.string()), ("reason", pa.string())]))),
        ("decision", pa.struct([(name, pa.string()) for name in ("label", "note", "who", "at")] + [_TAGS])),
    ]
)


class Encoder(Protocol):
    """Writes one export."""

    def add(self, lines: Sequence[Json]) -> bytes:
        """The next bytes of the export, with these files."""

    def end(self) -> Iterator[bytes]:
        """The last bytes of the export, after which nothing may be added."""


class JsonLines:
    """One JSON object a file, on a line of its own."""

    def add(self, lines: Sequence[Json]) -> bytes:
        """As Encoder."""
        return b"".join(json.dumps(line, ensure_ascii=False, separators=(",", ":")).encode() + b"\n" for line in lines)

    def end(self) -> Iterator[bytes]:
        """As Encoder."""
        yield b""


class Csv:
    """One row per detection, or one for a file without any. Texts that look like formulas get an apostrophe."""

    def __init__(self) -> None:
        self._text = io.StringIO(newline="")
        self._rows = csv.DictWriter(self._text, [*_FILE, *_DETECTION, "errors", *_DECISION], lineterminator="\n")
        self._rows.writeheader()

    def add(self, lines: Sequence[Json]) -> bytes:
        """As Encoder."""
        for line in lines:
            of_file = {key: line[key] for key in _FILE}
            of_file["errors"] = "; ".join(f"{error['step']}: {error['reason']}" for error in line["errors"])
            if decision := line["decision"]:
                of_file |= {column: decision[name] for column, name in _DECISION.items()}
                of_file["decision_tags"] = "; ".join(decision["tags"])
            for detection in line["detections"] or [{}]:
                cells = of_file | {key: detection.get(key) for key in _DETECTION}
                cells |= dict(zip(("left", "top", "right", "bottom"), detection.get("box") or (), strict=False))
                cells |= dict(zip(("start_s", "end_s"), detection.get("span") or (), strict=False))
                self._rows.writerow({key: _harmless(value) for key, value in cells.items()})
        return self._written()

    def end(self) -> Iterator[bytes]:
        """As Encoder."""
        yield self._written()  # the header, if nothing was added

    def _written(self) -> bytes:
        written = self._text.getvalue().encode()
        self._text.seek(0)
        self._text.truncate()
        return written


def _harmless(cell: Any) -> Any:
    # text that was read in a hostile picture must not run when the export is opened (OWASP, CSV injection)
    return f"'{cell}" if isinstance(cell, str) and cell.startswith(("=", "+", "-", "@", "\t", "\r")) else cell


class Parquet:
    """One row a file, a row group for each part."""

    def __init__(self) -> None:
        self._sink = _Drained()
        self._writer = pq.ParquetWriter(self._sink, _PARQUET_FILE, compression="zstd")

    def add(self, lines: Sequence[Json]) -> bytes:
        """As Encoder."""
        self._writer.write_table(pa.Table.from_pylist(lines, _PARQUET_FILE))
        return self._sink.drain()

    def end(self) -> Iterator[bytes]:
        """As Encoder."""
        self._writer.close()
        yield self._sink.drain()


class _Drained(io.RawIOBase):
    """A file that keeps what is written to it only until `drain` is called."""

    def __init__(self) -> None:
        super().__init__()
        self._written, self._drained = bytearray(), 0

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        self._written += data
        return len(data)

    def tell(self) -> int:
        return self._drained + len(self._written)

    def drain(self) -> bytes:
        written = bytes(self._written)
        self._drained += len(written)
        self._written.clear()
        return written


@dataclass(frozen=True, slots=True)
class Format:
    """A format: its encoder, the media type, and the end of a file's name."""

    encoder: Callable[[], Encoder]
    media_type: str
    suffix: str


FORMATS: Mapping[ExportFormat, Format] = {
    "jsonl": Format(JsonLines, "application/x-ndjson", "jsonl"),
    "csv": Format(Csv, "text/csv; charset=utf-8", "csv"),
    "parquet": Format(Parquet, "application/vnd.apache.parquet", "parquet"),
    "coco": Format(Coco, "application/json", "coco.json"),
}
