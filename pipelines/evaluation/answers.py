"""The detectors' answers for given files, from the committed results of a folder."""

from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from cluster.results import files
from cluster.results.newest import KEY, key

COLUMNS = [
    *KEY,
    "uri",
    "etag",
    "segment",
    "segment_s",
    "kind",
    "model_versions",
    "detections",
    "errors",
    "thumbnail",
]


@dataclass
class Answers:
    """Each detector's newest answer for the newest content of one file."""

    kind: str | None = None
    models: dict[str, str] = field(default_factory=dict)  # of the detectors that answered
    detections: dict[str, list[dict[str, Any]]] = field(default_factory=dict)  # by detector, in the order stored
    errors: list[dict[str, str]] = field(default_factory=list)
    thumbnail: bytes | None = None  # JPEG

    def unreadable(self) -> str | None:
        """The reason why the file was not, or not completely, read; None if it was."""
        return next((one["reason"] for one in self.errors if one["step"] in ("fetch", "decode")), None)

    def why_silent(self, detector: str) -> str:
        """The reason why there is no answer of that detector."""
        said = (one["reason"] for one in self.errors if one["step"] == detector)
        return next(said, "the detector did not run: it is disabled, or the scan left it out")


def stored(folder: str, uris: Collection[str], s3_endpoint: str | None = None) -> dict[str, Answers]:
    """The answers for those of the URIs that the results folder has rows for, by URI."""
    wanted = pa.array(list(uris), pa.string())
    rows: list[dict[str, Any]] = []
    for table in files.scan(folder, COLUMNS, s3_endpoint):
        rows += table.filter(pc.is_in(table["uri"], wanted)).to_pylist()
    rows.sort(key=key)
    newest = {row["uri"]: files.content(row["etag"], row["segment_s"]) for row in rows}
    units: dict[tuple[str, int], Answers] = {}  # by file and segment
    for row in rows:
        if files.content(row["etag"], row["segment_s"]) != newest[row["uri"]]:
            continue
        answers = units.setdefault((row["uri"], row["segment"] or 0), Answers())
        answers.kind, answers.thumbnail = row["kind"] or answers.kind, row["thumbnail"] or answers.thumbnail
        answers.errors = row["errors"] or []
        for model_version in row["model_versions"] or ():
            name = model_version["detector"]
            answers.models[name] = model_version["model"]
            answers.detections[name] = [one for one in row["detections"] or () if one["detector"] == name]
    found: dict[str, Answers] = {}
    for uri, segment in sorted(units):
        _add(units[uri, segment], found.setdefault(uri, Answers()))
    return found


def _add(segment: Answers, to: Answers) -> None:
    to.kind, to.thumbnail = to.kind or segment.kind, to.thumbnail or segment.thumbnail
    to.errors += [error for error in segment.errors if error not in to.errors]
    to.models |= segment.models
    for name, found in segment.detections.items():
        to.detections.setdefault(name, []).extend(found)
