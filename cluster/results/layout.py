"""Where results lie in a folder, and which of its Parquet files count.

    OUT/job=NAME/           the files that the job NAME has committed
    OUT/*.parquet           files of earlier versions, of any job
    OUT/current/            files into which `raysift compact` has gathered rows, and its manifest
    OUT/_raysift/jobs/NAME/ the job's ledger and pages; compacted/: what a compaction records of its rows

A compaction writes new files, then the manifest, in one write: it names the run that wrote them and the files that they
replace. From then on the new files count and the old ones do not. These are deleted GRACE_S later, so that whoever has
listed the folder before can still read them. docs/decisions/0023 says why.
"""

import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from urllib.parse import quote
from uuid import uuid4

import pyarrow as pa
from pyarrow import fs
from pydantic import BaseModel, ConfigDict, ValidationError

from cluster.errors import SettingsError
from cluster.results.codec import SCHEMA
from cluster.storage import buckets

CURRENT = "current"
COMPACTED = "compacted"  # in the folder of a job
MANIFEST = f"{CURRENT}/_manifest.json"
GRACE_S = 6 * 3600.0
LISTERS = 8  # folders listed at a time
# What a compaction records of each row of a job: as much as verifying, reporting, retrying and resuming it need.
RECORD = pa.schema(
    [
        SCHEMA.field(name)
        for name in (
            *("unit_id", "job", "sequence", "uri", "size", "etag", "parent", "segments", "kind"),
            *("duration_s", "frames", "frames_propagated", "errors", "usage", "analyzed_at"),
        )
    ]
)
# What follows a folder of results in the URI of one of its files, for Python and RE2.
INNER = r"(/job(=|%3D)[^/]*/[^/]*|/current/run-[^/]*|/[^/]*)$"


@dataclass(frozen=True, slots=True, order=True)
class File:
    """A Parquet file of a folder of results. Sorted, the oldest comes first."""

    when_ns: int  # when it was written, or 0
    name: str  # its path in the folder
    size: int


class Replaced(BaseModel):
    """The files that a run of a compaction has replaced, by their paths in the folder, and when: seconds since 1970."""

    model_config = ConfigDict(extra="forbid")

    at: float
    files: list[str]


class Manifest(BaseModel):
    """What compactions have done. Files in current/ count if their run is among `runs`."""

    model_config = ConfigDict(extra="forbid")

    runs: list[str] = []
    replaced: dict[str, Replaced] = {}  # run -> the files, until they are deleted

    @cached_property
    def hidden(self) -> frozenset[str]:
        """The files that do not count any more."""
        return frozenset(name for replaced in self.replaced.values() for name in replaced.files)

    def counts(self, name: str) -> bool:
        """Whether a file, by its path in the folder, counts."""
        run = run_of(name)
        return name not in self.hidden and (run is None or run in self.runs)


def new_run() -> str:
    """The name of a run, with which the names of its files begin."""
    return f"run-{time.strftime('%Y%m%dT%H%M%S', time.gmtime())}-{uuid4().hex[:8]}"


def run_of(name: str) -> str | None:
    """The run that wrote a file of current/ or of compacted/; None for a file of a job."""
    folder, _, base = name.rpartition("/")
    compacted = folder == CURRENT or folder.endswith((f"/{CURRENT}", f"/{COMPACTED}"))
    return base.rpartition("-")[0] if compacted and base.startswith("run-") else None


def job_folder(out: str, job: str) -> str:
    """The URI of the folder into which a job commits its results."""
    return uris(out, [f"job={job}"])[0]


def jobs(out: str, s3_endpoint: str | None = None) -> list[str]:
    """The names of the jobs that have a folder beside these results. SettingsError if it cannot be listed."""
    try:
        files, path = buckets.filesystem(f"{out}/_raysift/jobs", s3_endpoint)
        entries = files.get_file_info(fs.FileSelector(path, allow_not_found=True))
    except OSError as error:
        raise SettingsError(f"{out}/_raysift/jobs cannot be listed: {error}. Check its rights.") from None
    return sorted(info.base_name for info in entries if info.type == fs.FileType.Directory)


def record_folder(job: str) -> str:
    """The path, in a folder of results, of what compactions record of a job."""
    return f"_raysift/jobs/{job}/{COMPACTED}"


