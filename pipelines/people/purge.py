"""Removal of one person's hits and vectors from stored results and from the vector store."""

from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa

from cluster.records import Finding
from cluster.results import codec, embeddings
from cluster.results import files as results_files
from cluster.results.codec import SCHEMA
from cluster.results.newest import newest_rows
from cluster.vectors import Vectors
from deployments.galleries.watchlist import FACE, WatchList
from pipelines.people.match import DETECTOR, FACES, current, named, of

REMOVED = "no vector: removed on request"


@dataclass(slots=True)
class Removed:
    """What was removed from the results."""

    hits: int = 0
    faces: int = 0  # whose vectors were removed
    files: int = 0  # Parquet files that were rewritten
    uris: set[str] = field(default_factory=set)  # of the media that show the person
    vectors: set[bytes] = field(default_factory=set)  # the person's, as bytes of float32
    other: int = 0  # files with vectors of another model, which cannot be compared with the photos


@dataclass(frozen=True, slots=True)
class Searched:
    """How many of a person's vectors the vector store held before, and still holds."""

    removed: int
    left: int


def purge(name: str, out: str, watch: WatchList, model: str, s3_endpoint: str | None = None) -> Removed:
    """Rewrite every Parquet file that has hits of that name, or vectors of their faces.

    The person's vectors are those of faces with a hit, those that the watch list (of the same model) identifies, and
    all that equal one of these, in superseded rows, too. Each file is replaced as a whole; a purge that was interrupted
    can be repeated.
    """
    vectors, other = _vectors(name, out, watch, model, s3_endpoint)
    done = Removed(vectors=vectors, other=other)
    for file in results_files.committed(out, s3_endpoint):
        table = results_files.read(file, ["uri", *FACES], s3_endpoint)
        uris = [
            uri
            for uri, found in zip(table["uri"].to_pylist(), codec.findings(table, DETECTOR), strict=True)
            if any(_is_hit(one, name) or _is_theirs(one, done.vectors) for one in found)
        ]
        if uris:
            _rewrite(file, name, done, s3_endpoint)
            done.files += 1
            done.uris.update(uris)
    return done


def left(name: str, out: str, vectors: set[bytes], s3_endpoint: str | None = None) -> int:
    """The number of hits of that name, and of faces with one of these vectors, that the results still hold."""
    tables = (results_files.read(file, FACES, s3_endpoint) for file in results_files.committed(out, s3_endpoint))
    faces = (finding for table in tables for found in codec.findings(table, DETECTOR) for finding in found)
    return sum(_is_hit(finding, name) or _is_theirs(finding, vectors) for finding in faces)


def _vectors(name: str, out: str, watch: WatchList, model: str, s3_endpoint: str | None) -> tuple[set[bytes], int]:
    """The person's vectors, float32, and the number of files that another model has answered for."""
    theirs, other = set[bytes](), set[str]()
    for answer in current(out, s3_endpoint):
        if answer.model == model:
            theirs |= {_vector(finding) for finding in of(name, named(answer.found, watch))}
        else:
            other.add(answer.row["uri"])
    for file in results_files.committed(out, s3_endpoint):
        for found in codec.findings(results_files.read(file, FACES, s3_endpoint), DETECTOR):
            theirs |= {_vector(finding) for finding in of(name, found)}
    return theirs, len(other)


def _is_hit(finding: Finding, name: str) -> bool:
    return finding.detection.label == name


def _is_theirs(finding: Finding, vectors: set[bytes]) -> bool:
    return finding.detection.label == FACE and bool(finding.detection.vectors) and _vector(finding) in vectors


def _vector(finding: Finding) -> bytes:
    return _bytes(finding.detection.vectors[0].values)


def _bytes(vector: Iterable[float]) -> bytes:
    return np.asarray(vector, np.float32).tobytes()


def _rewrite(file: str, name: str, done: Removed, s3_endpoint: str | None) -> None:
    import pyarrow.parquet as pq

    table = results_files.read(file, SCHEMA.names, s3_endpoint)
    rows = table["detections"].to_pylist()
    for n, row in enumerate(rows):
        kept = [one for one in row if (one["detector"], one["label"]) != (DETECTOR, name)]
        done.hits += len(row) - len(kept)
        for one in kept:
            of_face = (one["detector"], one["label"]) == (DETECTOR, FACE)
            if of_face and one["vectors"] and _bytes(one["vectors"][0]["values"]) in done.vectors:
                one.update(vectors=[], evidence=REMOVED)
                done.faces += 1
        rows[n] = kept
    detections = SCHEMA.field("detections")
    table = table.set_column(table.schema.get_field_index("detections"), detections, pa.array(rows, detections.type))
    files, path = results_files.sink(file, s3_endpoint)
    pq.write_table(table, path, filesystem=files)


def forget(done: Removed, out: str, vectors: Vectors, s3_endpoint: str | None = None) -> Searched:
    """Reduce the vector store's faces of these media to those in the results. VectorsDown if it does not answer."""
    before = _held(done, vectors)
    for table in newest_rows(out, embeddings.COLUMNS, s3_endpoint, DETECTOR, wanted=done.uris.__contains__):
        vectors.upsert(table)
    left = _held(done, vectors)
    return Searched(before - left, left)


def _held(done: Removed, vectors: Vectors) -> int:
    """How many of the person's vectors the vector store returns as their own nearest neighbours."""
    nearest = (vectors.search("faces", np.frombuffer(vector, np.float32).tolist(), 1) for vector in done.vectors)
    return sum(bool(hits) and hits[0].score > 0.999 for hits in nearest)
