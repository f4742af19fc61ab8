"""Pieces of the vectors and thumbnails that an erasure removes, as every store keeps them: what its proof looks for."""

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from itertools import chain

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from cluster.chroma.client import stored_forms
from cluster.chroma.neighbours import DISTANCES
from cluster.results import embeddings
from cluster.results import files as results_files
from cluster.results.newest import newest_answers, newest_contents
from deployments.jobs import job as job_file
from pipelines.erasure.needles import Needles, pieces
from pipelines.erasure.pending import Erasure
from pipelines.erasure.selection import erased_rows, job_tables

MOST_VECTORS = 100_000  # searched for, of one erasure; each takes 2 kB of memory
_END = re.compile("[^0-9A-Za-z]")  # what may follow an address, in one
_COLUMNS = [*embeddings.COLUMNS, "thumbnail"]
_VALUES = ["detections.list.element.vectors.list.element.values", "thumbnail"]


def collect(erasure: Erasure, s3_endpoint: str | None = None) -> None:
    """Fill in the pieces that the proof searches for, without those that files with equal content keep."""
    vectors, thumbnails = set[bytes](), set[bytes]()
    erasure.searched = 0
    theirs = {bytes.fromhex(vector) for vector in erasure.person.vectors} if erasure.person else None
    for table in _rows(erasure, s3_endpoint, erased=True, columns=_COLUMNS):
        for picture in table["thumbnail"].to_pylist():
            thumbnails |= pieces(picture or b"")
        for name, id, values in _embeddings(table) if erasure.searched < MOST_VECTORS else ():
            if theirs is None or values.tobytes() in theirs:
                erasure.searched += 1
                vectors |= pieces(values.tobytes())
                for form in stored_forms(id, values, DISTANCES[name.partition("-")[0]]):
                    vectors |= pieces(form.tobytes())
    erasure.totals, erasure.longer = _totals(erasure, s3_endpoint), _longer(erasure, s3_endpoint)
    kept = _in_kept_rows(erasure, vectors | thumbnails, s3_endpoint)
    erasure.shared = len(kept)
    erasure.vectors = sorted(piece.hex() for piece in vectors - kept)
    erasure.thumbnails = sorted(piece.hex() for piece in thumbnails - kept)


def _totals(erasure: Erasure, s3_endpoint: str | None) -> dict[str, dict[str, int]]:
    """Job -> how many units it has and files it has listed without the erased ones, so that they still add up."""
    units, listed, totals = Counter[str](), defaultdict[str, set[str]](set), {}
    for out in erasure.outs:
        for job, inner, table in job_tables(out, s3_endpoint):
            rows = table.filter(erased_rows(table.select(["uri"]), erasure.files, ()))
            if inner == "left_out":
                listed[f"{out}\0{job}"].update(f"{inner} {uri}" for uri in rows["uri"].to_pylist())
                continue
            units[f"{out}\0{job}"] += len(rows) if inner == "ledger" else 0
            outer = rows.filter(pc.is_null(rows["parent"])) if "parent" in rows.column_names else rows
            listed[f"{out}\0{job}"].update(outer["uri"].to_pylist())
    for place, files in listed.items():
        out, _, name = place.partition("\0")
        task = job_file.read(out, name, s3_endpoint) if files or units[place] else None
        if task is not None and task.units is not None:
            less = {"units": task.units - units[place], "files_listed": task.files_listed - len(files)}
            totals[name] = {field: max(0, count) for field, count in less.items()}
    return totals


def _longer(erasure: Erasure, s3_endpoint: str | None) -> list[str]:
    """The addresses of files that stay, if they begin with the address of an erased one: `a.zip (2)`, not `a.zip`."""
    longer = set[str]()
    for out in erasure.outs if erasure.files else ():
        named = (table for _, _, table in job_tables(out, s3_endpoint))
        tables = chain(results_files.scan(out, ["uri"], s3_endpoint), named)
        for uri in chain.from_iterable(table["uri"].to_pylist() for table in tables):
            if uri not in erasure.files and any(uri[: end.start()] in erasure.files for end in _END.finditer(uri)):
                longer.add(uri)
    return sorted(longer)


def _rows(erasure: Erasure, s3_endpoint: str | None, erased: bool, columns: list[str]) -> Iterator[pa.Table]:
    """The rows that are erased (of a person: that show them), or the others."""
    files = erasure.person.files if erasure.person else erasure.files
    for out in erasure.outs:
        for table in results_files.scan(out, [*columns, "uri", "job"], s3_endpoint):
            mask = erased_rows(table, files, erasure.jobs)
            rows = table.filter(mask if erased else pc.invert(mask))
            if len(rows):
                yield rows


def _embeddings(table: pa.Table) -> Iterator[tuple[str, str, npt.NDArray[np.float32]]]:
    """Collection, id and values of each vector of these rows that is, or was, in the vector store."""
    for at in range(len(table)):  # row by row, since each row was once the newest
        row = table.take([at])
        for name, entries in embeddings.embeddings(row, newest_answers(row, newest_contents(row))).items():
            for id, values in zip(entries.ids, entries.values, strict=True):
                yield name, id, np.asarray(values, np.float32)


def _in_kept_rows(erasure: Erasure, wanted: Iterable[bytes], s3_endpoint: str | None) -> set[bytes]:
    """The pieces that rows have which stay: those of files with equal content."""
    needles = Needles()
    needles.add("vectors", wanted)
    found = set[bytes]()
    for table in _rows(erasure, s3_endpoint, erased=False, columns=_VALUES):
        for data in _bytes_of(table):
            found |= {bytes(data[begin:end]) for _, begin, end in needles.spans(data)}
    return found


def _bytes_of(table: pa.Table) -> Iterator[memoryview]:
    of_detections = pc.struct_field(pc.list_flatten(table["detections"]), "vectors")
    values = pc.list_flatten(pc.struct_field(pc.list_flatten(of_detections), "values"))
    yield memoryview(values.to_numpy().tobytes())
    yield from (memoryview(picture) for picture in table["thumbnail"].drop_null().to_pylist())
