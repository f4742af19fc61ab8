"""The committed results of a folder: their rows, and the writing of files that readers see only as a whole."""

import os
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from hashlib import blake2b
from io import BufferedWriter, FileIO
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute as pc
from fsspec.implementations.local import LocalFileSystem
from pyarrow import fs

from cluster.errors import SettingsError
from cluster.results import attempts, codec
from cluster.results.codec import SCHEMA
from cluster.results.layout import committed, of_job
from cluster.storage import buckets

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer
    from pyarrow.parquet import ParquetFile


__all__ = ["committed", "content", "of_job", "read", "scan", "sink"]

FILES_AHEAD = 4  # read in threads while the caller works on the table before them


def content(etag: str | None, segment_s: float | None) -> int:
    """A hash (signed, 64 bits) of the content and segment length that a row is about.

    Rows of a file with the hash of its newest row are about the file as it is now; the others are history.
    """
    return int.from_bytes(blake2b(f"{etag or ''}\0{segment_s}".encode(), digest_size=8).digest(), signed=True)


def read(file: str, columns: Sequence[str], s3_endpoint: str | None = None, job: str | None = None) -> pa.Table:
    """Read columns of one committed file, nested ones by dotted path, in the order of SCHEMA. `job`: only its rows.

    Files of earlier versions are read under the current names. A column that the file lacks, since it was added to
    SCHEMA later, is null; `sequence` is never null. SettingsError if the file holds no results.
    """
    import pyarrow.parquet as pq

    files, path = buckets.filesystem(file, s3_endpoint)
    with files.open_input_file(path) as source:
        try:
            parquet = pq.ParquetFile(source)
            stored_names = parquet.schema_arrow.names  # read once: it takes 1 ms
            current_names = {codec.RENAMED.get(name, name) for name in stored_names}
            missing = {column.split(".")[0] for column in columns} - current_names
            if missing <= codec.OPTIONAL:
                return _read(parquet, stored_names, columns, missing, job)
        except pa.ArrowInvalid as error:
            raise SettingsError(f"{file} cannot be read as Parquet ({error}). Move it out of the folder.") from error
    raise SettingsError(f"{file} holds no results of Raysift (no column {min(missing)}). Move it out of the folder.")


def _read(
    parquet: "ParquetFile", stored_names: list[str], columns: Sequence[str], missing: set[str], job: str | None
) -> pa.Table:
    wanted = [name for name in columns if name.split(".")[0] not in missing]
    needed = [*wanted, *(["analyzed_at"] if "sequence" in columns else []), *([] if job is None else ["job"])]
    if not codec.RENAMED.keys().isdisjoint(stored_names):
        needed = [codec.former_name(name) for name in needed]
    groups = [n for n in range(parquet.num_row_groups) if job is None or _may_hold(parquet, n, job)]
    table = codec.renamed(parquet.read_row_groups(groups, list(dict.fromkeys(needed)), use_threads=False))
    if job is not None:
        table = table.filter(pc.equal(table["job"], job))
    if "sequence" in columns:
        filled = attempts.numbers(table)
        table = table.drop_columns(["sequence"]) if "sequence" in table.column_names else table
        table = table.append_column(SCHEMA.field("sequence"), filled)
    for name in missing - {"sequence"}:
        table = table.append_column(SCHEMA.field(name), pa.nulls(len(table), SCHEMA.field(name).type))
    requested = {name.split(".")[0] for name in columns}
    return table.select([name for name in SCHEMA.names if name in requested])


def _may_hold(parquet: "ParquetFile", group: int, job: str) -> bool:
    """Whether a row group may have rows of the job, by its statistics."""
    row_group = parquet.metadata.row_group(group)
    job_column = next(
        (row_group.column(n) for n in range(row_group.num_columns) if row_group.column(n).path_in_schema == "job"), None
    )
    statistics = job_column.statistics if job_column is not None else None
    if statistics is None or not statistics.has_min_max:
        return True
    return bool(statistics.min <= job <= statistics.max)


def scan(
    folder: str, columns: Sequence[str], s3_endpoint: str | None = None, job: str | None = None
) -> Iterator[pa.Table]:
    """Read columns of all committed rows, or of one job's. Yields one table for each file that has rows; see `read`.

    With `job`, only the columns of layout.RECORD are there for all rows. FILES_AHEAD files are read ahead in threads.
    """
    files = iter(committed(folder, s3_endpoint) if job is None else of_job(folder, job, s3_endpoint))
    with ThreadPoolExecutor(FILES_AHEAD) as pool:
        ahead = deque(pool.submit(read, file, columns, s3_endpoint, job) for file in islice(files, FILES_AHEAD))
        while ahead:
            table = ahead.popleft().result()
            ahead.extend(pool.submit(read, file, columns, s3_endpoint, job) for file in islice(files, 1))
            if len(table):
                yield table


def sink(folder: str, s3_endpoint: str | None = None) -> tuple[fs.FileSystem, str]:
    """The file system for writing results, and the folder's path in it: readers see only complete files."""
    files, path = buckets.filesystem(folder, s3_endpoint)
    # an object store shows an upload once it is complete; a local disk shows a file while it is written
    return (fs.PyFileSystem(_WholeFiles(LocalFileSystem())) if isinstance(files, fs.LocalFileSystem) else files), path


class _WholeFiles(fs.FSSpecHandler):
    """The local disk; a file gets its name when it is closed."""

    def open_output_stream(self, path: str, metadata: Any) -> pa.PythonFile:
        return pa.PythonFile(_Renamed(Path(path)), mode="w")


class _Renamed(BufferedWriter):
    """A file that is written under a hidden name and renamed when it is closed.

    Of a writer that fails or is killed, only the hidden file is left, which is not read as results.
    """

    def __init__(self, path: Path) -> None:
        self._path, self._part, self._whole = path, path.with_name(f".{path.name}.part"), True
        super().__init__(FileIO(self._part, "w"))

    def write(self, data: "ReadableBuffer") -> int:
        try:
            return super().write(data)
        except OSError:  # the disk is full; Arrow closes the file even so
            self._whole = False
            raise

    def close(self) -> None:
        if not self.closed:
            if self._whole:
                self.flush()
                os.fsync(self.fileno())
            super().close()
            if self._whole:
                self._part.replace(self._path)
