"""The committed results of a folder: their rows, and the writing of files that readers see only as a whole."""

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from hashlib import blake2b
from io import BufferedWriter, FileIO
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

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


__all__ = ["ahead", "batches", "committed", "content", "of_job", "parts", "read", "scan", "sink"]

FILES_AHEAD = 4  # read in threads while the caller works on the table before them
BATCH_ROWS = 1000  # in a table of a batch: a row of a video may have half a megabyte
BUFFER_BYTES = 1 << 20  # of a column of a file that is read in batches

_File = TypeVar("_File")
_Read = TypeVar("_Read")


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
    with _opened(file, columns, s3_endpoint) as (parquet, names):
        groups = parquet.read_row_groups(_groups(parquet, job), names.stored(job), use_threads=False)
        return names.table(groups, job)


def batches(
    file: str, columns: Sequence[str], s3_endpoint: str | None = None, job: str | None = None
) -> Iterator[pa.Table]:
    """As `read`, in tables of at most BATCH_ROWS rows: a file may be larger than the memory."""
    with _opened(file, columns, s3_endpoint, BUFFER_BYTES) as (parquet, names):
        for batch in parquet.iter_batches(BATCH_ROWS, _groups(parquet, job), names.stored(job), use_threads=False):
            yield names.table(pa.Table.from_batches([batch]), job)


@contextmanager
def _opened(
    file: str, columns: Sequence[str], s3_endpoint: str | None, buffer_bytes: int = 0
) -> "Iterator[tuple[ParquetFile, _Names]]":
    """A file, and the names of the columns in it. SettingsError if it holds no results, or is damaged where it is read.

    `buffer_bytes`: how much of a column is fetched at a time; 0: all of a row group.
    """
    import pyarrow.parquet as pq

    files, path = buckets.filesystem(file, s3_endpoint)
    with files.open_input_file(path) as source:
        try:
            parquet = pq.ParquetFile(source, buffer_size=buffer_bytes)
            stored_names = parquet.schema_arrow.names  # read once: it takes 1 ms
            current_names = {codec.RENAMED.get(name, name) for name in stored_names}
            missing = {column.split(".")[0] for column in columns} - current_names
            if missing <= codec.OPTIONAL:
                former = not codec.RENAMED.keys().isdisjoint(stored_names)
                yield parquet, _Names(tuple(columns), frozenset(missing), former)
                return
        except pa.ArrowInvalid as error:
            raise SettingsError(f"{file} cannot be read as Parquet ({error}). Move it out of the folder.") from error
    raise SettingsError(f"{file} holds no results of Raysift (no column {min(missing)}). Move it out of the folder.")


@dataclass(frozen=True, slots=True)
class _Names:
    """The columns that are wanted of a file, which of them it lacks, and whether it has names of version 0.1."""

    wanted: tuple[str, ...]
    missing: frozenset[str]
    former: bool

    def stored(self, job: str | None) -> list[str]:
        """The names of the columns to read."""
        names = [name for name in self.wanted if name.split(".")[0] not in self.missing]
        names += [*(["analyzed_at"] if "sequence" in self.wanted else []), *([] if job is None else ["job"])]
        return list(dict.fromkeys(map(codec.former_name, names) if self.former else names))

    def table(self, table: pa.Table, job: str | None) -> pa.Table:
        """The table as the caller wants it, of what was read."""
        table = codec.renamed(table)
        if job is not None:
            table = table.filter(pc.equal(table["job"], job))
        if "sequence" in self.wanted:
            filled = attempts.numbers(table)
            table = table.drop_columns(["sequence"]) if "sequence" in table.column_names else table
            table = table.append_column(SCHEMA.field("sequence"), filled)
        for name in self.missing - {"sequence"}:
            table = table.append_column(SCHEMA.field(name), pa.nulls(len(table), SCHEMA.field(name).type))
        requested = {name.split(".")[0] for name in self.wanted}
        return table.select([name for name in SCHEMA.names if name in requested])


def _groups(parquet: "ParquetFile", job: str | None) -> list[int]:
    """The row groups that may have rows of the job, by their statistics; all without one."""
    return [n for n in range(parquet.num_row_groups) if job is None or _may_hold(parquet, n, job)]


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
    """Read columns of all committed rows, or of one job's. Yields the tables of `batches`.

    With `job`, only the columns of layout.RECORD are there for all rows. Files are read `ahead`.
    """
    files = committed(folder, s3_endpoint) if job is None else of_job(folder, job, s3_endpoint)
    for tables in ahead(files, lambda file: parts(file, columns, s3_endpoint, job)):
        yield from (table for table in tables if len(table))


def ahead(files: Iterable[_File], work: Callable[[_File], _Read]) -> Iterator[_Read]:
    """Yield `work` of each file, in order; that of the next FILES_AHEAD files is done in threads meanwhile."""
    rest = iter(files)
    with ThreadPoolExecutor(FILES_AHEAD) as pool:
        waiting = deque(pool.submit(work, file) for file in islice(rest, FILES_AHEAD))
        while waiting:
            done = waiting.popleft().result()
            waiting.extend(pool.submit(work, file) for file in islice(rest, 1))
            yield done


def parts(
    file: str, columns: Sequence[str], s3_endpoint: str | None = None, job: str | None = None
) -> Iterable[pa.Table]:
    """The rows of a file in tables: read now if they are few, else in `batches` while the caller works on them."""
    with _opened(file, columns, s3_endpoint) as (parquet, names):
        if parquet.metadata.num_rows <= BATCH_ROWS:
            groups = parquet.read_row_groups(_groups(parquet, job), names.stored(job), use_threads=False)
            return [names.table(groups, job)]
    return batches(file, columns, s3_endpoint, job)


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
