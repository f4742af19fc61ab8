"""Removal of one person's hits and vectors from stored results and from the vector store."""

from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from cluster.people.face import face_id
from cluster.records import Finding, asset_id
from cluster.results import codec, compaction, embeddings
from cluster.results import files as results_files
from cluster.results.codec import SCHEMA
from cluster.results.newest import newest_rows
from cluster.vectors import Vectors
from deployments.galleries.watchlist import FACE, WatchList
from pipelines.people.match import DETECTOR, FACES, current, named, of

REMOVED = "no vector: removed on request"


@dataclass(frozen=True, slots=True)
class Found:
    """What the results hold of a person, by `find`."""

    vectors: set[bytes]  # the person's, as bytes of float32
    files: dict[str, str | None]  # URI -> container, of the media with hits or vectors of the person
    other: int  # files with vectors of another model, which cannot be compared with the photos


@dataclass(slots=True)
class Removed:
    """What was removed from the results."""

    hits: int = 0
    faces: int = 0  # whose vectors were removed
    files: int = 0  # Parquet files that were rewritten
    thumbnails: int = 0


@dataclass(frozen=True, slots=True)
class Searched:
    """How many of a person's vectors the vector store held before, and still holds."""

    removed: int
    left: int


def find(
    name: str,
    out: str,
    watch: WatchList,
    model: str,
    s3_endpoint: str | None = None,
    said: Collection[str] = frozenset(),
) -> Found:
    """The person's vectors, and the media that show the person. `said`: ids of faces that reviewers have named so.

    The vectors are those of faces with a hit, those that the watch list (of the same model) identifies, those of the
    faces of `said`, and all that equal one of these, in superseded rows, too.
    """
    vectors, other = _vectors(name, out, watch, model, s3_endpoint)
    if said:
        vectors |= _named_by_reviewers(said, out, s3_endpoint)
    found = Found(vectors, {}, other)
    for _, uris, parents, hits in _with_traces(name, out, vectors, s3_endpoint):
        found.files.update((uri, parent) for uri, parent, hit in zip(uris, parents, hits, strict=True) if hit)
    return found


def remove(
    name: str, out: str, vectors: set[bytes], s3_endpoint: str | None = None, pictures_of: Collection[str] = ()
) -> Removed:
    """Rewrite every Parquet file that has hits of that name, or one of these vectors. See `find`.

    Files that a compaction has replaced are deleted first: they have the same hits.
    `pictures_of`: URIs of media whose thumbnails are removed too. Each file is replaced as a whole; a removal that was
    interrupted can be repeated.
    """
    done = Removed()
    compaction.clean(out, s3_endpoint, grace_s=0.0)
    for file, uris, _, hits in _with_traces(name, out, vectors, s3_endpoint):
        shown = [uri in pictures_of for uri in uris]
        if any(hits) or any(shown):
            _rewrite(file, name, vectors, shown, done, s3_endpoint)
            done.files += 1
    return done


def _with_traces(
    name: str, out: str, vectors: set[bytes], s3_endpoint: str | None
) -> Iterator[tuple[str, list[str], list[str | None], list[bool]]]:
    """Each Parquet file with the URI and the container of every row, and whether the row has a hit or a vector."""
    for file in results_files.committed(out, s3_endpoint):
        table = results_files.read(file, ["uri", "parent", *FACES], s3_endpoint)
        rows = codec.findings(table, DETECTOR)
        hits = [any(_is_hit(finding, name) or _is_theirs(finding, vectors) for finding in found) for found in rows]
        yield file, table["uri"].to_pylist(), table["parent"].to_pylist(), hits


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


def _named_by_reviewers(said: Collection[str], out: str, s3_endpoint: str | None) -> set[bytes]:
    """The vectors of the faces with these ids, float32."""
    assets = {id.partition("-")[0] for id in said}
    return {
        _vector(finding)
        for answer in current(out, s3_endpoint, lambda uri: asset_id(uri) in assets)
        for finding in answer.found
        if finding.detection.vectors
        and face_id(asset_id(answer.row["uri"]), finding.detection.time_s, finding.detection.box or ()) in said
    }


def _is_hit(finding: Finding, name: str) -> bool:
    return finding.detection.label == name


def _is_theirs(finding: Finding, vectors: set[bytes]) -> bool:
    return finding.detection.label == FACE and bool(finding.detection.vectors) and _vector(finding) in vectors


def _vector(finding: Finding) -> bytes:
    return _bytes(finding.detection.vectors[0].values)


def _bytes(vector: Iterable[float]) -> bytes:
    return np.asarray(vector, np.float32).tobytes()


def _rewrite(
    file: str, name: str, vectors: set[bytes], shown: list[bool], done: Removed, s3_endpoint: str | None
) -> None:
    """Replace a file. `shown`: the rows that lose their thumbnails."""
    import pyarrow.parquet as pq

    table = results_files.read(file, SCHEMA.names, s3_endpoint)
    rows = table["detections"].to_pylist()
    for n, row in enumerate(rows):
        kept = [one for one in row if (one["detector"], one["label"]) != (DETECTOR, name)]
        done.hits += len(row) - len(kept)
        for one in kept:
            of_face = (one["detector"], one["label"]) == (DETECTOR, FACE)
            if of_face and one["vectors"] and _bytes(one["vectors"][0]["values"]) in vectors:
                one.update(vectors=[], evidence=REMOVED)
                done.faces += 1
        rows[n] = kept
    table = _replaced(table, "detections", rows)
    if any(shown):
        pictures = table["thumbnail"].to_pylist()
        done.thumbnails += sum(picture is not None for picture, hit in zip(pictures, shown, strict=True) if hit)
        pictures = [None if hit else picture for picture, hit in zip(pictures, shown, strict=True)]
        table = _replaced(table, "thumbnail", pictures)
    files, path = results_files.sink(file, s3_endpoint)
    pq.write_table(table, path, filesystem=files)


def _replaced(table: pa.Table, name: str, values: list[Any]) -> pa.Table:
    column = SCHEMA.field(name)
    return table.set_column(table.schema.get_field_index(name), column, pa.array(values, column.type))


def forget(found: Found, out: str, vectors: Vectors, s3_endpoint: str | None = None) -> Searched:
    """Reduce the vector store's faces of these media to those in the results. VectorsDown if it does not answer."""
    before = _held(found, vectors)
    for table in newest_rows(out, embeddings.COLUMNS, s3_endpoint, DETECTOR, wanted=found.files.__contains__):
        vectors.upsert(table)
    left = _held(found, vectors)
    return Searched(before - left, left)


def _held(found: Found, vectors: Vectors) -> int:
    """How many of the person's vectors the vector store returns as their own nearest neighbours."""
    nearest = (vectors.search("faces", np.frombuffer(vector, np.float32).tolist(), 1) for vector in found.vectors)
    return sum(bool(hits) and hits[0].score > 0.999 for hits in nearest)
