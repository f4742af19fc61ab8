"""The folder of a job beside its results: its task (job.json), its state (queue.json), its report, its ledger.

left_out.json and the Parquet files of left_out/ tell what its listing left out.
"""

import json
from collections.abc import Iterator
from typing import Any, Literal

import pyarrow as pa
import pyarrow.parquet as pq
from pyarrow import fs

from cluster.errors import SettingsError
from cluster.results import files as results_files
from cluster.storage import buckets

Page = Literal["job", "queue", "report", "left_out"]


def place(out: str, job: str) -> str:
    """The URI of a job's folder, whose results go to `out`. SettingsError for a name that leads to another folder."""
    if job in ("", ".", "..") or "/" in job or "\0" in job:
        raise SettingsError(f"{job!r} cannot be the name of a job. `raysift jobs list` names them.")
    return f"{out}/_raysift/jobs/{job}"


def read(out: str, job: str, page: Page, s3_endpoint: str | None = None) -> dict[str, Any] | None:
    """One of the JSON files of a job, None if it has not been written. SettingsError if it cannot be read."""
    try:
        files, path = buckets.filesystem(f"{place(out, job)}/{page}.json", s3_endpoint)
        kind = files.get_file_info(path).type
        if kind == fs.FileType.NotFound:
            return None
        if kind != fs.FileType.File:  # a FIFO would block for ever
            raise SettingsError(f"{place(out, job)}/{page}.json is no regular file. Delete it.")
        with files.open_input_file(path) as source:
            return dict(json.loads(source.read()))
    except (OSError, ValueError) as error:
        raise SettingsError(f"{place(out, job)}/{page}.json cannot be read: {error}. Check its rights.") from None


def write(out: str, job: str, page: Page, facts: dict[str, Any], s3_endpoint: str | None = None) -> None:
    """Write one of the JSON files of a job: a reader sees it whole or as it was before.

    SettingsError if the folder cannot be written.
    """
    try:
        files, folder = results_files.sink(place(out, job), s3_endpoint)
        files.create_dir(folder, recursive=True)
        with files.open_output_stream(f"{folder}/{page}.json") as sink:
            sink.write(json.dumps(facts, indent=1).encode())
    except OSError as error:
        raise SettingsError(f"{place(out, job)} cannot be written: {error}. Check --out and its rights.") from None


def left_out(out: str, job: str, s3_endpoint: str | None = None) -> Iterator[pa.RecordBatch]:
    """What the listing of a job left out, in its order, as rows of uri, suffix and reason.

    SettingsError if it cannot be read.
    """
    folder = f"{place(out, job)}/left_out"
    try:
        files, path = buckets.filesystem(folder, s3_endpoint)
        found = files.get_file_info(fs.FileSelector(path, allow_not_found=True))
        for name in sorted(info.path for info in found if info.path.endswith(".parquet")):
            with files.open_input_file(name) as source:
                yield from pq.ParquetFile(source).iter_batches()
    except (OSError, pa.ArrowInvalid) as error:
        raise SettingsError(f"{folder} cannot be read: {error}. Check its rights.") from None


def clear(folder: str, s3_endpoint: str | None = None) -> None:
    """Delete a folder and everything in it, if it exists."""
    files, path = buckets.filesystem(folder, s3_endpoint)
    if files.get_file_info(path).type != fs.FileType.NotFound:
        files.delete_dir(path)
