"""Names of enrolled people for stored faces, by their stored vectors; no file is fetched or decoded."""

import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any
from uuid import uuid4

import pyarrow as pa
import pyarrow.compute as pc

from cluster.records import SCHEMA, Detection, Finding, Vector, detection_row
from cluster.results import files as results_files
from cluster.results.newest import newest_rows
from deployments.galleries.watchlist import FACE, WatchList

DETECTOR = "face"
ROWS_A_FILE = 2000
_OF_ROW = [name for name in SCHEMA.names if name not in ("detections", "thumbnail")]
FACES = [
    f"detections.list.element.{name}"
    for name in ("detector", "model", "label", "score", "box", "time_s", "evidence", "carried", "vectors")
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
        for row, found in zip(table.select(_OF_ROW).to_pylist(), faces_in(table), strict=True):
            yield Answer(row, row["analyzers"][0]["model"], found)


def faces_in(table: pa.Table) -> list[list[Finding]]:
    """The findings of the detector face in each row of a table with the columns FACES."""
    detections = table["detections"].combine_chunks()
    owners = pc.list_parent_indices(detections)
    flat = pa.Table.from_struct_array(detections.flatten())
    mine = pc.equal(flat["detector"], DETECTOR)
    found: list[list[Finding]] = [[] for _ in range(len(table))]
    for owner, row in zip(owners.filter(mine).to_pylist(), flat.filter(mine).to_pylist(), strict=True):
        found[owner].append(_finding(row))
    return found


def _finding(row: Row) -> Finding:
    vectors = tuple(Vector(vector["space"], tuple(vector["values"])) for vector in row["vectors"] or ())
    box = None if row["box"] is None else tuple(row["box"])
    seen = Detection(row["label"], row["score"], box, row["time_s"], evidence=row.get("evidence"), vectors=vectors)
    return Finding(DETECTOR, row["model"], seen, bool(row["carried"]))


def match(out: str, watch: WatchList, model: str, s3_endpoint: str | None = None) -> Matched:
    """Compare every stored face of that model with the watch list; where the names change, a new row is stored.

    The row has the stored faces and their hits, as a scan would give them. Its time is one microsecond after that of
    the row that it replaces, so it is older than any row that a scan has stored since. Memory grows with the number of
    files that are counted.
    """
    changed, hits, other = set[str](), set[tuple[str, str]](), set[str]()
    rows, units, job = [], 0, f"people-{time.strftime('%Y%m%d-%H%M%S')}-{uuid4().hex[:6]}"
    for answer in current(out, s3_endpoint):
        uri = answer.row["uri"]
        if answer.model != model:
            other.add(uri)
            continue
        found = named(answer.found, watch)
        hits |= {(one.detection.label, uri) for one in found if one.detection.label != FACE}
        if [_told(one) for one in found] == [_told(one) for one in answer.found]:
            continue
        changed.add(uri)
        rows.append(
            answer.row
            | {
                "unit_id": units,
                "job": job,
                "detections": [detection_row(one) for one in found],
                "spent": [],
                "analyzed_at": answer.row["analyzed_at"] + timedelta(microseconds=1),
            }
        )
        units += 1
        if len(rows) == ROWS_A_FILE:
            _commit(rows, f"{out}/{job}-{units}.parquet", s3_endpoint)
            rows = []
    if rows:
        _commit(rows, f"{out}/{job}-{units}.parquet", s3_endpoint)
    return Matched(len(changed), Counter(name for name, _ in hits), len(other))


def named(found: list[Finding], watch: WatchList) -> list[Finding]:
    """The faces, each followed by its hit. A propagated face keeps the hit of the frame that was analysed."""
    faces = [one for one in found if one.detection.label == FACE]
    hits = watch.hits([face.detection for face in faces])
    before: dict[object, Detection | None] = {}
    told: list[Finding] = []
    for face, hit in zip(faces, hits, strict=True):
        if face.carried and (was := before.get(face.detection.box)):
            hit = Detection(was.label, was.score, was.box, face.detection.time_s, evidence=was.evidence)
        elif not face.carried:
            before[face.detection.box] = hit
        told.append(face)
        if hit:
            told.append(Finding(DETECTOR, face.model, hit, face.carried))
    return told


def _told(one: Finding) -> tuple[object, ...]:
    return one.detection.label, one.detection.box, one.detection.time_s, one.detection.evidence


def _commit(rows: list[Row], file: str, s3_endpoint: str | None) -> None:
    import pyarrow.parquet as pq

    files, path = results_files.sink(file, s3_endpoint)
    pq.write_table(pa.Table.from_pylist(rows, schema=SCHEMA), path, filesystem=files)


def of(name: str, found: list[Finding]) -> list[Finding]:
    """The faces with vectors that have a hit of this name."""
    theirs = {_place(one) for one in found if one.detection.label == name}
    return [one for one in found if one.detection.label == FACE and one.detection.vectors and _place(one) in theirs]


def _place(one: Finding) -> tuple[object, ...]:
    return one.detection.box, one.detection.time_s


def nameless(found: list[Finding]) -> list[Finding]:
    """The faces with vectors that have no hit."""
    known = {_place(one) for one in found if one.detection.label != FACE}
    return [one for one in found if one.detection.vectors and _place(one) not in known]
