"""What a job keeps beside its results: what it owes, how far it is, where it stands and, in the end, its report."""

import json
from typing import Any, Literal

from pyarrow import fs

from cluster.errors import SettingsError
from cluster.results import files as results_files
from cluster.storage import buckets

Page = Literal["job", "queue", "report"]


def place(out: str, job: str) -> str:
    """The URI of a job's folder."""
    return f"{out}/_raysift/jobs/{job}"


def names(out: str, s3_endpoint: str | None = None) -> list[str]:
    """The jobs that have such a folder."""
    try:
        files, path = buckets.filesystem(f"{out}/_raysift/jobs", s3_endpoint)
        found = files.get_file_info(fs.FileSelector(path, allow_not_found=True))
    except OSError as error:
        raise SettingsError(f"{out}/_raysift/jobs cannot be listed: {error}. Check its rights.") from None
    return sorted(info.base_name for info in found if info.type == fs.FileType.Directory)


def read(out: str, job: str, page: Page, s3_endpoint: str | None = None) -> dict[str, Any] | None:
    """One of its JSON files, None if it has not been written."""
    try:
        files, path = buckets.filesystem(f"{place(out, job)}/{page}.json", s3_endpoint)
        if files.get_file_info(path).type == fs.FileType.NotFound:
            return None
        with files.open_input_file(path) as source:
            return dict(json.loads(source.read()))
    except (OSError, ValueError) as error:
        raise SettingsError(f"{place(out, job)}/{page}.json cannot be read: {error}. Check its rights.") from None


def write(out: str, job: str, page: Page, told: dict[str, Any], s3_endpoint: str | None = None) -> None:
    """Write one of its JSON files: a reader sees it whole or as it was before."""
    try:
        files, folder = results_files.sink(place(out, job), s3_endpoint)
        files.create_dir(folder, recursive=True)
        with files.open_output_stream(f"{folder}/{page}.json") as sink:
            sink.write(json.dumps(told, indent=1).encode())
    except OSError as error:
        raise SettingsError(f"{place(out, job)} cannot be written: {error}. Check --out and its rights.") from None


def clear(folder: str, s3_endpoint: str | None = None) -> None:
    """Delete a folder with all that is in it, if it is there."""
    files, path = buckets.filesystem(folder, s3_endpoint)
    if files.get_file_info(path).type != fs.FileType.NotFound:
        files.delete_dir(path)
