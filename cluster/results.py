"""The committed results of a folder: which Parquet files there are, and their rows."""

from collections.abc import Iterator
from urllib.parse import quote

import pyarrow as pa

from cluster import buckets
from cluster.errors import SettingsError
from cluster.records import SCHEMA


def committed(folder: str, s3_endpoint: str | None = None) -> list[str]:
    """The URIs of a folder's Parquet files, oldest first; names that begin with `_` or `.` are not results.

    A folder that does not exist holds none: nothing has been stored yet.
    """
    import pyarrow.fs as pafs

    folder = buckets.normalize(folder)
    files, path = buckets.filesystem(folder, s3_endpoint)
    found = [
        info
        for info in files.get_file_info(pafs.FileSelector(path, allow_not_found=True))
        if info.is_file and info.extension == "parquet" and not info.base_name.startswith(("_", "."))
    ]
    found.sort(key=lambda info: (info.mtime_ns or 0, info.base_name))
    local = folder.startswith("file:")
    return [f"{folder}/{quote(info.base_name) if local else info.base_name}" for info in found]


def read(file: str, columns: list[str], s3_endpoint: str | None = None) -> pa.Table:
    """These columns of one committed file, nested ones by dotted path. SettingsError if it is no file of results."""
    import pyarrow.parquet as pq

    files, path = buckets.filesystem(file, s3_endpoint)
    with files.open_input_file(path) as source:
        try:
            parquet = pq.ParquetFile(source)
            missing = {column.split(".")[0] for column in columns} - set(parquet.schema_arrow.names)
            if not missing:
                return parquet.read(columns, use_threads=False)
        except pa.ArrowInvalid as error:
            raise SettingsError(f"{file} cannot be read as Parquet ({error}). Move it out of the folder.") from error
    raise SettingsError(f"{file} holds no results of Raysift (no column {min(missing)}). Move it out of the folder.")


def scan(folder: str, columns: list[str], s3_endpoint: str | None = None, job: str | None = None) -> Iterator[pa.Table]:
    """These columns of all committed rows, or of one job's, some thousands at a time and several files ahead.

    A column that a file lacks is null. SettingsError names a file that is not Parquet.
    """
    import pyarrow.dataset as ds

    paths = [buckets.filesystem(file, s3_endpoint)[1] for file in committed(folder, s3_endpoint)]
    if not paths:
        return
    files, _ = buckets.filesystem(folder, s3_endpoint)
    rows = ds.dataset(paths, schema=SCHEMA, format="parquet", filesystem=files)
    try:
        for batch in rows.to_batches(columns=columns, filter=None if job is None else ds.field("job") == job):
            yield pa.Table.from_batches([batch])
    except pa.ArrowInvalid as error:
        raise SettingsError(f"{folder}: {error}. Move that file out of the folder.") from error
