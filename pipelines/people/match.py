"""Names of enrolled people for stored faces, by their stored vectors; no file is fetched or decoded."""

import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any
from uuid import uuid4

import pyarrow as pa

from cluster.records import Detection, Finding
from cluster.results import codec, layout
from cluster.results import files as results_files
from cluster.results.codec import SCHEMA, detection_row
from cluster.results.newest import newest_rows
from deployments.galleries.watchlist import FACE, WatchList

DETECTOR = "face"
ROWS_A_FILE = 2000
_OF_ROW = [name for name in SCHEMA.names if name not in ("detections", "thumbnail")]
FACES = [
    f"detections.list.element.{name}"
    for name in ("detector", "model", "label", "score", "box", "time_s", "evidence", "propagated", "vectors")
]

Row = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Answer:
    """The newest answer of the detector face for a file or segment: the row without detections, and its findings."""

    row: Row
    model: str
    found: list[Finding]


@dataclass(slots=True)
class Matched:
    """What a match changed."""

    files: int = 0  # whose hits have changed
    hits: Counter[str] = field(default_factory=Counter)  # number of files by name, of all that were compared
    other: int = 0  # files with vectors of another model, which cannot be compared


def current(
    out: str, s3_endpoint: str | None = None, wanted: Callable[[str], bool] = lambda uri: True
) -> Iterator[Answer]:
    """The newest answer for each segment of each file's newest content, of the files whose URI is wanted."""
    for table in newest_rows(out, [*_OF_ROW, *FACES], s3_endpoint, DETECTOR, wanted=wanted):
        for row, found in zip(table.select(_OF_ROW).to_pylist(), codec.findings(table, DETECTOR), strict=True):
            yield Answer(row, row["model_versions"][0]["model"], found)


def match(out: str, watch: WatchList, model: str, s3_endpoint: str | None = None) -> Matched:
    """Compare every stored face of that model with the watch list; where the names change, a new row is stored.

    The new row has the stored faces and their hits, as a scan would give them. Its sequence is that of the row which it
    replaces plus one: newer than that row, older than the rows of every later attempt at a job. The URIs of counted
    files are kept in memory.
    """
    changed, hits, other = set[str](), set[tuple[str, str]](), set[str]()
    rows, units, job = [], 0, f"people-{time.strftime('%Y%m%d-%H%M%S')}-{uuid4().hex[:6]}"
    place = layout.job_folder(out, job)
    for answer in current(out, s3_endpoint):
        uri = answer.row["uri"]
        if answer.model != model:
            other.add(uri)
            continue
        found = named(answer.found, watch)
        hits |= {(finding.detection.label, uri) for finding in found if finding.detection.label != FACE}
        if [_identity(finding) for finding in found] == [_identity(finding) for finding in answer.found]:
            continue
        changed.add(uri)
        rows.append(
            answer.row
            | {
                "unit_id": units,
                "job": job,
                "detections": [detection_row(finding) for finding in found],
                "usage": [],
                "sequence": answer.row["sequence"] + 1,
            }
        )
        units += 1
        if len(rows) == ROWS_A_FILE:
            _commit(rows, f"{place}/{units}.parquet", s3_endpoint)
            rows = []
    if rows:
        _commit(rows, f"{place}/{units}.parquet", s3_endpoint)
    return Matched(len(changed), Counter(name for name, _ in hits), len(other))


def named(found: list[Finding], watch: WatchList) -> list[Finding]:
    """The faces, each followed by its hit. A propagated face keeps the hit of the frame that was analysed."""
    faces = [finding for finding in found if finding.detection.label == FACE]
    hits = watch.hits([face.detection for face in faces])
    before: dict[object, Detection | None] = {}
    result: list[Finding] = []
    for face, hit in zip(faces, hits, strict=True):
        if face.propagated and (was := before.get(face.detection.box)):
            hit = Detection(was.label, was.score, was.box, face.detection.time_s, evidence=was.evidence)
        elif not face.propagated:
            before[face.detection.box] = hit
        result.append(face)
        if hit:
            result.append(Finding(DETECTOR, face.model, hit, face.propagated))
    return result


def _identity(finding: Finding) -> tuple[object, ...]:
    return finding.detection.label, finding.detection.box, finding.detection.time_s, finding.detection.evidence


def _commit(rows: list[Row], file: str, s3_endpoint: str | None) -> None:
    import pyarrow.parquet as pq

    files, path = results_files.sink(file, s3_endpoint)
    files.create_dir(path.rpartition("/")[0], recursive=True)
    pq.write_table(pa.Table.from_pylist(rows, schema=SCHEMA), path, filesystem=files)


def of(name: str, found: list[Finding]) -> list[Finding]:
    """The faces with vectors that have a hit of this name."""
    theirs = {_place(finding) for finding in found if finding.detection.label == name}
    return [
        finding
        for finding in found
        if finding.detection.label == FACE and finding.detection.vectors and _place(finding) in theirs
    ]


def _place(finding: Finding) -> tuple[object, ...]:
    return finding.detection.box, finding.detection.time_s
