"""The committed results of a folder: which Parquet files there are, and their rows."""

import os
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from hashlib import blake2b
from io import BufferedWriter, FileIO
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import pyarrow as pa
import pyarrow.compute as pc
from fsspec.implementations.local import LocalFileSystem
from pyarrow import fs

from cluster.errors import SettingsError
from cluster.results import attempts, codec
from cluster.results.codec import SCHEMA
from cluster.storage import buckets

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer
    from pyarrow.parquet import ParquetFile


FILES_AHEAD = 4  # read while the one before is worked on


def content(etag: str | None, segment_s: float | None) -> int:
    """A signed 64-bit number for what a row is about: a file's rows belong together when this is the same.

    That of the file's newest row is the file's content and cut as they are now; rows of another are history.
    """
    return int.from_bytes(blake2b(f"{etag or ''}\0{segment_s}".encode(), digest_size=8).digest(), signed=True)


def committed(folder: str, s3_endpoint: str | None = None) -> list[str]:
    """The URIs of a folder's Parquet files, oldest first; names that begin with `_` or `.` are not results.

    A folder that does not exist holds none: nothing has been stored yet.
    """
    folder = buckets.normalize(folder)
    files, path = buckets.filesystem(folder, s3_endpoint)
    found = [
        info
        for info in files.get_file_info(fs.FileSelector(path, allow_not_found=True))
        if info.is_file and info.extension == "parquet" and not info.base_name.startswith(("_", "."))
    ]
    found.sort(key=lambda info: (info.mtime_ns or 0, info.base_name))
    local = folder.startswith("file:")
    return [f"{folder}/{quote(info.base_name) if local else info.base_name}" for info in found]


def read(file: str, columns: Sequence[str], s3_endpoint: str | None = None, job: str | None = None) -> pa.Table:
    """These columns of one committed file, nested ones by dotted path, in the order of SCHEMA; only a job's, if given.

    Files of earlier versions are read under today's names. A column that came into SCHEMA after the file was written is
    null; `sequence` never is. SettingsError if the file holds no results.
    """
    import pyarrow.parquet as pq

    files, path = buckets.filesystem(file, s3_endpoint)
    with files.open_input_file(path) as source:
        try:
            parquet = pq.ParquetFile(source)
            there = set(parquet.schema_arrow.names)
            missing = {column.split(".")[0] for column in columns} - {codec.RENAMED.get(name, name) for name in there}
            if missing <= codec.OPTIONAL:
                return _read(parquet, columns, missing, job)
        except pa.ArrowInvalid as error:
            raise SettingsError(f"{file} cannot be read as Parquet ({error}). Move it out of the folder.") from error
    raise SettingsError(f"{file} holds no results of Raysift (no column {min(missing)}). Move it out of the folder.")


def _read(parquet: "ParquetFile", columns: Sequence[str], missing: set[str], job: str | None) -> pa.Table:
    there = parquet.schema_arrow.names
    wanted = [name for name in columns if name.split(".")[0] not in missing]
    needed = [*wanted, *(["analyzed_at"] if "sequence" in columns else []), *([] if job is None else ["job"])]
    if not codec.RENAMED.keys().isdisjoint(there):
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
    asked = {name.split(".")[0] for name in columns}
    return table.select([name for name in SCHEMA.names if name in asked])


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
    """These columns of all committed rows, or of one job's: a table a file, some files read ahead; as `read`."""
    files = iter(committed(folder, s3_endpoint))
    with ThreadPoolExecutor(FILES_AHEAD) as pool:
        ahead = deque(pool.submit(read, file, columns, s3_endpoint, job) for file in islice(files, FILES_AHEAD))
        while ahead:
            table = ahead.popleft().result()
            ahead.extend(pool.submit(read, file, columns, s3_endpoint, job) for file in islice(files, 1))
            if len(table):
                yield table


def sink(folder: str, s3_endpoint: str | None = None) -> tuple[fs.FileSystem, str]:
    """What a job writes its results with, and the path to give it: a reader sees a file whole or not at all."""
    files, path = buckets.filesystem(folder, s3_endpoint)
    # stores of objects show what is uploaded when it is complete; a disk shows every byte as it comes
    return (fs.PyFileSystem(_WholeFiles(LocalFileSystem())) if isinstance(files, fs.LocalFileSystem) else files), path


class _WholeFiles(fs.FSSpecHandler):
    """A local disk on which a file has its name only once it is closed."""

    def open_output_stream(self, path: str, metadata: Any) -> pa.PythonFile:
        return pa.PythonFile(_Renamed(Path(path)), mode="w")


class _Renamed(BufferedWriter):
    """Written under a name that is no result's, renamed when closed. A writer that fails or dies leaves that name."""

    def __init__(self, path: Path) -> None:
        self._path, self._part, self._whole = path, path.with_name(f".{path.name}.part"), True
        super().__init__(FileIO(self._part, "w"))

    def write(self, data: "ReadableBuffer") -> int:
        try:
            return super().write(data)
        except OSError:  # a full disk; Arrow closes the file all the same
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