def read_manifest(out: str, s3_endpoint: str | None = None) -> Manifest | None:
    """The manifest of a folder of results; None if there was no compaction. SettingsError if it cannot be read."""
    files, path = buckets.filesystem(f"{out}/{MANIFEST}", s3_endpoint)
    try:
        with files.open_input_file(path) as source:
            return Manifest.model_validate_json(source.read())
    except FileNotFoundError:
        return None
    except (OSError, ValidationError) as error:
        reason = "it is damaged" if isinstance(error, ValidationError) else str(error)
        raise SettingsError(f"{out}/{MANIFEST} cannot be read: {reason}. Restore it from a backup.") from None


def listed(out: str, s3_endpoint: str | None = None) -> tuple[list[File], Manifest]:
    """All Parquet files of results in a folder, those that do not count too, oldest first; and the manifest.

    A folder that does not exist holds none. Hidden names, which begin with `_` or `.`, are not results.
    """
    files, inner = _list(out, "", s3_endpoint)
    folders, manifest = [name for name in inner if name.startswith("job=")], Manifest()
    if CURRENT in inner:
        # read before current/ is listed: files of a run that ends in between must not be missed
        read = read_manifest(out, s3_endpoint)
        compacted, _ = _list(out, CURRENT, s3_endpoint)
        compacted = [file for file in compacted if run_of(file.name)]
        if compacted and read is None and (read := read_manifest(out, s3_endpoint)) is None:
            raise SettingsError(f"{out}/{MANIFEST} is missing: nobody can tell which files count. Restore it.")
        manifest = read or manifest
        files += compacted
    with ThreadPoolExecutor(LISTERS) as pool:
        for of_folder, _ in pool.map(lambda name: _list(out, name, s3_endpoint), folders):
            files += of_folder
    return sorted(files), manifest


def committed(out: str, s3_endpoint: str | None = None) -> list[str]:
    """The URIs of a folder's Parquet files that count, oldest first: all rows of all jobs.

    It also lists other folders of Parquet files, such as a ledger.
    """
    out = buckets.normalize(out)
    files, manifest = listed(out, s3_endpoint)
    return uris(out, (file.name for file in files if manifest.counts(file.name)))


def of_job(out: str, job: str, s3_endpoint: str | None = None) -> list[str]:
    """The URIs of the Parquet files with a job's rows, oldest first. They have the columns of RECORD, most have more.

    They are those of its own folder, those in which a compaction has recorded its rows, and those of earlier versions,
    which may hold any job's rows.
    """
    out = buckets.normalize(out)
    files, inner = _list(out, "", s3_endpoint)
    folders, manifest = [f"job={job}"] if f"job={job}" in inner else [], Manifest()
    if CURRENT in inner:
        manifest = read_manifest(out, s3_endpoint) or manifest
        folders.append(record_folder(job))
    for folder in folders:
        files += _list(out, folder, s3_endpoint)[0]
    return uris(out, (file.name for file in sorted(files) if manifest.counts(file.name)))


def taken_over(
    out: str, files: Sequence[str], known: Callable[[list[str]], set[str]], s3_endpoint: str | None = None
) -> set[str]:
    """Those of the files (URIs) in current/ that hold only rows of files which are known: nothing in them is new.

    `known` returns the known ones among URIs. Only files whose sources are still in the manifest are returned.
    """
    out = buckets.normalize(out)
    by_run: dict[str, set[str]] = {}
    for file in files:
        if run := run_of(file):
            by_run.setdefault(run, set()).add(file)
    manifest, taken = read_manifest(out, s3_endpoint) if by_run else None, set[str]()
    for run in by_run.keys() & (manifest.replaced.keys() if manifest else ()):
        assert manifest is not None
        sources = uris(out, manifest.replaced[run].files)
        if known(sources) >= set(sources):
            taken |= by_run[run]
    return taken


def uris(out: str, names: Iterable[str]) -> list[str]:
    """The URIs of files of a folder, by their paths in it."""
    return [f"{out}/{quote(name) if out.startswith('file:') else name}" for name in names]


def _list(out: str, folder: str, s3_endpoint: str | None) -> tuple[list[File], list[str]]:
    """The Parquet files of a folder of `out`, "" for itself, and the names of the folders in it."""
    files, root = buckets.filesystem(out, s3_endpoint)
    place = f"{root.rstrip('/')}/{folder}" if folder else root
    infos = [
        info
        for info in files.get_file_info(fs.FileSelector(place, allow_not_found=True))
        if not info.base_name.startswith(".")
    ]
    inner = [info.base_name for info in infos if info.type == fs.FileType.Directory]
    results = [
        File(info.mtime_ns or 0, f"{folder}/{info.base_name}".lstrip("/"), info.size or 0)
        for info in infos
        if info.is_file and info.extension == "parquet" and not info.base_name.startswith("_")
    ]
    return results, inner
