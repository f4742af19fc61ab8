"""The committed results of a folder: which Parquet files there are, and their rows."""

import os
from collections.abc import Iterator
from hashlib import blake2b
from io import BufferedWriter, FileIO
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import pyarrow as pa
from fsspec.implementations.local import LocalFileSystem
from pyarrow import fs

from cluster.errors import SettingsError
from cluster.records import SCHEMA
from cluster.storage import buckets

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer


_LATER = {"segment", "segments", "segment_s", "begin_s", "end_s", "spent"}


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


def read(file: str, columns: list[str], s3_endpoint: str | None = None) -> pa.Table:
    """These columns of one committed file, nested ones by dotted path, in the order of SCHEMA.

    SettingsError if it is no file of results. What came into SCHEMA after the file was written is null.
    """
    import pyarrow.parquet as pq

    files, path = buckets.filesystem(file, s3_endpoint)
    with files.open_input_file(path) as source:
        try:
            parquet = pq.ParquetFile(source)
            there = set(parquet.schema_arrow.names)
            missing = {column.split(".")[0] for column in columns} - there
            if missing <= _LATER:
                table = parquet.read([name for name in columns if name.split(".")[0] in there], use_threads=False)
                if "analyzers" in columns:  # floors came into it later
                    at = table.schema.get_field_index("analyzers")
                    table = table.set_column(at, "analyzers", table["analyzers"].cast(SCHEMA.field("analyzers").type))
                for name in (field.name for field in SCHEMA if field.name in missing):
                    table = table.append_column(SCHEMA.field(name), pa.nulls(len(table), SCHEMA.field(name).type))
                return table.select([name for name in SCHEMA.names if name in table.column_names])
        except pa.ArrowInvalid as error:
            raise SettingsError(f"{file} cannot be read as Parquet ({error}). Move it out of the folder.") from error
    raise SettingsError(f"{file} holds no results of Raysift (no column {min(missing)}). Move it out of the folder.")


def scan(folder: str, columns: list[str], s3_endpoint: str | None = None, job: str | None = None) -> Iterator[pa.Table]:
    """These columns of all committed rows, or of one job's, some thousands at a time and several files ahead.

    What a file lacks is null. SettingsError names a file that is not Parquet.
    """
    import pyarrow.dataset as ds

    paths = [buckets.filesystem(file, s3_endpoint)[1] for file in committed(folder, s3_endpoint)]
    if not paths:
        return
    files, _ = buckets.filesystem(folder, s3_endpoint)
    rows = ds.dataset(paths, schema=SCHEMA, format="parquet", filesystem=files)
    try:
        for batch in rows.to_batches(
            columns=columns, batch_size=10_000, filter=None if job is None else ds.field("job") == job
        ):
            yield pa.Table.from_batches([batch])
    except pa.ArrowInvalid as error:
        raise SettingsError(f"{folder}: {error}. Move that file out of the folder.") from error


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
